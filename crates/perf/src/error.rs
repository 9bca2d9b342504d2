//! Why a run could not be carried out.

use std::io;

use leveret_amqp_codec::{DecodeError, TooLong};

/// Why a run could not be carried out. What went wrong with messages is not an error but part of the
/// [`Report`](crate::Report).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for makes no sense. The text names the options.
    #[error("{0}")]
    Options(String),
    /// No connection to the broker, within the time that connecting may take.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke while it was in use.
    #[error("the connection to the broker broke: {0}")]
    Broken(#[from] io::Error),
    /// The broker closed the connection without giving a reason.
    #[error("the broker closed the connection without a reason")]
    Closed,
    /// The broker closed a channel or the connection and said why.
    #[error("the broker refused: {code} {text}")]
    Refused {
        /// The reply code, such as 403.
        code: u16,
        /// The reply text.
        text: String,
    },
    /// The broker took away a consumer.
    #[error("the broker cancelled a consumer, which it does when a queue is deleted")]
    Cancelled,
    /// The broker does not offer SASL PLAIN.
    #[error("the broker lets nobody in with a password: it offers {offered}")]
    NoPlain {
        /// The mechanisms that it offers.
        offered: String,
    },
    /// What the broker sends cannot be read.
    #[error("the broker sends what is not AMQP 0-9-1: {0}")]
    Malformed(#[from] DecodeError),
    /// What the broker sends can be read, but was not to be sent there.
    #[error("the broker sends {0} where none was due")]
    Unexpected(String),
    /// The broker did not answer, or took nothing more, for as long as patience lasted.
    #[error("nothing moved for {seconds} s while waiting for {what}")]
    Stalled {
        /// How long was waited.
        seconds: f64,
        /// What was waited for.
        what: &'static str,
    },
    /// Ctrl-C, before the run had come to its end.
    #[error("interrupted")]
    Interrupted,
    /// The result could not be written to the file that was asked for.
    #[error("cannot write {path}: {source}")]
    Output {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A thread or a signal handler could not be had.
    #[error("the system refused: {0}")]
    System(io::Error),
}

impl Error {
    /// The exit code: 2 for options that make no sense, 130 for Ctrl-C as a shell has it, and else one of BSD's
    /// `sysexits.h`: 71 for the system, 73 for a file, 69 for the broker.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Options(_) => 2,
            Self::System(_) => 71,
            Self::Output { .. } => 73,
            Self::Interrupted => 130,
            _ => 69,
        }
    }
}

impl From<TooLong> for Error {
    fn from(error: TooLong) -> Self {
        Self::Options(format!("a name is too long: {error}"))
    }
}
