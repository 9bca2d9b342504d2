//! What may be said on the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::error::Error;
use crate::stamp::Stamp;
use crate::uri::AmqpUri;

/// Puts load on an AMQP 0-9-1 broker and checks that each message arrives once and in order
///
/// Works with leveret, RabbitMQ and every other broker of the protocol. Without options, one producer sends messages of
/// 100 bytes as fast as they are consumed, through one queue, for ten seconds.
///
/// Every body carries producer, number and time, so that lost, repeated and reordered messages are found. The exit
/// status is 0 only if there were none: 1 if there were, 69 if the broker could not be reached or refused something.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "leveret perf",
    args_conflicts_with_subcommands = true,
    after_help = NOTES
)]
pub struct Args {
    /// Another subject than throughput and latency.
    #[command(subcommand)]
    pub scenario: Option<Scenario>,

    #[command(flatten)]
    pub(crate) load: Load,
}

/// Follows the options in `--help`.
const NOTES: &str = "\
Queues and exchange have names of this run alone and are deleted at its end; queues named by
--queue-pattern stay. Ctrl-C ends the run in order, with its summary; a second one at once.

Rates and percentiles are those of the time after the warm-up. Without --rate a producer sends
as fast as it may, and latency is what it is when everything is full: give a rate well below
the maximum to learn how long a message takes.";

/// What can be measured apart from a load.
#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// Opens many connections, each with a queue and a consumer, and sends each one message
    Connections(Connections),
    /// Fills a queue, looks at the memory, and drains it
    Backlog(Backlog),
}

/// What every scenario needs to know.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// The broker, as amqp://user:password@host:port/vhost
    #[arg(
        long,
        value_name = "URI",
        env = "LEVERET_PERF_URI",
        hide_env_values = true,
        default_value = "amqp://guest:guest@127.0.0.1:5672",
        hide_default_value = true
    )]
    pub(crate) uri: AmqpUri,

    /// Bytes of a body; several, separated by commas, take turns. At least 24
    #[arg(long, value_name = "BYTES", default_value = "100", value_delimiter = ',', value_parser = parse_size)]
    pub(crate) size: Vec<usize>,

    /// Argument of the queues, such as x-queue-type=quorum; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) queue_arg: Vec<QueueArgument>,

    /// Process of the broker on this machine: adds what it and its children use (Linux)
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) broker_pid: Vec<u32>,

    /// Seconds without any progress after which the rest is taken for lost
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = parse_seconds)]
    pub(crate) patience: Duration,

    /// Prints the result to stdout as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Writes the result as JSON to a file, whatever is printed
    #[arg(long, value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,

    /// No line a second on stderr
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Producers and consumers, and what is between them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How many publish, each on its own connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) producers: u32,

    /// How many consume, each on its own connection; 0 to fill the queues. Default: one a queue
    #[arg(long, value_name = "N")]
    pub(crate) consumers: Option<u32>,

    /// How many queues; producers and consumers are spread over them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queues: u32,

    /// Name of the queues, with {} for the number of each; they are not deleted
    #[arg(long, value_name = "PATTERN")]
    pub(crate) queue_pattern: Option<String>,

    /// Exchange between producers and queues
    #[arg(long, value_enum, default_value_t)]
    pub(crate) exchange: ExchangeKind,

    /// Bindings of a direct or topic exchange, the queues taking turns. Default: one a queue
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) bindings: Option<u32>,

    /// Routing keys that are published in turn to a topic exchange
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keys: u32,

    /// Messages a second, of each producer, evenly spaced. Default: as many as go
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,

    /// Publisher confirms, with at most N messages of a producer unconfirmed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) confirm: Option<u32>,

    /// Acknowledge every N messages, several at once. Default: the broker does not wait for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ack_every: Option<u16>,

    /// Messages that a consumer may have unacknowledged, 0 for no limit
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000,
        requires = "ack_every"
    )]
    pub(crate) prefetch: u16,

    /// Messages are persistent (delivery mode 2)
    #[arg(long)]
    pub(crate) persistent: bool,

    /// Queues are durable
    #[arg(long)]
    pub(crate) durable: bool,

    /// Messages that may be between publish and delivery in all, 0 for no limit.
    /// Default: 200,000 deliveries, but from 1,000 to 50,000 messages
    #[arg(long, value_name = "N")]
    pub(crate) max_lag: Option<u64>,

    /// Seconds to measure, after the warm-up. Default: 10, or until --messages are through
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) time: Option<Duration>,

    /// Messages that each producer sends, those of the warm-up included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,

    /// Seconds before measuring begins. Default: 1, or 0 with --messages
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) warmup: Option<Duration>,

    /// Threads that publish, and as many that consume
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
}

/// Many connections that do next to nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Connections {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,

    /// How many are being opened at any time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: u32,

    /// Seconds to leave them alone: once to settle, once to see what they cost
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse_seconds)]
    pub(crate) idle: Duration,
}

/// A queue that fills while nobody consumes.
#[derive(Clone, Debug, clap::Args)]
pub struct Backlog {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: u64,

    /// Durable queue, persistent messages, confirms and acknowledgements
    #[arg(long)]
    pub(crate) persistent: bool,
}

/// How producers reach queues.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum ExchangeKind {
    /// The default exchange: a producer sends to the queues that it has been given
    #[default]
    Default,
    /// Every producer uses the keys of all bindings in turn
    Direct,
    /// Every queue gets every message
    Fanout,
    /// Patterns of four words, mostly exact, some with * and #; keys that match at least one
    Topic,
}

impl ExchangeKind {
    /// The type on the wire; `None` for the default exchange, which is there already.
    pub(crate) fn wire_type(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::Direct => Some("direct"),
            Self::Fanout => Some("fanout"),
            Self::Topic => Some("topic"),
        }
    }
}

/// A named argument of a queue: an integer or a truth value where it looks like one, else a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct QueueArgument {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for QueueArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("it has to be NAME=VALUE")?;
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl Load {
    /// Checks what no option can know alone.
    ///
    /// # Errors
    ///
    /// [`Error::Options`], which names the options.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Options(text.to_owned()));
        if self.prefetch > 0 && self.ack_every.is_some_and(|every| every > self.prefetch) {
            return refuse(
                "--ack-every must not be above --prefetch, or it would never be reached",
            );
        }
        let pattern = self.queue_pattern.as_deref().unwrap_or("{}");
        if self.queues > 1 && !pattern.contains("{}") {
            return refuse("--queue-pattern needs a {} when there are several queues");
        }
        let bound = matches!(self.exchange, ExchangeKind::Direct | ExchangeKind::Topic);
        if self.bindings.is_some() && !bound {
            return refuse("--bindings is for --exchange direct and topic");
        }
        if bound && self.bindings.is_some_and(|bindings| bindings < self.queues) {
            return refuse("--bindings must not be below --queues");
        }
        Ok(())
    }

    /// How many connections consume.
    pub(crate) fn consumer_count(&self) -> u32 {
        self.consumers.unwrap_or(self.queues)
    }

    /// How long is measured; `None` until the messages are through.
    pub(crate) fn measured_time(&self) -> Option<Duration> {
        match (self.time, self.messages) {
            (None, None) => Some(Duration::from_secs(10)),
            (time, _) => time,
        }
    }

    /// How long before that.
    pub(crate) fn warmup_time(&self) -> Duration {
        match (self.warmup, self.messages) {
            (Some(warmup), _) => warmup,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => Duration::from_secs(1),
        }
    }
}

fn parse_size(text: &str) -> Result<usize, String> {
    /// RabbitMQ's default for the largest message.
    const SIZE_MAX: usize = 134_217_728;
    let size = text.parse().map_err(|_| "it has to be a number of bytes")?;
    if !(Stamp::SIZE..=SIZE_MAX).contains(&size) {
        let least = Stamp::SIZE;
        return Err(format!(
            "a body has {least} to {SIZE_MAX} bytes: producer, number and time stand in it"
        ));
    }
    Ok(size)
}

fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    /// A week: long enough for a soak, and far from what a clock cannot add.
    const SECONDS_MAX: f64 = 604_800.0;
    let seconds: f64 = text.parse().map_err(|_| "it has to be a number")?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err("it has to be from 0 seconds to a week");
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[track_caller]
    fn load(options: &[&str]) -> Load {
        let line = ["leveret perf"].iter().chain(options);
        Args::try_parse_from(line).unwrap().load
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_readme_names_every_option() {
        let readme = include_str!("../README.md");
        let command = Args::command();
        let scenarios: Vec<_> = command.get_subcommands().collect();
        assert_eq!(scenarios.len(), 2);
        for part in scenarios.into_iter().chain([&command]) {
            for option in part.get_arguments() {
                let flag = format!("`--{}", option.get_long().unwrap());
                assert!(readme.contains(&flag), "{flag}` is not in the README");
            }
        }
    }

    #[test]
    fn time_is_limited_unless_messages_are() {
        let none = load(&[]);
        assert_eq!(none.measured_time(), Some(Duration::from_secs(10)));
        assert_eq!(none.warmup_time(), Duration::from_secs(1));
        let counted = load(&["--messages", "5"]);
        assert_eq!(counted.measured_time(), None);
        assert_eq!(counted.warmup_time(), Duration::ZERO);
        let both = load(&["--messages", "5", "--time", "0.5"]);
        assert_eq!(both.measured_time(), Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_body_has_room_for_its_stamp() {
        assert!(parse_size("23").is_err());
        assert_eq!(parse_size("24"), Ok(Stamp::SIZE));
        assert!(parse_size("134217729").is_err());
        assert_eq!(load(&["--size", "24,1024"]).common.size, [24, 1024]);
    }

    #[test]
    fn seconds_are_finite() {
        for text in ["-1", "nan", "inf", "1e9", "soon"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for options in [
            &["--ack-every", "11", "--prefetch", "10"][..],
            &["--queues", "2", "--queue-pattern", "q"],
            &["--bindings", "5"],
            &["--exchange", "fanout", "--bindings", "5"],
            &["--exchange", "topic", "--queues", "5", "--bindings", "4"],
        ] {
            let checked = load(options).check();
            assert!(matches!(checked, Err(Error::Options(_))), "{options:?}");
        }
        for options in [
            &["--ack-every", "10", "--prefetch", "10"][..],
            &["--ack-every", "11", "--prefetch", "0"],
            &["--queue-pattern", "q"],
            &["--exchange", "direct", "--bindings", "5"],
        ] {
            assert!(load(options).check().is_ok(), "{options:?}");
        }
    }
}
