//! Class queue (50): what messages wait in.

use super::arguments::method;
use crate::{RawTable, ShortStr};

method! {
    /// Creates a queue unless there is one with the name and all the same settings.
    pub struct Declare<'a> {
        /// Its name; the server makes one up for an empty one.
        pub queue: ShortStr<'a>,
        /// Only to ask whether there is one with the name.
        pub passive: bool,
        /// Whether it survives a restart.
        pub durable: bool,
        /// Whether it belongs to this connection alone and goes with it.
        pub exclusive: bool,
        /// Whether it goes with its last consumer.
        pub auto_delete: bool,
        /// Whether no answer is wanted.
        pub no_wait: bool,
        /// Settings by name, such as `x-message-ttl`.
        pub arguments: RawTable<'a>,
    }
    = "queue.declare" (50, 10):
    reserved(u16), field(queue), bits(passive, durable, exclusive, auto_delete, no_wait), field(arguments)
}

method! {
    /// The queue is there.
    pub struct DeclareOk<'a> {
        /// Its name.
        pub queue: ShortStr<'a>,
        /// How many messages are ready to be delivered.
        pub message_count: u32,
        /// How many consumers it has.
        pub consumer_count: u32,
    }
    = "queue.declare-ok" (50, 11): field(queue), field(message_count), field(consumer_count)
}

method! {
    /// Has an exchange put messages into the queue.
    pub struct Bind<'a> {
        /// The queue; empty for the one declared last on this channel.
        pub queue: ShortStr<'a>,
        /// The exchange.
        pub exchange: ShortStr<'a>,
        /// Which messages; what it means is up to the type of the exchange.
        pub routing_key: ShortStr<'a>,
        /// Whether no answer is wanted.
        pub no_wait: bool,
        /// Which messages, for types that need more than a key.
        pub arguments: RawTable<'a>,
    }
    = "queue.bind" (50, 20):
    reserved(u16), field(queue), field(exchange), field(routing_key), bits(no_wait), field(arguments)
}

method! {
    /// The binding is there.
    pub struct BindOk {}
    = "queue.bind-ok" (50, 21):
}

method! {
    /// Drops the messages that are ready to be delivered.
    pub struct Purge<'a> {
        /// The queue; empty for the one declared last on this channel.
        pub queue: ShortStr<'a>,
        /// Whether no answer is wanted.
        pub no_wait: bool,
    }
    = "queue.purge" (50, 30): reserved(u16), field(queue), bits(no_wait)
}

method! {
    /// The messages are gone.
    pub struct PurgeOk {
        /// How many there were.
        pub message_count: u32,
    }
    = "queue.purge-ok" (50, 31): field(message_count)
}

method! {
    /// Deletes a queue with its messages and bindings.
    pub struct Delete<'a> {
        /// The queue; empty for the one declared last on this channel.
        pub queue: ShortStr<'a>,
        /// Only if it has no consumers.
        pub if_unused: bool,
        /// Only if it has no messages.
        pub if_empty: bool,
        /// Whether no answer is wanted.
        pub no_wait: bool,
    }
    = "queue.delete" (50, 40): reserved(u16), field(queue), bits(if_unused, if_empty, no_wait)
}

method! {
    /// The queue is gone.
    pub struct DeleteOk {
        /// How many messages went with it.
        pub message_count: u32,
    }
    = "queue.delete-ok" (50, 41): field(message_count)
}

method! {
    /// Takes back a [`Bind`] with the same key and arguments. Always answered.
    pub struct Unbind<'a> {
        /// The queue; empty for the one declared last on this channel.
        pub queue: ShortStr<'a>,
        /// The exchange.
        pub exchange: ShortStr<'a>,
        /// The key of the binding.
        pub routing_key: ShortStr<'a>,
        /// The arguments of the binding.
        pub arguments: RawTable<'a>,
    }
    = "queue.unbind" (50, 50):
    reserved(u16), field(queue), field(exchange), field(routing_key), field(arguments)
}

method! {
    /// The binding is gone.
    pub struct UnbindOk {}
    = "queue.unbind-ok" (50, 51):
}
