//! A broker in this process, and a proxy before it that does wrong on purpose.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of what they share"
)]

pub(crate) mod proxy;

use std::net::SocketAddr;

use clap::Parser;
use leveret_broker::Broker;
use leveret_perf::{Args, Error, Outcome, Report, measure};

/// A broker on a free port of loopback.
pub(crate) async fn broker() -> (Broker, SocketAddr) {
    let builder = Broker::builder().amqp(([127, 0, 0, 1], 0));
    let broker = builder.start().await.unwrap();
    let address = broker.amqp_addresses()[0];
    (broker, address)
}

/// Runs with these options, separated by spaces.
pub(crate) async fn run(address: SocketAddr, options: &str) -> Result<Outcome, Error> {
    let uri = format!("amqp://{address}");
    // A scenario stands before its options, which are all there are then.
    let (scenario, options) = match options.split_once(' ') {
        Some((word, rest)) if !word.starts_with('-') => (Some(word), rest),
        _ => (None, options),
    };
    let line = ["perf"].into_iter().chain(scenario);
    let line = line.chain(["--uri", &uri, "--quiet"]);
    measure(&Args::try_parse_from(line.chain(options.split_whitespace())).unwrap()).await
}

/// The report of a load that could begin.
pub(crate) async fn load(address: SocketAddr, options: &str) -> Report {
    match run(address, options).await.unwrap() {
        Outcome::Load(report) => *report,
        other => panic!("{other:?}"),
    }
}
