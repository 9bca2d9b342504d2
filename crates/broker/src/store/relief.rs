//! Who gives up memory when there is too little: not the queue that happens to be at work, but one that nobody takes from.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use leveret_queue_store::Time;
use parking_lot::Mutex;

/// How many queues are looked at before the log has its turn again: some hundredths of a millisecond, if nothing is found.
const LOOKS_MAX: usize = 256;

/// How soon to go round again after a round in which nothing was found. What is in memory then is in use, or too little in
/// each queue to be worth writing.
const RETRY_MS: u64 = 100;

/// Something that holds messages in memory.
pub(crate) trait Holder: fmt::Debug + Send + Sync {
    /// Gives up what is not in use, if there is still too little memory.
    fn relieve(self: Arc<Self>, now: Time) -> Relieved;
}

/// What a [`Holder`] could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relieved {
    /// There is memory enough.
    NotNeeded,
    /// It has given up something.
    Some,
    /// It was in use since it was asked last. Next time it may not be.
    InUse,
    /// What it holds cannot go.
    None,
    /// It holds too little to be asked again. It makes itself known when that changes.
    Forget,
}

/// A round of all that hold messages, like a clock's hand: what nobody has taken from since the hand came by last gives up
/// its messages.
#[derive(Debug, Default)]
pub(super) struct Relief {
    /// Somebody has found that there is too little memory.
    is_short: AtomicBool,
    /// Those that are asked have something to give.
    is_of_use: AtomicBool,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    holders: Vec<Weak<dyn Holder>>,
    hand: usize,
    /// How many have been asked in vain in a row.
    in_vain: usize,
    /// Whether any of them was in use.
    any_in_use: bool,
    /// When to begin the next round.
    again_at: Time,
}

impl Relief {
    /// There is too little memory. Says whether that is news.
    pub(super) fn note_shortage(&self) -> bool {
        !self.is_short.load(Ordering::Relaxed) && !self.is_short.swap(true, Ordering::AcqRel)
    }

    /// Whether there is too little memory.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Whether there is too little memory, and going on will make it more.
    pub(super) fn is_of_use(&self) -> bool {
        self.is_short() && self.is_of_use.load(Ordering::Relaxed)
    }

    /// Adds one that holds messages.
    pub(super) fn add(&self, holder: Weak<dyn Holder>) {
        let mut round = self.round.lock();
        if round.holders.len() == round.holders.capacity() {
            round.holders.retain(|holder| holder.strong_count() > 0);
        }
        round.holders.push(holder);
    }

    /// Asks some, while there is too little memory and `may_go_on`. Says when to go on if there still is.
    pub(super) fn relieve(&self, now: Time, may_go_on: impl Fn() -> bool) -> Option<Time> {
        for _ in 0..LOOKS_MAX {
            if !self.is_short.load(Ordering::Acquire) {
                return None;
            }
            let again_at = self.round.lock().again_at;
            if again_at > now {
                self.is_of_use.store(false, Ordering::Relaxed);
                return Some(again_at);
            }
            if !may_go_on() {
                return Some(now);
            }
            // One that is gone counts as asked.
            let next = self.round.lock().next();
            let relieved = next.map_or(Relieved::None, |holder| holder.relieve(now));
            if relieved == Relieved::NotNeeded {
                self.is_short.store(false, Ordering::Release);
                return None;
            }
            if matches!(relieved, Relieved::Some | Relieved::Forget) {
                self.is_of_use.store(true, Ordering::Relaxed);
            }
            if self.round.lock().note(relieved, now) {
                // Nothing will come of going round again until something has happened, and then it is said.
                self.is_short.store(false, Ordering::Release);
                return None;
            }
        }
        Some(now)
    }
}

impl Round {
    /// Moves the hand to the next that is still there.
    fn next(&mut self) -> Option<Arc<dyn Holder>> {
        while !self.holders.is_empty() {
            if self.hand >= self.holders.len() {
                self.hand = 0;
            }
            if let Some(holder) = self.holders[self.hand].upgrade() {
                self.hand += 1;
                return Some(holder);
            }
            self.holders.swap_remove(self.hand);
        }
        None
    }

    /// Notes what came of asking the one that the hand has just left. Says whether all were asked in vain and none is in use.
    fn note(&mut self, relieved: Relieved, now: Time) -> bool {
        match relieved {
            Relieved::Some => self.in_vain = 0,
            Relieved::InUse => {
                self.in_vain += 1;
                self.any_in_use = true;
            }
            // There is one less to ask, so this ends; and it may have given up something.
            Relieved::Forget => {
                self.hand = self.hand.saturating_sub(1);
                self.holders.swap_remove(self.hand);
            }
            Relieved::None | Relieved::NotNeeded => self.in_vain += 1,
        }
        let is_in_vain = self.in_vain > self.holders.len();
        if is_in_vain {
            self.in_vain = 0;
            self.again_at = now.saturating_add(RETRY_MS);
        }
        is_in_vain && !std::mem::take(&mut self.any_in_use)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// One that answers always the same.
    #[derive(Debug)]
    struct Fake {
        answer: Relieved,
        asked: AtomicUsize,
    }

    impl Holder for Fake {
        fn relieve(self: Arc<Self>, _: Time) -> Relieved {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.answer
        }
    }

    fn relief(answers: &[Relieved]) -> (Relief, Vec<Arc<Fake>>) {
        let relief = Relief::default();
        let fake = |answer: &Relieved| {
            let fake = Arc::new(Fake {
                answer: *answer,
                asked: AtomicUsize::new(0),
            });
            let holder: Weak<dyn Holder> = Arc::<Fake>::downgrade(&fake);
            relief.add(holder);
            fake
        };
        let fakes = answers.iter().map(fake).collect();
        (relief, fakes)
    }

    fn asked(fakes: &[Arc<Fake>]) -> Vec<usize> {
        let asked = fakes.iter().map(|fake| fake.asked.load(Ordering::Relaxed));
        asked.collect()
    }

    #[test]
    fn nobody_is_asked_while_there_is_memory() {
        let (relief, fakes) = relief(&[Relieved::Some]);
        assert_eq!(relief.relieve(Time::from_millis(1), || true), None);
        assert_eq!(asked(&fakes), [0]);
    }

    #[test]
    fn all_are_asked_in_turn_until_there_is_enough() {
        use Relieved::{InUse, NotNeeded, Some as Something};
        let (relief, fakes) = relief(&[Something, InUse, Something, NotNeeded]);
        assert!(relief.note_shortage());
        assert!(!relief.note_shortage(), "it is known");
        assert_eq!(relief.relieve(Time::from_millis(1), || true), None);
        assert_eq!(asked(&fakes), [1, 1, 1, 1]);
        assert!(relief.note_shortage());
        relief.relieve(Time::from_millis(1), || true);
        assert_eq!(asked(&fakes), [2, 2, 2, 2], "the hand goes on where it was");
    }

    #[test]
    fn a_round_in_vain_is_not_begun_again_at_once() {
        let (relief, fakes) = relief(&[Relieved::None, Relieved::Forget, Relieved::InUse]);
        relief.note_shortage();
        let now = Time::from_millis(1);
        let again_at = now.saturating_add(RETRY_MS);
        assert_eq!(relief.relieve(now, || true), Some(again_at));
        assert!(relief.is_short() && !relief.is_of_use());
        assert_eq!(asked(&fakes)[1], 1, "it asked not to be asked again");
        let before = asked(&fakes);
        assert!(before.iter().sum::<usize>() <= 4);
        assert_eq!(relief.relieve(now, || true), Some(again_at));
        assert_eq!(asked(&fakes), before);
        assert!(relief.relieve(again_at, || true) > Some(again_at));
        assert!(asked(&fakes) > before);
    }

    #[test]
    fn all_that_give_up_everything_are_asked() {
        let (relief, fakes) = relief(&[Relieved::Forget; 10]);
        relief.note_shortage();
        assert_eq!(relief.relieve(Time::from_millis(1), || true), None);
        assert_eq!(asked(&fakes), [1; 10]);
    }

    #[test]
    fn nothing_is_waited_for_where_nothing_can_go() {
        let (relief, fakes) = relief(&[Relieved::None, Relieved::None]);
        relief.note_shortage();
        let now = Time::from_millis(1);
        assert_eq!(relief.relieve(now, || true), None);
        let before = asked(&fakes);
        assert!(relief.note_shortage(), "it has to be said again");
        let again_at = now.saturating_add(RETRY_MS);
        assert_eq!(relief.relieve(now, || true), Some(again_at));
        assert_eq!(asked(&fakes), before, "but not at once");
    }

    #[test]
    fn going_on_is_of_use_while_somebody_gives() {
        let (relief, _fakes) = relief(&[Relieved::Some]);
        let now = Time::from_millis(1);
        relief.note_shortage();
        assert!(!relief.is_of_use(), "nobody knows yet");
        assert_eq!(relief.relieve(now, || true), Some(now));
        assert!(relief.is_of_use());
        let enough = Fake {
            answer: Relieved::NotNeeded,
            asked: AtomicUsize::new(0),
        };
        let enough = Arc::new(enough);
        let holder: Weak<dyn Holder> = Arc::<Fake>::downgrade(&enough);
        relief.add(holder);
        assert_eq!(relief.relieve(now, || true), None);
        assert!(!relief.is_of_use());
    }

    #[test]
    fn a_turn_asks_so_many_and_no_more() {
        let (relief, fakes) = relief(&[Relieved::Some]);
        relief.note_shortage();
        let now = Time::from_millis(1);
        assert_eq!(relief.relieve(now, || false), Some(now));
        assert_eq!(asked(&fakes), [0]);
        assert_eq!(relief.relieve(now, || true), Some(now));
        assert_eq!(asked(&fakes), [LOOKS_MAX]);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let (relief, mut fakes) = relief(&[Relieved::None, Relieved::None]);
        fakes.remove(0);
        relief.note_shortage();
        let now = Time::from_millis(1);
        assert_eq!(relief.relieve(now, || true), None);
        assert_eq!(relief.round.lock().holders.len(), 1);
    }
}
