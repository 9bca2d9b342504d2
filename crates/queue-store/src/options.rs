//! What a queue and a consumer can be told.

use std::sync::Arc;

use crate::Gate;

/// How a queue treats its messages. The default has no limits: a plain classic queue.
///
/// [`durable`](Self::durable), [`max_priority`](Self::max_priority),
/// [`single_active_consumer`](Self::single_active_consumer) and [`requeue`](Self::requeue) are
/// settled when the queue is made; the others may change, see
/// [`Queue::set_options`](crate::Queue::set_options).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct QueueOptions {
    /// Whether messages that [ask for it](crate::Message::is_persistent) are kept on disk: the queue
    /// then says by [effects](crate::Effect) what becomes of them.
    pub durable: bool,
    /// How long a message may wait here, in milliseconds. With a message's own expiration the
    /// smaller counts. Zero: only who can be handed over at once is not expired.
    pub message_ttl_ms: Option<u64>,
    /// How long the queue may stay unused, in milliseconds: without consumers,
    /// [`take`](crate::Queue::take) and [`touch`](crate::Queue::touch). Publishing is not use.
    pub expires_ms: Option<u64>,
    /// How many messages may be ready. Unacknowledged ones do not count.
    pub max_length: Option<u64>,
    /// How many body bytes may be ready.
    pub max_length_bytes: Option<u64>,
    /// What happens when a limit is reached.
    pub overflow: Overflow,
    /// The highest priority that makes a difference; larger ones count as this one. Zero: no
    /// priorities.
    pub max_priority: u8,
    /// Whether one consumer gets everything while the others wait for it to go.
    pub single_active_consumer: bool,
    /// How often a message may come back. Once it has come back more often it is dead.
    pub delivery_limit: Option<u32>,
    /// Where a message goes that comes back.
    pub requeue: RequeueOrder,
}

/// What happens to a message that does not fit. RabbitMQ's `x-overflow`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Overflow {
    /// The next message to be delivered dies for it, which with priorities is one of the most
    /// important.
    #[default]
    DropHead,
    /// The new message is refused.
    RejectPublish,
    /// The new message is refused, and dies with
    /// [`DeathReason::MaxLength`](crate::DeathReason::MaxLength).
    RejectPublishDlx,
    /// New messages are refused once the queue is beyond a limit, which one of them takes it to:
    /// RabbitMQ's `reject-publish` in a quorum queue.
    RejectPublishBeyond,
}

/// Where a message goes that comes back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RequeueOrder {
    /// Where it was: a classic queue.
    #[default]
    OldPlace,
    /// A quorum queue. With a [delivery limit](QueueOptions::delivery_limit), and if whoever had it
    /// is [gone](Settlement::Abandon), before all that is new, behind what came back earlier;
    /// otherwise to the very back.
    Returns,
}

/// How a consumer wants to be served. The default acknowledges, without any bound.
#[derive(Clone, Debug, Default)]
pub struct ConsumerOptions {
    /// Whether a delivery is done with when it is made. Prefetch limits do not apply then.
    pub no_ack: bool,
    /// Whether nobody else may consume.
    pub exclusive: bool,
    /// Who comes first: while a consumer of a higher priority can take a message, those of lower
    /// ones get none.
    pub priority: i64,
    /// How many deliveries of this consumer may be unacknowledged. Zero: any number.
    pub prefetch: u32,
    /// Room where the deliveries go, in bytes: [`Message::size_bytes`](crate::Message::size_bytes)
    /// enters with each delivery. The holder of the other end leaves when the delivery has been
    /// written, or thrown away.
    pub window: Option<Arc<Gate>>,
    /// Room in the channel, in unacknowledged deliveries: one enters with each delivery and leaves
    /// when it is settled; the queue does both.
    pub channel_prefetch: Option<Arc<Gate>>,
    /// What happens when too much waits for the consumer. None: it waits.
    pub slow: Option<Box<SlowConsumer>>,
}

/// What happens when more waits for a consumer than it wants, because it has its
/// [prefetch](ConsumerOptions::prefetch) or one of its gates refuses.
///
/// What waits is what is ready in the queue after everybody has been served. Beyond
/// [`limit`](Self::limit) messages, or [`limit_bytes`](Self::limit_bytes) unless that is a single
/// message, the [`action`](Self::action) follows at once.
#[derive(Clone, Debug)]
pub struct SlowConsumer {
    /// What is done about it.
    pub action: SlowAction,
    /// How many messages may wait.
    pub limit: u64,
    /// How many body bytes may wait.
    pub limit_bytes: u64,
    /// Room for this consumer alone beside [`ConsumerOptions::window`], in the same bytes: a delivery
    /// enters both. Smaller than that it keeps what is on its way from growing old.
    pub own_window: Option<Arc<Gate>>,
}

/// What is done about a consumer for which too much waits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SlowAction {
    /// The next message to be delivered dies with
    /// [`DeathReason::MaxLength`](crate::DeathReason::MaxLength), until the rest is within the
    /// limits. What is delivered next is preceded by [`Effect::LeftOut`](crate::Effect::LeftOut).
    ///
    /// Where several consume, nothing is dropped unless all of them want it, and then by the largest
    /// of their limits.
    DropOldest,
    /// The consumer is taken out of the queue: [`Effect::TooSlow`](crate::Effect::TooSlow). One that
    /// stands by while another is the single active consumer is not slow.
    Close,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Settlement {
    /// It is done with and forgotten.
    Ack,
    /// It goes back to be delivered again; see [`RequeueOrder`].
    Requeue,
    /// It goes back because whoever had it is gone, and has not said what is to become of it.
    Abandon,
    /// It dies with [`DeathReason::Rejected`](crate::DeathReason::Rejected).
    Discard,
}

/// Whether what is taken has to be settled.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TakeMode {
    /// It is done with when taken.
    NoAck,
    /// It stays unacknowledged until settled.
    Ack,
}
