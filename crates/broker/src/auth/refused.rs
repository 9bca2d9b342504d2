//! Why somebody was not let in.

use std::fmt;

/// Why a login was refused; the text goes to the log, never to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefused {
    reason: String,
}

impl LoginRefused {
    /// A refusal with this reason for the operator.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LoginRefused {}
