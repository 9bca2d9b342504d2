//! Who may log in, and whom to ask what they may do then: traits for the embedding program to implement, and what stands
//! in their place where it does not.

mod authorizer;
mod cached;
mod chain;
mod identity;
mod login;
mod outage;
mod password;
mod refused;
mod user_table;

use std::future::Future;
use std::pin::Pin;

pub use authorizer::{Authorizer, Question, RenewFuture, VerdictFuture};
pub use cached::CachedAuth;
pub use chain::{AuthChain, Authorization, AuthorizationFuture, AuthorizerSource};
pub use identity::Identity;
pub use login::{Login, TlsPeer};
pub use password::Password;
pub use refused::{LoginRefused, Unavailable};
pub use user_table::UserTable;

/// What [`Authenticator::authenticate`] returns.
pub type LoginFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Identity, LoginRefused>> + Send + 'a>>;

/// Decides who may log in. What they may do then is for the [`Identity`] to say that it gives them: for an
/// [`Authorizer`] of their own, or else for the [`Accounts`](crate::Accounts), where there are any.
///
/// An embedding program passes its own with [`Builder::authenticator`](crate::Builder::authenticator) to let its users
/// in with the passwords or tokens that it knows already. Several are asked one after the other by an [`AuthChain`].
pub trait Authenticator: Send + Sync + 'static {
    /// Checks one login. Called on the connection's task; when the handshake timeout ends before the answer, the future is
    /// dropped. That a client goes away meanwhile is noticed only then or with the answer, so that a wrong password
    /// [counts](crate::Builder::free_login_failures) whether or not somebody waits for the answer. Clients that go away while
    /// they wait for their turn are not asked about at all.
    fn authenticate(&self, login: Login) -> LoginFuture<'_>;

    /// Which user a client is that has shown a certificate. Asked once for each such connection, when its certificate has
    /// been verified; clients are offered the mechanism `EXTERNAL` where the answer is a name, and it still is for
    /// [`Authenticator::authenticate`] to say whether that user may log in. Nobody, unless this is implemented.
    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        let _ = peer;
        None
    }
}

/// One that several share, or of a kind that is chosen while the program runs.
impl<A: Authenticator + ?Sized> Authenticator for std::sync::Arc<A> {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        (**self).authenticate(login)
    }

    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        (**self).certificate_user(peer)
    }
}
