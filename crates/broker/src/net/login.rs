//! Having a login checked, in its turn.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use leveret_queue_store::Time;

use crate::auth::{Identity, Login, LoginRefused};
use crate::login_guard::Attempt;
use crate::login_places::Place;
use crate::shared::Shared;

/// An authenticator at work. No future itself, so that nobody takes the wait for it for its outcome.
pub(super) struct Check(Pin<Box<dyn Future<Output = Result<Identity, LoginRefused>> + Send>>);

impl Check {
    fn of(work: impl Future<Output = Result<Identity, LoginRefused>> + Send + 'static) -> Self {
        Self(Box::pin(work))
    }

    pub(super) async fn outcome(self) -> Result<Identity, LoginRefused> {
        self.0.await
    }
}

/// How a login is checked.
pub(super) enum Checking {
    /// At once.
    Now(Check),
    /// After others from its address, or after a pause, where somebody has guessed too often. Whoever goes away meanwhile
    /// drops it, which gives the turn back.
    Later(Pin<Box<dyn Future<Output = Check> + Send>>),
}

/// Asks the authenticator, and has those wait who have guessed too often, or who are too many at once.
pub(super) fn check(shared: Arc<Shared>, login: Login) -> Checking {
    let Some(peer) = login.peer else {
        return Checking::Now(Check::of(async move {
            shared.authenticator.authenticate(login).await
        }));
    };
    let (address, now) = (peer.ip(), shared.now());
    let latest = now.saturating_add(shared.config.handshake_timeout_ms());
    let Some(attempt) = attempt(&shared, &login, address, latest) else {
        return Checking::Now(unseen(&login, address));
    };
    if attempt.at > now {
        return Checking::Later(Box::pin(async move {
            shared.clock.sleep_until(attempt.at).await;
            let place = shared.login_places.enter(address).sit().await;
            look(shared, login, address, attempt, place)
        }));
    }
    match shared.login_places.enter(address).try_sit() {
        Ok(place) => Checking::Now(look(shared, login, address, attempt, place)),
        Err(entrant) => {
            // When it is its turn, those before may have failed.
            drop(attempt);
            Checking::Later(Box::pin(async move {
                let mut place = entrant.sit().await;
                let Some(attempt) = self::attempt(&shared, &login, address, latest) else {
                    return unseen(&login, address);
                };
                if attempt.at > shared.now() {
                    // Nobody holds a place while it waits for something else.
                    drop(place);
                    shared.clock.sleep_until(attempt.at).await;
                    place = shared.login_places.enter(address).sit().await;
                }
                look(shared, login, address, attempt, place)
            }))
        }
    }
}

fn attempt(shared: &Shared, login: &Login, address: IpAddr, latest: Time) -> Option<Attempt> {
    let guard = &shared.login_guard;
    guard.attempt(address, &login.username, shared.now(), latest)
}

/// The turn would have come too late.
fn unseen(login: &Login, address: IpAddr) -> Check {
    let name = &login.username;
    Check::of(ready(Err(LoginRefused::new(format!(
        "too many failed logins as '{name}' or from {address}; it was not looked at"
    )))))
}

/// Asks the authenticator.
fn look(
    shared: Arc<Shared>,
    login: Login,
    address: IpAddr,
    mut attempt: Attempt,
    place: Place,
) -> Check {
    Check::of(async move {
        let name = login.username.clone();
        attempt.begin();
        let outcome = shared.authenticator.authenticate(login).await;
        match &outcome {
            Ok(_) => attempt.succeeded(),
            Err(refused) if refused.is_unavailable() => attempt.not_looked_at(),
            Err(_) => {
                if attempt.failed(shared.now()) {
                    tracing::warn!(%address, user = name, "too many failed logins: those that follow are slowed down");
                }
            }
        }
        // Once it counts: who has waited for the place is to see that.
        drop(place);
        outcome
    })
}
