//! Why accounts could not be changed, or a virtual host not be found.

use std::sync::Arc;

use crate::error::Refusal;

/// See the module. The text says what was wrong, for whoever asked for the change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("this broker has no accounts")]
    NoAccounts,
    #[error("no user '{0}'")]
    NoUser(Arc<str>),
    #[error("user '{0}' exists already")]
    UserExists(Arc<str>),
    #[error("vhost {0} not found")]
    NoVhost(Arc<str>),
    /// The embedding program has said that it stays as it is.
    #[error("{0} cannot be changed while the broker runs")]
    Fixed(String),
    #[error("{}", .0.explanation)]
    NotStored(Refusal),
}

impl AccountError {
    pub(crate) fn no_vhost(name: &str) -> Self {
        Self::NoVhost(name.into())
    }
}
