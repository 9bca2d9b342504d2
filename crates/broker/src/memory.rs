//! How much memory messages take, and the alarm that stops publishers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::outbox::{Outbox, Outgoing};
use crate::vhost::Services;

/// What a message in a queue costs beside its own bytes, for the account: its place in the queue, the reference count,
/// and what the allocator rounds up to.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Counts the bytes of all messages in all queues against a limit.
///
/// Above the limit, connections that publish are no longer read until what is held has fallen below nine tenths of it
/// (so that the alarm does not flicker); everything else goes on. See section 17 of the behaviour reference.
#[derive(Debug)]
pub(crate) struct MemoryGauge {
    used: AtomicUsize,
    limit: usize,
    alarm: AtomicBool,
    blocked: Mutex<Vec<Weak<Outbox>>>,
    /// For publishers in this process.
    over: Notify,
}

impl MemoryGauge {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
            alarm: AtomicBool::new(false),
            blocked: Mutex::default(),
            over: Notify::new(),
        }
    }

    /// What `messages` messages with `bytes` bytes altogether count for.
    pub(crate) fn cost(messages: usize, bytes: u64) -> usize {
        let overhead = messages.saturating_mul(MESSAGE_OVERHEAD_BYTES);
        usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .saturating_add(overhead)
    }

    /// A queue that held `before` now holds `after`. Must be called without a queue's lock: it may wake connections.
    pub(crate) fn account(&self, before: usize, after: usize) {
        if after > before {
            let used = self.used.fetch_add(after - before, Ordering::Relaxed) + (after - before);
            if used > self.limit && !self.alarm.swap(true, Ordering::SeqCst) {
                tracing::warn!(
                    used,
                    limit = self.limit,
                    "memory alarm: publishers are blocked"
                );
                // A queue may have emptied between the sum and the alarm.
                self.release_if_low();
            }
        } else if before > after {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
            if self.alarm.load(Ordering::Relaxed) {
                self.release_if_low();
            }
        }
    }

    fn release_if_low(&self) {
        let low = self.limit - self.limit / 10;
        if self.used.load(Ordering::SeqCst) > low || !self.alarm.swap(false, Ordering::SeqCst) {
            return;
        }
        tracing::info!(limit = self.limit, "memory alarm is over");
        self.over.notify_waiters();
        let blocked = std::mem::take(&mut *self.blocked.lock());
        for waker in blocked
            .iter()
            .filter_map(Weak::upgrade)
            .filter_map(|outbox| outbox.push([Outgoing::Unblocked]))
        {
            waker.wake();
        }
    }

    /// Whether publishers must wait now.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }

    /// Has [`Outgoing::Unblocked`] sent when the alarm is over. False when it is over already: then nothing will come.
    pub(crate) fn wait_until_released(&self, outbox: &Arc<Outbox>) -> bool {
        let mut blocked = self.blocked.lock();
        // Checked under the lock that the release takes after clearing the alarm, so no waiter is forgotten.
        if !self.alarm.load(Ordering::SeqCst) {
            return false;
        }
        blocked.retain(|known| known.strong_count() > 0);
        blocked.push(Arc::downgrade(outbox));
        true
    }

    /// Waits until publishers need not wait any more.
    pub(crate) async fn released(&self) {
        loop {
            // Asked for before the alarm is looked at, so that its end in between is not missed.
            let over = self.over.notified();
            if !self.is_alarmed() {
                return;
            }
            over.await;
        }
    }

    /// Bytes counted at the moment.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that are held outside of queues, counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    services: Arc<Services>,
    bytes: usize,
}

impl Held {
    pub(crate) fn new(services: &Arc<Services>) -> Self {
        Self {
            services: Arc::clone(services),
            bytes: 0,
        }
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        self.services.memory.account(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::busy::BusyCount;

    #[test]
    fn the_alarm_rises_above_the_limit_and_falls_below_nine_tenths() {
        let gauge = MemoryGauge::new(1000);
        gauge.account(0, 1000);
        assert!(!gauge.is_alarmed());
        gauge.account(0, 1);
        assert!(gauge.is_alarmed());
        gauge.account(101, 1);
        assert!(gauge.is_alarmed(), "901 bytes are still too many");
        gauge.account(1, 0);
        assert!(!gauge.is_alarmed());
    }

    #[test]
    fn whoever_waits_is_told_once() {
        let gauge = MemoryGauge::new(10);
        let outbox = Outbox::new(BusyCount::default());
        assert!(!gauge.wait_until_released(&outbox), "there is no alarm");
        gauge.account(0, 11);
        assert!(gauge.wait_until_released(&outbox));
        gauge.account(11, 0);
        let mut items = VecDeque::new();
        outbox.take(&mut items);
        assert!(matches!(items.make_contiguous(), [Outgoing::Unblocked]));
    }
}
