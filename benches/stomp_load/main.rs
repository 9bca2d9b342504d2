//! How many browsers does a broker keep happy? STOMP over WebSocket as pages speak it, with every message checked.
//!
//! ```sh
//! cargo build --release -p leveret-server -p leveret-benches --bin leveret --bin stomp_load
//! target/release/stomp_load classroom --json
//! target/release/stomp_load room --json
//! target/release/stomp_load idle --json
//! ```
//!
//! Without `--address` it starts the `leveret` that lies beside it, on free ports, and ends it afterwards. The exit status
//! is 0 only if each message arrived once and in order, and the limits that were given are kept.
//!
//! It is one thread. Times are from before a frame is written to when it has been read, in one process; what the
//! generator itself is late by is in `late_us_max`, to tell a busy machine from a slow broker.
#![expect(clippy::print_stdout, reason = "a program's result")]
#![expect(clippy::print_stderr, reason = "a program's error")]

mod idle;
mod server;
mod socket;
mod talk;
mod tally;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use server::Server;

type Error = Box<dyn std::error::Error>;

#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    scenario: Scenario,
    /// Host and port of a broker's WebSocket listener; one is started unless given.
    #[arg(long, global = true)]
    address: Option<String>,
    /// The process whose memory is looked at, where a broker was not started.
    #[arg(long, global = true)]
    broker_pid: Option<u32>,
    /// One line of JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Students who each ask, and a teacher whom all of them hear.
    Classroom(Talk),
    /// A room in which everybody hears everybody.
    Room(Talk),
    /// Sockets with one subscription each that do nothing: what do they weigh?
    Idle(Idle),
}

#[derive(Args, Debug)]
struct Talk {
    /// Students, or people in the room; 500 and 200 unless given.
    #[arg(long)]
    clients: Option<usize>,
    /// Messages a second: of each student and of the teacher, or of the whole room; 10 and 100 unless given.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds.
    #[arg(long, default_value_t = 10.0)]
    time: f64,
    /// Fail above this.
    #[arg(long)]
    p99_ms_max: Option<f64>,
}

#[derive(Args, Debug)]
struct Idle {
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Fail above this many kilobytes of resident memory for each.
    #[arg(long)]
    kb_max: Option<f64>,
}

async fn run(options: &Options) -> Result<(bool, Value), Error> {
    server::raise_open_files()?;
    let started = match &options.address {
        Some(_) => None,
        None => Some(Server::start()?),
    };
    let address = options.address.clone();
    let address = address
        .or_else(|| started.as_ref().map(|server| server.address().to_owned()))
        .unwrap_or_default();
    let pid = options
        .broker_pid
        .or_else(|| started.as_ref().map(Server::pid));
    match &options.scenario {
        Scenario::Classroom(talk) => talk::classroom(&address, talk).await,
        Scenario::Room(talk) => talk::room(&address, talk).await,
        Scenario::Idle(idle) => idle::idle(&address, pid, idle).await,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let local = tokio::task::LocalSet::new();
    match local.run_until(run(&options)).await {
        Ok((is_ok, report)) => {
            if options.json {
                println!("{report}");
            } else {
                println!("{report:#}");
            }
            if is_ok {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("stomp_load: {error}");
            ExitCode::FAILURE
        }
    }
}
