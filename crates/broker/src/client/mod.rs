//! The broker from within its own process: what a client does over a socket, without one.

mod confirm;
mod consumer;
mod declare;
mod delivery;
mod options;
mod presence;
mod when_slow;

use std::sync::{Arc, Weak};

use leveret_amqp_codec::{Properties, RawProperties, RawTable, Table};
use leveret_queue_store::{ConsumerOptions, Lsn, Message, MessageParts, TakeMode, Time};
use parking_lot::Mutex;

use crate::access::Caller;
use crate::auth::Identity;
use crate::connection::{Kind, Registration};
use crate::error::{Error, Refusal};
use crate::exchange::presence::End;
use crate::metadata::Ticket;
use crate::outbox::{ConsumerKey, Outbox};
use crate::shared::Shared;
use crate::slow;
use crate::vhost::{
    BindingRequest, CannotConsume, ConsumerLink, ExchangeDeclare, Explanation, QueueCell,
    QueueDeclare, QueueDelete, Route, RouteCache, Scheduled, Unacked, Unroutable, VirtualHost,
};

use delivery::Source;

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
/// would be told.
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
    /// For whom it acts, if for anybody.
    identity: Option<Identity>,
    exclusive: Mutex<Vec<Weak<QueueCell>>>,
    publisher: Mutex<Publisher>,
}

#[derive(Debug, Default)]
struct Publisher {
    cache: RouteCache,
    scratch: Vec<u8>,
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
    pub(crate) fn acting_for(
        identity: &Identity,
        shared: Arc<Shared>,
        vhost: Arc<VirtualHost>,
    ) -> Result<Self, Error> {
        let outbox = Outbox::new(Default::default());
        let registration = shared.registry.register(&outbox, Kind::Client, None);
        let registration = registration.ok_or_else(Error::closed)?;
        let caller = shared.admit(identity, registration.id(), &vhost, &outbox)?;
        let identity = Some(identity.clone());
        Ok(Self::with(shared, vhost, registration, caller, identity))
    }

    fn with(
        shared: Arc<Shared>,
        vhost: Arc<VirtualHost>,
        registration: Registration,
        caller: Caller,
        identity: Option<Identity>,
    ) -> Self {
        let inner = Inner {
            shared,
            vhost,
            caller,
            identity,
            _registration: registration,
            exclusive: Mutex::default(),
            publisher: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Declares an exchange. Nothing happens when one of this name with the same properties exists.
    ///
    /// # Errors
    /// For reserved names, and when an exchange of this name has other properties.
    pub async fn declare_exchange(
        &self,
        name: &str,
        kind: ExchangeType,
        options: ExchangeOptions,
    ) -> Result<(), Error> {
        let arguments = options.to_arguments().to_bytes();
        let ticket = self.vhost()?.declare_exchange(
            self.caller(),
            &ExchangeDeclare {
                name,
                kind: kind.name(),
                durable: options.durable,
                auto_delete: options.auto_delete,
                internal: options.internal,
                arguments: RawTable::from_validated_bytes(&arguments),
            },
        )?;
        self.recorded(ticket).await
    }

    /// Deletes an exchange with its bindings. One that does not exist is fine.
    ///
    /// # Errors
    /// For the exchanges that every virtual host has.
    pub async fn delete_exchange(&self, name: &str) -> Result<(), Error> {
        let ticket = self.vhost()?.delete_exchange(self.caller(), name, false)?;
        self.recorded(ticket).await
    }

    /// Declares a queue; an empty name has the broker choose one, which is in the answer. Nothing happens when a queue of
    /// this name with the same properties exists.
    ///
    /// # Errors
    /// For reserved names (`amq.`), unacceptable options, a queue of this name with other properties, or one that is
    /// exclusive to another client.
    pub async fn declare_queue(
        &self,
        name: &str,
        options: QueueOptions,
    ) -> Result<QueueInfo, Error> {
        let arguments = options.to_arguments().to_bytes();
        let declare = QueueDeclare {
            name,
            durable: options.durable,
            exclusive: options.exclusive,
            auto_delete: options.auto_delete,
            arguments: RawTable::from_validated_bytes(&arguments),
        };
        let declared =
            self.vhost()?
                .declare_queue(self.inner.shared.now(), self.caller(), &declare)?;
        if declared.created && options.exclusive {
            let mut exclusive = self.inner.exclusive.lock();
            exclusive.retain(|queue| queue.strong_count() > 0);
            exclusive.push(Arc::downgrade(&declared.queue));
        }
        self.recorded(declared.ticket).await?;
        Ok(QueueInfo::new(declared.queue.name(), declared.counts))
    }

    /// How a queue stands at the moment. Its lease is not renewed by looking.
    ///
    /// # Errors
    /// When it does not exist, or is exclusive to another client.
    pub async fn queue_info(&self, name: &str) -> Result<QueueInfo, Error> {
        let queue = self.queue(name)?;
        Ok(QueueInfo::new(queue.name(), queue.counts()))
    }

    /// Removes the messages that are ready and tells how many there were. Those that consumers hold stay theirs.
    ///
    /// # Errors
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn purge_queue(&self, name: &str) -> Result<u64, Error> {
        Ok(self.queue(name)?.purge(self.inner.shared.now()))
    }

    /// Deletes a queue with its messages and tells how many were ready. One that does not exist is fine. Its consumers
    /// see the end of their stream.
    ///
    /// # Errors
    /// When it is exclusive to another client.
    pub async fn delete_queue(&self, name: &str) -> Result<u64, Error> {
        let delete = QueueDelete {
            name,
            if_unused: false,
            if_empty: false,
        };
        let deleted =
            self.inner
                .vhost
                .delete_queue(self.inner.shared.now(), self.caller(), &delete)?;
        self.recorded(deleted.ticket).await?;
        Ok(deleted.ready)
    }

    /// Has an exchange route to a queue. Nothing happens when it does so already.
    ///
    /// # Errors
    /// When either does not exist, for the default exchange, or for an exclusive queue of another client.
    pub async fn bind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        self.bind_queue_with(queue, exchange, routing_key, &Table::default())
            .await
    }

    /// As [`Client::bind_queue`], with arguments: what a headers exchange compares.
    ///
    /// # Errors
    /// As [`Client::bind_queue`], and for arguments that the exchange's type does not accept.
    pub async fn bind_queue_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &Table,
    ) -> Result<(), Error> {
        let arguments = arguments.to_bytes();
        let request = request(queue, exchange, routing_key, &arguments);
        let ticket =
            self.inner
                .vhost
                .bind_queue(self.inner.shared.now(), self.caller(), &request)?;
        self.recorded(ticket).await
    }

    /// Removes a binding that was made without arguments. What does not exist is fine.
    ///
    /// # Errors
    /// For the default exchange, and for an exclusive queue of another client.
    pub async fn unbind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        let request = request(queue, exchange, routing_key, &[]);
        let now = self.inner.shared.now();
        let ticket = self
            .inner
            .vhost
            .unbind_queue(now, self.caller(), &request)?;
        self.recorded(ticket).await
    }

    /// Has an exchange route to another exchange. Cycles are harmless: a queue gets a message once.
    ///
    /// # Errors
    /// When either does not exist, and for the default exchange.
    pub async fn bind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        let request = request(destination, source, routing_key, &[]);
        let vhost = &self.inner.vhost;
        let ticket = vhost.bind_exchange(self.inner.shared.now(), self.caller(), &request)?;
        self.recorded(ticket).await
    }

    /// Removes a binding between exchanges that was made without arguments. What does not exist is fine.
    ///
    /// # Errors
    /// For the default exchange.
    pub async fn unbind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        let request = request(destination, source, routing_key, &[]);
        let vhost = &self.inner.vhost;
        let now = self.inner.shared.now();
        let ticket = vhost.unbind_exchange(now, self.caller(), &request)?;
        self.recorded(ticket).await
    }

    /// Publishes a message. It is with its queues when this returns; the future tells what became of it, as a publisher
    /// confirm does, and need not be awaited.
    ///
    /// The empty exchange leads to the queue whose name is the routing key.
    ///
    /// While messages take more memory than the [limit](crate::Builder::memory_limit) the future waits, which is how a
    /// publisher that awaits its confirms is slowed down.
    ///
    /// # Errors
    /// The future resolves to an error when the exchange does not exist or may not be published to, when a queue whose
    /// overflow behaviour says so refused the message, and, for a [mandatory](Publish::mandatory) one, when it reached
    /// no queue: that error gives the message back. With a data directory also when the disk failed before a persistent
    /// message for a durable queue was safe there.
    pub fn publish(&self, publish: Publish<'_>) -> Confirm {
        let result = self.publish_now(&publish);
        Confirm::new(result, &self.inner.shared.services)
    }

    /// Waits until a change is on the disk.
    async fn recorded(&self, ticket: Ticket) -> Result<(), Error> {
        if ticket == Ticket::NONE {
            return Ok(());
        }
        let metadata = &self.inner.shared.services.metadata;
        Ok(metadata.when_committed(ticket).await?)
    }

    /// Tells up to where the journal must be safe before the message is, if it has to be.
    fn publish_now(&self, publish: &Publish<'_>) -> Result<Option<Lsn>, Error> {
        for name in [publish.exchange, publish.routing_key] {
            if name.len() > 255 {
                return Err(Refusal::precondition_failed(
                    "names and routing keys have at most 255 bytes",
                )
                .into());
            }
        }
        let properties = publish
            .properties
            .as_ref()
            .map(Properties::to_bytes)
            .unwrap_or_default();
        let raw = RawProperties::from_validated_bytes(&properties);
        let peek = raw.peek();
        let claimed = peek.user_id.as_deref();
        let identity = self.inner.identity.as_ref();
        self.caller().check_user_id(identity, claimed)?;
        let parts = MessageParts {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            properties: &properties,
            body: publish.body,
            persistent: peek.delivery_mode == Some(2),
            priority: peek.priority.unwrap_or(0),
            expiration_ms: crate::expiration::of(&peek)?,
        };
        let (route, message) = {
            let mut publisher = self.inner.publisher.lock();
            let Publisher { cache, scratch } = &mut *publisher;
            let route = self.vhost()?.route(
                self.caller(),
                cache,
                publish.exchange,
                publish.routing_key,
                raw,
                peek.headers,
            )?;
            (route, Message::new(&parts, scratch))
        };
        let now = self.inner.shared.now();
        let mut safe_at = self.inner.vhost.capture(now, &route, &message);
        if route.passes.is_some() {
            return self.pass(now, route, message, publish.mandatory, safe_at);
        }
        let Some((last, others)) = route.queues.split_last() else {
            if route.captures.is_empty() {
                self.inner.vhost.note_unroutable(now, &message);
            }
            return if publish.mandatory {
                Err(Error::unroutable(message))
            } else {
                Ok(safe_at)
            };
        };
        let mut refused = Vec::new();
        for queue in others {
            let message = std::iter::once((message.clone(), 0));
            safe_at = safe_at.max(queue.publish(now, message, &mut refused).safe_at);
        }
        let message = std::iter::once((message, 0));
        safe_at = safe_at.max(last.publish(now, message, &mut refused).safe_at);
        if refused.is_empty() {
            Ok(safe_at)
        } else {
            Err(Error::queue_full())
        }
    }

    /// Publishes a message whose way leads through exchanges that keep history.
    fn pass(
        &self,
        now: Time,
        route: Arc<Route>,
        message: Message,
        mandatory: bool,
        safe_at: Option<Lsn>,
    ) -> Result<Option<Lsn>, Error> {
        let unroutable = (mandatory && route.queues.is_empty()).then(|| message.clone());
        let mut refused = Vec::new();
        let stored = VirtualHost::pass(now, route, message, &mut refused);
        match unroutable {
            Some(message) => Err(Error::unroutable(message)),
            None if refused.is_empty() => Ok(safe_at.max(stored)),
            None => Err(Error::queue_full()),
        }
    }

    /// Starts a consumer. Messages come from [`Consumer::recv`], or from it as a `Stream`.
    ///
    /// # Errors
    /// When the queue does not exist, is exclusive to another client, or has an exclusive consumer.
    pub async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer, Error> {
        let cell = self.queue(queue)?;
        // What an application has not taken yet is its own business, so it does not count as the broker's work.
        let outbox = Outbox::new(Default::default());
        self.caller().follow(&outbox);
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
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn get(&self, queue: &str) -> Result<Option<Delivery>, Error> {
        let queue = self.queue(queue)?;
        let taken = queue.take(self.inner.shared.now(), TakeMode::Ack);
        let source = Arc::new(self.source(queue));
        Ok(taken.map(|(delivery, _)| Delivery::new(&source, delivery, 0)))
    }

    /// Looks at the first `limit` messages that are ready, in the order in which they will be delivered, and leaves them
    /// as they are.
    ///
    /// # Errors
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn browse(&self, queue: &str, limit: usize) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        self.queue(queue)?.browse(|message, _| {
            if messages.len() < limit {
                messages.push(message.clone());
            }
            messages.len() < limit
        });
        Ok(messages)
    }

    /// The messages that wait in an exchange of type [`Delayed`](ExchangeType::Delayed), in the order in which they will
    /// be routed.
    ///
    /// # Errors
    /// When the exchange does not exist, or is of another type, or what it has on disk cannot be read; for clients that act
    /// for a user.
    pub async fn scheduled(&self, exchange: &str) -> Result<Vec<Scheduled>, Error> {
        self.caller().require_trust()?;
        let found = self.vhost()?.delayed(exchange)?.list();
        Ok(found.map_err(|error| Refusal::unreadable(&error))?)
    }

    /// Takes a message out of a delayed exchange before its time and gives it back; none when its time has come
    /// meanwhile.
    ///
    /// # Errors
    /// When the exchange does not exist, or is of another type, or what it has on disk cannot be read; for clients that act
    /// for a user.
    pub async fn cancel_scheduled(
        &self,
        exchange: &str,
        id: u64,
    ) -> Result<Option<Message>, Error> {
        self.caller().require_trust()?;
        let found = self.vhost()?.delayed(exchange)?.cancel(id);
        Ok(found.map_err(|error| Refusal::unreadable(&error))?)
    }

    /// How a message with this key and these properties would be routed at this moment, binding by binding, with those
    /// that nearly matched. Nothing is published.
    ///
    /// # Errors
    /// When the exchange does not exist or may not be published to; for clients that act for a user.
    pub async fn explain(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
    ) -> Result<Explanation, Error> {
        self.caller().require_trust()?;
        Ok(self
            .inner
            .vhost
            .explain(exchange, routing_key, properties)?)
    }

    /// The latest messages of this virtual host that reached no queue, oldest first: 64 of them, and one MiB, at most.
    /// [`Client::explain`] tells why. None for clients that act for a user.
    pub async fn unroutable(&self) -> Vec<Unroutable> {
        if self.caller().require_trust().is_err() {
            return Vec::new();
        }
        self.inner.vhost.unroutable()
    }

    /// Who holds messages of a queue without having settled them, and since when, oldest first.
    ///
    /// # Errors
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn unacked(&self, queue: &str) -> Result<Vec<Unacked>, Error> {
        let mut held = self.queue(queue)?.unacked();
        let registry = &self.inner.shared.registry;
        for held in &mut held {
            held.connection = held
                .holder
                .and_then(|id| registry.endpoints(id))
                .map(|ends| ends.to_string());
        }
        Ok(held)
    }

    /// The virtual host, as long as there is a broker.
    fn vhost(&self) -> Result<&VirtualHost, Error> {
        if self.inner.shared.registry.is_closing() {
            return Err(Error::closed());
        }
        Ok(&self.inner.vhost)
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

fn request<'a>(
    destination: &'a str,
    source: &'a str,
    routing_key: &'a str,
    arguments: &'a [u8],
) -> BindingRequest<'a> {
    BindingRequest {
        destination,
        source,
        routing_key,
        arguments: RawTable::from_validated_bytes(arguments),
        resume: None,
    }
}
