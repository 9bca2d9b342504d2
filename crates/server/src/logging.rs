//! Log lines: how many, in which form, and where to.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::{EnvFilter, reload};

use crate::log_escapes::{JsonLines, TextFields};
use crate::log_file::LogFile;
use crate::signals::Hangups;

/// Which log lines are written: a level, or a filter in the syntax of `tracing`, for example
/// `info,leveret_broker=debug`.
///
/// A word alone is always a level. For `tracing` it could be the name of a module, which would make `--log-level wran`
/// log nothing; to mean a module, say at which level: `leveret_broker=trace`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LogFilter(String);

/// Why a text is not a [`LogFilter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogFilterError {
    /// A word that is not a level.
    #[error(
        "'{0}' is not a level: use off, error, warn, info, debug or trace, or a filter like info,leveret_broker=debug"
    )]
    UnknownLevel(String),
    /// Something that `tracing` does not understand, in its words.
    #[error("{0}")]
    BadFilter(String),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people: one line each, in colour on a terminal.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        // What has an equals sign or a bracket is for tracing to judge.
        let is_word = |part: &&str| !part.contains(['=', '[']);
        if let Some(word) = text.split(',').filter(is_word).find(|word| !is_level(word)) {
            return Err(LogFilterError::UnknownLevel(word.to_owned()));
        }
        EnvFilter::try_new(text).map_err(|error| LogFilterError::BadFilter(error.to_string()))?;
        Ok(Self(text.to_owned()))
    }
}

/// `tracing` reads nothing as the level `error`, which here is a mistake.
fn is_level(word: &str) -> bool {
    !word.is_empty() && word.parse::<LevelFilter>().is_ok()
}

impl TryFrom<String> for LogFilter {
    type Error = LogFilterError;

    fn try_from(text: String) -> Result<Self, LogFilterError> {
        text.parse()
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Changes how much is logged, and where to, once there is a log; before that nothing.
#[derive(Clone, Default)]
pub(crate) struct LogControl {
    set: Option<Arc<dyn Fn(EnvFilter) + Send + Sync>>,
    file: Option<Arc<LogFile>>,
}

impl LogControl {
    fn of<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> Self {
        let set = Arc::new(move |filter| {
            // It fails when the log is gone, which lives as long as the process.
            let _ = handle.reload(filter);
        });
        Self {
            set: Some(set),
            file: None,
        }
    }

    /// From now on what this filter lets through is logged; see [`LogFilter`].
    pub(crate) fn set(&self, filter: &str) {
        if let Some(set) = &self.set {
            set(EnvFilter::new(filter));
        }
    }

    /// Opens the log file anew, and says so in it. `why` is what asked for it. False when the log goes to stderr.
    ///
    /// # Errors
    /// When it cannot be opened, which is said in the old file, where the log goes on.
    pub(crate) fn reopen(&self, why: &str) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let path = file.path().display();
        match file.reopen() {
            Ok(()) => {
                tracing::info!(why, %path, "log file opened anew");
                Ok(true)
            }
            Err(error) => {
                tracing::error!(why, %path, %error, "cannot open the log file anew; the log goes on in the old one");
                Err(error)
            }
        }
    }

    /// Opens the log file anew at each SIGHUP, for ever.
    pub(crate) async fn follow(&self, mut hangups: Hangups) -> Infallible {
        loop {
            hangups.next().await;
            // What goes wrong has been logged.
            let _ = self.reopen("SIGHUP");
        }
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").finish_non_exhaustive()
    }
}

/// Sends the log lines of this process to a file, or without one to stderr, from now on. To be called once; a second call
/// changes nothing.
///
/// A line that cannot be written, because nobody reads stderr any more or the disk is full, is dropped and the server goes
/// on. A reader or disk that is merely slow holds up whoever writes the line.
pub(crate) fn start(filter: &LogFilter, format: LogFormat, file: Option<LogFile>) -> LogControl {
    let file = file.map(Arc::new);
    let writer = match &file {
        Some(file) => BoxMakeWriter::new(Arc::clone(file)),
        None => BoxMakeWriter::new(io::stderr),
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_env_filter(EnvFilter::new(&filter.0))
        .with_ansi(file.is_none() && wants_colour())
        // The complaint about a line that could not be written would go to stderr too, and panic there.
        .log_internal_errors(false);
    // An error means that there is a subscriber already.
    let control = match format {
        LogFormat::Text => {
            let builder = builder.fmt_fields(TextFields).with_filter_reloading();
            let control = LogControl::of(builder.reload_handle());
            let _ = builder.try_init();
            control
        }
        LogFormat::Json => {
            let builder = builder.json().map_event_format(JsonLines);
            let builder = builder.with_filter_reloading();
            let control = LogControl::of(builder.reload_handle());
            let _ = builder.try_init();
            control
        }
    };
    LogControl { file, ..control }
}

/// Escape codes are for terminals, and not for those whose owner has set `NO_COLOR`.
fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: bool) {
        assert_eq!(text.parse::<LogFilter>().is_ok(), want, "{text:?}");
    }

    #[test]
    fn levels_and_filters_are_accepted() {
        check("off", true);
        check("info", true);
        check("WARN", true);
        check("info,leveret_broker=debug", true);
        check("leveret_broker::net=trace,error", true);
        check("warn,[connection{peer}]=debug", true);
        check("[connection]", true);
    }

    #[test]
    fn a_mistyped_level_is_refused() {
        check("", false);
        check("verbose", false);
        check("inof,leveret_broker=debug", false);
        check("info,", false);
        check("leveret_broker", false);
        check("leveret_broker=loud", false);
    }

    #[test]
    fn the_refusal_names_the_word() {
        let refused = "verbose".parse::<LogFilter>();
        assert_eq!(
            refused,
            Err(LogFilterError::UnknownLevel("verbose".to_owned()))
        );
    }
}
