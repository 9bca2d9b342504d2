//! What is spoken on a socket.

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) spoken: Spoken,
    pub(crate) security: Security,
}

/// The protocol of a listener's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Amqp,
    #[cfg(feature = "stomp")]
    Stomp,
    #[cfg(feature = "stomp")]
    WebSocket,
}

/// What stands between the socket and the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Nothing,
    #[cfg(feature = "tls")]
    Tls,
}

impl Spoken {
    pub(crate) fn in_the_clear(self) -> Service {
        Service {
            spoken: self,
            security: Security::Nothing,
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn over_tls(self) -> Service {
        Service {
            spoken: self,
            security: Security::Tls,
        }
    }
}
