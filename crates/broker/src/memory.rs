//! How much memory messages take, and the alarm that stops publishers.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use leveret_queue_store::Queue;

use crate::alarms::{Alarm, Alarms};
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::vhost::Services;

/// What a message in a queue costs beside [what it holds itself](leveret_queue_store::Message::size_bytes), for the account:
/// its place in the queue, and what the allocator rounds up to.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Counts the bytes of all messages in all queues against a limit: names, properties and bodies.
///
/// Above the limit, connections that publish are no longer read until what is held has fallen below nine tenths of it
/// (so that the alarm does not flicker); everything else goes on. See section 17 of the behaviour reference.
#[derive(Debug)]
pub(crate) struct MemoryGauge {
    /// Below zero for a moment when one who takes messages out of a queue is here before the one who has put them in: both
    /// come without the queue's lock.
    used: AtomicIsize,
    limit: AtomicUsize,
    alarms: Arc<Alarms>,
}

impl MemoryGauge {
    pub(crate) fn new(limit: usize, alarms: Arc<Alarms>) -> Self {
        Self {
            used: AtomicIsize::new(0),
            limit: AtomicUsize::new(limit),
            alarms,
        }
    }

    /// What the messages that a queue holds in memory count for.
    pub(crate) fn of(queue: &Queue) -> usize {
        Self::cost(queue.resident_len(), queue.resident_bytes())
    }

    /// By how much messages take more than half of the limit: from there on they go to disk where there is one, so that
    /// nobody has to be stopped (RabbitMQ's paging ratio).
    pub(crate) fn excess(&self) -> usize {
        let half = self.limit.load(Ordering::Relaxed) / 2;
        self.used().saturating_sub(half)
    }

    /// What `messages` messages with `bytes` bytes altogether count for.
    pub(crate) fn cost(messages: usize, bytes: u64) -> usize {
        let overhead = messages.saturating_mul(MESSAGE_OVERHEAD_BYTES);
        usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .saturating_add(overhead)
    }

    /// Whether so much more leaves publishers alone.
    pub(crate) fn has_room_for(&self, cost: usize) -> bool {
        self.used().saturating_add(cost) <= self.low()
    }

    /// A queue that held `before` now holds `after`. Must be called without a queue's lock: it may wake connections.
    pub(crate) fn account(&self, before: usize, after: usize) {
        let more = after.cast_signed().wrapping_sub(before.cast_signed());
        if more > 0 {
            let used = self
                .used
                .fetch_add(more, Ordering::Relaxed)
                .saturating_add(more);
            if bytes(used) > self.limit() {
                self.raise();
            }
        } else if more < 0 {
            self.used.fetch_add(more, Ordering::Relaxed);
            if self.alarms.is_raised(Alarm::Memory) {
                self.release_if_low();
            }
        }
    }

    fn raise(&self) {
        if self.alarms.raise(Alarm::Memory) {
            let (used, limit) = (self.used(), self.limit());
            tracing::warn!(used, limit, "memory alarm: publishers are blocked");
            // A queue may have emptied between the sum and the alarm.
            self.release_if_low();
        }
    }

    fn release_if_low(&self) {
        let limit = self.limit();
        if bytes(self.used.load(Ordering::SeqCst)) <= self.low() && self.alarms.end(Alarm::Memory) {
            tracing::info!(limit, "memory alarm is over");
        }
    }

    /// How much may be held when the alarm ends.
    fn low(&self) -> usize {
        let limit = self.limit();
        limit - limit / 10
    }

    /// Bytes counted at the moment.
    pub(crate) fn used(&self) -> usize {
        bytes(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit, which acts at once: an alarm is raised, or ends if what is held is below nine tenths.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::SeqCst);
        if self.used() > limit {
            self.raise();
        } else {
            self.release_if_low();
        }
    }
}

/// A sum of which all is known that was put in.
fn bytes(used: isize) -> usize {
    usize::try_from(used).unwrap_or(0)
}

/// Bytes that a connection holds outside of queues, counted as long as this lives: against the memory limit, and against
/// that of the connection.
#[derive(Debug)]
pub(crate) struct Held {
    services: Arc<Services>,
    /// Where all that the connection holds is counted.
    outbox: Arc<Outbox>,
    bytes: usize,
    /// Of those, how many count against the limit of the connection.
    of_connection: usize,
}

impl Held {
    pub(crate) fn new(services: &Arc<Services>, outbox: &Arc<Outbox>) -> Self {
        Self {
            services: Arc::clone(services),
            outbox: Arc::clone(outbox),
            bytes: 0,
            of_connection: 0,
        }
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        self.services.account(self.bytes, bytes);
        self.outbox.count_held(self.of_connection, bytes);
        self.bytes = bytes;
        self.of_connection = bytes;
    }

    /// From now on somebody else counts them against the limit of the connection, if it has them still.
    pub(crate) fn hand_over(&mut self) {
        self.outbox.count_held(self.of_connection, 0);
        self.of_connection = 0;
    }

    /// # Errors
    /// 506 when the connection holds more than it may.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let limit = self.services.held_max;
        if self.outbox.held() <= limit {
            return Ok(());
        }
        Err(Refusal::resource_error(format!(
            "messages that are incomplete or not committed take more than {limit} bytes on this connection"
        )))
    }

    /// Counts so many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(self.bytes.saturating_add(bytes));
    }

    /// Whether the memory alarm could not end as long as this lives.
    pub(crate) fn is_too_much(&self) -> bool {
        self.bytes > self.services.memory.low()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(limit: usize) -> (MemoryGauge, Arc<Alarms>) {
        let alarms = Arc::new(Alarms::default());
        (MemoryGauge::new(limit, Arc::clone(&alarms)), alarms)
    }

    #[test]
    fn the_alarm_rises_above_the_limit_and_falls_below_nine_tenths() {
        let (gauge, alarms) = gauge(1000);
        gauge.account(0, 1000);
        assert!(!alarms.is_any_raised());
        gauge.account(0, 1);
        assert!(alarms.is_any_raised());
        gauge.account(101, 1);
        assert!(alarms.is_any_raised(), "901 bytes are still too many");
        gauge.account(1, 0);
        assert!(!alarms.is_any_raised());
    }

    #[test]
    fn who_takes_may_be_faster_than_who_has_put_in() {
        let (gauge, alarms) = gauge(1000);
        gauge.account(100, 0);
        assert_eq!((gauge.used(), gauge.excess()), (0, 0));
        gauge.account(0, 50);
        assert!(!alarms.is_any_raised(), "next to nothing is there");
        gauge.account(0, 100);
        assert_eq!(gauge.used(), 50);
    }

    #[test]
    fn a_changed_limit_acts_at_once() {
        let (gauge, alarms) = gauge(1000);
        gauge.account(0, 500);
        gauge.set_limit(499);
        assert!(alarms.is_raised(Alarm::Memory));
        gauge.set_limit(500);
        assert!(
            alarms.is_raised(Alarm::Memory),
            "nine tenths hold here too, so that the alarm does not flicker"
        );
        gauge.set_limit(556);
        assert!(!alarms.is_raised(Alarm::Memory));
    }
}
