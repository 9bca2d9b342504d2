//! Class basic (60): publishing, consuming and acknowledging messages.
//!
//! [`Publish`], [`Return`], [`Deliver`] and [`GetOk`] are followed by a content.

use super::arguments::method;
use crate::{RawTable, ShortStr};

method! {
    /// Limits how much is delivered before it is acknowledged.
    pub struct Qos {
        /// A limit in bytes; RabbitMQ supports 0 only, no limit.
        pub prefetch_size: u32,
        /// A limit in messages, 0 for none.
        pub prefetch_count: u16,
        /// RabbitMQ: whether the limit is for the channel as a whole and not for each consumer to come.
        pub global: bool,
    }
    = "basic.qos" (60, 10): field(prefetch_size), field(prefetch_count), bits(global)
}

method! {
    /// The limit holds.
    pub struct QosOk {}
    = "basic.qos-ok" (60, 11):
}

method! {
    /// Starts a consumer.
    pub struct Consume<'a> {
        /// The queue; empty for the one declared last on this channel.
        pub queue: ShortStr<'a>,
        /// The name of the consumer on this channel; the server makes one up for an empty one.
        pub consumer_tag: ShortStr<'a>,
        /// Not to get what this connection published; RabbitMQ ignores it.
        pub no_local: bool,
        /// Whether messages count as acknowledged when they are sent.
        pub no_ack: bool,
        /// Whether it is to be the only consumer of the queue.
        pub exclusive: bool,
        /// Whether no answer is wanted.
        pub no_wait: bool,
        /// Settings by name, such as `x-priority`.
        pub arguments: RawTable<'a>,
    }
    = "basic.consume" (60, 20):
    reserved(u16), field(queue), field(consumer_tag), bits(no_local, no_ack, exclusive, no_wait), field(arguments)
}

method! {
    /// The consumer is there; deliveries follow.
    pub struct ConsumeOk<'a> {
        /// Its name.
        pub consumer_tag: ShortStr<'a>,
    }
    = "basic.consume-ok" (60, 21): field(consumer_tag)
}

method! {
    /// Ends a consumer; RabbitMQ sends it too, when the queue is deleted.
    pub struct Cancel<'a> {
        /// Its name.
        pub consumer_tag: ShortStr<'a>,
        /// Whether no answer is wanted.
        pub no_wait: bool,
    }
    = "basic.cancel" (60, 30): field(consumer_tag), bits(no_wait)
}

method! {
    /// The consumer is gone; no more deliveries follow.
    pub struct CancelOk<'a> {
        /// Its name.
        pub consumer_tag: ShortStr<'a>,
    }
    = "basic.cancel-ok" (60, 31): field(consumer_tag)
}

method! {
    /// Publishes the message that follows.
    pub struct Publish<'a> {
        /// The exchange; empty for the default one, which routes to the queue called like the key.
        pub exchange: ShortStr<'a>,
        /// What exchanges route by.
        pub routing_key: ShortStr<'a>,
        /// Whether the message is to come back if no queue takes it.
        pub mandatory: bool,
        /// Whether the message is to come back if no consumer takes it at once; RabbitMQ does not support it.
        pub immediate: bool,
    }
    = "basic.publish" (60, 40): reserved(u16), field(exchange), field(routing_key), bits(mandatory, immediate)
}

method! {
    /// The message that follows comes back to its publisher.
    pub struct Return<'a> {
        /// Why; see [`ReplyCode`](crate::ReplyCode).
        pub reply_code: u16,
        /// Why, for people.
        pub reply_text: ShortStr<'a>,
        /// Where it was published to.
        pub exchange: ShortStr<'a>,
        /// With which key.
        pub routing_key: ShortStr<'a>,
    }
    = "basic.return" (60, 50): field(reply_code), field(reply_text), field(exchange), field(routing_key)
}

method! {
    /// The message that follows is for a consumer.
    pub struct Deliver<'a> {
        /// The consumer.
        pub consumer_tag: ShortStr<'a>,
        /// The number to acknowledge it by, counted from 1 on each channel.
        pub delivery_tag: u64,
        /// Whether it may have been delivered before.
        pub redelivered: bool,
        /// Where it was published to.
        pub exchange: ShortStr<'a>,
        /// With which key.
        pub routing_key: ShortStr<'a>,
    }
    = "basic.deliver" (60, 60):
    field(consumer_tag), field(delivery_tag), bits(redelivered), field(exchange), field(routing_key)
}

method! {
    /// Asks for one message.
    pub struct Get<'a> {
        /// The queue; empty for the one declared last on this channel.
        pub queue: ShortStr<'a>,
        /// Whether the message counts as acknowledged when it is sent.
        pub no_ack: bool,
    }
    = "basic.get" (60, 70): reserved(u16), field(queue), bits(no_ack)
}

method! {
    /// The message that follows answers a [`Get`].
    pub struct GetOk<'a> {
        /// The number to acknowledge it by, counted from 1 on each channel.
        pub delivery_tag: u64,
        /// Whether it may have been delivered before.
        pub redelivered: bool,
        /// Where it was published to.
        pub exchange: ShortStr<'a>,
        /// With which key.
        pub routing_key: ShortStr<'a>,
        /// How many messages are left in the queue.
        pub message_count: u32,
    }
    = "basic.get-ok" (60, 71):
    field(delivery_tag), bits(redelivered), field(exchange), field(routing_key), field(message_count)
}

method! {
    /// There is no message for a [`Get`].
    pub struct GetEmpty {}
    = "basic.get-empty" (60, 72): reserved(ShortStr<'_>)
}

method! {
    /// Acknowledges deliveries to the server, or published messages to the client (RabbitMQ's confirms).
    pub struct Ack {
        /// The number of the message; with `multiple`, 0 is all there are.
        pub delivery_tag: u64,
        /// Whether all up to this number are meant.
        pub multiple: bool,
    }
    = "basic.ack" (60, 80): field(delivery_tag), bits(multiple)
}

method! {
    /// Refuses a delivery.
    pub struct Reject {
        /// The number of the delivery.
        pub delivery_tag: u64,
        /// Whether it is to be delivered again, not dropped or dead-lettered.
        pub requeue: bool,
    }
    = "basic.reject" (60, 90): field(delivery_tag), bits(requeue)
}

method! {
    /// As [`Recover`], without an answer. AMQP advises against it.
    pub struct RecoverAsync {
        /// Whether other consumers may get the messages; RabbitMQ supports true only.
        pub requeue: bool,
    }
    = "basic.recover-async" (60, 100): bits(requeue)
}

method! {
    /// Asks for all unacknowledged messages of the channel again.
    pub struct Recover {
        /// Whether other consumers may get the messages; RabbitMQ supports true only.
        pub requeue: bool,
    }
    = "basic.recover" (60, 110): bits(requeue)
}

method! {
    /// The answer to [`Recover`].
    pub struct RecoverOk {}
    = "basic.recover-ok" (60, 111):
}

method! {
    /// RabbitMQ: refuses deliveries, or tells the client that published messages could not be taken.
    pub struct Nack {
        /// The number of the message; with `multiple`, 0 is all there are.
        pub delivery_tag: u64,
        /// Whether all up to this number are meant.
        pub multiple: bool,
        /// Whether they are to be delivered again, not dropped or dead-lettered.
        pub requeue: bool,
    }
    = "basic.nack" (60, 120): field(delivery_tag), bits(multiple, requeue)
}
