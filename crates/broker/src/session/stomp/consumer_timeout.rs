//! Deliveries that nobody acknowledges (behaviour reference, section 7.6).

use leveret_queue_store::Time;

use super::{Core, Session};
use crate::error::Refusal;
use crate::session::Output;

impl Session {
    /// Ends a session that holds a delivery for longer than the consumer timeout, which gives its messages back.
    ///
    /// None of this costs a delivery anything: what is delivered after this look is due later than the next one.
    pub(super) fn handle_consumer_timeout(&mut self, now: Time, out: &mut Output) {
        let Some(timeout_ms) = self.core.shared.config.consumer_timeout_ms() else {
            return;
        };
        let oldest = self.subscriptions.oldest_delivery();
        let due = oldest.map(|since| since.saturating_add(timeout_ms));
        if due.is_some_and(|due| due <= now) {
            // In RabbitMQ's words, for whom the session is channel 1 of a connection.
            let refusal = Refusal::precondition_failed(format!(
                "delivery acknowledgement on channel 1 timed out. Timeout value used: {timeout_ms} ms. This timeout value \
                 can be configured, see consumers doc guide to learn more"
            ));
            self.fail(now, &refusal.into(), out);
        }
        self.core.consumer_timeout_at = due.unwrap_or_else(|| now.saturating_add(timeout_ms));
    }
}

impl Core {
    /// When the first delivery may have been out for too long.
    pub(super) fn consumer_deadline(&self) -> Option<Time> {
        (self.consumer_timeout_at != Time::MAX).then_some(self.consumer_timeout_at)
    }
}
