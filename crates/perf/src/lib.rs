//! `leveret perf`: load for AMQP 0-9-1 brokers, with every message checked.
//!
//! The program `leveret` has it as its subcommand `perf`; another program may give it a place of its own with
//! [`Args`] and [`run`]. See the README for the options and the result.
//!
//! It is a client of the wire and nothing more: it speaks to leveret as to any other broker. Two threads do the work,
//! one for the producers and one for the consumers. What is published is encoded once, and only stamped and written
//! again and again in large pieces; what is delivered is read in large pieces and looked at where it lies. A message
//! costs about a tenth of a microsecond of processor time so, published and received.

mod backlog;
mod clock;
mod confirms;
mod connection;
mod connections;
mod consumer;
mod crew;
mod error;
mod inbox;
mod latency;
mod ledger;
mod load;
mod messages;
mod meter;
mod options;
mod pacer;
mod patience;
mod plan;
mod program;
mod progress;
mod publisher;
mod report;
mod signals;
mod stamp;
mod tally;
mod topic;
mod uri;
mod usage;
mod workers;

pub use backlog::BacklogReport;
pub use connections::ConnectionsReport;
pub use error::Error;
pub use latency::Percentiles;
pub use options::{Args, Backlog, Connections, Scenario};
pub use program::{Outcome, measure, run};
pub use report::{BrokerUsage, Report};
pub use uri::{AmqpUri, UriError};
