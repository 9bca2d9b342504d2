//! A user: a name, what its password is checked against, and tags.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, by which everything else refers to the user.
    pub name: Arc<str>,
    /// What the [`Authenticator`](crate::Authenticator) compares a password with; without one the user cannot log in
    /// with a password. The broker itself never looks at it.
    pub password_hash: Option<PasswordHash>,
    /// What the user is beyond a client.
    pub tags: BTreeSet<Tag>,
    /// How much the user may have at once.
    pub limits: UserLimits,
}

impl User {
    /// A user without a password and tags.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            password_hash: None,
            tags: BTreeSet::new(),
            limits: UserLimits::default(),
        }
    }
}

/// How much a user may have at once, in all virtual hosts together. None is what holds for all users
/// ([`Builder::connections_per_user_max`](crate::Builder::connections_per_user_max),
/// [`Builder::channels_per_user_max`](crate::Builder::channels_per_user_max)), 0 forbids it.
///
/// What there is when a limit is set stays; the next one too many is refused with `NOT_ALLOWED`, which closes the
/// connection. Clients of this process count only when they [act for the user](crate::Broker::client_for).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserLimits {
    /// Connections with an open virtual host.
    pub connections_max: Option<u32>,
    /// AMQP channels; a session of STOMP is one.
    pub channels_max: Option<u32>,
}

/// What is kept of a password, in a form that the authenticator understands: a text such as `$argon2id$…`.
///
/// Its `Debug` output leaves the text out.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A mark on a user. To a messaging client only [`Tag::Impersonator`] makes a difference; the others say what the user may
/// see and do by way of the management API, and give no permission in any virtual host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tag {
    /// May manage virtual hosts, users and permissions.
    Administrator,
    /// May look at all connections and figures.
    Monitoring,
    /// May manage policies of its virtual hosts.
    Policymaker,
    /// May look at its own virtual hosts.
    Management,
    /// May publish messages whose `user-id` is not its own name.
    Impersonator,
    /// Anything else, for the embedding program to understand.
    Other(Arc<str>),
}

impl Tag {
    /// The tag as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Administrator => "administrator",
            Self::Monitoring => "monitoring",
            Self::Policymaker => "policymaker",
            Self::Management => "management",
            Self::Impersonator => "impersonator",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Tag {
    fn from(text: &str) -> Self {
        match text {
            "administrator" => Self::Administrator,
            "monitoring" => Self::Monitoring,
            "policymaker" => Self::Policymaker,
            "management" => Self::Management,
            "impersonator" => Self::Impersonator,
            other => Self::Other(Arc::from(other)),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_are_written() {
        for text in [
            "administrator",
            "monitoring",
            "policymaker",
            "management",
            "impersonator",
            "shift-2",
        ] {
            assert_eq!(Tag::from(text).to_string(), text);
        }
        assert_eq!(Tag::from("impersonator"), Tag::Impersonator);
        assert_eq!(
            Tag::from("Impersonator"),
            Tag::Other("Impersonator".into()),
            "case matters, as in RabbitMQ"
        );
    }

    #[test]
    fn debug_output_shows_no_hash() {
        let user = User {
            password_hash: Some(PasswordHash::new("$argon2id$salt$hash")),
            ..User::new("ann")
        };
        assert!(!format!("{user:?}").contains("argon2id"));
    }
}
