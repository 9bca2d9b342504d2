//! What can be permitted, and what for.

use std::fmt;

/// What a user may be permitted to do with an exchange or a queue, as RabbitMQ divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To make and delete it.
    Configure,
    /// To put messages in: to publish to an exchange, to bind a queue or an exchange that is to receive.
    Write,
    /// To get messages out: to consume from a queue and to purge it, to bind to an exchange.
    Read,
}

impl Right {
    /// `configure`, `write` or `read`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a [`Right`] is a right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// An exchange. The one without a name is called `amq.default` here, as in RabbitMQ.
    Exchange,
    /// A queue.
    Queue,
}

impl ResourceKind {
    /// `exchange` or `queue`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// An exchange; the empty name means the default one.
    Exchange(&'a str),
    Queue(&'a str),
}

impl<'a> Resource<'a> {
    /// The name that is checked, and shown.
    pub(super) fn name(&self) -> &'a str {
        match self {
            // RabbitMQ: rights to the exchange without a name are rights to this one.
            Self::Exchange("") => "amq.default",
            Self::Exchange(name) | Self::Queue(name) => name,
        }
    }

    pub(super) fn kind(&self) -> ResourceKind {
        match self {
            Self::Exchange(_) => ResourceKind::Exchange,
            Self::Queue(_) => ResourceKind::Queue,
        }
    }
}
