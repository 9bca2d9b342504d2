//! What is known of a client before it says anything in its session.

use std::fmt;

use crate::auth::Identity;
use crate::upgrade_request::UpgradeRequest;

/// A client that came by way of a web server, ours or the embedding program's. Kept until it logs in.
#[derive(Debug)]
pub(crate) enum Newcomer {
    /// It has proved who it is; what it says about that itself does not count.
    Known(Identity),
    /// It asked for a WebSocket with this.
    Asked {
        request: Box<UpgradeRequest>,
        /// What the `Authorization` header says, where that counts in place of a CONNECT's login.
        credentials: Option<Credentials>,
        /// It is a web page of another site, which nobody has allowed: it is nobody without a login of its own.
        is_foreign: bool,
    },
}

/// A name and a password.
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    /// The password is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
