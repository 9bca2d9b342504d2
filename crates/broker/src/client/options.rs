//! What an embedding program can ask for, with types instead of `x-` arguments.

use std::sync::Arc;
use std::time::Duration;

use leveret_amqp_codec::{Properties, Table, Value};

use super::WhenSlow;
use crate::exchange::ExchangeKind;
use crate::vhost::{Counts, HISTORY_AGE, HISTORY_LENGTH, RESUME_FROM, ResumeFrom};

/// The types of exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeType {
    /// To the queues bound with exactly the message's routing key.
    Direct,
    /// To every queue that is bound.
    Fanout,
    /// To the queues whose pattern matches the routing key: words between dots, `*` for one word, `#` for any number.
    Topic,
    /// To the queues whose binding arguments are found among the message's headers.
    Headers,
    /// To one queue, chosen by the hash of the routing key; binding keys are weights. When a queue comes or goes, few
    /// keys change theirs.
    ConsistentHash,
    /// To one queue, chosen by the hash of the routing key modulo the number of bindings.
    ModulusHash,
    /// To one queue, by chance.
    Random,
    /// To every queue that is bound; a new binding is given the latest 20 messages.
    RecentHistory,
    /// As the [`delayed_type`](ExchangeOptions::delayed_type) says, after as many milliseconds as the message's header
    /// `x-delay` says.
    Delayed,
    /// As [`Topic`](Self::Topic), and it knows who is subscribed: [`Client::presence`](crate::Client::presence).
    Presence,
}

impl ExchangeType {
    /// The type's name on the wire.
    pub(super) fn name(self) -> &'static str {
        self.kind().name()
    }

    fn kind(self) -> ExchangeKind {
        match self {
            Self::Direct => ExchangeKind::Direct,
            Self::Fanout => ExchangeKind::Fanout,
            Self::Topic => ExchangeKind::Topic,
            Self::Headers => ExchangeKind::Headers,
            Self::ConsistentHash => ExchangeKind::ConsistentHash,
            Self::ModulusHash => ExchangeKind::ModulusHash,
            Self::Random => ExchangeKind::Random,
            Self::RecentHistory => ExchangeKind::RecentHistory,
            Self::Delayed => ExchangeKind::Delayed,
            Self::Presence => ExchangeKind::Presence,
        }
    }
}

/// The properties of an exchange. The default: it is forgotten with the broker, and only with it.
#[derive(Clone, Debug, Default)]
pub struct ExchangeOptions {
    /// It survives a restart of the broker.
    pub durable: bool,
    /// It goes when its last binding is removed, but not before it had one.
    pub auto_delete: bool,
    /// Only other exchanges can send to it.
    pub internal: bool,
    /// Where messages go that reach no queue from here.
    pub alternate_exchange: Option<String>,
    /// Of each routing key the latest so many messages are kept for queues that are bound later with a wish for them
    /// ([`QueueOptions::resume_from`]), at least one. For topic, presence, direct and fanout exchanges; in memory only.
    pub history_length: Option<u64>,
    /// What has passed within that time is kept so, in whole milliseconds, at least one. With
    /// [`history_length`](Self::history_length): what both let stand.
    pub history_age: Option<Duration>,
    /// How a [`Delayed`](ExchangeType::Delayed) exchange routes when the time has come; it cannot be declared without.
    pub delayed_type: Option<ExchangeType>,
    /// How long a member of a [`Presence`](ExchangeType::Presence) exchange whose connection broke may be away before it
    /// is lost, in whole milliseconds, a day at most; ten seconds unless set.
    pub presence_grace: Option<Duration>,
    /// How many members at keys a [`Presence`](ExchangeType::Presence) exchange knows, a million at most; 10,000 unless
    /// set. Beyond that nobody else can become present.
    pub presence_max: Option<u64>,
}

impl ExchangeOptions {
    pub(super) fn to_arguments(&self) -> Table {
        let mut arguments = Table::default();
        if let Some(alternate) = &self.alternate_exchange {
            arguments.insert("alternate-exchange", alternate.as_str());
        }
        if let Some(length) = self.history_length {
            arguments.insert(HISTORY_LENGTH, Value::I64(to_i64(length)));
        }
        if let Some(age) = self.history_age {
            arguments.insert(HISTORY_AGE, Value::I64(to_ms(age)));
        }
        if let Some(kind) = self.delayed_type {
            arguments.insert("x-delayed-type", kind.name());
        }
        let numbers = [
            ("x-presence-grace", self.presence_grace.map(to_ms)),
            ("x-presence-max", self.presence_max.map(to_i64)),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                arguments.insert(name, Value::I64(number));
            }
        }
        arguments
    }
}

/// What a queue does when a length limit is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest messages make room, and are dead-lettered where a dead letter exchange is set.
    #[default]
    DropHead,
    /// The new message is refused; its publisher is told. [Quorum](QueueType::Quorum) queues take one that is too much, and
    /// refuse the next.
    RejectPublish,
    /// The new message is refused, and dead-lettered. [Quorum](QueueType::Quorum) queues do not know this, and drop the
    /// oldest.
    RejectPublishDlx,
}

/// The properties of a queue. The default: shared by all clients, without limits, forgotten with the broker.
#[derive(Clone, Debug, Default)]
pub struct QueueOptions {
    /// It survives a restart of the broker.
    pub durable: bool,
    /// Only the client that declares it may use it, and it goes with that client.
    pub exclusive: bool,
    /// It goes with its last consumer, but not before it had one.
    pub auto_delete: bool,
    /// How long a message may wait, in whole milliseconds. Zero: it is delivered at once or not at all.
    pub message_ttl: Option<Duration>,
    /// What the queue is given when it is bound to an exchange that keeps history (see
    /// [`ExchangeOptions::history_length`]): what is kept after that position and matches the binding, then what comes;
    /// nothing is missing in between and nothing comes twice. None for what comes only.
    ///
    /// It is for the queue as it is made, and not compared when the queue is declared again.
    pub resume_from: Option<ResumeFrom>,
    /// How long the queue may be unused before it is deleted, in whole milliseconds, at least one.
    pub expires: Option<Duration>,
    /// How many messages may be ready.
    pub max_length: Option<u64>,
    /// How many bytes of bodies may be ready.
    pub max_length_bytes: Option<u64>,
    /// What happens beyond these limits.
    pub overflow: Overflow,
    /// Where messages go that expire, are rejected or make room.
    pub dead_letter_exchange: Option<String>,
    /// With which key they go there; their own unless set. Needs a dead letter exchange.
    pub dead_letter_routing_key: Option<String>,
    /// The highest priority that messages can have here; none, or zero, for a queue without priorities.
    pub max_priority: Option<u8>,
    /// Of all consumers only the first gets messages; the next takes over when it goes.
    pub single_active_consumer: bool,
    /// Which family of rules the queue follows.
    pub queue_type: QueueType,
    /// How often a message may come back before it is dead; for [quorum](QueueType::Quorum) queues.
    pub delivery_limit: Option<u32>,
    /// Dead messages are kept until they have arrived; for [quorum](QueueType::Quorum) queues that
    /// [refuse](Overflow::RejectPublish) what is too much. A letter may arrive more than once.
    pub dead_letter_at_least_once: bool,
}

/// The families of rules that queues follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueType {
    /// Requeued messages go to their old place; everything can be combined.
    #[default]
    Classic,
    /// Durable, shared and named; counts deliveries. Requeued messages wait behind those that came back before.
    Quorum,
}

impl QueueOptions {
    pub(super) fn to_arguments(&self) -> Table {
        let mut arguments = Table::default();
        let numbers = [
            ("x-message-ttl", self.message_ttl.map(to_ms)),
            ("x-expires", self.expires.map(to_ms)),
            ("x-max-length", self.max_length.map(to_i64)),
            ("x-max-length-bytes", self.max_length_bytes.map(to_i64)),
            ("x-max-priority", self.max_priority.map(i64::from)),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                arguments.insert(name, Value::I64(number));
            }
        }
        match self.overflow {
            Overflow::DropHead => {}
            Overflow::RejectPublish => drop(arguments.insert("x-overflow", "reject-publish")),
            Overflow::RejectPublishDlx => {
                drop(arguments.insert("x-overflow", "reject-publish-dlx"))
            }
        }
        if let Some(position) = self.resume_from {
            arguments.insert(RESUME_FROM, position.to_string().as_str());
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            arguments.insert("x-dead-letter-exchange", exchange.as_str());
        }
        if let Some(key) = &self.dead_letter_routing_key {
            arguments.insert("x-dead-letter-routing-key", key.as_str());
        }
        if self.queue_type == QueueType::Quorum {
            arguments.insert("x-queue-type", "quorum");
        }
        if let Some(limit) = self.delivery_limit {
            arguments.insert("x-delivery-limit", Value::I64(i64::from(limit)));
        }
        if self.dead_letter_at_least_once {
            arguments.insert("x-dead-letter-strategy", "at-least-once");
        }
        if self.single_active_consumer {
            arguments.insert("x-single-active-consumer", true);
        }
        arguments
    }
}

fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How a queue stood when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name; for a queue declared with an empty one, what the broker chose.
    pub name: Arc<str>,
    /// Messages that wait for a consumer.
    pub ready: u64,
    /// Messages that consumers hold and have not settled.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u64,
}

impl QueueInfo {
    pub(super) fn new(name: &Arc<str>, counts: Counts) -> Self {
        Self {
            name: Arc::clone(name),
            ready: counts.ready,
            unacked: counts.unacked,
            consumers: counts.consumers,
        }
    }
}

/// A message to be published. The default is an empty one for the default exchange.
#[derive(Clone, Debug, Default)]
pub struct Publish<'a> {
    /// Where to; empty for the default exchange.
    pub exchange: &'a str,
    /// What the exchange routes by; 255 bytes at most.
    pub routing_key: &'a str,
    /// Headers, priority, expiration and whatever else goes with the body.
    pub properties: Option<Properties>,
    /// The message itself.
    pub body: &'a [u8],
    /// It is an error when no queue takes the message.
    pub mandatory: bool,
}

impl<'a> Publish<'a> {
    /// A message for a queue, by the queue's name.
    #[must_use]
    pub fn to_queue(queue: &'a str, body: &'a [u8]) -> Self {
        Self {
            routing_key: queue,
            body,
            ..Self::default()
        }
    }

    /// A message for an exchange.
    #[must_use]
    pub fn to_exchange(exchange: &'a str, routing_key: &'a str, body: &'a [u8]) -> Self {
        Self {
            exchange,
            routing_key,
            body,
            ..Self::default()
        }
    }
}

/// How to consume. The default: every delivery must be settled, and as many as fit the window of 512 KiB are on their
/// way at once.
#[derive(Clone, Debug, Default)]
pub struct ConsumeOptions {
    /// How many deliveries may be unsettled at once; 0 for no limit.
    pub prefetch: u32,
    /// Deliveries count as acknowledged when they are handed over, and are lost if nobody looks at them.
    pub no_ack: bool,
    /// No other consumer is admitted. A [quorum](QueueType::Quorum) queue admits others all the same.
    pub exclusive: bool,
    /// Consumers with a higher priority get everything that they can take.
    pub priority: i64,
    /// What happens when more waits for it than it can take.
    pub when_slow: WhenSlow,
}
