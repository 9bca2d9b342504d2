//! What the broker knows of each client that is connected, with a socket or without.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_amqp_codec::ReplyCode;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use crate::auth::TlsPeer;
use crate::network::Origin;
use crate::outbox::Outbox;

/// Names a connection for as long as the broker runs; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// The two ends of a client's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Endpoints {
    /// What a connection is called in the log.
    pub(crate) fn name_of(endpoints: Option<Self>) -> String {
        endpoints.map_or_else(
            || "in-process".to_owned(),
            |endpoints| endpoints.to_string(),
        )
    }
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

/// How many connections there may be from one address; an IPv6 network of 64 bits counts as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitsOfAddresses {
    /// Of those that have not logged in yet.
    pub(crate) strangers_max: usize,
    /// Of all; none for no limit, and then nobody counts.
    pub(crate) connections_max: Option<usize>,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TurnedAway {
    #[error("there are {limit} connections from its address already, which is the limit")]
    TooMany { limit: usize },
    #[error(
        "there are {limit} connections from its address already that have not logged in, which is the limit"
    )]
    TooManyStrangers { limit: usize },
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
    /// Those that count for something; so an address whose clients have all logged in is only here where there is a limit
    /// on them.
    origins: HashMap<Origin, CountOfOrigin>,
}

/// The connections from one address.
#[derive(Debug, Default)]
struct CountOfOrigin {
    strangers: usize,
    all: usize,
}

#[derive(Debug)]
struct Entry {
    id: ConnectionId,
    outbox: Arc<Outbox>,
    endpoints: Option<Endpoints>,
    kind: Kind,
    counts_as: CountsAs,
}

/// What a connection counts for at its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CountsAs {
    /// It has not logged in.
    stranger: bool,
    /// It counts for the limit on all.
    one: bool,
}

impl CountsAs {
    const NOTHING: Self = Self {
        stranger: false,
        one: false,
    };
}

impl State {
    fn count(&mut self, kind: Kind) -> Option<&mut usize> {
        match kind {
            Kind::Socket => Some(&mut self.sockets),
            Kind::Client => Some(&mut self.clients),
            Kind::Consumer => None,
        }
    }

    /// Takes a connection into the account of its address.
    fn arrive(
        &mut self,
        key: usize,
        endpoints: Endpoints,
        limits: LimitsOfAddresses,
    ) -> Result<(), TurnedAway> {
        let origin = Origin::of(endpoints.peer.ip());
        let counts = self.origins.get(&origin);
        let (strangers, all) = counts.map_or((0, 0), |counts| (counts.strangers, counts.all));
        if let Some(limit) = limits.connections_max
            && all >= limit
        {
            return Err(TurnedAway::TooMany { limit });
        }
        let limit = limits.strangers_max;
        if strangers >= limit {
            return Err(TurnedAway::TooManyStrangers { limit });
        }
        let entry = &mut self.entries[key];
        entry.endpoints = Some(endpoints);
        entry.counts_as = CountsAs {
            stranger: true,
            one: limits.connections_max.is_some(),
        };
        let counts = self.origins.entry(origin).or_default();
        counts.strangers += 1;
        counts.all += usize::from(entry.counts_as.one);
        Ok(())
    }

    /// From now on a connection counts as `counts_as`, which is less than before.
    fn count_less(&mut self, key: usize, counts_as: CountsAs) {
        let entry = &mut self.entries[key];
        let before = std::mem::replace(&mut entry.counts_as, counts_as);
        let Some(endpoints) = entry.endpoints else {
            return;
        };
        if before == counts_as {
            return;
        }
        if let Place::Occupied(mut place) = self.origins.entry(Origin::of(endpoints.peer.ip())) {
            let counts = place.get_mut();
            counts.strangers -= usize::from(before.stranger) - usize::from(counts_as.stranger);
            counts.all -= usize::from(before.one) - usize::from(counts_as.one);
            if (counts.strangers, counts.all) == (0, 0) {
                place.remove();
            }
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
    tls: Option<Arc<TlsPeer>>,
}

impl Registration {
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// What TLS has shown of the client, where it came that way.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsPeer>> {
        self.tls.as_ref()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: Arc<TlsPeer>) {
        self.tls = Some(tls);
    }

    /// From now on this stands for the client that `other` stood for: it has its TLS, and counts in its place.
    #[cfg(feature = "stomp")]
    pub(crate) fn replace(&mut self, other: &Self) {
        self.tls.clone_from(&other.tls);
        let mut state = self.registry.state.lock();
        let before = &mut state.entries[other.key].counts_as;
        let counts_as = std::mem::replace(before, CountsAs::NOTHING);
        state.entries[self.key].counts_as = counts_as;
    }

    /// It is known now where the client is: here it begins to count for its address.
    ///
    /// # Errors
    /// When there are too many from there.
    pub(crate) fn arrive(
        &self,
        endpoints: Endpoints,
        limits: LimitsOfAddresses,
    ) -> Result<(), TurnedAway> {
        self.registry
            .state
            .lock()
            .arrive(self.key, endpoints, limits)
    }

    /// The client has logged in.
    pub(crate) fn is_no_stranger(&self) {
        let mut state = self.registry.state.lock();
        let counts_as = CountsAs {
            stranger: false,
            ..state.entries[self.key].counts_as
        };
        state.count_less(self.key, counts_as);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.count_less(self.key, CountsAs::NOTHING);
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
            counts_as: CountsAs::NOTHING,
        });
        Some(Registration {
            registry: Arc::clone(self),
            key,
            id,
            kind,
            tls: None,
        })
    }

    /// The two ends of the sockets of these connections, where they have any. Looks through all connections, once: for people,
    /// not for programs; sessions know their own.
    pub(crate) fn endpoints(
        &self,
        ids: &HashSet<ConnectionId>,
    ) -> HashMap<ConnectionId, Endpoints> {
        let state = self.state.lock();
        let entries = state.entries.iter().map(|(_, entry)| entry);
        entries
            .filter(|entry| ids.contains(&entry.id))
            .filter_map(|entry| Some((entry.id, entry.endpoints?)))
            .collect()
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
            let text = "broker forced connection closure with reason 'shutdown'".to_owned();
            outbox.ask_to_close(ReplyCode::ConnectionForced, text);
        }
    }
}
