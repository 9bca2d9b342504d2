//! Class exchange (40): what messages are published to.

use super::arguments::method;
use crate::{RawTable, ShortStr};

method! {
    /// Creates an exchange unless there is one with the name and all the same settings.
    pub struct Declare<'a> {
        /// Its name.
        pub exchange: ShortStr<'a>,
        /// Its type on the wire, such as `topic`.
        pub kind: ShortStr<'a>,
        /// Only to ask whether there is one with the name.
        pub passive: bool,
        /// Whether it survives a restart.
        pub durable: bool,
        /// Whether it goes with its last binding.
        pub auto_delete: bool,
        /// Whether clients cannot publish to it, only other exchanges.
        pub internal: bool,
        /// Whether no answer is wanted.
        pub no_wait: bool,
        /// Settings by name, such as `alternate-exchange`.
        pub arguments: RawTable<'a>,
    }
    = "exchange.declare" (40, 10):
    reserved(u16), field(exchange), field(kind), bits(passive, durable, auto_delete, internal, no_wait),
    field(arguments)
}

method! {
    /// The exchange is there.
    pub struct DeclareOk {}
    = "exchange.declare-ok" (40, 11):
}

method! {
    /// Deletes an exchange and its bindings.
    pub struct Delete<'a> {
        /// Its name.
        pub exchange: ShortStr<'a>,
        /// Only if nothing is bound to it.
        pub if_unused: bool,
        /// Whether no answer is wanted.
        pub no_wait: bool,
    }
    = "exchange.delete" (40, 20): reserved(u16), field(exchange), bits(if_unused, no_wait)
}

method! {
    /// The exchange is gone.
    pub struct DeleteOk {}
    = "exchange.delete-ok" (40, 21):
}

method! {
    /// RabbitMQ: has an exchange pass messages on to another one.
    pub struct Bind<'a> {
        /// The exchange that gets the messages.
        pub destination: ShortStr<'a>,
        /// The exchange that passes them on.
        pub source: ShortStr<'a>,
        /// Which messages; what it means is up to the type of the source.
        pub routing_key: ShortStr<'a>,
        /// Whether no answer is wanted.
        pub no_wait: bool,
        /// Which messages, for types that need more than a key.
        pub arguments: RawTable<'a>,
    }
    = "exchange.bind" (40, 30):
    reserved(u16), field(destination), field(source), field(routing_key), bits(no_wait), field(arguments)
}

method! {
    /// The binding is there.
    pub struct BindOk {}
    = "exchange.bind-ok" (40, 31):
}

method! {
    /// RabbitMQ: takes back a [`Bind`] with the same key and arguments.
    pub struct Unbind<'a> {
        /// The exchange that gets the messages.
        pub destination: ShortStr<'a>,
        /// The exchange that passes them on.
        pub source: ShortStr<'a>,
        /// The key of the binding.
        pub routing_key: ShortStr<'a>,
        /// Whether no answer is wanted.
        pub no_wait: bool,
        /// The arguments of the binding.
        pub arguments: RawTable<'a>,
    }
    = "exchange.unbind" (40, 40):
    reserved(u16), field(destination), field(source), field(routing_key), bits(no_wait), field(arguments)
}

// RabbitMQ: this is number 51 and not 41, as the pattern of all other methods would have it.
method! {
    /// The binding is gone.
    pub struct UnbindOk {}
    = "exchange.unbind-ok" (40, 51):
}
