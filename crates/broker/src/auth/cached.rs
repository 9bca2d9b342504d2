//! Answers that are good for a while.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use leveret_queue_store::Time;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    Authenticator, Authorizer, Identity, Login, LoginFuture, LoginRefused, Question, RenewFuture,
    TlsPeer, VerdictFuture,
};
use crate::access::OwnedQuestion;
use crate::clock::{Clock, VirtualClock};

/// That of RabbitMQ's `auth_cache.cache_ttl`.
const TTL: Duration = Duration::from_secs(15);

/// As many as the broker remembers of those who have failed to log in.
const LOGINS_MAX: usize = 10_000;

/// Of each login. Connections remember answers themselves; this is for all that have logged in alike.
const VERDICTS_MAX: usize = 1024;

/// An [`Authenticator`] whose answers are good for a while, and those of the [`Authorizer`]s that it gives out, for all
/// connections that log in alike: for backends that are slow, or should not be asked each time. RabbitMQ has it as
/// `rabbit_auth_backend_cache`.
///
/// Answers hold for 15 seconds, and an [identity](Identity) no longer than it says itself. What has been permitted to a
/// connection holds for [as long again](crate::Builder::verdict_ttl) there. Refusals are not kept unless that is
/// [asked for](CachedAuth::keep_refusals), and that somebody could not be asked never is. Two who log in at the same moment
/// are both asked for.
///
/// Logins are alike when all that an authenticator may look at is: name, password, address, what the accounts have of the
/// user, certificates, and the headers of a WebSocket's request (but for its key, which is drawn) or of a CONNECT. All of
/// it is kept as one SHA-256 digest with a salt that is drawn for each cache, so that no password is in it.
///
/// Up to 10,000 logins are kept ([`CachedAuth::logins_max`]), and 1,024 answers about each; with more, it begins anew.
///
/// ```
/// use std::time::Duration;
///
/// use leveret_broker::{Broker, CachedAuth, UserTable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), leveret_broker::Error> {
/// // Somewhere else, as a rule.
/// let directory = UserTable::new().with_user("ann", "7hg2");
/// let cached = CachedAuth::new(directory).ttl(Duration::from_secs(60));
/// let broker = Broker::builder().authenticator(cached).start().await?;
/// # drop(broker);
/// # Ok(())
/// # }
/// ```
pub struct CachedAuth<A> {
    inner: A,
    terms: Terms,
    logins_max: usize,
    salt: [u8; 32],
    logins: Mutex<HashMap<[u8; 32], Kept<Outcome>>>,
}

/// What came of a login.
type Outcome = Result<Identity, LoginRefused>;

/// How long answers hold, and which.
#[derive(Clone, Debug)]
struct Terms {
    clock: Clock,
    ttl: Duration,
    keeps_refusals: bool,
}

/// An answer and until when it holds.
#[derive(Clone, Debug)]
struct Kept<T> {
    answer: T,
    until: Time,
}

impl Terms {
    fn until(&self) -> Time {
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        self.clock.now().saturating_add(ttl_ms)
    }
}

fn find<K: Hash + Eq, T: Clone>(kept: &HashMap<K, Kept<T>>, key: &K, now: Time) -> Option<T> {
    let kept = kept.get(key).filter(|kept| kept.until > now)?;
    Some(kept.answer.clone())
}

/// When it is full, what holds no longer goes, and everything if that does not help. Gives back what went: that may be the
/// embedding program's, and is not to be dropped under a lock.
#[must_use]
fn keep<K: Hash + Eq, T>(
    all: &mut HashMap<K, Kept<T>>,
    max: usize,
    now: Time,
    key: K,
    kept: Kept<T>,
) -> Vec<Kept<T>> {
    let mut gone = Vec::new();
    if all.len() >= max {
        gone.extend(
            all.extract_if(|_, kept| kept.until <= now)
                .map(|(_, it)| it),
        );
    }
    if all.len() >= max {
        gone.extend(all.drain().map(|(_, it)| it));
    }
    if max > 0 {
        gone.extend(all.insert(key, kept));
    }
    gone
}

impl<A> CachedAuth<A> {
    /// Keeps what `inner` says.
    ///
    /// # Panics
    /// When the operating system has no random numbers, which it has once the machine is up.
    #[must_use]
    pub fn new(inner: A) -> Self {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)
            .expect("the operating system's random source works once the machine is up");
        Self {
            inner,
            terms: Terms {
                clock: Clock::system(),
                ttl: TTL,
                keeps_refusals: false,
            },
            logins_max: LOGINS_MAX,
            salt,
            logins: Mutex::default(),
        }
    }

    /// How long answers hold. With zero nothing is kept.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// Keeps refusals as well: a client that has been given its rights, or its password, waits until they have been
    /// forgotten.
    #[must_use]
    pub fn keep_refusals(mut self) -> Self {
        self.terms.keeps_refusals = true;
        self
    }

    /// How many logins are kept at most.
    #[must_use]
    pub fn logins_max(mut self, max: usize) -> Self {
        self.logins_max = max;
        self
    }

    /// Goes by a clock that is moved by hand, as the [broker](crate::Builder::virtual_clock) of a test does.
    #[must_use]
    pub fn virtual_clock(mut self, clock: VirtualClock) -> Self {
        self.terms.clock = Clock::Virtual(clock);
        self
    }

    /// Forgets all logins. What connections know already, they go on to know.
    pub fn clear(&self) {
        let _dropped_here = std::mem::take(&mut *self.logins.lock());
    }

    /// What a login looks like here.
    fn digest(&self, login: &Login) -> [u8; 32] {
        let mut hash = Fields(Sha256::new_with_prefix(self.salt));
        hash.add(login.username.as_bytes());
        hash.add(&login.password);
        hash.add(login.mechanism.as_bytes());
        hash.add_text(&login.peer.map(|peer| peer.ip().to_canonical()));
        let account = login.account.as_ref();
        let password_hash = account.and_then(|account| account.password_hash.as_ref());
        hash.add_text(&password_hash.map(|hash| hash.as_str()));
        // Of tags and limits the authenticator may make something too.
        hash.add_text(&account);
        hash.add_text(&login.tls);
        #[cfg(feature = "stomp")]
        {
            hash.add_text(&login.connect_headers);
            if let Some(request) = &login.request {
                hash.add(request.path().as_bytes());
                hash.add_text(&request.query());
                for (name, value) in request.headers() {
                    if !name.eq_ignore_ascii_case("sec-websocket-key") {
                        hash.add(name.as_bytes());
                        hash.add(value.as_bytes());
                    }
                }
            }
        }
        hash.0.finalize().into()
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Outcome> {
        find(&self.logins.lock(), digest, self.terms.clock.now())
    }

    fn remember(&self, digest: [u8; 32], answer: &Outcome) {
        let mut until = self.terms.until();
        match answer {
            Ok(identity) => until = until.min(identity.expiry().unwrap_or(Time::MAX)),
            Err(refused) if refused.is_unavailable() || !self.terms.keeps_refusals => return,
            Err(_) => {}
        }
        let kept = Kept {
            answer: answer.clone(),
            until,
        };
        let now = self.terms.clock.now();
        let _gone = keep(&mut self.logins.lock(), self.logins_max, now, digest, kept);
    }
}

/// Fields that cannot run into each other.
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// Something whose text says all of it.
    fn add_text(&mut self, value: &impl fmt::Debug) {
        self.add(format!("{value:?}").as_bytes());
    }
}

impl<A> fmt::Debug for CachedAuth<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedAuth")
            .field("terms", &self.terms)
            .field("logins_max", &self.logins_max)
            .finish_non_exhaustive()
    }
}

impl<A: Authenticator> Authenticator for CachedAuth<A> {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        let digest = self.digest(&login);
        if let Some(known) = self.known(&digest) {
            return Box::pin(ready(known));
        }
        Box::pin(async move {
            let answer = self.inner.authenticate(login).await;
            let answer = answer.map(|identity| cached(identity, &self.terms));
            self.remember(digest, &answer);
            answer
        })
    }

    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        self.inner.certificate_user(peer)
    }
}

/// The identity, with an authorizer whose answers are kept if it has one.
fn cached(identity: Identity, terms: &Terms) -> Identity {
    identity.map_authorizer(|authorizer| {
        Arc::new(CachedAuthorizer {
            inner: authorizer,
            terms: terms.clone(),
            verdicts: Mutex::default(),
        })
    })
}

struct CachedAuthorizer {
    inner: Arc<dyn Authorizer>,
    terms: Terms,
    verdicts: Mutex<HashMap<OwnedQuestion, Kept<bool>>>,
}

impl CachedAuthorizer {
    fn remember(&self, question: OwnedQuestion, may: bool) {
        if may || self.terms.keeps_refusals {
            let kept = Kept {
                answer: may,
                until: self.terms.until(),
            };
            let now = self.terms.clock.now();
            let _gone = keep(&mut self.verdicts.lock(), VERDICTS_MAX, now, question, kept);
        }
    }
}

impl Authorizer for CachedAuthorizer {
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        let key = OwnedQuestion::from(question);
        let known = find(&self.verdicts.lock(), &key, self.terms.clock.now());
        if let Some(may) = known {
            return Box::pin(ready(Ok(may)));
        }
        Box::pin(async move {
            let may = self.inner.authorize(question).await?;
            self.remember(key, may);
            Ok(may)
        })
    }

    fn renew<'a>(&'a self, secret: &'a [u8]) -> RenewFuture<'a> {
        Box::pin(async move {
            let renewed = self.inner.renew(secret).await?;
            Ok(renewed.map(|identity| cached(identity, &self.terms)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::UserTable;

    fn login(name: &str, password: &str) -> Login {
        Login::new(name.into(), password.into(), "PLAIN", None)
    }

    /// Whether two logins are one to the cache.
    #[track_caller]
    fn check(one: &Login, other: &Login, alike: bool) {
        let cache = CachedAuth::new(UserTable::new());
        assert_eq!(cache.digest(one) == cache.digest(other), alike);
    }

    #[test]
    fn logins_are_alike_when_all_that_counts_is() {
        let ann = login("ann", "secret");
        check(&ann, &login("ann", "secret"), true);
        check(&ann, &login("ann", "secre"), false);
        check(&ann, &login("anns", "ecret"), false);
        let from = |peer: &str| Login {
            peer: Some(peer.parse().unwrap()),
            ..ann.clone()
        };
        check(&ann, &from("192.0.2.1:5"), false);
        check(&from("192.0.2.1:5"), &from("192.0.2.1:6"), true);
        check(&from("192.0.2.1:5"), &from("192.0.2.2:5"), false);
        let with_hash = |hash: &str| Login {
            account: Some(crate::User {
                password_hash: Some(crate::PasswordHash::new(hash)),
                ..crate::User::new("ann")
            }),
            ..ann.clone()
        };
        check(&with_hash("$1"), &with_hash("$1"), true);
        check(&with_hash("$1"), &with_hash("$2"), false);
    }

    #[cfg(feature = "stomp")]
    #[test]
    fn requests_are_alike_but_for_their_keys() {
        let with = |cookie: &str, key: &str| {
            let headers = [("cookie", cookie), ("sec-websocket-key", key)];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Login {
                request: Some(Box::new(crate::UpgradeRequest::new(
                    "/ws",
                    None,
                    headers.into(),
                ))),
                ..login("", "")
            }
        };
        check(&with("a=1", "x"), &with("a=1", "y"), true);
        check(&with("a=1", "x"), &with("a=2", "x"), false);
    }

    #[test]
    fn salts_differ() {
        let ann = login("ann", "secret");
        let digests = [(); 2].map(|()| CachedAuth::new(UserTable::new()).digest(&ann));
        assert_ne!(digests[0], digests[1]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut all, now) = (HashMap::new(), Time::from_millis(10));
        let until = |ms| Kept {
            answer: (),
            until: Time::from_millis(ms),
        };
        for key in 0..3 {
            assert!(keep(&mut all, 3, now, key, until(10 + key)).is_empty());
        }
        assert_eq!(keep(&mut all, 3, now, 3, until(20)).len(), 1);
        assert_eq!(all.len(), 3, "what holds no longer went");
        assert_eq!(find(&all, &0, now), None);
        assert_eq!(keep(&mut all, 3, now, 4, until(20)).len(), 3);
        assert_eq!(all.len(), 1, "everything holds: it begins anew");
        assert_eq!(keep(&mut all, 0, now, 5, until(20)).len(), 1);
        assert!(all.is_empty());
    }

    #[test]
    fn debug_output_shows_no_password() {
        let cache = CachedAuth::new(UserTable::new().with_user("ann", "secret"));
        let ready = cache.authenticate(login("ann", "secret"));
        drop(ready);
        assert!(!format!("{cache:?}").contains("secret"));
    }
}
