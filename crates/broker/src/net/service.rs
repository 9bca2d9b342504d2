//! What is spoken on a socket.

/// The protocol that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Amqp,
    #[cfg(feature = "stomp")]
    Stomp,
    #[cfg(feature = "stomp")]
    WebSocket,
}
