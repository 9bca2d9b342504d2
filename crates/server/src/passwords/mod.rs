//! Checking passwords.
//!
//! This lives in the server, and not in the broker, because it needs four crates of cryptography and threads that may
//! block. The broker hands a login out together with what its accounts know of the user, hash included, and waits for
//! the answer; a program that embeds the broker may have users of its own and need none of this.

mod hash;
mod recent;
mod turns;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use leveret_broker::{Authenticator, Identity, Login, LoginFuture, LoginRefused, User};
use parking_lot::Mutex;
use zeroize::Zeroizing;

pub(crate) use hash::{StoredHash, hash_password, hash_published_password, is_published_password};
use recent::Recent;
use turns::{Origin, Turns};

/// Lets users in whose passwords are those of the broker's accounts.
///
/// A slow hash takes some ten milliseconds of a processor and 19 MiB, so it is computed on threads that may block, on half
/// of the processors at most: strangers who try passwords cannot keep the broker from its work. Whoever has to wait for
/// its turn does so within the time that a handshake may take; addresses take turns, so that many logins from one do not
/// hold up those from another. Every refusal takes the time of one such hash, whether
/// the user exists or not.
///
/// Clones share their turns and what they remember.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    /// Users who may not come from another machine.
    loopback_users: Arc<HashSet<String>>,
    turns: Arc<Turns>,
    recent: Arc<Mutex<Recent>>,
}

impl Passwords {
    pub(crate) fn new(loopback_users: impl IntoIterator<Item = String>) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::with_turns(loopback_users, (processors / 2).max(1))
    }

    /// Computes so many hashes at once at most.
    fn with_turns(loopback_users: impl IntoIterator<Item = String>, turns: usize) -> Self {
        Self {
            loopback_users: Arc::new(loopback_users.into_iter().collect()),
            turns: Arc::new(Turns::new(turns)),
            recent: Arc::new(Mutex::new(Recent::new())),
        }
    }

    async fn check(&self, login: Login) -> Result<Identity, LoginRefused> {
        let name = login.username;
        let password = login.password;
        let is_remote = login.peer.is_some_and(|peer| !is_loopback(peer.ip()));
        if is_remote && self.loopback_users.contains(&name) {
            return Err(LoginRefused::new(format!(
                "user '{name}' can only connect via localhost"
            )));
        }
        let is_known = login.account.is_some();
        let origin = Origin::of(login.peer.map(|peer| peer.ip()));
        if self
            .are_right(origin, &name, &password, login.account)
            .await
        {
            return Ok(Identity::new(name));
        }
        let problem = if is_known {
            "gave a wrong password"
        } else {
            "is unknown"
        };
        Err(LoginRefused::new(format!("user '{name}' {problem}")))
    }

    /// Whether somebody who gives this name and password is the user. Where he comes from decides when he has his turn.
    async fn are_right(
        &self,
        origin: Origin,
        name: &str,
        password: &[u8],
        user: Option<User>,
    ) -> bool {
        let stored = user.and_then(|user| user.password_hash);
        let stored = stored.and_then(|hash| StoredHash::parse(hash.as_str()).ok());
        let password = Zeroizing::new(password.to_vec());
        self.is_right(origin, name, password, stored).await
    }

    async fn is_right(
        &self,
        origin: Origin,
        name: &str,
        password: Zeroizing<Vec<u8>>,
        stored: Option<StoredHash>,
    ) -> bool {
        // RabbitMQ refuses empty passwords whatever the hash says.
        let stored = stored.filter(|_| !password.is_empty());
        if let Some(StoredHash::Fast(fast)) = &stored
            && fast.matches(&password)
        {
            return true;
        }
        let slow = match stored {
            Some(StoredHash::Slow(slow)) => Some(slow),
            _ => None,
        };
        let seen = slow.as_ref().map(|slow| {
            let recent = self.recent.lock();
            recent.digest(name, slow.as_str(), &password)
        });
        if let Some(seen) = &seen
            && self.recent.lock().contains(seen, now())
        {
            return true;
        }
        let is_right = self.compute(origin, password, slow).await;
        if is_right && let Some(seen) = seen {
            self.recent.lock().remember(seen, now());
        }
        is_right
    }

    /// Whether it is the password of the hash; without one, no, after the same time.
    async fn compute(
        &self,
        origin: Origin,
        password: Zeroizing<Vec<u8>>,
        slow: Option<hash::SlowHash>,
    ) -> bool {
        let turn = self.turns.take(origin).await;
        let work = move || {
            // Given back when the work is done, also if nobody waits for its outcome any more.
            let _turn = turn;
            match slow {
                Some(slow) => slow.matches(&password),
                None => {
                    hash::spend_time_on(&password);
                    false
                }
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(false)
    }
}

impl Authenticator for Passwords {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(self.check(login))
    }
}

/// IPv4 addresses that arrive on an IPv6 socket count as what they are.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a password is remembered has nothing to do with the broker's clock"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
