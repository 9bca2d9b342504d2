//! The broker from within its own process: what a client does over a socket, without one.

// First, because the page of `Client` lists methods in the order of these modules.
mod declare;

mod asking;
mod bindings;
mod confirm;
mod consumer;
mod delivery;
mod inspect;
mod options;
mod presence;
mod publish;
mod when_slow;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_queue_store::{ConsumerOptions, TakeMode, Time};
use parking_lot::Mutex;

use crate::access::{Caller, OwnedQuestion};
use crate::auth::Identity;
use crate::connection::{Kind, Registration};
use crate::error::{Error, Refusal};
use crate::exchange::presence::End;
use crate::metadata::Ticket;
use crate::net;
use crate::outbox::{ConsumerKey, Outbox};
use crate::session::Rights;
use crate::shared::Shared;
use crate::slow;
use crate::vhost::{CannotConsume, ConsumerLink, QueueCell, VirtualHost};

use asking::Asking;
use delivery::Source;
use publish::Publisher;

pub use confirm::Confirm;
pub use consumer::Consumer;
pub use declare::RawOptions;
pub use delivery::Delivery;
pub use options::{
    ConsumeOptions, ExchangeOptions, ExchangeType, Overflow, Publish, QueueInfo, QueueOptions,
    QueueType,
};
pub use presence::{Presence, PresenceEvent, PresenceKind, PresentMember};
pub use when_slow::{SlowLimit, WhenSlow};

/// A client of the broker in the same process: declares, binds, publishes and consumes as an AMQP connection with one
/// channel does, under the same rules.
///
/// A client of [`Broker::client`](crate::Broker::client) is the embedding program itself and may do everything; one of
/// [`Broker::client_for`](crate::Broker::client_for) may do what its user may, and is refused with what else an AMQP client
/// would be told. Where an [`Authorizer`](crate::Authorizer) says what that is, methods wait for its answers, one after the
/// other; what is remembered of them is asked anew [after a while](crate::Builder::verdict_ttl).
///
/// Clones are the same client. Exclusive queues belong to the client that declared them and go when its last clone and
/// its last [`Consumer`] are dropped.
///
/// Most methods are `async`: what changes something durable waits until the change is in the broker's data directory, if
/// it has one; everything else finishes at once. Dropping a call before it is awaited does nothing, except for
/// [`Client::publish`]; dropping it while it waits for the disk takes nothing back.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    vhost: Arc<VirtualHost>,
    /// Leaves the registry when the client is dropped.
    _registration: Registration,
    caller: Caller,
    /// For whom it acts, if for anybody; another after each new secret.
    identity: Mutex<Option<Identity>>,
    /// When that ends, in milliseconds since the Unix epoch.
    expires_at: AtomicU64,
    /// Where somebody has to be asked what it may do.
    asking: Option<Box<Asking>>,
    exclusive: Mutex<Vec<Weak<QueueCell>>>,
    publisher: Mutex<Publisher>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (now, exclusive) = (
            self.shared.now(),
            std::mem::take(&mut *self.exclusive.lock()),
        );
        let connection = self.caller.connection();
        self.vhost
            .leave_with_connection(now, connection, End::InOrder);
        self.vhost.connection_closed(now, exclusive);
    }
}

impl Client {
    /// None when the broker is shut down.
    pub(crate) fn new(shared: Arc<Shared>, vhost: Arc<VirtualHost>) -> Option<Self> {
        let outbox = Outbox::new(Default::default());
        let registration = shared.registry.register(&outbox, Kind::Client, None)?;
        let caller = Caller::trusted(registration.id());
        Some(Self::with(shared, vhost, registration, caller, None))
    }

    /// # Errors
    /// When the user is not let into the virtual host, or the broker is shut down.
    pub(crate) async fn acting_for(
        identity: &Identity,
        shared: Arc<Shared>,
        vhost: Arc<VirtualHost>,
    ) -> Result<Self, Error> {
        let outbox = Outbox::new(Default::default());
        let registration = shared.registry.register(&outbox, Kind::Client, None);
        let registration = registration.ok_or_else(Error::closed)?;
        let may_enter = match identity.rights_from() {
            None => None,
            Some(authorizer) => {
                let rights = Rights {
                    authorizer: Arc::clone(authorizer),
                    user: Arc::clone(identity.username()),
                    questions: vec![OwnedQuestion::entry(vhost.name(), None)],
                    until_refused: true,
                };
                let answered = net::ask_for_rights(&shared, rights).await;
                Some(answered.answers.first() == Some(&true))
            }
        };
        let caller = shared.admit(
            identity,
            registration.id(),
            None,
            &vhost,
            &outbox,
            may_enter,
        )?;
        let client = Self::with(shared, vhost, registration, caller, Some(identity.clone()));
        client.set_expiry(identity);
        Ok(client)
    }

    fn with(
        shared: Arc<Shared>,
        vhost: Arc<VirtualHost>,
        registration: Registration,
        caller: Caller,
        identity: Option<Identity>,
    ) -> Self {
        let asking = caller.is_asked().then(|| Box::new(Asking::new()));
        let inner = Inner {
            shared,
            vhost,
            caller,
            identity: Mutex::new(identity),
            expires_at: AtomicU64::new(u64::MAX),
            asking,
            _registration: registration,
            exclusive: Mutex::default(),
            publisher: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts a consumer. Messages come from [`Consumer::recv`], or from it as a `Stream`.
    ///
    /// # Errors
    /// When the queue does not exist, is exclusive to another client, or has an exclusive consumer.
    pub async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer, Error> {
        let cell = self.decided(|| self.queue(queue)).await?;
        // What an application has not taken yet is its own business, so it does not count as the broker's work.
        let outbox = Outbox::new(Default::default());
        self.caller().follow(&outbox);
        if let Some(asking) = &self.inner.asking {
            asking.follow(&outbox, queue);
        }
        let registration = self
            .inner
            .shared
            .registry
            .register(&outbox, Kind::Consumer, None)
            .ok_or_else(Error::closed)?;
        let link = ConsumerLink {
            outbox: Arc::clone(&outbox),
            channel: Default::default(),
            key: ConsumerKey(0),
            holder: registration.id(),
            tag: None,
            _seats: self.inner.vhost.add_consumer(self.caller(), queue)?,
        };
        let consumer_options = ConsumerOptions {
            no_ack: options.no_ack,
            exclusive: options.exclusive,
            priority: options.priority,
            prefetch: options.prefetch,
            window: Some(Arc::clone(outbox.window())),
            channel_prefetch: None,
            slow: options.when_slow.to_consumer(),
        };
        if matches!(options.when_slow, WhenSlow::DropOldest(_)) {
            // Nobody has been refused yet.
            let _ = outbox.window().set_limit(slow::OWN_WINDOW_BYTES);
        }
        let id = cell
            .consume(self.inner.shared.now(), consumer_options, link)
            .map_err(|problem| match problem {
                CannotConsume::QueueGone => self.inner.vhost.no_queue(queue),
                CannotConsume::Refused(_) => Refusal::access_refused(format!(
                    "{} in exclusive use",
                    self.inner.vhost.queue_phrase(queue)
                )),
            })?;
        let source = self.source(cell);
        Ok(Consumer::new(
            self.clone(),
            registration,
            outbox,
            source,
            id,
        ))
    }

    /// Takes one message if there is one; it must be settled like one from a consumer.
    ///
    /// # Errors
    /// When the queue does not exist, is exclusive to another client, or is a quorum queue with a single active consumer.
    pub async fn get(&self, queue: &str) -> Result<Option<Delivery>, Error> {
        let find = || Ok(self.vhost()?.gettable_queue(self.caller(), queue)?);
        let queue = self.decided(find).await?;
        let taken = queue.take(self.inner.shared.now(), TakeMode::Ack);
        let source = Arc::new(self.source(queue));
        Ok(taken.map(|(delivery, _)| Delivery::new(&source, delivery, 0)))
    }

    /// Waits until a change is on the disk.
    async fn recorded(&self, ticket: Ticket) -> Result<(), Error> {
        if ticket == Ticket::NONE {
            return Ok(());
        }
        let metadata = &self.inner.shared.services.metadata;
        Ok(metadata.when_committed(ticket).await?)
    }

    /// The virtual host, as long as there is a broker.
    fn vhost(&self) -> Result<&VirtualHost, Error> {
        if self.inner.shared.registry.is_closing() {
            return Err(Error::closed());
        }
        if let Some(at) = self.expires_at()
            && at <= self.inner.shared.now()
        {
            return Err(Refusal::expired().into());
        }
        Ok(&self.inner.vhost)
    }

    /// When the login ends, if it does.
    fn expires_at(&self) -> Option<Time> {
        match self.inner.expires_at.load(Ordering::Relaxed) {
            u64::MAX => None,
            ms => Some(Time::from_millis(ms)),
        }
    }

    fn set_expiry(&self, identity: &Identity) {
        let ms = identity.expiry().map_or(u64::MAX, Time::as_millis);
        self.inner.expires_at.store(ms, Ordering::Relaxed);
    }

    fn source(&self, queue: Arc<QueueCell>) -> Source {
        let clock = self.inner.shared.clock.clone();
        Source { queue, clock }
    }

    fn queue(&self, name: &str) -> Result<Arc<QueueCell>, Error> {
        Ok(self.vhost()?.readable_queue(self.caller(), name)?)
    }

    fn caller(&self) -> &Caller {
        &self.inner.caller
    }
}
