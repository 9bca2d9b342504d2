//! Who gives up memory when there is too little: not the queue that happens to be at work, but one that nobody takes from.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, Weak};

use leveret_queue_store::Time;
use parking_lot::Mutex;

/// How many queues are looked at before the log has its turn again: some hundredths of a millisecond, if nothing is found.
const LOOKS_MAX: usize = 256;

/// How soon to go round again after a round in which nothing was found. What is in memory then is in use, or too little in
/// each queue to be worth writing.
const RETRY_MS: u64 = 100;

/// There is memory enough, as far as is known.
const ENOUGH: u8 = 0;
/// Somebody has found that there is too little.
const NOTED: u8 = 1;
/// Whoever asks holders has seen that, and looks.
const SEEN: u8 = 2;

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
    /// [`ENOUGH`], [`NOTED`] or [`SEEN`]: a note that comes while holders are asked is one more reason to ask.
    shortage: AtomicU8,
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
    /// There is too little memory. Says whether somebody has to be woken for it.
    pub(super) fn note_shortage(&self) -> bool {
        // What was counted before this is seen by whoever sees the note, and by whoever has not taken it up yet.
        fence(Ordering::SeqCst);
        self.shortage.load(Ordering::Relaxed) != NOTED
            && self.shortage.swap(NOTED, Ordering::AcqRel) == ENOUGH
    }

    /// Whether there is too little memory.
    pub(super) fn is_short(&self) -> bool {
        self.shortage.load(Ordering::Relaxed) != ENOUGH
    }

    /// Whether there is too little memory. What is noted from now on was not known yet.
    fn see(&self) -> bool {
        if !self.is_short() {
            return false;
        }
        self.shortage.store(SEEN, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        true
    }

    /// There is memory enough, or nothing to be done. Not if a shortage was noted since it was [seen](Self::see) last.
    fn end(&self) -> bool {
        let ended =
            self.shortage
                .compare_exchange(SEEN, ENOUGH, Ordering::AcqRel, Ordering::Relaxed);
        ended.is_ok()
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
            if !self.see() {
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
            let asked = next.as_ref().map(Arc::downgrade);
            let relieved = next.map_or(Relieved::None, |holder| holder.relieve(now));
            if relieved == Relieved::NotNeeded {
                if self.end() {
                    return None;
                }
                continue;
            }
            if matches!(relieved, Relieved::Some | Relieved::Forget) {
                self.is_of_use.store(true, Ordering::Relaxed);
            }
            let is_in_vain = self.round.lock().note(relieved, asked.as_ref(), now);
            // Nothing will come of going round again until something has happened, and then it is said.
            if is_in_vain && self.end() {
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
    fn note(&mut self, relieved: Relieved, asked: Option<&Weak<dyn Holder>>, now: Time) -> bool {
        match relieved {
            Relieved::Some => self.in_vain = 0,
            Relieved::InUse => {
                self.in_vain += 1;
                self.any_in_use = true;
            }
            // There is one less to ask, so this ends; and it may have given up something.
            Relieved::Forget => {
                if let Some(asked) = asked {
                    self.forget(asked);
                }
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

    /// Forgets one, which is where the hand came from unless others have come or gone meanwhile.
    fn forget(&mut self, asked: &Weak<dyn Holder>) {
        let is_asked =
            |holder: &Weak<dyn Holder>| std::ptr::addr_eq(holder.as_ptr(), asked.as_ptr());
        let last = self.hand.saturating_sub(1);
        let place = match self.holders.get(last) {
            Some(holder) if is_asked(holder) => Some(last),
            _ => self.holders.iter().position(is_asked),
        };
        if let Some(place) = place {
            self.holders.swap_remove(place);
            // The one that has its place now has not been asked.
            self.hand = self.hand.min(place);
        }
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

    /// One that answers when there is too little again already, which is noted before its answer is heard.
    #[derive(Debug)]
    struct Overtaken {
        relief: Arc<Relief>,
        answer: Relieved,
        /// How often it is asked until then.
        overtaken_at: usize,
        asked: AtomicUsize,
    }

    impl Holder for Overtaken {
        fn relieve(self: Arc<Self>, _: Time) -> Relieved {
            if self.asked.fetch_add(1, Ordering::Relaxed) + 1 == self.overtaken_at {
                let is_news = self.relief.note_shortage();
                assert!(!is_news, "nobody need be woken for it");
            }
            self.answer
        }
    }

    #[track_caller]
    fn check_overtaken(answer: Relieved, overtaken_at: usize, again_at: Option<Time>) {
        let relief = Arc::new(Relief::default());
        let overtaken = Arc::new(Overtaken {
            relief: Arc::clone(&relief),
            answer,
            overtaken_at,
            asked: AtomicUsize::new(0),
        });
        let holder: Weak<dyn Holder> = Arc::<Overtaken>::downgrade(&overtaken);
        relief.add(holder);
        relief.note_shortage();
        let now = Time::from_millis(1);
        assert_eq!(relief.relieve(now, || true), again_at);
        assert_eq!(relief.is_short(), again_at.is_some());
        assert_eq!(overtaken.asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_shortage_that_is_noted_while_somebody_answers_is_not_forgotten() {
        check_overtaken(Relieved::NotNeeded, 1, None);
        // The second is the last of a round in vain.
        let again_at = Time::from_millis(1).saturating_add(RETRY_MS);
        check_overtaken(Relieved::None, 2, Some(again_at));
    }

    #[test]
    fn who_wants_to_be_forgotten_is_even_if_others_have_gone_meanwhile() {
        let (relief, mut fakes) = relief(&[Relieved::None, Relieved::Forget, Relieved::None]);
        let mut round = relief.round.into_inner();
        assert!(round.next().is_some());
        let asked = Arc::downgrade(&round.next().unwrap());
        fakes.remove(0);
        round.holders.retain(|holder| holder.strong_count() > 0);
        round.note(Relieved::Forget, Some(&asked), Time::from_millis(1));
        let [left] = &round.holders[..] else {
            panic!("one has gone, one is forgotten");
        };
        assert!(std::ptr::addr_eq(left.as_ptr(), Arc::as_ptr(&fakes[1])));
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
