//! What all threads of a run share: how far it is, and when it ends.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::error::Error;

/// What a run is about, in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Phase {
    /// Producers publish.
    Publishing,
    /// Producers wait for their confirms; consumers for what is still on its way.
    Draining,
    /// Whoever still waits gives up.
    Ended,
}

/// Counters since the beginning of the run, the first error, and the limit of what may be on its way.
#[derive(Debug)]
pub(crate) struct Progress {
    sent: AtomicU64,
    /// How many deliveries the sent messages are to lead to.
    owed: AtomicU64,
    received: AtomicU64,
    foreign: AtomicU64,
    confirmed: AtomicU64,
    nacked: AtomicU64,
    blocked: AtomicU64,
    /// The most deliveries that may be on their way.
    lag_max: u64,
    /// How many producers wait for deliveries.
    waiting: AtomicUsize,
    room: Notify,
    failure: Mutex<Option<Error>>,
    failed: Notify,
    phase: watch::Sender<Phase>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) owed: u64,
    pub(crate) received: u64,
    /// What was consumed and does not come from this run.
    pub(crate) foreign: u64,
    pub(crate) confirmed: u64,
    pub(crate) nacked: u64,
    /// How often the broker said that it is blocked.
    pub(crate) blocked: u64,
}

impl Progress {
    /// A run in which at most `lag_max` deliveries may be on their way, `None` for any number.
    pub(crate) fn new(lag_max: Option<u64>) -> Self {
        Self {
            sent: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            nacked: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            lag_max: lag_max.unwrap_or(u64::MAX),
            waiting: AtomicUsize::new(0),
            room: Notify::new(),
            failure: Mutex::new(None),
            failed: Notify::new(),
            phase: watch::Sender::new(Phase::Publishing),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sent: read(&self.sent),
            owed: read(&self.owed),
            received: read(&self.received),
            foreign: read(&self.foreign),
            confirmed: read(&self.confirmed),
            nacked: read(&self.nacked),
            blocked: read(&self.blocked),
        }
    }

    /// To be told before the messages are written: a delivery may be back before the write is.
    pub(crate) fn add_sent(&self, messages: u64, deliveries: u64) {
        self.sent.fetch_add(messages, Ordering::Relaxed);
        self.owed.fetch_add(deliveries, Ordering::SeqCst);
    }

    /// Counts deliveries, and wakes producers that waited for them.
    pub(crate) fn add_received(&self, own: u64, foreign: u64) {
        self.foreign.fetch_add(foreign, Ordering::Relaxed);
        self.received.fetch_add(own, Ordering::SeqCst);
        // Not at once: each wake costs a system call, so a quarter of the room is gathered first.
        if self.waiting.load(Ordering::SeqCst) > 0 && self.lag() <= self.lag_max / 4 * 3 {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn add_confirmed(&self, messages: u64, nacked: bool) {
        let counter = if nacked {
            &self.nacked
        } else {
            &self.confirmed
        };
        counter.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn add_blocked(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    fn lag(&self) -> u64 {
        let owed = self.owed.load(Ordering::SeqCst);
        owed.saturating_sub(self.received.load(Ordering::SeqCst))
    }

    /// Whether more may be published.
    pub(crate) fn has_room(&self) -> bool {
        self.lag() <= self.lag_max
    }

    /// Waits until more may be published; ready at once if it may.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn room(&self) {
        let _waiting = Waiting::new(&self.waiting);
        let room = self.room.notified();
        tokio::pin!(room);
        // From here on a wake counts, so that none falls between the look and the wait.
        room.as_mut().enable();
        if !self.has_room() {
            room.await;
        }
    }

    /// Notes why the run cannot go on; the first reason counts.
    pub(crate) fn fail(&self, error: Error) {
        self.failure_slot().get_or_insert(error);
        self.failed.notify_one();
    }

    /// Waits for a failure. To be awaited by one task only.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// The first failure, if there was one.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure_slot().take()
    }

    fn failure_slot(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to a later phase; an earlier one changes nothing.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }

    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

/// Counts a waiting producer for as long as it exists, so that giving up the wait counts back.
#[derive(Debug)]
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_producer_waits_until_a_quarter_of_the_lag_is_gone() {
        let progress = Progress::new(Some(8));
        progress.add_sent(8, 8);
        assert!(progress.has_room());
        progress.add_sent(1, 1);
        assert!(!progress.has_room());
        let mut room = pin!(progress.room());
        assert_eq!(poll(room.as_mut()), Poll::Pending);
        progress.add_received(2, 0);
        assert_eq!(poll(room.as_mut()), Poll::Pending);
        progress.add_received(1, 0);
        assert_eq!(poll(room.as_mut()), Poll::Ready(()));
    }

    #[test]
    fn whoever_stops_waiting_is_no_longer_counted() {
        let progress = Progress::new(Some(0));
        progress.add_sent(1, 1);
        {
            let mut room = Box::pin(progress.room());
            assert_eq!(poll(room.as_mut()), Poll::Pending);
            assert_eq!(progress.waiting.load(Ordering::SeqCst), 1);
        }
        assert_eq!(progress.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_first_failure_counts() {
        let progress = Progress::new(None);
        progress.fail(Error::Cancelled);
        progress.fail(Error::Closed);
        assert!(matches!(progress.take_failure(), Some(Error::Cancelled)));
    }

    #[test]
    fn phases_do_not_go_back() {
        let progress = Progress::new(None);
        let phases = progress.phases();
        progress.enter(Phase::Ended);
        progress.enter(Phase::Draining);
        assert_eq!(*phases.borrow(), Phase::Ended);
    }
}
