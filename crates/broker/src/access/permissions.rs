//! What a user may do in a virtual host.

use super::pattern::{Pattern, PatternError};
use super::right::Right;
use super::topic_pattern::TopicPattern;

/// Which names a user may configure, write to and read from in one virtual host.
///
/// | Operation | configure | write | read |
/// | --- | --- | --- | --- |
/// | declare, delete an exchange | the exchange | | |
/// | declare one with an alternate exchange, in addition | | the alternate exchange | the exchange |
/// | declare, delete a queue | the queue | | |
/// | declare one with a dead letter exchange, in addition | | the dead letter exchange | the queue |
/// | bind, unbind | | the destination | the source |
/// | publish | | the exchange | |
/// | consume, get, purge | | | the queue |
///
/// The default exchange is called `amq.default` here. A queue that the broker names is checked by the name that it gets,
/// `amq.gen-` and more. What exists already is declared again without a look at the additional rights, and declaring
/// passively needs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// What may be declared and deleted.
    pub configure: Pattern,
    /// What may be published to, and bound as a destination.
    pub write: Pattern,
    /// What may be consumed from, and bound as a source.
    pub read: Pattern,
}

impl Permissions {
    /// Reads the three patterns, in RabbitMQ's order.
    ///
    /// # Errors
    /// For the first of them that is not a pattern.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// Permission for everything.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            configure: Pattern::everything(),
            write: Pattern::everything(),
            read: Pattern::everything(),
        }
    }

    /// Permission to open the virtual host, and for nothing in it.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            configure: Pattern::nothing(),
            write: Pattern::nothing(),
            read: Pattern::nothing(),
        }
    }

    pub(super) fn of(&self, right: Right) -> &Pattern {
        match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        }
    }
}

/// Which routing keys a user may use with one topic exchange, beyond what [`Permissions`] say of the exchange itself.
///
/// Without any for a user and an exchange, all keys may be used. They hold for exchanges of the type `topic` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissions {
    /// Keys to publish with, those in the CC and BCC headers included.
    pub write: TopicPattern,
    /// Keys to bind with, and to unbind.
    pub read: TopicPattern,
}

impl TopicPermissions {
    /// Reads the two patterns.
    ///
    /// # Errors
    /// For the first of them that is not a pattern.
    pub fn new(write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self {
            write: TopicPattern::new(write)?,
            read: TopicPattern::new(read)?,
        })
    }
}
