//! Class access (30): tickets, which AMQP 0-9-1 has no longer but old clients still ask for.

use super::arguments::method;
use crate::ShortStr;

method! {
    /// Asks for a ticket that stands for rights.
    pub struct Request<'a> {
        /// What the rights are for.
        pub realm: ShortStr<'a>,
        /// Whether nobody else is to have them.
        pub exclusive: bool,
        /// Whether to be told about things.
        pub passive: bool,
        /// Whether to create and delete things.
        pub active: bool,
        /// Whether to publish.
        pub write: bool,
        /// Whether to consume.
        pub read: bool,
    }
    = "access.request" (30, 10): field(realm), bits(exclusive, passive, active, write, read)
}

method! {
    /// Grants a ticket.
    pub struct RequestOk {
        /// The ticket; RabbitMQ always says 1, and ignores it in other methods.
        pub ticket: u16,
    }
    = "access.request-ok" (30, 11): field(ticket)
}
