//! Failed logins, and how those that follow are slowed down.
//!
//! Counted are failures of a user from an address, and of all users from an address. A few are free; beyond, attempts from
//! there are let through one at a time, with a pause that doubles with each further failure. A right password that waits
//! its turn is taken. Attempts whose turn would come too late to be of use are refused unseen. Other addresses notice
//! nothing of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

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

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    /// When it was counted last.
    failed_at: Time,
    /// When the next attempt has its turn.
    next_at: Time,
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
}

/// An attempt that is to be told how it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    of_user: Key,
    of_address: Key,
    /// Not to be looked at before.
    pub(crate) at: Time,
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
        &self,
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
        let mut at = now;
        for (key, free) in limits {
            if let Some(count) = counts.get(&key)
                && count.pause_ms(now, free).is_some()
            {
                at = at.max(count.next_at);
            }
        }
        if at > latest {
            return None;
        }
        for (key, free) in limits {
            if let Some(count) = counts.get_mut(&key)
                && let Some(pause_ms) = count.pause_ms(now, free)
            {
                count.next_at = at.saturating_add(pause_ms);
            }
        }
        Some(Attempt {
            of_user,
            of_address,
            at,
        })
    }

    /// The login was refused. True when this is where attempts begin to be slowed down.
    pub(crate) fn failed(&self, attempt: &Attempt, now: Time) -> bool {
        let mut counts = self.counts.lock();
        let of_user = count_one(&mut counts, attempt.of_user, self.free.of_user, now);
        let of_address = count_one(&mut counts, attempt.of_address, self.free.of_address, now);
        of_user || of_address
    }

    /// The login was right: what this user failed from this address is forgotten. Of the address it is not, or whoever has
    /// one password could try others for ever.
    pub(crate) fn succeeded(&self, attempt: &Attempt) {
        self.counts.lock().remove(&attempt.of_user);
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
        next_at: now,
    });
    count.failures = count.failures(now).saturating_add(1);
    count.failed_at = now;
    if let Some(pause_ms) = count.pause_ms(now, free) {
        count.next_at = count.next_at.max(now.saturating_add(pause_ms));
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

    fn guard() -> LoginGuard {
        LoginGuard::new(FreeFailures {
            of_user: 3,
            of_address: 10,
        })
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn attempt(guard: &LoginGuard, address: [u8; 4], name: &str, now: u64) -> Option<u64> {
        let found = guard.attempt(address.into(), name, at(now), at(now + 10_000));
        found.map(|attempt| attempt.at.as_millis() - now)
    }

    fn fail(guard: &LoginGuard, address: [u8; 4], name: &str, now: u64, times: u32) {
        for _ in 0..times {
            let attempt = guard
                .attempt(address.into(), name, at(now), Time::MAX)
                .unwrap();
            guard.failed(&attempt, at(now));
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
        guard.succeeded(&ann);
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
            guard.failed(&one, at(2));
        }
        assert!(guard.counts.lock().len() <= REMEMBERED_MAX);
    }
}
