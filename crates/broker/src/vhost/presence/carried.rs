//! A list that whoever adds to it works off, one thread at a time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::thread;

use parking_lot::{Condvar, Mutex};

thread_local! {
    /// This thread works off a list. What comes of that must not wait: for itself, or in a ring for others that do the same.
    static CARRIES: Cell<bool> = const { Cell::new(false) };
}

/// Work in order, for which nobody has to wait as long as there is not too much of it.
///
/// Things are [added](Carried::add) under whatever lock gives them their order. Without a lock [`Carried::carry`] then does
/// what there is to be done; if another thread is about it already, that one does this as well, so that what work leads to
/// needs no deeper stack. When more than `worth_max` waits, the others wait until it is less: no list grows without end
/// because it is filled faster than it is worked off.
#[derive(Debug)]
pub(super) struct Carried<T> {
    worth_max: usize,
    state: Mutex<State<T>>,
    /// There is room again.
    roomy: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Each with what it is worth.
    waiting: VecDeque<(usize, T)>,
    worth: usize,
    is_carried: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            worth: 0,
            is_carried: false,
        }
    }
}

impl<T> Carried<T> {
    pub(super) fn new(worth_max: usize) -> Self {
        Self {
            worth_max,
            state: Mutex::default(),
            roomy: Condvar::new(),
        }
    }

    pub(super) fn add(&self, worth: usize, work: T) {
        let mut state = self.state.lock();
        state.worth += worth;
        state.waiting.push_back((worth, work));
    }

    /// Does what waits, unless somebody is about it; waits for that one while there is too much.
    pub(super) fn carry(&self, mut each: impl FnMut(T)) {
        {
            let mut state = self.state.lock();
            if state.is_carried {
                if !CARRIES.get() {
                    let is_full = |state: &mut State<T>| !state.has_room(self.worth_max);
                    self.roomy.wait_while(&mut state, is_full);
                }
                return;
            }
            state.is_carried = true;
        }
        let _turn = Turn {
            of: self,
            carried_before: CARRIES.replace(true),
        };
        // Taken on its own, so that nothing is locked while it is done.
        while let Some(work) = self.next() {
            each(work);
        }
    }

    /// What is to be done next. When there is nothing, nobody carries any more.
    fn next(&self) -> Option<T> {
        let mut state = self.state.lock();
        let Some((worth, work)) = state.waiting.pop_front() else {
            *state = State::default();
            return None;
        };
        let was_full = !state.has_room(self.worth_max);
        state.worth -= worth;
        if was_full && state.has_room(self.worth_max) {
            self.roomy.notify_all();
        }
        Some(work)
    }
}

/// A thread's turn, which ends with it even if the work panics: the next thread that adds something goes on with what is left.
struct Turn<'a, T> {
    of: &'a Carried<T>,
    carried_before: bool,
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        CARRIES.set(self.carried_before);
        if thread::panicking() {
            self.of.state.lock().is_carried = false;
            self.of.roomy.notify_all();
        }
    }
}

impl<T> State<T> {
    fn has_room(&self, worth_max: usize) -> bool {
        !self.is_carried || self.worth <= worth_max
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_that_work_leads_to_comes_behind_what_waits() {
        let carried = Carried::new(1);
        let mut done = Vec::new();
        for number in [1, 2, 3] {
            carried.add(1, number);
        }
        carried.carry(|number: u32| {
            if number < 3 {
                carried.add(1, number + 10);
                // Somebody is about it: this thread, which does not wait for itself.
                carried.carry(|_| panic!("it is done in order"));
            }
            done.push(number);
        });
        assert_eq!(done, [1, 2, 3, 11, 12]);
        assert!(carried.next().is_none());
    }

    #[test]
    fn what_work_that_panics_leaves_is_done_by_the_next() {
        let carried = Carried::new(1);
        for number in [1, 2, 3] {
            carried.add(1, number);
        }
        let panics = || carried.carry(|_: u32| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        let mut done = Vec::new();
        carried.carry(|number| done.push(number));
        assert_eq!(done, [2, 3]);
    }

    #[test]
    fn whoever_adds_too_much_waits_for_the_one_at_work() {
        let carried = Carried::new(10);
        let (begin, begun) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        carried.add(1, 0);
        thread::scope(|scope| {
            let carried = &carried;
            scope.spawn(move || {
                carried.carry(|number: u32| {
                    begin.send(number).unwrap();
                    goes_on.recv().unwrap();
                });
            });
            assert_eq!(begun.recv(), Ok(0));
            // Enough to be left behind.
            carried.add(10, 1);
            carried.carry(|_| panic!("another thread is about it"));
            scope.spawn(move || {
                carried.add(1, 2);
                carried.carry(|_| panic!("another thread is about it"));
                end.send(()).unwrap();
            });
            // The first is done, then there is room only when the second is taken off the list.
            while carried.state.lock().worth < 11 {
                thread::yield_now();
            }
            assert!(ended.try_recv().is_err(), "there is too much");
            go_on.send(()).unwrap();
            assert_eq!(begun.recv(), Ok(1));
            ended.recv().unwrap();
            go_on.send(()).unwrap();
            assert_eq!(begun.recv(), Ok(2));
            go_on.send(()).unwrap();
        });
        assert!(carried.next().is_none());
    }
}
