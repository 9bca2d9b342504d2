//! Why a backend could not be set up.

/// Why settings cannot be used; the text names what is wrong with which of them, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SetupError {
    reason: String,
}

#[cfg(any(feature = "http", feature = "ldap", feature = "oauth2"))]
impl SetupError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}
