//! What a client shows when it logs in.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Password;
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
    /// The password or token the client gave.
    pub password: Password,
    /// The SASL mechanism, for example `PLAIN`.
    pub mechanism: &'static str,
    /// The client's address; none for clients without a socket.
    pub peer: Option<SocketAddr>,
    /// What the broker's [`Accounts`](crate::Accounts) have under this name; none for a name that they do not have, and
    /// where there are no accounts.
    pub account: Option<User>,
    /// What TLS has shown of the client; none for connections without it. For the mechanism `EXTERNAL` its certificate is
    /// all there is: it has been verified, the password is empty, and `username` is what
    /// [`Authenticator::certificate_user`](crate::Authenticator::certificate_user) made of it.
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
    /// showed none. `certificate_expiry` tells until when they hold.
    pub certificates: Vec<Vec<u8>>,
    /// Who that makes it, as [`Authenticator::certificate_user`](crate::Authenticator::certificate_user) has said.
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
    /// What a client shows that gives this name and password over this mechanism; the other fields are empty. For whoever
    /// tries out an [`Authenticator`](crate::Authenticator).
    #[must_use]
    pub fn new(
        username: String,
        password: Vec<u8>,
        mechanism: &'static str,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self {
            username,
            password: password.into(),
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
