//! Sockets and tasks: the only part of the broker that waits for anything. No protocol is decided here.

mod connection;
mod listener;
mod timer;

pub(crate) use listener::{Listener, bind};
pub(crate) use timer::run_timers;
