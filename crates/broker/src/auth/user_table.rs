//! The table of users that is used unless the embedding program passes an authenticator of its own.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::{Authenticator, Identity, Login, LoginFuture, LoginRefused};

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
        if login.password.is_empty() || !login.password.is(&user.password) {
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
