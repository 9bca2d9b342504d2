//! A message broker that runs inside your own process, with RabbitMQ's semantics.
//!
//! An application starts a [`Broker`], declares exchanges and queues, publishes and consumes, without a second process
//! to install, start or look after. The same broker serves AMQP 0-9-1 clients of any language over TCP, as RabbitMQ
//! does, if it is given an address to listen on.
//!
//! - [`Broker`] is the running broker: where it listens, how it stands, how it is stopped. [`Builder`] sets it up.
//! - [`Client`] is a client in the same process. What it does, a client with a socket can do, and under the same rules.
//! - [`Consumer`] receives the messages of a queue, and [`Delivery`] is one of them, to be acknowledged.
//!
//! ```
//! use leveret_broker::{Broker, ConsumeOptions, ExchangeOptions, ExchangeType, Publish, QueueOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), leveret_broker::Error> {
//! // Without a listener; with one, clients in other programs meet the same queues.
//! let broker = Broker::builder().start().await?;
//! let client = broker.client()?;
//!
//! client.declare_exchange("events", ExchangeType::Topic, ExchangeOptions::default()).await?;
//! let queue = client.declare_queue("audit", QueueOptions::default()).await?;
//! client.bind_queue(&queue.name, "events", "user.#").await?;
//!
//! // Published when it is called; awaited, it tells what became of the message.
//! client.publish(Publish::to_exchange("events", "user.login", b"ann")).await?;
//!
//! let mut consumer = client.consume("audit", ConsumeOptions::default()).await?;
//! if let Some(delivery) = consumer.recv().await {
//!     assert_eq!((delivery.routing_key(), delivery.body()), ("user.login", &b"ann"[..]));
//!     delivery.ack();
//! }
//! assert_eq!(client.queue_info("audit").await?.unacked, 0);
//!
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where messages are
//!
//! A message that was published is in all queues that it was routed to when [`Client::publish`] returns, and before an
//! AMQP client gets its confirm. It stays in a queue until a consumer has acknowledged it, it expires, is rejected or
//! has to make room, or the queue goes. The order in which one publisher sends is the order of each queue, and what
//! comes back to a queue comes back to its old place.
//!
//! With a data directory (feature `journal`, `Builder::data_dir`) virtual hosts, durable exchanges and queues, the
//! bindings between them, persistent messages in durable queues, and what waits in durable delayed exchanges are there
//! again after a restart or a crash; a call that changes a definition returns, a publish is confirmed, and an AMQP client
//! is answered once that is on the disk. A broker without one keeps everything in memory, and forgets it when it stops.
//!
//! An exchange may keep what has passed it ([`ExchangeOptions::history_length`]), so that a client that was away goes on
//! where it was: it declares a queue with the [position](Delivery::position) of the last message that it has seen as
//! [`QueueOptions::resume_from`], and binds it.
//!
//! # At the edges
//!
//! | What happens | What comes of it |
//! | --- | --- |
//! | Nobody is bound | The message is dropped. Published as [mandatory](Publish::mandatory), it comes back in the [`Error`]. |
//! | A queue is full | As its [`Overflow`] says: the oldest make room, or the new one is refused. Without a length limit a queue is never full. |
//! | The [memory limit](Builder::memory_limit) is reached | Publishers wait until a tenth of it is free: in this process in the [`Confirm`], with a socket because it is no longer read from. Consumers go on. |
//! | The disk is [nearly full](Builder::disk_free_limit) | The same, until it is not. Only for a broker that was given a [`DiskSpace`]. |
//! | A consumer does not read | It is given 512 KiB of messages and is then passed over; the others of its queue go on. What waits for it waits, is dropped from its oldest end, or ends it, [as it wants](ConsumeOptions::when_slow). |
//! | A [`Delivery`] is dropped | It goes back to its old place and is marked as redelivered, so a worker that panics loses nothing. |
//! | A [`Consumer`] is dropped | What it was given and has not taken goes back. What was taken remains to be settled. |
//! | A future is dropped | [`Consumer::recv`] has taken nothing; a message handed to [`Client::publish`] is published nonetheless. |
//! | The last clone of a [`Client`] is dropped | Its exclusive queues go, once its consumers have gone too. |
//! | A queue is deleted | Its consumers see the end of their streams. |
//! | [`Broker::shutdown`] | Nobody is let in any more; consumers see the end of their streams; AMQP clients are asked to close, and are waited for; STOMP clients get an ERROR and are closed. |
//! | The [`Broker`] is dropped | The same, without the wait. |
//!
//! # Who is there
//!
//! An exchange of type [`Presence`](ExchangeType::Presence) knows who is subscribed to which key, over whichever protocol.
//! [`Client::present`] lists them, [`Client::presence`] is a stream of who comes, goes, and is lost because its connection
//! broke. A member with several devices is one.
//!
//! # Time in tests
//!
//! On a [`VirtualClock`] every TTL, lease and heartbeat waits until the test moves the clock, and
//! [`Broker::wait_idle`] until whatever has become due has been carried out. Nothing sleeps.
//!
//! ```
//! use std::time::Duration;
//! use leveret_broker::{Broker, Publish, QueueOptions, VirtualClock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), leveret_broker::Error> {
//! let clock = VirtualClock::new();
//! let broker = Broker::builder().virtual_clock(clock.clone()).start().await?;
//! let client = broker.client()?;
//! let hour = Duration::from_secs(3600);
//! client.declare_queue("offers", QueueOptions { message_ttl: Some(hour), ..Default::default() }).await?;
//! client.publish(Publish::to_queue("offers", b"half price")).await?;
//!
//! clock.advance(hour - Duration::from_millis(1));
//! broker.wait_idle().await;
//! assert_eq!(client.queue_info("offers").await?.ready, 1);
//!
//! clock.advance(Duration::from_millis(1));
//! broker.wait_idle().await;
//! assert_eq!(client.queue_info("offers").await?.ready, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Several brokers may run in one process, one for each test: they have nothing in common, and those that listen on
//! port 0 never meet.
//!
//! # Seeing what happens
//!
//! [`Client::queue_info`] counts, [`Client::browse`] looks at what is ready, and [`Client::unacked`] tells who holds what
//! is not. [`Client::explain`] tells binding by binding where a message would go, and which bindings it would just miss;
//! [`Client::unroutable`] keeps the latest messages that went nowhere.
//!
//! # Who may log in, and do what
//!
//! Clients with a socket log in by name and password. Unless told otherwise the broker knows `guest` with password
//! `guest`, from loopback addresses only; [`UserTable`] is a fixed list of others, and an [`Authenticator`] of your own
//! lets in whom your application knows already, by a password or token, or by what the browser's request for its WebSocket
//! shows ([`Login::request`]). On a network that you do not trust, listen with TLS (feature `tls`, `Builder::amqps` and its
//! like), or put a TLS proxy before the broker.
//!
//! Who is in may do everything in every virtual host, unless the broker is given [`Accounts`]: users with
//! [`Permissions`] for each virtual host, and with [`TopicPermissions`] for routing keys, as in RabbitMQ. They can be
//! changed while the broker runs ([`Broker::change_accounts`]), and hold for the clients that are connected; with
//! [`Builder::keep_accounts`] they are in the data directory. A [`Client`] is your own program and may always do
//! everything, unless it acts for a user ([`Broker::client_for`]).
//!
//! What a user may do can also be somebody else's to say: a token's scopes, a directory, another service. An [`Identity`] with
//! an [`Authorizer`] has it asked, and its client waits for the answer if that takes time. [`AuthChain`] asks several
//! authenticators one after the other, [`CachedAuth`] keeps what they say for a while, and logins may
//! [end](Identity::valid_until).
//!
//! # Runtime
//!
//! The broker needs a tokio runtime with time and IO enabled: one task for deadlines, one for the disk if it is
//! watched, one for each listener, and one for
//! each connection. Either flavour will do. With a data directory there is one
//! thread more, which sleeps while no definition changes.
//!
//! # Features
//!
//! - `journal`, off by default: durable definitions and messages in a data directory (`Builder::data_dir`). Brings the embedded
//!   database redb.
//! - `stomp`, on by default: STOMP 1.0 to 1.2 as RabbitMQ speaks it ([`Builder::stomp`]), with the exchanges, queues, users
//!   and limits that AMQP clients meet; and both protocols over WebSocket ([`Builder::websocket`]). An application with a
//!   web server of its own answers requests for WebSockets on a route ([`Broker::agree_to_websocket`]) and hands them over
//!   ([`Broker::serve_websocket`]), with the identity that it has established.
//! - `tls`, off by default: listeners with TLS (`Builder::tls`, `Broker::set_tls`), and logins by client certificate.
//!   `certificate_expiry` tells when a certificate ends. Brings rustls, as `leveret_broker::rustls`, without a provider of
//!   cryptography.
//!
//! # What it is not
//!
//! - Not a log or a database: a message that has been acknowledged is gone, and without a data directory all are when the
//!   process ends. RabbitMQ's streams are refused; a quorum queue follows the rules of one, and has no replicas.
//! - Not a cluster. One broker is one process.
//! - Not a server with a command line: that is `leveret-server`, made of this crate. Nothing of what only a server needs
//!   (HTTP, arguments, a log subscriber) comes with it; it reports through `tracing`.
//! - Not finished: the management API is not there yet.

mod access;
mod alarms;
mod allowances;
mod arguments;
mod auth;
mod beginning;
mod broker;
mod builder;
mod busy;
#[cfg(feature = "tls")]
mod certificate;
mod client;
mod clock;
mod config;
mod connection;
mod delivery_mode;
mod disk;
mod error;
mod exchange;
mod expiration;
#[doc(hidden)]
pub mod fuzzing;
mod login_guard;
mod login_places;
mod memory;
mod metadata;
#[cfg(feature = "stomp")]
mod mount;
mod net;
mod network;
mod outbox;
mod overview;
#[cfg(feature = "stomp")]
mod percent;
mod proxy_protocol;
mod quota;
mod random;
#[doc(hidden)]
pub mod sans_io;
mod session;
mod shared;
#[cfg(all(test, feature = "journal"))]
mod simulation;
mod slow;
#[cfg_attr(
    not(feature = "journal"),
    expect(dead_code, reason = "without a data directory nobody makes a store")
)]
mod store;
mod timers;
#[cfg(feature = "stomp")]
mod upgrade_request;
mod vhost;

pub use access::{
    AccountChange, Accounts, PasswordHash, Pattern, PatternError, Permissions, ResourceKind, Right,
    Tag, TopicPattern, TopicPermissions, User, UserLimits, UserPermissions, UserTopicPermissions,
};
pub use alarms::Alarm;
pub use auth::{
    AuthChain, Authenticator, Authorization, AuthorizationFuture, Authorizer, AuthorizerSource,
    CachedAuth, Identity, Login, LoginFuture, LoginRefused, Password, Question, RenewFuture,
    TlsPeer, Unavailable, UserTable, VerdictFuture,
};
pub use broker::Broker;
pub use builder::Builder;
#[cfg(feature = "tls")]
pub use certificate::certificate_expiry;
pub use client::{
    Client, Confirm, ConsumeOptions, Consumer, Delivery, ExchangeOptions, ExchangeType, Overflow,
    Presence, PresenceEvent, PresenceKind, PresentMember, Publish, QueueInfo, QueueOptions,
    QueueType, RawOptions, SlowLimit, WhenSlow,
};
pub use clock::VirtualClock;
pub use disk::DiskSpace;
pub use error::Error;
pub use leveret_amqp_codec::{Properties, Table, Value};
#[cfg(feature = "journal")]
pub use leveret_queue_store::SyncPolicy;
pub use leveret_queue_store::{Message, Time};
pub use network::{Network, NetworkError};
pub use overview::{
    BindingOverview, ChannelOverview, ConnectionOverview, ConnectionState, ConsumerOverview,
    ExchangeOverview, QueueOverview,
};
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "stomp")]
pub use upgrade_request::UpgradeRequest;
pub use vhost::{
    ExplainedBinding, Explanation, Position, PositionError, ResumeFrom, Scheduled, Step, Unacked,
    Unroutable, VhostLimits,
};
