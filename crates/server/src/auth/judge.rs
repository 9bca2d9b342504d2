//! Whoever decides about logins.

use std::fmt;
use std::sync::Arc;

use leveret_broker::{Authenticator, Login, LoginFuture, TlsPeer};

/// An authenticator that the broker shares with `leveret ctl`. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Judge(Arc<dyn Authenticator>);

impl Judge {
    pub(crate) fn new(authenticator: impl Authenticator) -> Self {
        Self(Arc::new(authenticator))
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

impl Authenticator for Judge {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        self.0.authenticate(login)
    }

    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        self.0.certificate_user(peer)
    }
}
