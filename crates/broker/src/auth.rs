//! Who may log in: a trait, and the table of users that is used unless the embedding program passes its own.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use crate::access::User;
#[cfg(feature = "stomp")]
use crate::upgrade_request::UpgradeRequest;

/// What a client shows when it logs in.
///
/// Its `Debug` output leaves the password out.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The name the client gave.
    pub username: String,
    /// The password or token the client gave, exactly as it came.
    pub password: Vec<u8>,
    /// The SASL mechanism, for example `PLAIN`.
    pub mechanism: &'static str,
    /// The client's address; none for clients without a socket.
    pub peer: Option<SocketAddr>,
    /// What the broker's [`Accounts`](crate::Accounts) have under this name; none for a name that they do not have, and
    /// where there are no accounts.
    pub account: Option<User>,
    /// What TLS has shown of the client; none for connections without it. For the mechanism `EXTERNAL` its certificate is
    /// all there is: it has been verified, the password is empty, and `username` is what
    /// [`Authenticator::certificate_user`] made of it.
    pub tls: Option<Arc<TlsPeer>>,
    /// The HTTP request that the client's WebSocket began with; none for clients that came without one. Its cookies or a
    /// token in its address may say more of a browser than name and password do.
    #[cfg(feature = "stomp")]
    pub request: Option<Box<UpgradeRequest>>,
    /// The headers of a STOMP client's CONNECT in their order, `passcode` left out, which is the password; none for other
    /// clients.
    #[cfg(feature = "stomp")]
    pub connect_headers: Vec<(String, String)>,
}

/// What TLS has shown of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsPeer {
    /// The version, `TLSv1_2` or `TLSv1_3`.
    pub version: Option<&'static str>,
    /// The name of the cipher suite.
    pub cipher_suite: Option<&'static str>,
    /// The host name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The client's certificate, verified, and those that it sent along to have it verified; each as DER. Empty when it
    /// showed none.
    pub certificates: Vec<Vec<u8>>,
    /// Who that makes it, as [`Authenticator::certificate_user`] has said.
    pub username: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("mechanism", &self.mechanism)
            .field("peer", &self.peer)
            .field("is_over_tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Login {
    pub(crate) fn new(
        username: String,
        password: Vec<u8>,
        mechanism: &'static str,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self {
            username,
            password,
            mechanism,
            peer,
            account: None,
            tls: None,
            #[cfg(feature = "stomp")]
            request: None,
            #[cfg(feature = "stomp")]
            connect_headers: Vec::new(),
        }
    }

    /// The first header of this name in a STOMP client's CONNECT.
    #[cfg(feature = "stomp")]
    #[must_use]
    pub fn connect_header(&self, name: &str) -> Option<&str> {
        let mut headers = self.connect_headers.iter();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Who a connection acts as, once it has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    username: Arc<str>,
}

impl Identity {
    /// The identity of the user with this name.
    #[must_use]
    pub fn new(username: impl Into<Arc<str>>) -> Self {
        Self {
            username: username.into(),
        }
    }

    /// The user's name, as the `user-id` property of its messages must state it.
    #[must_use]
    pub fn username(&self) -> &Arc<str> {
        &self.username
    }
}

/// Why a login was refused; the text goes to the log, never to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefused {
    reason: String,
}

impl LoginRefused {
    /// A refusal with this reason for the operator.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LoginRefused {}

/// What [`Authenticator::authenticate`] returns.
pub type LoginFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Identity, LoginRefused>> + Send + 'a>>;

/// Decides who may log in. What they may do then is for the [`Accounts`](crate::Accounts) to say, where there are any.
///
/// An embedding program passes its own with [`Builder::authenticator`](crate::Builder::authenticator) to let its users
/// in with the passwords or tokens that it knows already.
pub trait Authenticator: Send + Sync + 'static {
    /// Checks one login. Called on the connection's task, for a bounded time (the handshake timeout); when the client
    /// goes away before the answer, the future is dropped.
    fn authenticate(&self, login: Login) -> LoginFuture<'_>;

    /// Which user a client is that has shown a certificate. Asked once for each such connection, when its certificate has
    /// been verified; clients are offered the mechanism `EXTERNAL` where the answer is a name, and it still is for
    /// [`Authenticator::authenticate`] to say whether that user may log in. Nobody, unless this is implemented.
    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        let _ = peer;
        None
    }
}

/// A fixed table of names and passwords, for tests, examples and the server's start without configuration.
///
/// As in RabbitMQ, a user may be bound to loopback: then it is refused from any other address, whatever its password.
#[derive(Clone, Default)]
pub struct UserTable {
    users: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    password: Vec<u8>,
    loopback_only: bool,
}

impl UserTable {
    /// A table without users: nobody may log in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What RabbitMQ starts with: `guest` with password `guest`, from loopback addresses only.
    #[must_use]
    pub fn guest() -> Self {
        Self::new().with_loopback_user("guest", "guest")
    }

    /// Adds a user who may come from anywhere; replaces one of the same name.
    #[must_use]
    pub fn with_user(self, name: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        self.with(
            name.into(),
            Entry {
                password: password.into(),
                loopback_only: false,
            },
        )
    }

    /// Adds a user who is only let in from a loopback address; replaces one of the same name.
    #[must_use]
    pub fn with_loopback_user(self, name: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        self.with(
            name.into(),
            Entry {
                password: password.into(),
                loopback_only: true,
            },
        )
    }

    fn with(mut self, name: String, user: Entry) -> Self {
        self.users.insert(name, user);
        self
    }

    fn check(&self, login: &Login) -> Result<Identity, LoginRefused> {
        let name = &login.username;
        let Some(user) = self.users.get(name) else {
            return Err(LoginRefused::new(format!("user '{name}' is unknown")));
        };
        // RabbitMQ refuses empty passwords whatever the table says (behaviour reference, section 18.1).
        if login.password.is_empty() || !equal_in_constant_time(&user.password, &login.password) {
            return Err(LoginRefused::new(format!(
                "user '{name}' gave a wrong password"
            )));
        }
        if user.loopback_only && !login.peer.is_none_or(|peer| is_loopback(peer.ip())) {
            return Err(LoginRefused::new(format!(
                "user '{name}' can only connect via localhost"
            )));
        }
        Ok(Identity::new(name.as_str()))
    }
}

impl fmt::Debug for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserTable")
            .field("users", &self.users.keys())
            .finish()
    }
}

impl Authenticator for UserTable {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(std::future::ready(self.check(&login)))
    }
}

/// IPv4 addresses that arrive on an IPv6 socket count as what they are.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Takes as long for a wrong first byte as for a wrong last one; only the lengths can be told apart.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, password: &str, peer: Option<&str>, want: bool) {
        let login = Login::new(
            name.into(),
            password.into(),
            "PLAIN",
            peer.map(|peer| peer.parse().unwrap()),
        );
        let table = UserTable::guest().with_user("ann", "secret");
        assert_eq!(table.check(&login).is_ok(), want, "{login:?}");
    }

    #[test]
    fn guest_is_let_in_from_loopback_only() {
        check("guest", "guest", Some("127.0.0.1:1"), true);
        check("guest", "guest", Some("[::1]:1"), true);
        check("guest", "guest", Some("[::ffff:127.0.0.1]:1"), true);
        check("guest", "guest", None, true);
        check("guest", "guest", Some("192.0.2.1:1"), false);
        check("ann", "secret", Some("192.0.2.1:1"), true);
    }

    #[test]
    fn a_wrong_unknown_or_empty_password_is_refused() {
        check("guest", "gues", None, false);
        check("guest", "guesx", None, false);
        check("guest", "", None, false);
        check("zorp", "guest", None, false);
    }

    #[test]
    fn debug_output_shows_no_password() {
        let login = Login::new("ann".into(), b"secret".to_vec(), "PLAIN", None);
        assert!(
            !format!(
                "{login:?} {:?}",
                UserTable::new().with_user("ann", "secret")
            )
            .contains("secret")
        );
    }
}
