//! What must happen at a point in time, earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use leveret_queue_store::Time;
use parking_lot::Mutex;

/// Something that asked to be run at a point in time.
pub(crate) trait Due: Send + Sync {
    /// The time has come. Called without any lock.
    fn run(self: Arc<Self>, now: Time);
}

/// The deadlines of all queues and delayed exchanges of a broker.
///
/// A queue has at most a few entries here (it registers again only for an earlier deadline than the one it waits for),
/// so the heap is bounded by the number of queues, not of messages. One task of `net` sleeps until the earliest.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    heap: BinaryHeap<Reverse<Entry>>,
    waker: Option<Waker>,
    /// Entries with the same deadline fire in the order in which they were made.
    next_number: u64,
}

struct Entry {
    at: Time,
    number: u64,
    due: Weak<dyn Due>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Entry {
    fn key(&self) -> (Time, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Timers {
    /// Has something run at `at`, if it still exists then. Wakes the timer task when that is earlier than everything so far, so the caller
    /// must not hold a lock.
    pub(crate) fn schedule(&self, at: Time, due: Weak<dyn Due>) {
        let waker = {
            let mut state = self.state.lock();
            let number = state.next_number;
            state.next_number += 1;
            let is_earliest = state.heap.peek().is_none_or(|Reverse(first)| at < first.at);
            state.heap.push(Reverse(Entry { at, number, due }));
            if is_earliest {
                state.waker.take()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What is due, earliest first.
    pub(crate) fn take_due(&self, now: Time) -> Vec<Weak<dyn Due>> {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while state
            .heap
            .peek()
            .is_some_and(|Reverse(first)| first.at <= now)
        {
            if let Some(Reverse(entry)) = state.heap.pop() {
                due.push(entry.due);
            }
        }
        due
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.state.lock().heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Ready when the earliest deadline is no longer `known`; else the task is woken when that happens.
    pub(crate) fn poll_changed(&self, known: Option<Time>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.heap.peek().map(|Reverse(entry)| entry.at) != known {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
