//! Why the server could not start, in one line each, and with which code it exits.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::address::ListenAddress;
use crate::auth::AuthError;
use crate::tls::TlsError;

/// Why the server could not start.
///
/// All of them are for the operator; what is wrong with flags and environment variables is said by the parser of
/// arguments, which exits with 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration file cannot be read.
    #[error("cannot read configuration file {}: {}", path.display(), Reason(source))]
    ConfigUnreadable { path: PathBuf, source: io::Error },
    /// The configuration file can be read, but says something that we do not understand. Lines and columns count from 1.
    #[error("{}:{line}:{column}: {message}", path.display())]
    ConfigInvalid {
        path: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    /// The host to listen on has no address.
    #[error("cannot find the address of {address}: {}", Reason(source))]
    UnknownHost {
        address: ListenAddress,
        source: io::Error,
    },
    /// The file for the log cannot be made or written to.
    #[error("cannot write to log file {}: {}", path.display(), Reason(source))]
    LogFile { path: PathBuf, source: io::Error },
    /// The control socket that was asked for cannot be made.
    #[error("cannot use control socket {}: {}", path.display(), Reason(source))]
    ControlSocket { path: PathBuf, source: io::Error },
    /// The files of TLS cannot be used, or its settings contradict one another.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A backend of authentication cannot be set up.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// Threads or signal handlers could not be had.
    #[error("cannot start: {}", Reason(.0))]
    System(io::Error),
    /// The broker did not start: an address could not be opened, or the data directory not be used.
    #[error("{}", BrokerReason(.0))]
    Broker(leveret_broker::Error),
}

impl Error {
    /// The exit code, as `sysexits.h` of BSD has them, so that a supervisor can tell what is worth another try.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::ConfigUnreadable { .. } => 66, // EX_NOINPUT
            Self::ConfigInvalid { .. } => 78,    // EX_CONFIG
            Self::UnknownHost { .. } => 68,      // EX_NOHOST
            Self::ControlSocket { .. } | Self::LogFile { .. } => 73, // EX_CANTCREAT
            Self::Tls(TlsError::Unreadable { .. }) => 66,
            Self::Auth(AuthError::Unreadable { .. }) => 66,
            Self::Tls(_) | Self::Auth(_) => 78,
            Self::System(_) => 71, // EX_OSERR
            Self::Broker(error) if error.is_data_dir_in_use() => 75, // EX_TEMPFAIL
            Self::Broker(error) if error.is_data_dir_unusable() => 73, // EX_CANTCREAT
            Self::Broker(error) if error.is_data_unreadable() => 65, // EX_DATAERR
            Self::Broker(_) => 69, // EX_UNAVAILABLE
        }
    }

    /// Writes the error to stderr as one line, and gives the code to exit with.
    pub(crate) fn report(&self) -> ExitCode {
        // When nobody reads stderr, the exit code has to do.
        let _ = writeln!(io::stderr(), "leveret: {self}");
        ExitCode::from(self.exit_code())
    }
}

/// An error of the operating system in the form in which it stands after a colon: in lower case and without its number.
pub(crate) struct Reason<'a>(pub(crate) &'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = text
            .split_once(" (os error")
            .map_or(text.as_str(), |(words, _)| words);
        let mut letters = text.chars();
        let Some(first) = letters.next() else {
            return Ok(());
        };
        write!(f, "{}{}", first.to_lowercase(), letters.as_str())
    }
}

/// The broker's error; it ends with that of the operating system, where there is one, and that is worded as ours are.
struct BrokerReason<'a>(&'a leveret_broker::Error);

impl fmt::Display for BrokerReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        if let Some(source) = self.0.as_io_error()
            && let Some(what) = text.strip_suffix(&source.to_string())
        {
            return write!(f, "{what}{}", Reason(source));
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_worded_as_part_of_a_sentence() {
        let source = io::Error::from_raw_os_error(2);
        assert_eq!(Reason(&source).to_string(), "no such file or directory");
        assert_eq!(
            Reason(&io::Error::other("disk on fire")).to_string(),
            "disk on fire"
        );
        assert_eq!(Reason(&io::Error::other("")).to_string(), "");
    }

    #[test]
    fn an_error_of_the_configuration_leads_to_its_place() {
        let path = PathBuf::from("/etc/leveret.toml");
        let error = Error::ConfigInvalid {
            path,
            line: 3,
            column: 7,
            message: "no such key".to_owned(),
        };
        assert_eq!(error.to_string(), "/etc/leveret.toml:3:7: no such key");
    }
}
