//! From options to an exit status.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::backlog::{self, BacklogReport};
use crate::connections::{self, ConnectionsReport};
use crate::error::Error;
use crate::load;
use crate::options::{Args, Common, Scenario};
use crate::report::Report;
use crate::signals::Signals;

/// What a run has come to.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Outcome {
    /// Of producers, queues and consumers.
    Load(Box<Report>),
    /// Of many connections.
    Connections(ConnectionsReport),
    /// Of a queue that was filled and drained.
    Backlog(BacklogReport),
}

impl Outcome {
    /// Whether all went well.
    #[must_use]
    pub fn ok(&self) -> bool {
        match self {
            Self::Load(report) => report.ok,
            Self::Connections(report) => report.ok,
            Self::Backlog(report) => report.ok,
        }
    }

    /// Whether messages alone are to blame, and not a connection.
    fn carried_out(&self) -> bool {
        match self {
            Self::Load(report) => report.error.is_none(),
            Self::Connections(report) => report.error.is_none(),
            Self::Backlog(report) => report.error.is_none(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(report) => report.fmt(f),
            Self::Connections(report) => report.fmt(f),
            Self::Backlog(report) => report.fmt(f),
        }
    }
}

/// Carries out what the options say, in the tokio runtime of the caller and on threads of its own. SIGINT and SIGTERM
/// end it in order, and no longer end the process, not even afterwards.
///
/// # Errors
///
/// When the run cannot begin. What goes wrong later is in the outcome.
///
/// # Panics
///
/// Outside a tokio runtime with IO and time enabled.
pub async fn measure(args: &Args) -> Result<Outcome, Error> {
    let mut signals = Signals::catch().map_err(Error::System)?;
    match &args.scenario {
        None => {
            let report = load::run(&args.load, &mut signals).await?;
            Ok(Outcome::Load(Box::new(report)))
        }
        Some(Scenario::Connections(options)) => tokio::select! {
            report = connections::run(options) => report.map(Outcome::Connections),
            () = signals.next() => Err(Error::Interrupted),
        },
        Some(Scenario::Backlog(options)) => {
            let interrupted = async { signals.next().await };
            let report = backlog::run(options, interrupted).await;
            report.map(Outcome::Backlog)
        }
    }
}

/// The program: carries out what the options say, prints the result to stdout, and returns the exit status. That is 0
/// only when each message arrived once and in order; 1 when one did not, and that of [`Error::exit_code`] when the run
/// could not be carried out, or 69 when it broke off.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match carry_out(args) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            // When nobody reads stderr, the exit code has to do.
            let _ = writeln!(io::stderr(), "leveret perf: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn carry_out(args: &Args) -> Result<ExitCode, Error> {
    let common = match &args.scenario {
        None => &args.load.common,
        Some(Scenario::Connections(options)) => &options.common,
        Some(Scenario::Backlog(options)) => &options.common,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::System)?;
    let outcome = runtime.block_on(measure(args))?;
    write(&outcome, common)?;
    Ok(match (outcome.ok(), outcome.carried_out()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(1),
        (false, false) => ExitCode::from(69), // EX_UNAVAILABLE
    })
}

fn write(outcome: &Outcome, common: &Common) -> Result<(), Error> {
    let json = serde_json::to_string(outcome).expect("reports have names for keys and no maps");
    if let Some(path) = &common.json_file {
        std::fs::write(path, format!("{json}\n")).map_err(|source| Error::Output {
            path: path.display().to_string(),
            source,
        })?;
    }
    // A pipe whose reader has gone is no reason to fail: the run was carried out.
    let _ = if common.json {
        writeln!(io::stdout(), "{json}")
    } else {
        writeln!(io::stdout(), "{outcome}")
    };
    Ok(())
}
