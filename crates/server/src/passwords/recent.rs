//! Passwords that were found right a moment ago.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// For how long a password need not be hashed again. Long enough for a thousand connections of one application that come
/// back after a network failure; short enough that little can be found in memory.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

/// How many are remembered: more than an installation has users that log in within that time. When it is full, nothing
/// more is remembered until something has been forgotten.
const REMEMBERED_MAX: usize = 1024;

/// Remembers logins, not passwords: what it holds is a digest under a key that never leaves it. Refusals are not
/// remembered.
pub(super) struct Recent {
    key: [u8; 32],
    /// Until when.
    entries: HashMap<Seen, Instant>,
}

/// A login that can be recognised: user, stored hash and password together, so that a changed hash is another login.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seen([u8; 32]);

impl Recent {
    /// # Panics
    /// When the system has no random numbers, which it has once the machine is up.
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system has random numbers once the machine is up");
        Self {
            key,
            entries: HashMap::new(),
        }
    }

    pub(super) fn digest(&self, name: &str, stored: &str, password: &[u8]) -> Seen {
        let mut digest = Sha256::new_with_prefix(self.key);
        for part in [name.as_bytes(), stored.as_bytes()] {
            // With their lengths, so that no two logins look alike.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.update(password);
        Seen(digest.finalize().into())
    }

    pub(super) fn contains(&mut self, seen: &Seen, now: Instant) -> bool {
        self.entries.retain(|_, until| *until > now);
        self.entries.contains_key(seen)
    }

    pub(super) fn remember(&mut self, seen: Seen, now: Instant) {
        if self.entries.len() < REMEMBERED_MAX {
            self.entries.insert(seen, now + REMEMBERED_FOR);
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_remembered_for_a_while() {
        let mut recent = Recent::new();
        let start = super::super::now();
        let seen = recent.digest("ann", "hash", b"secret");
        assert!(!recent.contains(&seen, start));
        recent.remember(seen, start);
        assert!(recent.contains(&seen, start));
        assert!(recent.contains(&seen, start + REMEMBERED_FOR - Duration::from_nanos(1)));
        assert!(!recent.contains(&seen, start + REMEMBERED_FOR));
        assert!(!recent.contains(&seen, start), "it is gone for good");
    }

    #[test]
    fn every_part_of_a_login_counts() {
        let recent = Recent::new();
        let logins = [
            ("ann", "hash", "secret"),
            ("bob", "hash", "secret"),
            ("ann", "hashs", "ecret"),
            ("annh", "ash", "secret"),
            ("ann", "hash", "Secret"),
        ];
        let seen =
            logins.map(|(name, hash, password)| recent.digest(name, hash, password.as_bytes()));
        for (n, one) in seen.iter().enumerate() {
            assert!(!seen[..n].contains(one), "{:?}", logins[n]);
        }
        let other = Recent::new().digest("ann", "hash", b"secret");
        assert!(other != seen[0], "each process has its own key");
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut recent = Recent::new();
        let start = super::super::now();
        for n in 0..=REMEMBERED_MAX {
            let seen = recent.digest(&n.to_string(), "hash", b"secret");
            recent.remember(seen, start);
            assert_eq!(recent.contains(&seen, start), n < REMEMBERED_MAX);
        }
    }
}
