//! Backends of authentication for leveret that ask somebody else: an HTTP service, the issuer of tokens, a directory.
//!
//! Each is an [`Authenticator`](leveret_broker::Authenticator), alone or in an [`AuthChain`](leveret_broker::AuthChain),
//! and does what RabbitMQ's plugin of the same purpose does, so that what was written for that one goes on working.
//!
//! - `Http`, feature `http`: a service of one's own is asked about users and everything that they want to do.
//! - `OAuth2`, feature `oauth2`: the password is a JSON Web Token, which says who its bearer is, what that user may do, and until
//!   when.
//! - `Ldap`, feature `ldap`: a directory knows the users, and what it has of them says what they may do.
//!
//! ```
//! # #[cfg(feature = "http")]
//! # fn example() -> Result<leveret_broker::Builder, leveret_auth::SetupError> {
//! use leveret_auth::{Http, HttpMethod, HttpSettings};
//! use leveret_broker::{AuthChain, Broker, UserTable};
//!
//! let mut settings = HttpSettings::new(
//!     "https://users.example/mq/user",
//!     "https://users.example/mq/vhost",
//!     "https://users.example/mq/resource",
//!     "https://users.example/mq/topic",
//! );
//! settings.method = HttpMethod::Post;
//! let chain = AuthChain::new()
//!     .with("staff", UserTable::new().with_user("ann", "7hg2"))
//!     .with("http", Http::new(settings)?);
//! let builder = Broker::builder().authenticator(chain);
//! # Ok(builder)
//! # }
//! ```
//!
//! # At the edges
//!
//! | What happens | What comes of it |
//! | --- | --- |
//! | The service is down, slow, or answers what cannot be understood | The login or the question is refused, as [unavailable](leveret_broker::LoginRefused::unavailable); the log tells at once, and every ten seconds while it lasts, and when it is over. |
//! | A connection cannot be made | It is tried again, twice unless told otherwise, within the time that the question has. What has been sent is not sent again. |
//! | An answer is longer than it may be | It counts as none. |
//! | More questions than may be asked at once | They wait for their turn, within the time that they have. |
//! | The future is dropped | The question is given up, its connection with it if the answer has not come. Asking for an issuer's keys goes on, for whoever else waits for them. |
//!
//! Answers are not kept here; whoever wants that puts `CachedAuth` of the broker around a backend.
//!
//! # What is secret
//!
//! Passwords and tokens stand in no log, no error and no `Debug` output, and the buffers here that have held them are
//! wiped. Those of the HTTP client and of TLS are not in our hands: what was sent lies in them until they are used again.
//! The certificate of a service is always verified; there is no setting against it. Redirects are not followed and proxies
//! of the environment not used.
//!
//! # Features
//!
//! - `http` and `oauth2`, on by default. Bring the HTTP client reqwest, the latter jsonwebtoken too.
//! - `ldap`, off by default. Brings ldap3.
//!
//! TLS is that of rustls with aws-lc-rs.

#[cfg(any(feature = "http", feature = "ldap", feature = "oauth2"))]
mod clock;
mod error;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "ldap")]
mod ldap;
#[cfg(any(feature = "http", feature = "ldap"))]
mod mechanism;
#[cfg(feature = "oauth2")]
mod oauth2;
#[cfg(any(feature = "http", feature = "ldap", feature = "oauth2"))]
mod outage;
mod secret;
#[cfg(any(feature = "http", feature = "ldap", feature = "oauth2"))]
mod tls;
#[cfg(any(feature = "http", feature = "oauth2"))]
mod web;

pub use error::SetupError;
#[cfg(feature = "http")]
pub use http::{Http, HttpMethod, HttpSettings};
#[cfg(feature = "ldap")]
pub use ldap::{
    Clause, Ldap, LdapSettings, Query, ServiceAccount, Template, UserLookup, Value, Variable,
};
#[cfg(feature = "oauth2")]
pub use oauth2::{OAuth2, OAuth2Settings, SigningKey, TokenAlgorithm};
pub use secret::Secret;
#[cfg(any(feature = "http", feature = "ldap", feature = "oauth2"))]
pub use tls::TlsClient;
#[cfg(any(feature = "http", feature = "oauth2"))]
pub use web::RequestLimits;

#[cfg(all(doctest, feature = "http", feature = "oauth2"))]
#[doc = include_str!("../README.md")]
struct Readme;
