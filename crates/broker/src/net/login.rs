//! Having a login checked, in its turn.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use crate::auth::{Identity, Login, LoginRefused};
use crate::clock::Sleep;
use crate::shared::Shared;

/// An authenticator at work.
pub(super) type Check = Pin<Box<dyn Future<Output = Result<Identity, LoginRefused>> + Send>>;

/// How a login is checked.
pub(super) struct Checking {
    /// What is to be waited for before, where somebody has guessed too often; whoever goes away meanwhile drops the check,
    /// which gives the turn back.
    pub(super) turn: Option<Sleep>,
    pub(super) check: Check,
}

impl Checking {
    fn at_once(
        check: impl Future<Output = Result<Identity, LoginRefused>> + Send + 'static,
    ) -> Self {
        Self {
            turn: None,
            check: Box::pin(check),
        }
    }
}

/// Asks the authenticator, and has those wait who have guessed too often.
pub(super) fn check(shared: Arc<Shared>, login: Login) -> Checking {
    let Some(peer) = login.peer else {
        return Checking::at_once(async move { shared.authenticator.authenticate(login).await });
    };
    let (address, now) = (peer.ip(), shared.now());
    let latest = now.saturating_add(shared.config.handshake_timeout_ms());
    let attempt = shared
        .login_guard
        .attempt(address, &login.username, now, latest);
    let Some(mut attempt) = attempt else {
        let name = &login.username;
        let refused = LoginRefused::new(format!(
            "too many failed logins as '{name}' or from {address}; it was not looked at"
        ));
        return Checking::at_once(ready(Err(refused)));
    };
    let turn = (attempt.at > now).then(|| shared.clock.sleep_until(attempt.at));
    let check = Box::pin(async move {
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
        outcome
    });
    Checking { turn, check }
}
