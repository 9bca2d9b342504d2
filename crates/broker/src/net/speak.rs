//! From a stream of bytes to a session that runs.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use super::seat::Seat;
use super::service::Spoken;
use crate::session;
use crate::shared::Shared;

/// Starts the session of whatever is spoken on a stream, as a task of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
pub(super) fn speak<S>(spoken: Spoken, stream: S, seat: Seat, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match spoken {
        Spoken::Amqp => {
            let start = session::amqp::Session::new;
            tokio::spawn(Connection::new(stream, seat, shared, start).run());
        }
        #[cfg(feature = "stomp")]
        Spoken::Stomp => {
            let start = session::stomp::Session::new;
            tokio::spawn(Connection::new(stream, seat, shared, start).run());
        }
        #[cfg(feature = "stomp")]
        Spoken::WebSocket => {
            let start = session::websocket::WebSocket::new;
            tokio::spawn(Connection::new(stream, seat, shared, start).run());
        }
    }
}
