//! `leveret`: the broker as a program of its own.
//!
//! This crate turns flags, environment variables and a configuration file into the settings of a
//! [`leveret_broker::Broker`], runs it until it is told to stop, and says in one line why it could not. Everything that
//! a client may observe is decided by the broker; nothing here speaks a protocol.

mod accounts;
mod address;
mod args;
mod auth;
mod config;
mod ctl;
mod disk;
mod disk_size;
mod error;
mod frame_size;
mod limits;
mod listeners;
mod log_escapes;
mod log_file;
mod logging;
mod memory;
mod passwords;
mod serve;
mod settings;
mod signals;
mod size;
mod store;
mod sync;
mod time_span;
mod tls;
mod web_origin;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::error::Error;
use crate::log_file::LogFile;
use crate::settings::Settings;

/// Chosen by measurement: with two busy threads a message costs about half of what it does with the allocator of glibc.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = Args::parse();
    match args.command.take() {
        Some(Command::Perf(load)) => return leveret_perf::run(&load),
        Some(Command::Store(command)) => return store::run(&command),
        Some(Command::Ctl(words)) => return ctl::run(words),
        None => {}
    }
    match run(args) {
        Ok(exit_code) => exit_code,
        Err(error) => error.report(),
    }
}

fn run(args: Args) -> Result<ExitCode, Error> {
    let settings = Settings::load(args)?;
    let file = settings
        .log_file
        .clone()
        .map(|path| LogFile::open(path.clone()).map_err(|source| Error::LogFile { path, source }));
    let log = logging::start(&settings.log_level, settings.log_format, file.transpose()?);
    serve::run(&settings, log)
}
