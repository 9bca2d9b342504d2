//! What must happen at a point in time, earliest first.

use std::collections::{BTreeMap, HashMap};
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

/// Names whoever sets a timer, for as long as the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TimerId(u64);

/// The deadlines of all queues and delayed exchanges of a broker.
///
/// Each has one entry at most, its earliest, however often it asks: what is held here is bounded by the number of queues,
/// not by what passes through them. One task of `net` sleeps until the earliest of all.
#[derive(Default)]
pub(crate) struct Timers {
    state: Mutex<State>,
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("earliest", &self.earliest())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    entries: BTreeMap<(Time, TimerId), Weak<dyn Due>>,
    /// When each is due.
    times: HashMap<TimerId, Time, foldhash::fast::RandomState>,
    /// Those that wait for something other than time, in the order in which they are to go on.
    held: BTreeMap<TimerId, Weak<dyn Due>>,
    next_id: u64,
    waker: Option<Waker>,
}

impl State {
    fn earliest(&self) -> Option<Time> {
        self.entries.keys().next().map(|(at, _)| *at)
    }
}

impl Timers {
    pub(crate) fn new_id(&self) -> TimerId {
        let mut state = self.state.lock();
        let id = TimerId(state.next_id);
        state.next_id += 1;
        id
    }

    /// Has something run at `at`, if it still exists then and is not to be run before anyhow. Wakes the timer task when
    /// that is earlier than everything so far, so the caller must not hold a lock.
    pub(crate) fn schedule(&self, id: TimerId, at: Time, due: Weak<dyn Due>) {
        let waker = {
            let mut state = self.state.lock();
            match state.times.insert(id, at) {
                Some(before) if before <= at => {
                    state.times.insert(id, before);
                    return;
                }
                Some(before) => drop(state.entries.remove(&(before, id))),
                None => {}
            }
            let is_earliest = state.earliest().is_none_or(|first| at < first);
            state.entries.insert((at, id), due);
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

    /// Has something run once the store takes more, if it still exists then. What it is scheduled for besides stands.
    pub(crate) fn hold(&self, id: TimerId, due: Weak<dyn Due>) {
        let before = self.state.lock().held.insert(id, due);
        // If it was the last to hold on to something, that goes without the lock.
        drop(before);
    }

    /// The store takes more: what waits for that is due. The caller must not hold a lock.
    pub(crate) fn release_held(&self) {
        let held = std::mem::take(&mut self.state.lock().held);
        for (id, due) in held {
            self.schedule(id, Time::default(), due);
        }
    }

    /// Whether anything waits for the store.
    pub(crate) fn has_held(&self) -> bool {
        !self.state.lock().held.is_empty()
    }

    /// Forgets what was scheduled under this name.
    pub(crate) fn cancel(&self, id: TimerId) {
        let mut state = self.state.lock();
        let entry = state
            .times
            .remove(&id)
            .and_then(|at| state.entries.remove(&(at, id)));
        let held = state.held.remove(&id);
        drop(state);
        // If it was the last to hold on to something, that goes without the lock.
        drop((entry, held));
    }

    /// What is due, earliest first.
    pub(crate) fn take_due(&self, now: Time) -> Vec<Weak<dyn Due>> {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while let Some(entry) = state.entries.first_entry()
            && entry.key().0 <= now
        {
            let ((_, id), waiting) = entry.remove_entry();
            state.times.remove(&id);
            due.push(waiting);
        }
        due
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.state.lock().earliest()
    }

    /// Ready when the earliest deadline is no longer `known`; else the task is woken when that happens.
    pub(crate) fn poll_changed(&self, known: Option<Time>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.earliest() != known {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Due for Nothing {
        fn run(self: Arc<Self>, _now: Time) {}
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn nothing() -> Weak<dyn Due> {
        let due: Arc<dyn Due> = Arc::new(Nothing);
        Arc::downgrade(&due)
    }

    #[test]
    fn whoever_asks_often_has_one_entry_the_earliest() {
        let timers = Timers::default();
        let id = timers.new_id();
        for ms in (100..1_000).rev() {
            timers.schedule(id, at(ms), nothing());
        }
        timers.schedule(id, at(500), nothing());
        assert_eq!(timers.state.lock().entries.len(), 1);
        assert_eq!(timers.earliest(), Some(at(100)));
        assert_eq!(timers.take_due(at(99)).len(), 0);
        assert_eq!(timers.take_due(at(100)).len(), 1);
        assert_eq!(timers.earliest(), None);
        timers.schedule(id, at(500), nothing());
        assert_eq!(timers.earliest(), Some(at(500)), "it may ask again");
    }

    #[test]
    fn what_is_held_is_due_when_it_is_released_whatever_it_is_scheduled_for() {
        let timers = Timers::default();
        let ids = [timers.new_id(), timers.new_id(), timers.new_id()];
        for id in ids {
            timers.hold(id, nothing());
            timers.hold(id, nothing());
        }
        timers.schedule(ids[0], at(100), nothing());
        timers.cancel(ids[1]);
        assert_eq!(timers.earliest(), Some(at(100)));
        assert!(timers.has_held());
        timers.release_held();
        assert!(!timers.has_held());
        assert_eq!(timers.take_due(at(0)).len(), 2);
        assert_eq!(timers.earliest(), None);
    }

    #[test]
    fn the_sleeper_is_woken_for_an_earlier_deadline_only() {
        let timers = Timers::default();
        let cx = Context::from_waker(Waker::noop());
        timers.schedule(timers.new_id(), at(100), nothing());
        assert!(timers.poll_changed(Some(at(100)), &cx).is_pending());
        timers.schedule(timers.new_id(), at(200), nothing());
        assert!(timers.poll_changed(Some(at(100)), &cx).is_pending());
        timers.schedule(timers.new_id(), at(50), nothing());
        assert!(timers.poll_changed(Some(at(100)), &cx).is_ready());
    }
}
