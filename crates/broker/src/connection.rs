//! What the broker knows of each client that is connected, with a socket or without.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_amqp_codec::ReplyCode;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use crate::outbox::{Outbox, Outgoing};

/// Names a connection for as long as the broker runs; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// The two ends of a client's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl fmt::Display for Endpoints {
    /// A connection's name as RabbitMQ gives it: `PEER_IP:PEER_PORT -> LOCAL_IP:LOCAL_PORT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.peer, self.local)
    }
}

/// What a registration stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client with a socket.
    Socket,
    /// A client in this process.
    Client,
    /// A consumer of such a client.
    Consumer,
}

/// Everything that must hear of the broker's end.
///
/// Its lock is never held while another is taken, except an outbox's.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// The last socket is gone.
    sockets_gone: Notify,
    /// Who comes late is turned away. Set under the lock, so that nobody enters who is not told to close.
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    entries: Slab<Entry>,
    next_id: u64,
    sockets: usize,
    clients: usize,
}

#[derive(Debug)]
struct Entry {
    id: ConnectionId,
    outbox: Arc<Outbox>,
    endpoints: Option<Endpoints>,
    kind: Kind,
}

impl State {
    fn count(&mut self, kind: Kind) -> Option<&mut usize> {
        match kind {
            Kind::Socket => Some(&mut self.sockets),
            Kind::Client => Some(&mut self.clients),
            Kind::Consumer => None,
        }
    }
}

/// A place in the registry; leaving is dropping it.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    key: usize,
    id: ConnectionId,
    kind: Kind,
}

impl Registration {
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.entries.remove(self.key);
        if let Some(count) = state.count(self.kind) {
            *count -= 1;
        }
        let last = self.kind == Kind::Socket && state.sockets == 0;
        drop(state);
        if last {
            self.registry.sockets_gone.notify_waiters();
        }
    }
}

impl Registry {
    /// Enters somebody; what is for them goes to `outbox`. None when the broker is shutting down.
    pub(crate) fn register(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        kind: Kind,
        endpoints: Option<Endpoints>,
    ) -> Option<Registration> {
        let mut state = self.state.lock();
        if self.is_closing() {
            return None;
        }
        let id = ConnectionId(state.next_id);
        state.next_id += 1;
        if let Some(count) = state.count(kind) {
            *count += 1;
        }
        let key = state.entries.insert(Entry {
            id,
            outbox: Arc::clone(outbox),
            endpoints,
            kind,
        });
        Some(Registration {
            registry: Arc::clone(self),
            key,
            id,
            kind,
        })
    }

    /// The two ends of a connection's socket. Looks through all connections: for people, not for programs.
    pub(crate) fn endpoints(&self, id: ConnectionId) -> Option<Endpoints> {
        let state = self.state.lock();
        let found = state.entries.iter().find(|(_, entry)| entry.id == id);
        found.and_then(|(_, entry)| entry.endpoints)
    }

    /// The ways to everybody of a kind.
    pub(crate) fn outboxes_of(&self, kind: Kind) -> Vec<(ConnectionId, Arc<Outbox>)> {
        let state = self.state.lock();
        let of_kind = state.entries.iter().filter(|(_, entry)| entry.kind == kind);
        of_kind
            .map(|(_, entry)| (entry.id, Arc::clone(&entry.outbox)))
            .collect()
    }

    /// The broker is shutting down, or has.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// How many clients have a socket.
    pub(crate) fn sockets(&self) -> usize {
        self.state.lock().sockets
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        let state = self.state.lock();
        state.sockets + state.clients
    }

    /// Waits until no client with a socket is left.
    pub(crate) async fn wait_for_sockets(&self) {
        loop {
            // Asked for before looking, so that the last one's leaving in between is not missed.
            let gone = self.sockets_gone.notified();
            if self.sockets() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// Asks every connection to close, in RabbitMQ's words, and lets no new one in.
    pub(crate) fn close_all(&self) {
        let outboxes: Vec<_> = {
            let state = self.state.lock();
            self.closing.store(true, Ordering::Relaxed);
            state
                .entries
                .iter()
                .map(|(_, entry)| Arc::clone(&entry.outbox))
                .collect()
        };
        for outbox in outboxes {
            let close = Outgoing::Close {
                code: ReplyCode::ConnectionForced,
                text: "broker forced connection closure with reason 'shutdown'".to_owned(),
            };
            if let Some(waker) = outbox.push([close]) {
                waker.wake();
            }
        }
    }
}
