//! A message broker that runs inside your own process.
//!
//! (being written)

mod arguments;
mod auth;
mod broker;
mod busy;
mod client;
mod clock;
mod config;
mod connection;
mod error;
mod exchange;
mod expiration;
mod memory;
mod net;
mod outbox;
mod random;
mod session;
mod shared;
mod timers;
mod vhost;

pub use auth::{Authenticator, Identity, Login, LoginFuture, LoginRefused, UserTable};
pub use broker::{Broker, Builder};
pub use client::{
    Client, Confirm, ConsumeOptions, Consumer, Delivery, ExchangeOptions, ExchangeType, Overflow,
    Publish, QueueInfo, QueueOptions,
};
pub use clock::VirtualClock;
pub use error::Error;
pub use leveret_amqp_codec::{Properties, Table, Value};
pub use leveret_queue_store::{Message, Time};
pub use vhost::Scheduled;
