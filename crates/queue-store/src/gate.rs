//! A bound that several queues share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Room shared by everything that goes to one place: bytes waiting to be written to a connection,
/// or deliveries that a channel has not acknowledged.
///
/// Queues enter as they assign messages, the place leaves as it deals with them, from any thread
/// and without the lock of a queue. A gate admits while less than its limit is in use, so the last
/// to enter may go beyond the limit, and one that is larger than the whole limit still passes when
/// it comes first. A limit of zero admits nothing.
///
/// Whoever is refused is not remembered, only that somebody was. The [`leave`](Self::leave) that
/// makes room says so, once, and its caller then polls the queues that the gate belongs to. No
/// refusal is forgotten: between it and room coming up there is always a call that returns true.
#[derive(Debug)]
pub struct Gate {
    used: AtomicUsize,
    limit: AtomicUsize,
    starved: AtomicBool,
}

// Why no refusal is forgotten. All accesses are sequentially consistent, so they have one order.
//
// A refusal is the last look at `used` that found no room, and it comes after `starved` was set.
// Take the first change of `used` or `limit` after that look which makes room; its caller looks at
// `starved` after the change. So it comes after the refuser's mark too, and finds it, unless
// somebody took it away in between. Who took it away had made room itself, returns true, and its
// caller polls the queue after that; the refuser's queue is locked from the attempt until the
// consumer is put aside, so that poll finds the consumer waiting, and either gets in or leaves a
// new mark.
//
// What is given back may make room without a look at `starved`. Then somebody else is inside, or
// gets in just after, whose change comes later and looks; or is refused, and leaves a mark of its
// own. The last one inside looks.
impl Gate {
    /// A gate that admits while less than `limit` is in use.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            starved: AtomicBool::new(false),
        }
    }

    /// Enters with `amount` if there is any room at all, else leaves a mark that somebody was
    /// refused.
    #[must_use = "who has entered has to leave again"]
    pub fn try_enter(&self, amount: usize) -> bool {
        if self.enter_if_room(amount) {
            return true;
        }
        self.starved.store(true, Ordering::SeqCst);
        // Room made before the mark was there has not been announced to anybody: look again.
        // Getting in now leaves the mark behind, which costs somebody a needless poll and nothing
        // else.
        self.enter_if_room(amount)
    }

    /// Enters with `amount` if that leaves at least half of the limit free: ahead of what it is for, without being in
    /// anybody's way. No mark is left.
    pub(crate) fn try_enter_ahead(&self, amount: usize) -> bool {
        let used = self.used.load(Ordering::SeqCst);
        let entered = used.saturating_add(amount);
        entered <= self.limit.load(Ordering::SeqCst) / 2
            && self
                .used
                .compare_exchange(used, entered, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    fn enter_if_room(&self, amount: usize) -> bool {
        let mut used = self.used.load(Ordering::SeqCst);
        while used < self.limit.load(Ordering::SeqCst) {
            let entered = used.saturating_add(amount);
            match self
                .used
                .compare_exchange_weak(used, entered, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return true,
                Err(current) => used = current,
            }
        }
        false
    }

    /// Gives back `amount`, which must have been entered before. True when there is room again and
    /// somebody has been refused since this was last said: poll the queues.
    #[must_use = "whoever was refused has to be polled"]
    pub fn leave(&self, amount: usize) -> bool {
        let before = self.used.fetch_sub(amount, Ordering::SeqCst);
        debug_assert!(
            before >= amount,
            "left a gate with {amount} when {before} was in use"
        );
        before.wrapping_sub(amount) < self.limit.load(Ordering::SeqCst) && self.take_mark()
    }

    /// Gives back `amount` that was entered for nothing. Who was refused meanwhile is left to those who are inside, whose
    /// [`leave`](Self::leave) is to come. True if there are none, and somebody was: poll the queues.
    #[must_use = "whoever was refused has to be polled"]
    pub(crate) fn give_back(&self, amount: usize) -> bool {
        let before = self.used.fetch_sub(amount, Ordering::SeqCst);
        debug_assert!(
            before >= amount,
            "gave back {amount} to a gate when {before} was in use"
        );
        before == amount && self.limit.load(Ordering::SeqCst) > 0 && self.take_mark()
    }

    /// Gives back `amount` that was entered for nothing, to whoever enters just after this and would have to say so.
    pub(crate) fn take_out(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::SeqCst);
    }

    /// Changes the limit. What is inside stays inside. True as for [`leave`](Self::leave): poll the
    /// queues.
    #[must_use = "whoever was refused has to be polled"]
    pub fn set_limit(&self, limit: usize) -> bool {
        self.limit.store(limit, Ordering::SeqCst);
        self.used.load(Ordering::SeqCst) < limit && self.take_mark()
    }

    fn take_mark(&self) -> bool {
        // Reading is cheaper than swapping, and nearly always there is no mark.
        self.starved.load(Ordering::SeqCst) && self.starved.swap(false, Ordering::SeqCst)
    }

    /// How much is in use. May be beyond the limit, by one entry or because the limit was lowered.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_enters_ahead_leaves_half_free_and_no_mark() {
        let gate = Gate::new(100);
        assert!(!gate.try_enter_ahead(51));
        assert!(gate.try_enter_ahead(50));
        assert!(!gate.try_enter_ahead(1));
        assert_eq!(gate.used(), 50);
        assert!(!gate.leave(50), "nobody was refused");
    }

    #[test]
    fn what_is_given_back_is_told_by_those_inside_if_there_are_any() {
        let gate = Gate::new(10);
        assert!(gate.try_enter(1));
        assert!(gate.try_enter(20));
        assert!(!gate.try_enter(1));
        assert!(!gate.give_back(20));
        assert!(gate.leave(1), "somebody was refused");

        assert!(gate.try_enter(20));
        assert!(!gate.try_enter(1));
        assert!(gate.give_back(20), "nobody is there to tell it");
    }
}
