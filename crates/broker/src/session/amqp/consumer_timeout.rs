//! Deliveries that nobody acknowledges (behaviour reference, section 7.6).

use leveret_amqp_codec::ChannelId;
use leveret_queue_store::Time;

use super::channel::Channel;
use super::{Core, Failure, Session};
use crate::error::Refusal;
use crate::session::Output;

impl Session {
    /// Closes the channels that hold a delivery for longer than the consumer timeout, which gives their messages back.
    ///
    /// There is one deadline for a connection, and none of this costs a delivery anything: what is delivered after this
    /// look is due later than the next one.
    pub(super) fn handle_consumer_timeout(&mut self, now: Time, out: &mut Output) {
        let Some(timeout_ms) = self.core.shared.config.consumer_timeout_ms() else {
            return;
        };
        let mut next_look = now.saturating_add(timeout_ms);
        let mut late = Vec::new();
        for (id, channel) in &self.channels {
            let Some(since) = channel.oldest_delivery() else {
                continue;
            };
            let due = since.saturating_add(timeout_ms);
            if due <= now {
                late.push(*id);
            } else {
                next_look = next_look.min(due);
            }
        }
        self.core.consumer_timeout_at = next_look;
        late.sort_unstable();
        for id in late {
            self.fail(now, timed_out(id, timeout_ms), out);
        }
    }
}

/// In RabbitMQ's words. It blames no method.
fn timed_out(channel: ChannelId, timeout_ms: u64) -> Failure {
    Failure {
        scope: channel,
        refusal: Refusal::precondition_failed(format!(
            "delivery acknowledgement on channel {} timed out. Timeout value used: {timeout_ms} ms. This timeout value can \
             be configured, see consumers doc guide to learn more",
            channel.0
        )),
        method: (0, 0),
    }
}

impl Core {
    /// When the first delivery may have been out for too long.
    pub(super) fn consumer_deadline(&self) -> Option<Time> {
        (self.consumer_timeout_at != Time::MAX).then_some(self.consumer_timeout_at)
    }
}

impl Channel {
    /// When the oldest delivery went out that is not settled. Those of queues that are gone count as well.
    fn oldest_delivery(&self) -> Option<Time> {
        let oldest = self.unacked.iter().next()?;
        self.sources[oldest.source.0 as usize]
            .queue
            .delivered_at(oldest.id)
    }
}
