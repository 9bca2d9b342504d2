//! Having a login checked, in its turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::auth::{Identity, Login, LoginRefused};
use crate::shared::Shared;

/// An authenticator at work, or a login that waits for its turn.
pub(super) type Check = Pin<Box<dyn Future<Output = Result<Identity, LoginRefused>> + Send>>;

/// Asks the authenticator, and has those wait who have guessed too often.
pub(super) fn check(shared: Arc<Shared>, login: Login) -> Check {
    let Some(peer) = login.peer else {
        return Box::pin(async move { shared.authenticator.authenticate(login).await });
    };
    Box::pin(async move {
        let (address, now) = (peer.ip(), shared.now());
        let latest = now.saturating_add(shared.config.handshake_timeout_ms());
        let attempt = shared
            .login_guard
            .attempt(address, &login.username, now, latest);
        let Some(attempt) = attempt else {
            let name = &login.username;
            return Err(LoginRefused::new(format!(
                "too many failed logins as '{name}' or from {address}; it was not looked at"
            )));
        };
        if attempt.at > now {
            shared.clock.sleep_until(attempt.at).await;
        }
        let name = login.username.clone();
        let outcome = shared.authenticator.authenticate(login).await;
        match &outcome {
            Ok(_) => shared.login_guard.succeeded(&attempt),
            // Nobody has looked at it.
            Err(refused) if refused.is_unavailable() => {}
            Err(_) => {
                if shared.login_guard.failed(&attempt, shared.now()) {
                    tracing::warn!(%address, user = name, "too many failed logins: those that follow are slowed down");
                }
            }
        }
        outcome
    })
}
