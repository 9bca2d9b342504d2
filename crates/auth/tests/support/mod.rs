//! What the tests share.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

#[cfg(feature = "ldap")]
pub(crate) mod directory;
#[cfg(feature = "oauth2")]
pub(crate) mod issuer;
pub(crate) mod pem;
pub(crate) mod service;

use leveret_broker::{Authenticator, Authorizer, Identity, Login, LoginRefused, Question};

/// The outcome of a login with name and password.
pub(crate) async fn log_in(
    backend: &impl Authenticator,
    name: &str,
    password: impl AsRef<[u8]>,
) -> Result<Identity, LoginRefused> {
    let password = password.as_ref().to_vec();
    let peer = Some("192.0.2.7:4711".parse().unwrap());
    backend
        .authenticate(Login::new(name.to_owned(), password, "PLAIN", peer))
        .await
}

/// Whether a user may do something; it has to have an authorizer that can be asked.
pub(crate) async fn may(identity: &Identity, question: Question<'_>) -> bool {
    authorizer(identity).authorize(question).await.unwrap()
}

pub(crate) fn authorizer(identity: &Identity) -> &dyn Authorizer {
    &**identity.authorizer().expect("it has an authorizer")
}

/// What these come to, all begun before any is waited for.
pub(crate) async fn all<F>(futures: Vec<F>) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut running: tokio::task::JoinSet<_> = tokio::task::JoinSet::new();
    for future in futures {
        running.spawn(future);
    }
    running.join_all().await
}
