//! What is spoken within a WebSocket.

use crate::session::{Protocol, amqp, stomp};

/// A session whose bytes travel in messages.
#[derive(Debug)]
pub(super) enum Inner {
    /// Puts each frame into a message itself.
    Stomp(Box<stomp::Session>),
    /// Knows nothing of messages: what it puts out at once is one.
    Amqp(Box<amqp::Session>),
}

impl Inner {
    pub(super) fn protocol(&self) -> &dyn Protocol {
        match self {
            Self::Stomp(session) => &**session,
            Self::Amqp(session) => &**session,
        }
    }

    pub(super) fn protocol_mut(&mut self) -> &mut dyn Protocol {
        match self {
            Self::Stomp(session) => &mut **session,
            Self::Amqp(session) => &mut **session,
        }
    }
}
