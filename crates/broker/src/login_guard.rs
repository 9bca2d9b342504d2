//! Failed logins, and how those that follow are slowed down.
//!
//! Counted are failures of a user from an address, and of all users from an address. A few are free; beyond, attempts from
//! there are let through one at a time, with a pause that doubles with each further failure. A right password that waits
//! its turn is taken. Attempts whose turn would come too late to be of use are refused unseen. Other addresses notice
//! nothing of it.
//!
//! ```text
//! attempt ──► waits ──► is looked at ──► failed, succeeded
//!               │            ├─► nobody could be asked             the turn is given back
//!               │            └─► no outcome before the time is over  the turn is spent
//!               └─► abandoned                                      the turn is given back
//! ```
//!
//! A turn that is given back is for whoever comes next; those who wait already keep theirs. That a client hangs up while its
//! password is looked at is not noticed before the outcome: the work has been done, and a wrong password is a failure.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use leveret_queue_store::Time;
use parking_lot::Mutex;

use crate::network::Origin;

/// The first pause; it doubles with each further failure.
const FIRST_PAUSE_MS: u64 = 250;

/// How often it doubles: to half a minute, which is more than a handshake may take.
const DOUBLINGS_MAX: u32 = 7;

/// After so long without a failure, half of them are forgotten.
const HALF_LIFE_MS: u64 = 60_000;

/// How many pairs of address and user, and addresses, are remembered. When there are more, whose last failure is the longest
/// ago is forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// How many failures are free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeFailures {
    /// Of one user from one address.
    pub(crate) of_user: u32,
    /// Of all users from one address.
    pub(crate) of_address: u32,
}

/// See the module. Its lock is innermost and held for a look-up.
#[derive(Debug)]
pub(crate) struct LoginGuard {
    free: FreeFailures,
    /// Names are kept as their hash: they may be long, and nobody needs them back.
    hasher: RandomState,
    counts: Mutex<HashMap<Key, Count>>,
}

/// Whose failures are counted; without a name, those of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    name: Option<u64>,
}

#[derive(Clone, Debug)]
struct Count {
    failures: u32,
    /// When it was counted last.
    failed_at: Time,
    /// No turn begins before, whoever is waiting.
    rests_until: Time,
    /// Turns of attempts that are not over, in their order; they do not overlap. Each is that of a connection which has not
    /// logged in, whose number has a bound.
    turns: Vec<Turn>,
}

/// One attempt and the pause after it.
#[derive(Clone, Copy, Debug)]
struct Turn {
    at: Time,
    until: Time,
}

impl Count {
    /// What is left of the failures.
    fn failures(&self, now: Time) -> u32 {
        let quiet_ms = now.as_millis().saturating_sub(self.failed_at.as_millis());
        let halvings = u32::try_from(quiet_ms / HALF_LIFE_MS).unwrap_or(u32::MAX);
        self.failures.checked_shr(halvings).unwrap_or(0)
    }

    /// What an attempt waits for after the one before it; none while failures are free.
    fn pause_ms(&self, now: Time, free: u32) -> Option<u64> {
        let beyond = self.failures(now).checked_sub(free)?;
        Some(FIRST_PAUSE_MS << beyond.min(DOUBLINGS_MAX))
    }

    /// The first time from `at` on when there is room for an attempt and its pause.
    fn room_from(&self, at: Time, pause_ms: u64) -> Time {
        let mut at = at.max(self.rests_until);
        let behind = self.turns.partition_point(|turn| turn.until <= at);
        for turn in &self.turns[behind..] {
            if at.saturating_add(pause_ms) <= turn.at {
                break;
            }
            at = at.max(turn.until);
        }
        at
    }

    /// Takes a turn for which there is room.
    fn take(&mut self, at: Time, pause_ms: u64) {
        let until = at.saturating_add(pause_ms);
        let place = self.turns.partition_point(|turn| turn.at < at);
        self.turns.insert(place, Turn { at, until });
    }

    /// Ends the turn that began at `at`, if it is there still: a count may have been forgotten meanwhile.
    fn end(&mut self, at: Time, is_spent: bool) {
        let place = self.turns.iter().position(|turn| turn.at == at);
        if let Some(turn) = place.map(|place| self.turns.remove(place))
            && is_spent
        {
            self.rests_until = self.rests_until.max(turn.until);
        }
    }
}

/// An attempt that is to be told how it ended. One that is dropped without that gives its turns back if its password has not
/// been looked at.
#[derive(Debug)]
pub(crate) struct Attempt {
    guard: Arc<LoginGuard>,
    of_user: Key,
    of_address: Key,
    /// Whose turns it has taken; none where failures are free.
    taken: [Option<Key>; 2],
    /// Not to be looked at before.
    pub(crate) at: Time,
    is_spent: bool,
}

impl LoginGuard {
    pub(crate) fn new(free: FreeFailures) -> Self {
        Self {
            free,
            hasher: RandomState::new(),
            counts: Mutex::default(),
        }
    }

    /// When an attempt may be looked at, which takes that turn. None when it would be after `latest`: nothing is taken
    /// then, and the attempt is to be refused.
    pub(crate) fn attempt(
        self: &Arc<Self>,
        address: IpAddr,
        name: &str,
        now: Time,
        latest: Time,
    ) -> Option<Attempt> {
        let origin = Origin::of(address);
        let of_user = Key {
            origin,
            name: Some(self.hasher.hash_one(name)),
        };
        let of_address = Key { origin, name: None };
        let limits = [
            (of_user, self.free.of_user),
            (of_address, self.free.of_address),
        ];
        let mut counts = self.counts.lock();
        let pauses = limits.map(|(key, free)| counts.get(&key)?.pause_ms(now, free));
        let mut at = now;
        loop {
            let before = at;
            for ((key, _), pause_ms) in limits.iter().zip(pauses) {
                if let (Some(count), Some(pause_ms)) = (counts.get(key), pause_ms) {
                    at = count.room_from(at, pause_ms);
                }
            }
            if at > latest {
                return None;
            }
            if at == before {
                break;
            }
        }
        let mut taken = [None; 2];
        for (n, ((key, _), pause_ms)) in limits.into_iter().zip(pauses).enumerate() {
            if let (Some(count), Some(pause_ms)) = (counts.get_mut(&key), pause_ms) {
                count.take(at, pause_ms);
                taken[n] = Some(key);
            }
        }
        Some(Attempt {
            guard: Arc::clone(self),
            of_user,
            of_address,
            taken,
            at,
            is_spent: false,
        })
    }
}

impl Attempt {
    /// The password is looked at now: whatever comes of it, the turn is spent.
    pub(crate) fn begin(&mut self) {
        self.is_spent = true;
    }

    /// Nobody could be asked, so nobody has looked at the password.
    pub(crate) fn not_looked_at(mut self) {
        self.is_spent = false;
    }

    /// The login was refused. True when this is where attempts begin to be slowed down.
    pub(crate) fn failed(self, now: Time) -> bool {
        let free = self.guard.free;
        let mut counts = self.guard.counts.lock();
        let of_user = count_one(&mut counts, self.of_user, free.of_user, now);
        let of_address = count_one(&mut counts, self.of_address, free.of_address, now);
        // The lock is needed to end the turns.
        drop(counts);
        of_user || of_address
    }

    /// The login was right: what this user failed from this address is forgotten. Of the address it is not, or whoever has
    /// one password could try others for ever.
    pub(crate) fn succeeded(self) {
        self.guard.counts.lock().remove(&self.of_user);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.taken == [None; 2] {
            return;
        }
        let mut counts = self.guard.counts.lock();
        for key in self.taken.iter().flatten() {
            if let Some(count) = counts.get_mut(key) {
                count.end(self.at, self.is_spent);
            }
        }
    }
}

/// Counts a failure. True when it is the last free one.
fn count_one(counts: &mut HashMap<Key, Count>, key: Key, free: u32, now: Time) -> bool {
    if counts.len() >= REMEMBERED_MAX && !counts.contains_key(&key) {
        make_room(counts, now);
    }
    let count = counts.entry(key).or_insert(Count {
        failures: 0,
        failed_at: now,
        rests_until: now,
        turns: Vec::new(),
    });
    count.failures = count.failures(now).saturating_add(1);
    count.failed_at = now;
    if let Some(pause_ms) = count.pause_ms(now, free) {
        count.rests_until = count.rests_until.max(now.saturating_add(pause_ms));
    }
    count.failures == free
}

/// Looks through all of them, which takes less than computing one hash of a password does.
fn make_room(counts: &mut HashMap<Key, Count>, now: Time) {
    counts.retain(|_, count| count.failures(now) > 0);
    if counts.len() >= REMEMBERED_MAX {
        let oldest = counts.iter().min_by_key(|(_, count)| count.failed_at);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 4] = [192, 0, 2, 1];
    const ELSEWHERE: [u8; 4] = [192, 0, 2, 2];

    fn guard() -> Arc<LoginGuard> {
        Arc::new(LoginGuard::new(FreeFailures {
            of_user: 3,
            of_address: 10,
        }))
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// How long an attempt waits whose password is then looked at, without an outcome.
    fn attempt(guard: &Arc<LoginGuard>, address: [u8; 4], name: &str, now: u64) -> Option<u64> {
        let mut found = guard.attempt(address.into(), name, at(now), at(now + 10_000))?;
        found.begin();
        Some(found.at.as_millis() - now)
    }

    fn fail(guard: &Arc<LoginGuard>, address: [u8; 4], name: &str, now: u64, times: u32) {
        for _ in 0..times {
            let attempt = guard
                .attempt(address.into(), name, at(now), Time::MAX)
                .unwrap();
            attempt.failed(at(now));
        }
    }

    /// An attempt that waits for its turn.
    fn wait(guard: &Arc<LoginGuard>, name: &str) -> Attempt {
        guard
            .attempt(HERE.into(), name, at(0), at(10_000))
            .expect("there is a turn in time")
    }

    fn waits<const N: usize>(attempts: &[Attempt; N]) -> [u64; N] {
        std::array::from_fn(|n| attempts[n].at.as_millis())
    }

    #[test]
    fn turns_of_those_who_hang_up_are_given_back() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 3);
        let waiting = [(); 3].map(|()| wait(&guard, "ann"));
        assert_eq!(waits(&waiting), [250, 500, 750]);
        drop(waiting);
        assert_eq!(wait(&guard, "ann").at, at(250));
    }

    #[test]
    fn who_waits_behind_a_turn_that_is_given_back_keeps_its_own() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 3);
        let [first, second, third] = [(); 3].map(|()| wait(&guard, "ann"));
        drop(second);
        let next = [(); 2].map(|()| wait(&guard, "ann"));
        assert_eq!(waits(&next), [500, 1000]);
        assert_eq!(waits(&[first, third]), [250, 750]);
    }

    #[test]
    fn a_turn_that_is_given_back_is_too_short_for_a_longer_pause() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 3);
        let [first, second] = [(); 2].map(|()| wait(&guard, "ann"));
        drop(first);
        fail(&guard, HERE, "ann", 0, 1);
        // From 500 on there is room, but for the pause of 500 only behind the second, which ends at 750.
        assert_eq!(second.at, at(500));
        assert_eq!(wait(&guard, "ann").at, at(750));
    }

    #[test]
    fn turns_of_the_address_are_given_back_too() {
        let guard = guard();
        for n in 0..10 {
            fail(&guard, HERE, &format!("user{n}"), 0, 1);
        }
        drop([(); 3].map(|()| wait(&guard, "ann")));
        assert_eq!(wait(&guard, "bob").at, at(250));
    }

    #[test]
    fn without_an_outcome_the_turn_is_spent() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 3);
        let mut attempt = wait(&guard, "ann");
        attempt.begin();
        drop(attempt);
        assert_eq!(wait(&guard, "ann").at, at(500));
    }

    #[test]
    fn what_nobody_could_be_asked_about_was_no_turn() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 3);
        let mut attempt = wait(&guard, "ann");
        attempt.begin();
        attempt.not_looked_at();
        assert_eq!(wait(&guard, "ann").at, at(250));
    }

    /// Whatever is taken and given back, turns that are held or spent are as far apart as the pause is long.
    #[test]
    fn turns_are_never_closer_than_the_pause() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 3);
        let (mut held, mut spent) = (Vec::new(), Vec::new());
        let mut random = 7_u32;
        for _ in 0..2_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let choice = (random >> 16) as usize;
            let waiting = guard.attempt(HERE.into(), "ann", at(0), at(1_000_000));
            held.push(waiting.unwrap());
            if choice.is_multiple_of(3) {
                continue;
            }
            let mut gone = held.swap_remove(choice % held.len());
            if choice.is_multiple_of(50) {
                gone.begin();
                spent.push(gone.at);
            }
        }
        let mut turns: Vec<_> = held.iter().map(|attempt| attempt.at).collect();
        turns.extend(spent);
        turns.sort_unstable();
        assert!(turns.len() > 500);
        for pair in turns.windows(2) {
            assert!(pair[0].saturating_add(250) <= pair[1], "{pair:?}");
        }
    }

    #[test]
    fn a_few_failures_are_free() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 2);
        assert_eq!(attempt(&guard, HERE, "ann", 0), Some(0));
        fail(&guard, HERE, "ann", 0, 1);
        assert_eq!(attempt(&guard, HERE, "ann", 0), Some(250));
        assert_eq!(attempt(&guard, HERE, "bob", 0), Some(0));
        assert_eq!(attempt(&guard, ELSEWHERE, "ann", 0), Some(0));
    }

    #[test]
    fn turns_come_one_after_the_other() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 4);
        let waits: Vec<_> = (0..3).map(|_| attempt(&guard, HERE, "ann", 0)).collect();
        let first = waits[0].unwrap();
        assert_eq!(waits, [first, first + 500, first + 1000].map(Some));
    }

    #[test]
    fn a_turn_that_is_too_late_is_not_taken() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 20);
        assert_eq!(attempt(&guard, HERE, "ann", 0), None);
        assert_eq!(attempt(&guard, HERE, "ann", 0), None);
        assert_eq!(attempt(&guard, ELSEWHERE, "ann", 0), Some(0));
    }

    #[test]
    fn an_address_that_tries_many_names_is_slowed_down() {
        let guard = guard();
        for n in 0..10 {
            fail(&guard, HERE, &format!("user{n}"), 0, 1);
        }
        assert_eq!(attempt(&guard, HERE, "another", 0), Some(250));
        assert_eq!(attempt(&guard, ELSEWHERE, "another", 0), Some(0));
    }

    #[test]
    fn time_heals() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 6);
        assert!(attempt(&guard, HERE, "ann", 1_000).is_some_and(|wait| wait > 0));
        assert_eq!(attempt(&guard, HERE, "ann", 120_000), Some(0));
    }

    #[test]
    fn a_right_password_is_forgiven_for_the_user_alone() {
        let guard = guard();
        fail(&guard, HERE, "ann", 0, 10);
        let ann = guard.attempt(HERE.into(), "ann", at(0), Time::MAX).unwrap();
        ann.succeeded();
        let next = guard.attempt(HERE.into(), "ann", at(0), Time::MAX).unwrap();
        assert!(next.at > at(0), "the address is still under suspicion");
        assert_eq!(attempt(&guard, HERE, "ann", 60_000), Some(0));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let guard = guard();
        fail(&guard, HERE, "ann", 1, 5);
        for n in 0..(2 * REMEMBERED_MAX as u32) {
            let address = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let one = guard.attempt(address, "ann", at(2), Time::MAX).unwrap();
            one.failed(at(2));
        }
        assert!(guard.counts.lock().len() <= REMEMBERED_MAX);
    }
}
