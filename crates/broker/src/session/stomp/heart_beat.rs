//! Heart-beats both ways (behaviour reference, section 20.2).

use leveret_queue_store::Time;

use super::{Core, Phase, Session};
use crate::session::Output;

impl Session {
    pub(super) fn handle_heart_beat(&mut self, now: Time, out: &mut Output) {
        if self.core.give_up_at().is_some_and(|at| at <= now) {
            let interval_ms = self.core.heart_beat.receive_ms;
            tracing::warn!(connection = %self.core.connection(), interval_ms, "missed heart-beats from client");
            self.phase = Phase::Closed;
            return;
        }
        if self.core.send_at().is_some_and(|at| at <= now) {
            self.writer.heart_beat(out);
            self.core.sent_at = now;
        }
        self.publisher.rest();
    }

    /// Silence counts from this time on at the earliest.
    pub(super) fn excuse_silence(&mut self, there_at: Time) {
        self.core.received_at = self.core.received_at.max(there_at);
    }
}

impl Core {
    pub(super) fn heart_beat_deadline(&self) -> Option<Time> {
        self.send_at().into_iter().chain(self.give_up_at()).min()
    }

    /// Half the interval after the last thing was sent, as RabbitMQ does it.
    fn send_at(&self) -> Option<Time> {
        let interval = u64::from(self.heart_beat.send_ms);
        (interval > 0).then(|| self.sent_at.saturating_add(interval / 2))
    }

    /// The end of the second interval in which nothing came. A connection that we do not read from cannot be blamed for
    /// silence.
    fn give_up_at(&self) -> Option<Time> {
        let interval = u64::from(self.heart_beat.receive_ms);
        (interval > 0 && !self.is_held_up()).then(|| self.received_at.saturating_add(2 * interval))
    }
}
