//! Logins by certificate, in front of those by password.

use std::collections::HashSet;
use std::future;

use leveret_broker::{Authenticator, Identity, Login, LoginFuture, LoginRefused, TlsPeer};

use super::certificate_user::user_of;
use super::choices::LoginFrom;

/// The mechanism of clients whose certificate says who they are.
const EXTERNAL: &str = "EXTERNAL";

/// Lets users in whose certificate the broker has verified, and has all others judged by somebody else.
#[derive(Debug)]
pub(crate) struct CertificateLogin<A> {
    others: A,
    /// Users who may not come from another machine.
    loopback_users: HashSet<String>,
}

impl<A> CertificateLogin<A> {
    pub(crate) fn before(others: A, loopback_users: impl IntoIterator<Item = String>) -> Self {
        Self {
            others,
            loopback_users: loopback_users.into_iter().collect(),
        }
    }

    /// There is no password to ask for: that the user exists is all, as in RabbitMQ.
    fn check(&self, login: &Login) -> Result<Identity, LoginRefused> {
        let name = &*login.username;
        let is_local = |peer: std::net::SocketAddr| peer.ip().to_canonical().is_loopback();
        if login.account.is_none() {
            return Err(LoginRefused::new(format!(
                "user '{name}' of a certificate is unknown"
            )));
        }
        if self.loopback_users.contains(name) && !login.peer.is_none_or(is_local) {
            return Err(LoginRefused::new(format!(
                "user '{name}' can only connect via localhost"
            )));
        }
        Ok(Identity::new(name))
    }
}

impl<A: Authenticator> Authenticator for CertificateLogin<A> {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        if login.mechanism == EXTERNAL {
            return Box::pin(future::ready(self.check(&login)));
        }
        self.others.authenticate(login)
    }
}

/// Tells who certificates say that clients are; whether they may log in is for somebody else to judge.
#[derive(Debug)]
pub(crate) struct CertificateNames<A> {
    judge: A,
    login_from: LoginFrom,
}

impl<A> CertificateNames<A> {
    pub(crate) fn before(judge: A, login_from: LoginFrom) -> Self {
        Self { judge, login_from }
    }
}

impl<A: Authenticator> Authenticator for CertificateNames<A> {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        self.judge.authenticate(login)
    }

    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        user_of(peer.certificates.first()?, self.login_from)
    }
}
