//! What a client says and hears: state machines without sockets, clocks or tasks.
//!
//! `net` feeds a session with bytes, deliveries and the time, and writes what it puts out.

pub(crate) mod amqp;
mod output;

pub(crate) use output::Output;
