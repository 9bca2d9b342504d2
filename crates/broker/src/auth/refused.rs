//! Why somebody was not let in, or was not told what it may do.

use std::fmt;

/// Why a login was refused; the text goes to the log, never to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefused {
    reason: String,
    unavailable: bool,
}

impl LoginRefused {
    /// A refusal with this reason for the operator: nobody of this name is known, or what was shown is wrong.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            unavailable: false,
        }
    }

    /// A refusal because nobody could be asked who this is: a server did not answer, or not in a way that can be
    /// understood. It is logged as other refusals are, and does not count as a failed attempt to guess a password.
    #[must_use]
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            unavailable: true,
        }
    }

    /// Whether nobody could be asked.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.unavailable
    }

    /// Tells the operator.
    pub(crate) fn log(&self, connection: &str, mechanism: &str) {
        let reason = &self.reason;
        if self.unavailable {
            tracing::warn!(
                connection,
                mechanism,
                reason,
                "login refused: nobody can be asked"
            );
        } else {
            tracing::warn!(connection, mechanism, reason, "login refused");
        }
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LoginRefused {}

impl From<Unavailable> for LoginRefused {
    fn from(unavailable: Unavailable) -> Self {
        Self::unavailable(unavailable.reason)
    }
}

/// Why an [`Authorizer`](crate::Authorizer) could not be asked; the text goes to the log, never to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    reason: String,
}

impl Unavailable {
    /// With this reason for the operator.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Unavailable {}
