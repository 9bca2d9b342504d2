//! Who a connection acts as.

use std::sync::Arc;

/// Who a connection acts as, once it has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    username: Arc<str>,
}

impl Identity {
    /// The identity of the user with this name.
    #[must_use]
    pub fn new(username: impl Into<Arc<str>>) -> Self {
        Self {
            username: username.into(),
        }
    }

    /// The user's name, as the `user-id` property of its messages must state it.
    #[must_use]
    pub fn username(&self) -> &Arc<str> {
        &self.username
    }
}
