//! Heartbeats both ways (behaviour reference, section 2.6).

use leveret_amqp_codec::write_heartbeat;
use leveret_queue_store::Time;

use super::{Core, Phase, Session};
use crate::session::Output;

impl Session {
    pub(super) fn handle_heartbeat(&mut self, now: Time, out: &mut Output) {
        if self.core.peer_is_silent(now) {
            let seconds = self.core.negotiated.heartbeat_s;
            tracing::warn!(connection = %self.core.name(), "missed heartbeats from client, timeout: {seconds}s");
            self.phase = Phase::Closed;
            return;
        }
        if self.core.must_send_heartbeat(now) {
            write_heartbeat(out.buffer());
            self.core.sent_at = now;
        }
        self.core.publisher.rest();
    }

    /// Silence counts from this time on at the earliest.
    pub(super) fn excuse_silence(&mut self, there_at: Time) {
        self.core.received_at = self.core.received_at.max(there_at);
    }
}

impl Core {
    /// Half the interval after the last thing was sent, or the end of the second interval in which nothing came.
    pub(super) fn heartbeat_deadline(&self) -> Option<Time> {
        let interval = u64::from(self.negotiated.heartbeat_s) * 1000;
        (interval > 0).then(|| {
            let send = self.sent_at.saturating_add(interval / 2);
            let give_up = self.received_at.saturating_add(2 * interval);
            if self.is_held_up() {
                send
            } else {
                send.min(give_up)
            }
        })
    }

    fn must_send_heartbeat(&self, now: Time) -> bool {
        let interval = u64::from(self.negotiated.heartbeat_s) * 1000;
        self.sent_at.saturating_add(interval / 2) <= now
    }

    /// A connection that we do not read from cannot be blamed for silence.
    fn peer_is_silent(&self, now: Time) -> bool {
        let interval = u64::from(self.negotiated.heartbeat_s) * 1000;
        !self.is_held_up() && self.received_at.saturating_add(2 * interval) <= now
    }
}
