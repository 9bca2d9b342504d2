//! `leveret store`: looking at the messages in a data directory while no server runs on it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use leveret_queue_store::{FileStorage, OpenError, StoreReport, check, repair};
use serde::Serialize;

/// The folder with the messages in a data directory.
const MESSAGES_DIR: &str = "messages";

/// What to do with the messages in a data directory.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Reads everything and says what is damaged; changes nothing
    Check(Target),
    /// Goes on without what is damaged; copy the directory before
    Repair(Target),
}

/// Which data directory, and how to speak of it.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The data directory, on which no server may run
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("{} is no data directory: there is no folder {MESSAGES_DIR} in it", .0.display())]
    NoMessages(PathBuf),
    #[error("cannot open {}: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Store { path: PathBuf, source: OpenError },
    #[error("cannot write to stdout: {0}")]
    Stdout(#[from] io::Error),
}

impl StoreError {
    /// As `sysexits.h` of BSD has them, like those of the server.
    fn exit_code(&self) -> u8 {
        match self {
            Self::NoMessages(_) => 66, // EX_NOINPUT
            Self::Store {
                source: OpenError::InUse,
                ..
            } => 75, // EX_TEMPFAIL
            Self::Store {
                source: OpenError::Io { .. },
                ..
            } => 74, // EX_IOERR
            Self::Store { .. } => 65,  // EX_DATAERR
            Self::Unusable { .. } | Self::Stdout(_) => 74, // EX_IOERR
        }
    }
}

/// Damage was found and is still there; `EX_DATAERR`.
const IS_DAMAGED: u8 = 65;

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    intact: bool,
    repaired: bool,
    queues: Vec<QueueLine>,
    damages: Vec<DamageLine<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct QueueLine {
    key: u64,
    messages: u64,
    lost: u64,
}

#[derive(Debug, Serialize)]
struct DamageLine<'a> {
    file: &'a str,
    offset: u64,
    what: &'a str,
}

/// Does what was asked, says what there is on stdout, and gives the code to exit with: success when nothing is damaged
/// any more.
pub(crate) fn run(command: &StoreCommand) -> ExitCode {
    match try_run(command) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            // When nobody reads stderr, the exit code has to do.
            let _ = writeln!(io::stderr(), "leveret: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn try_run(command: &StoreCommand) -> Result<ExitCode, StoreError> {
    let (target, repairs) = match command {
        StoreCommand::Check(target) => (target, false),
        StoreCommand::Repair(target) => (target, true),
    };
    let found = inspect(&target.dir, repairs)?;
    let is_intact = found.is_intact();
    let report = Report {
        intact: is_intact,
        repaired: repairs && !is_intact,
        queues: queue_lines(&found),
        damages: damage_lines(&found),
        notes: &found.notes,
    };
    let mut stdout = io::stdout().lock();
    if target.json {
        serde_json::to_writer(&mut stdout, &report).map_err(io::Error::from)?;
        writeln!(stdout)?;
    } else {
        write_text(&mut stdout, &report)?;
    }
    stdout.flush()?;
    Ok(if is_intact || repairs {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(IS_DAMAGED)
    })
}

fn inspect(dir: &Path, repairs: bool) -> Result<StoreReport, StoreError> {
    let path = dir.join(MESSAGES_DIR);
    // Opening would make it.
    if !path.is_dir() {
        return Err(StoreError::NoMessages(dir.to_owned()));
    }
    let storage = match FileStorage::open(&path) {
        Ok(storage) => storage,
        Err(source) => return Err(StoreError::Unusable { path, source }),
    };
    let found = if repairs {
        repair(&storage)
    } else {
        check(&storage)
    };
    found.map_err(|source| StoreError::Store { path, source })
}

fn queue_lines(found: &StoreReport) -> Vec<QueueLine> {
    let queues = found.queues.iter();
    let lines = queues.map(|queue| QueueLine {
        key: queue.queue.0,
        messages: queue.messages,
        lost: queue.lost,
    });
    lines.collect()
}

fn damage_lines(found: &StoreReport) -> Vec<DamageLine<'_>> {
    let damages = found.damages.iter();
    let lines = damages.map(|damage| DamageLine {
        file: &damage.file,
        offset: damage.offset,
        what: &damage.what,
    });
    lines.collect()
}

fn write_text(out: &mut impl Write, report: &Report<'_>) -> io::Result<()> {
    for queue in &report.queues {
        write!(out, "queue {}: {} messages", queue.key, queue.messages)?;
        match queue.lost {
            0 => writeln!(out)?,
            lost => writeln!(out, ", {lost} lost")?,
        }
    }
    for note in report.notes {
        writeln!(out, "note: {note}")?;
    }
    for DamageLine { file, offset, what } in &report.damages {
        writeln!(out, "damaged: {file} at byte {offset}: {what}")?;
    }
    let outcome = match (report.intact, report.repaired) {
        (true, _) => "intact",
        (false, true) => "repaired: what was damaged is gone, the rest can be used",
        (false, false) => "damaged: see `leveret store repair`, and copy the directory before",
    };
    writeln!(out, "{outcome}")
}
