//! What the behaviour tests share: a broker on a port of its own, and a client that speaks AMQP frame by frame.
//!
//! Nothing here sleeps. A test waits for a frame, which comes or fails the test at a deadline; that nothing comes is
//! shown by a round trip ([`Wire::quiet`]), and time passes on a [`VirtualClock`] only.

#![allow(
    dead_code,
    unused_imports,
    reason = "every test file is a crate of its own and uses a part of this"
)]

mod asking;
pub(crate) mod backend;
#[cfg(feature = "journal")]
pub(crate) mod data_dir;
mod greeting;
mod heard;
pub(crate) mod seeds;
#[cfg(feature = "stomp")]
mod stomp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "stomp")]
pub(crate) mod websocket;
mod wire;

use std::time::Duration;

use leveret_amqp_codec::ShortStr;
use leveret_broker::{Broker, Builder, Properties, Table, Value, VirtualClock};

pub(crate) use asking::declare;
pub(crate) use greeting::Greeting;
pub(crate) use heard::{Closed, Confirmed, Declared, Delivered, Heard};
#[cfg(feature = "stomp")]
pub(crate) use stomp::Stomp;
pub(crate) use wire::Wire;

/// How long a test waits for what must come. Far more than it takes, so that a busy machine fails no test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A broker with RabbitMQ's defaults on a free port of the loopback interface.
pub(crate) async fn broker() -> Broker {
    start(Broker::builder()).await
}

/// A broker set up otherwise, on a free port of the loopback interface.
pub(crate) async fn start(builder: Builder) -> Broker {
    let builder = builder.amqp(([127, 0, 0, 1], 0));
    #[cfg(feature = "stomp")]
    let builder = builder
        .stomp(([127, 0, 0, 1], 0))
        .websocket(([127, 0, 0, 1], 0));
    builder
        .start()
        .await
        .expect("the loopback interface has a free port")
}

/// A broker whose time stands still until [`pass`] moves it.
pub(crate) async fn timed_broker() -> (Broker, VirtualClock) {
    let clock = VirtualClock::new();
    (
        start(Broker::builder().virtual_clock(clock.clone())).await,
        clock,
    )
}

/// Lets time go by and everything happen that becomes due.
pub(crate) async fn pass(broker: &Broker, clock: &VirtualClock, ms: u64) {
    clock.advance(Duration::from_millis(ms));
    broker.wait_idle().await;
}

/// Waits for something that takes a few turns of the runtime and no more.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Gives the broker its turns until `holds` does.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Runs something beside the test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test may do two things at once, as programs do"
)]
pub(crate) fn beside<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// A client's socket closes without a word, and the broker knows it.
pub(crate) async fn break_off<T>(broker: &Broker, client: T) {
    let before = broker.connection_count();
    drop(client);
    until("the end of the connection", || {
        broker.connection_count() < before
    })
    .await;
    broker.wait_idle().await;
}

pub(crate) fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text).expect("names in tests are short")
}

/// A table from names and values.
pub(crate) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().collect()
}

/// Properties that say nothing but how long the message may live, in milliseconds.
pub(crate) fn expiring(ms: &str) -> Properties {
    Properties {
        expiration: Some(ms.to_owned()),
        ..Properties::default()
    }
}

/// Properties with nothing but headers.
pub(crate) fn with_headers<const N: usize>(entries: [(&str, Value); N]) -> Properties {
    Properties {
        headers: Some(table(entries)),
        ..Properties::default()
    }
}
