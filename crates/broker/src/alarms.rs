//! What stops publishers: memory or disk that runs low.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::outbox::{Outbox, Outgoing};

/// Something that runs low. While it does, connections that publish are no longer read from; consumers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alarm {
    /// Messages take more than the [memory limit](crate::Builder::memory_limit).
    Memory,
    /// Less is free than the [disk limit](crate::Builder::disk_free_limit) asks for.
    Disk,
    /// The disk is full: what was published last is kept in memory, and not confirmed, until there is room again.
    DiskFull,
    /// No file can be opened for messages, since the process or the system has as many open as it may, connections among
    /// them. As for a full disk, until one can.
    OutOfFiles,
}

impl Alarm {
    const ALL: [Self; 4] = [Self::Memory, Self::Disk, Self::DiskFull, Self::OutOfFiles];

    const fn bit(self) -> u8 {
        match self {
            Self::Memory => 1,
            Self::Disk => 2,
            Self::DiskFull => 4,
            Self::OutOfFiles => 16,
        }
    }
}

/// Beside the bits of the alarms: the journal has enough to write for now. Publishers wait as for an alarm, but it is the
/// ordinary course of things, over in a moment, and nobody is told.
const HELD_UP: u8 = 8;

/// Which alarms there are, and who waits for their end.
///
/// Publishers look at it for every message, so that is one load.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    /// A bit for each alarm that is raised.
    raised: AtomicU8,
    blocked: Mutex<Vec<Weak<Outbox>>>,
    /// For publishers in this process.
    over: Notify,
}

impl Alarms {
    /// Whether publishers must wait now.
    pub(crate) fn is_any_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed) != 0
    }

    /// Whether clients are to be told that they must wait.
    pub(crate) fn are_to_be_told(&self) -> bool {
        self.raised.load(Ordering::Relaxed) & !HELD_UP != 0
    }

    /// Publishers are to wait until the journal has written what it has.
    pub(crate) fn hold_up(&self) {
        self.raised.fetch_or(HELD_UP, Ordering::SeqCst);
    }

    /// The journal takes more. Should there be an alarm, those who waited will find it at their next publish, and be told.
    /// Must be called without a queue's lock: it wakes connections.
    pub(crate) fn let_go(&self) {
        if self.raised.load(Ordering::Relaxed) & HELD_UP != 0 {
            self.raised.fetch_and(!HELD_UP, Ordering::SeqCst);
            self.release();
        }
    }

    pub(crate) fn is_raised(&self, alarm: Alarm) -> bool {
        self.raised.load(Ordering::SeqCst) & alarm.bit() != 0
    }

    /// Those that are raised.
    pub(crate) fn raised(&self) -> Vec<Alarm> {
        let mut raised = Alarm::ALL.to_vec();
        raised.retain(|alarm| self.is_raised(*alarm));
        raised
    }

    /// Raises an alarm; false when it was raised already.
    pub(crate) fn raise(&self, alarm: Alarm) -> bool {
        self.raised.fetch_or(alarm.bit(), Ordering::SeqCst) & alarm.bit() == 0
    }

    /// Ends an alarm; false when it was not raised. With the last one publishers are let go. Must be called without a
    /// queue's lock: it wakes connections.
    pub(crate) fn end(&self, alarm: Alarm) -> bool {
        let before = self.raised.fetch_and(!alarm.bit(), Ordering::SeqCst);
        if before == alarm.bit() {
            self.release();
        }
        before & alarm.bit() != 0
    }

    fn release(&self) {
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

    /// Why publishers are blocked, as RabbitMQ 3.10 words it in `connection.blocked`. Should the alarm have ended just now,
    /// memory is named.
    pub(crate) fn reason(&self) -> &'static str {
        let of_disk = [Alarm::Disk, Alarm::DiskFull, Alarm::OutOfFiles];
        let disk = of_disk.into_iter().any(|alarm| self.is_raised(alarm));
        match (disk, self.is_raised(Alarm::Memory)) {
            (true, true) => "low on disk & memory",
            (true, false) => "low on disk",
            (false, _) => "low on memory",
        }
    }

    /// Has [`Outgoing::Unblocked`] sent when all alarms are over. False when they are already: then nothing will come.
    pub(crate) fn wait_until_released(&self, outbox: &Arc<Outbox>) -> bool {
        let mut blocked = self.blocked.lock();
        // Checked under the lock that the release takes after clearing the alarm, so no waiter is forgotten.
        if self.raised.load(Ordering::SeqCst) == 0 {
            return false;
        }
        blocked.retain(|known| known.strong_count() > 0);
        blocked.push(Arc::downgrade(outbox));
        true
    }

    /// Waits until publishers need not wait any more.
    pub(crate) async fn released(&self) {
        loop {
            // Asked for before the alarms are looked at, so that their end in between is not missed.
            let over = self.over.notified();
            if !self.is_any_raised() {
                return;
            }
            over.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::busy::BusyCount;

    fn is_told(outbox: &Outbox) -> bool {
        let mut items = VecDeque::new();
        outbox.take(&mut items);
        matches!(items.make_contiguous(), [Outgoing::Unblocked])
    }

    #[test]
    fn whoever_waits_is_told_once_when_the_last_alarm_is_over() {
        let alarms = Alarms::default();
        let outbox = Outbox::new(BusyCount::default());
        assert!(!alarms.wait_until_released(&outbox), "there is no alarm");
        assert!(alarms.raise(Alarm::Memory));
        assert!(alarms.raise(Alarm::Disk));
        assert!(alarms.wait_until_released(&outbox));
        assert!(alarms.end(Alarm::Memory));
        assert!(!is_told(&outbox), "the other alarm goes on");
        assert!(alarms.end(Alarm::Disk));
        assert!(is_told(&outbox));
        assert!(alarms.raise(Alarm::Disk));
        assert!(alarms.end(Alarm::Disk));
        assert!(!is_told(&outbox), "it does not wait any more");
    }

    #[test]
    fn the_reason_names_what_runs_low() {
        let alarms = Alarms::default();
        assert_eq!(alarms.raised(), []);
        alarms.raise(Alarm::Memory);
        assert_eq!(alarms.reason(), "low on memory");
        alarms.raise(Alarm::Disk);
        assert_eq!(alarms.reason(), "low on disk & memory");
        assert_eq!(alarms.raised(), [Alarm::Memory, Alarm::Disk]);
        alarms.end(Alarm::Memory);
        assert_eq!(alarms.reason(), "low on disk");
    }

    #[test]
    fn raising_and_ending_say_whether_they_changed_anything() {
        let alarms = Alarms::default();
        assert!(!alarms.end(Alarm::Disk));
        assert!(alarms.raise(Alarm::Disk));
        assert!(!alarms.raise(Alarm::Disk));
        assert!(alarms.end(Alarm::Disk));
    }
}
