//! What one user may do, asked of somebody else than the accounts: a trait, and its questions.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::pin::Pin;

use super::{Identity, LoginRefused, Unavailable};
use crate::access::{ResourceKind, Right};

/// What [`Authorizer::authorize`] returns.
pub type VerdictFuture<'a> = Pin<Box<dyn Future<Output = Result<bool, Unavailable>> + Send + 'a>>;

/// What [`Authorizer::renew`] returns.
pub type RenewFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Identity>, LoginRefused>> + Send + 'a>>;

/// Says what one user may do, for the connections that have logged in with its [`Identity`]
/// ([`Identity::with_authorizer`]).
///
/// An [`Authenticator`](crate::Authenticator) makes one for each login, so that whatever the login has shown can live in
/// it: the scopes of a token, the name that a directory has for the user.
///
/// Answers may take their time. Meanwhile nothing more is read from the connection that waits, so that what its client asks
/// for is done in its order; deliveries, heartbeats and all other connections go on. An answer that is there at once holds
/// nothing up.
///
/// What was permitted is remembered by the connection for
/// [a while](crate::Builder::verdict_ttl) (128 answers at most, then it begins anew), and asked again after that. What was
/// refused is asked each time. What has begun goes on: a consumer is not cancelled because its user may no longer read
/// from the queue, unless a [new secret](Authorizer::renew) says so.
///
/// ```
/// use std::future::ready;
/// use std::sync::Arc;
///
/// use leveret_broker::{Authorizer, Broker, Identity, Publish, Question, Right, VerdictFuture};
///
/// /// May read everything and change nothing.
/// struct ReadOnly;
///
/// impl Authorizer for ReadOnly {
///     fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
///         Box::pin(ready(Ok(match question {
///             Question::VirtualHost { .. } => true,
///             Question::Resource { right, .. } | Question::Topic { right, .. } => right == Right::Read,
///             _ => false,
///         })))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().start().await?;
/// let visitor = Identity::new("visitor").with_authorizer(Arc::new(ReadOnly));
/// let client = broker.client_for(&visitor, "/").await?;
/// let refused = client.publish(Publish { exchange: "amq.topic", ..Publish::default() }).await;
/// assert!(refused.is_err_and(|error| error.is_access_refused()));
/// # Ok(())
/// # }
/// ```
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the user may do this; `Ok(false)` when not. The client is then told in RabbitMQ's words.
    ///
    /// Called on the connection's task, one question at a time for each connection. It has
    /// [15 seconds](crate::Builder::authorization_timeout) unless told otherwise; after that, and when the client goes away
    /// before the answer, the future is dropped.
    ///
    /// # Errors
    /// When it could not be found out. That is a refusal like any other to the client, and an error in the log.
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a>;

    /// A client shows a new secret for the login that it has, by AMQP's `connection.update-secret`, in time before the old
    /// one [expires](Identity::valid_until). What comes back takes the place of the identity; it must be of the same user.
    /// The connection then asks it anew what it had remembered, first of all whether its virtual host is still open to it
    /// and its consumers may read: those that may not are cancelled. None changes nothing.
    ///
    /// Unless this is implemented every secret is fine and changes nothing, as in RabbitMQ for users whose secrets do not
    /// expire.
    ///
    /// # Errors
    /// When the new secret is not good for this user, or that could not be found out: the connection is closed with
    /// `NOT_ALLOWED`.
    fn renew<'a>(&'a self, secret: &'a [u8]) -> RenewFuture<'a> {
        let _ = secret;
        Box::pin(ready(Ok(None)))
    }
}

/// What an [`Authorizer`] is asked. Names are those of the client's request; none of the things named needs to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Question<'a> {
    /// May the user open this virtual host? Asked once for each connection, and again when a secret is renewed. The virtual
    /// host exists.
    VirtualHost {
        /// Its name.
        vhost: &'a str,
        /// The client's address, without a port; none for clients of this process.
        peer: Option<IpAddr>,
    },
    /// May the user do this to an exchange or a queue?
    Resource {
        /// The virtual host's name.
        vhost: &'a str,
        /// What it is.
        kind: ResourceKind,
        /// Its name; `amq.default` for the exchange that has none. A queue that the broker is to name has its name already.
        name: &'a str,
        /// What the user wants to do.
        right: Right,
    },
    /// May the user use this routing key with a topic exchange, to which it has the right already?
    Topic {
        /// The virtual host's name.
        vhost: &'a str,
        /// The exchange's name.
        exchange: &'a str,
        /// The routing key of a message ([`Right::Write`]), or the pattern of a binding ([`Right::Read`]).
        routing_key: &'a str,
        /// [`Right::Write`] or [`Right::Read`].
        right: Right,
        /// The client's id, for protocols whose clients have one. AMQP and STOMP have none.
        client_id: Option<&'a str>,
    },
}
