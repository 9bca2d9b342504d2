//! What comes before a session: where the client is, and TLS.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_core::future::BoxFuture;
use leveret_queue_store::Time;
use tokio::net::TcpStream;

use super::line::Line;
use super::proxy;
use super::seat::Seat;
#[cfg(feature = "tls")]
use super::service::Security;
use super::service::Service;
use super::speak::speak;
#[cfg(feature = "tls")]
use super::tls::HandshakeError;
use crate::connection::{Endpoints, TurnedAway};
use crate::proxy_protocol::ProxyError;
use crate::shared::Shared;

/// Why a client got no session; the text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAdmitted {
    #[error("the handshake took too long")]
    TooSlow,
    #[error("the broker is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    TurnedAway(#[from] TurnedAway),
    #[error("no usable header of the PROXY protocol from a trusted proxy: {0}")]
    Proxy(#[from] ProxyError),
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] HandshakeError),
}

/// Leads a client in, and its session to the end.
pub(super) async fn enter(
    service: Service,
    mut stream: TcpStream,
    mut seat: Seat,
    is_proxied: bool,
    shared: Arc<Shared>,
) {
    let deadline = seat
        .since
        .saturating_add(shared.config.handshake_timeout_ms());
    if is_proxied
        && let Some(socket) = seat.endpoints
        && let Err(why) = arrive_by_proxy(&mut stream, &mut seat, socket, deadline, &shared).await
    {
        turn_away(seat, &why);
        return;
    }
    #[cfg(feature = "tls")]
    if service.security == Security::Tls {
        // Boxed, so that the room it takes is free again when the session runs.
        let handshake: BoxFuture<'_, _> = Box::pin(shared.config.tls.accept(stream));
        let outcome = within(deadline, &seat, &shared, handshake).await;
        match outcome.and_then(|outcome| Ok(outcome?)) {
            Ok((stream, mut peer)) => {
                if !peer.certificates.is_empty() {
                    peer.username = shared.authenticator.certificate_user(&peer);
                }
                seat.registration.set_tls(Arc::new(peer));
                speak(service.spoken, stream, seat, &shared);
            }
            Err(why) => turn_away(seat, &why),
        }
        return;
    }
    speak(service.spoken, Line::new(stream), seat, &shared);
}

/// Reads what a trusted proxy says of the client.
async fn arrive_by_proxy(
    stream: &mut TcpStream,
    seat: &mut Seat,
    socket: Endpoints,
    deadline: Time,
    shared: &Shared,
) -> Result<(), NotAdmitted> {
    let header: BoxFuture<'_, _> = Box::pin(proxy::read_header(stream));
    let named = within(deadline, seat, shared, header).await??;
    // Of a connection of its own (a look at our health) the proxy names nobody.
    Ok(seat.arrive(named.unwrap_or(socket), shared)?)
}

/// What a future comes to before the deadline, and before the broker's end.
async fn within<T>(
    deadline: Time,
    seat: &Seat,
    shared: &Shared,
    work: impl Future<Output = T>,
) -> Result<T, NotAdmitted> {
    let mut work = pin!(work);
    let mut sleep = pin!(shared.clock.sleep_until(deadline));
    std::future::poll_fn(|cx| {
        let _busy = shared.busy.during();
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        // Nobody else has anything for a connection without a session.
        if seat.outbox.poll_ready(cx).is_ready() {
            return Poll::Ready(Err(NotAdmitted::ShuttingDown));
        }
        sleep.as_mut().poll(cx).map(|()| Err(NotAdmitted::TooSlow))
    })
    .await
}

/// Whoever comes and goes without a word is not worth a line: ports are looked at all the time.
pub(super) fn turn_away(seat: Seat, why: &NotAdmitted) {
    let connection = seat.name();
    match why {
        NotAdmitted::Lost(_) | NotAdmitted::ShuttingDown => {
            tracing::debug!(connection, reason = %why, "not admitted");
        }
        #[cfg(feature = "tls")]
        NotAdmitted::Tls(HandshakeError::Silent) => {
            tracing::debug!(connection, reason = %why, "not admitted");
        }
        NotAdmitted::TurnedAway(_) => tracing::warn!(connection, reason = %why, "not admitted"),
        _ => tracing::info!(connection, reason = %why, "not admitted"),
    }
    seat.leave();
}
