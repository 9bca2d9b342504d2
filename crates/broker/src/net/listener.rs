//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
#[cfg(feature = "stomp")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[cfg(feature = "stomp")]
use super::connection::Connection;
use super::entrance::{enter, turn_away};
use super::line::Line;
use super::seat::Seat;
use super::service::{Security, Service};
use super::speak::speak;
#[cfg(feature = "stomp")]
use crate::auth::Identity;
use crate::connection::Endpoints;
#[cfg(feature = "stomp")]
use crate::session::websocket::{Speaks, WebSocket};
use crate::shared::Shared;

/// How many connections the kernel keeps for us until we accept them: thousands of phones come back at once when a
/// network returns. The kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;

/// How long to wait when the process has no file descriptor left; closing connections will free some.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A bound address and the task that accepts connections on it. Dropping it closes the address.
#[derive(Debug)]
pub(crate) struct Listener {
    service: Service,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Starts accepting on a socket from [`bind`].
    #[expect(
        clippy::disallowed_methods,
        reason = "net is the part of the broker that has tasks"
    )]
    pub(crate) fn start(
        service: Service,
        listener: TcpListener,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self {
            service,
            address,
            task: tokio::spawn(accept(service, listener, shared)),
        })
    }

    /// What is spoken there.
    pub(crate) fn service(&self) -> Service {
        self.service
    }

    /// The address with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a listening socket. An IPv6 address stands for itself only, so that both families can have the same port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that a restart need not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(service: Service, listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => start_connection(service, stream, peer, &shared),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                if !is_about_one_connection(&error) {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
fn start_connection(service: Service, stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    if is_full(shared, Some(peer)) {
        return;
    }
    // Writes are already gathered; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection ended at once");
        return;
    }
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let endpoints = Endpoints { peer, local };
    let Some(mut seat) = Seat::take(shared, Some(endpoints)) else {
        return;
    };
    let mut proxies = shared.config.proxies.iter();
    let is_proxied = proxies.any(|network| network.contains(peer.ip()));
    if !is_proxied && let Err(why) = seat.arrive(endpoints, shared) {
        turn_away(seat, &why.into());
        return;
    }
    if is_proxied || service.security != Security::Nothing {
        let shared = Arc::clone(shared);
        tokio::spawn(enter(service, stream, seat, is_proxied, shared));
        return;
    }
    speak(service.spoken, Line::new(stream), seat, shared);
}

/// Whether there are as many connections as there may be, which the log is told then.
fn is_full(shared: &Shared, peer: Option<SocketAddr>) -> bool {
    let limit = shared.config.connections_max;
    let is_full = shared.registry.sockets() >= limit;
    if is_full {
        let peer = peer.map_or_else(|| "in-process".to_owned(), |peer| peer.to_string());
        tracing::warn!(peer, limit, "refused a connection: the limit is reached");
    }
    is_full
}

/// Serves a WebSocket that the embedding program has agreed to.
#[cfg(feature = "stomp")]
pub(crate) fn serve_websocket<S>(
    stream: S,
    speaks: Speaks,
    identity: Identity,
    shared: &Arc<Shared>,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seat = (!is_full(shared, None)).then(|| Seat::take(shared, None));
    let connection = seat.flatten().map(|seat| {
        Connection::new(
            stream,
            seat,
            shared,
            |shared, registration, outbox, _, now| {
                WebSocket::opened(shared, registration, outbox, now, speaks, identity)
            },
        )
    });
    async move {
        if let Some(connection) = connection {
            connection.run().await;
        }
    }
}

/// The peer gave up before we came to it; the next one may be fine.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
