//! Class confirm (85), RabbitMQ's: the server acknowledges what is published.

use super::arguments::method;

method! {
    /// Asks for a confirm of each message published on this channel from here on.
    pub struct Select {
        /// Whether no answer is wanted.
        pub no_wait: bool,
    }
    = "confirm.select" (85, 10): bits(no_wait)
}

method! {
    /// Messages are counted from here, the next is number 1.
    pub struct SelectOk {}
    = "confirm.select-ok" (85, 11):
}
