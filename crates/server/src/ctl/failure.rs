//! Why a verb failed, and with which code the program exits then.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The exit codes of `rabbitmqctl`, which are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub(super) enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// An argument is wrong, or what it names is not there.
    Data = 65,
    /// There is no such user.
    NoUser = 67,
    /// The server said no, or cannot be reached.
    Unavailable = 69,
    /// What is to be made exists, or something that should not have happened.
    Software = 70,
    /// It took too long.
    TempFail = 75,
}

/// Displayed, it is what stands on stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    /// `rabbitmqctl` writes a line `Error:` before most of them.
    has_heading: bool,
}

impl Failure {
    /// A failure that is announced by a line of its own.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            has_heading: true,
        }
    }

    /// A failure whose message says all.
    pub(super) fn plain(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            has_heading: false,
            ..Self::new(exit, message)
        }
    }

    pub(super) fn no_user(name: &str) -> Self {
        Self::new(Exit::NoUser, format!("User \"{name}\" does not exist"))
    }

    /// As the verbs have it that change something in a virtual host.
    pub(super) fn no_vhost(name: &str) -> Self {
        let message = format!("Virtual host {name} does not exist");
        Self::new(Exit::Unavailable, message)
    }

    /// As the verbs have it that list what is in a virtual host.
    pub(super) fn no_vhost_to_list(name: &str) -> Self {
        let message = format!("Virtual host '{name}' does not exist");
        Self::plain(Exit::Data, message)
    }

    pub(super) fn unreachable(socket: &Path, error: &io::Error) -> Self {
        Self::plain(
            Exit::Unavailable,
            format!(
                "Error: unable to perform an operation on the server at {}: {error}\n\n\
                 Most common reasons for this are:\n\n\
                 \x20* No server runs with this data directory or control socket\n\
                 \x20* It is another user's: only the one who runs it and root may ask it",
                socket.display()
            ),
        )
    }

    pub(super) fn timed_out(verb: &str, timeout_s: u64) -> Self {
        Self::plain(
            Exit::TempFail,
            format!("Error: operation {verb} timed out. Timeout value used: {timeout_s}"),
        )
    }

    /// An answer that does not fit the question: the server is of another version.
    pub(super) fn unexpected() -> Self {
        Self::new(
            Exit::Software,
            "the server's answer makes no sense to this version",
        )
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_heading {
            f.write_str("Error:\n")?;
        }
        f.write_str(&self.message)
    }
}

/// Writing to stdout, or reading from stdin, went wrong.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Software, error.to_string())
    }
}
