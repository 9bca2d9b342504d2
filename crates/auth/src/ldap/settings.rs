//! How a directory is asked.

use std::time::Duration;

use super::query::Query;
use super::template::Template;
use crate::secret::Secret;
use crate::tls::TlsClient;

/// How an [`Ldap`](super::Ldap) backend asks its directory; made by [`LdapSettings::new`], its fields are then set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LdapSettings {
    /// Where the directory is: `ldap://host:port` or `ldaps://host:port`. The next is asked when there is no connection to
    /// one; there has to be one at least.
    pub servers: Vec<String>,
    /// Whether connections to `ldap://` are to go on with TLS, and not without it.
    pub start_tls: bool,
    /// How TLS is spoken.
    pub tls: TlsClient,
    /// How users are found.
    pub users: UserLookup,
    /// Who asks questions that are not a login; nobody in particular, if it is not set.
    pub account: Option<ServiceAccount>,
    /// Who may open a virtual host.
    pub vhost: Query,
    /// Who may configure, write to and read from an exchange or queue.
    pub resource: Query,
    /// Who may use a routing key with a topic exchange; at first everybody who may use the exchange.
    pub topic: Query,
    /// Who has a tag.
    pub tags: Vec<(String, Query)>,
    /// How long connecting to a server may take, TLS included; 3 s at first.
    pub connect_timeout: Duration,
    /// How long a login or a question may take in all, waiting for a connection included; 8 s at first, which fits into the
    /// ten seconds that clients have to log in.
    pub request_timeout: Duration,
    /// How many connections there are at most to try passwords, as many again to look up who logs in, and as many again for
    /// those who are in; 8 at first. Whoever comes when all are in use waits for one.
    pub connections_max: usize,
}

/// How the distinguished name of a user is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserLookup {
    /// It has this form, with `${username}` in it.
    Pattern(Template),
    /// It is that of the only entry below `base`, at whatever depth, whose attribute is the user's name.
    Search {
        /// The attribute, such as `uid` or `userPrincipalName`.
        attribute: String,
        /// The distinguished name of the place where users are.
        base: String,
    },
}

/// Somebody who may read the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The distinguished name.
    pub dn: String,
    /// The password.
    pub password: Secret,
}

impl LdapSettings {
    /// For a directory at these addresses.
    #[must_use]
    pub fn new(servers: Vec<String>, users: UserLookup, vhost: Query, resource: Query) -> Self {
        Self {
            servers,
            start_tls: false,
            tls: TlsClient::default(),
            users,
            account: None,
            vhost,
            resource,
            topic: Query::Constant(true),
            tags: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(8),
            connections_max: 8,
        }
    }
}
