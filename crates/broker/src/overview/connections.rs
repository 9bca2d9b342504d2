//! Connections and their channels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use leveret_amqp_codec::{ReplyCode, Table};
use tokio::sync::mpsc;

use crate::auth::TlsPeer;
use crate::broker::Broker;
use crate::connection::{Endpoints, Kind, Registration};

/// How long connections have to say what they are. They do so at their next turn; one that cannot within this time has a
/// thread that is busy with something else, and is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client with a socket, as it was when it was asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectionOverview {
    /// What [`Broker::close_connection`] calls it. Never used twice by one broker.
    pub id: u64,
    /// `PEER_IP:PEER_PORT -> LOCAL_IP:LOCAL_PORT`; `in-process` for one without addresses.
    pub name: String,
    /// The client's end.
    pub peer: Option<SocketAddr>,
    /// The broker's end.
    pub local: Option<SocketAddr>,
    /// What it speaks: `AMQP 0-9-1`, or `STOMP` with a version.
    pub protocol: String,
    /// Who it is, once it has logged in.
    pub user: Option<Arc<str>>,
    /// The SASL mechanism that it has logged in by, for example `PLAIN`; none for STOMP, which has no mechanisms.
    pub mechanism: Option<&'static str>,
    /// What an AMQP client has said of itself: product, version, `connection_name` and whatever else. Of properties that take
    /// more than 1 KiB on the wire those are here that fit.
    pub client_properties: Table,
    /// The virtual host that it has opened.
    pub vhost: Option<Arc<str>>,
    /// Whether it comes by TLS.
    pub is_encrypted: bool,
    /// What TLS has shown of it.
    pub tls: Option<Arc<TlsPeer>>,
    /// How far it is.
    pub state: ConnectionState,
    /// Bytes wait for the peer to read them, and nothing more is delivered until it has.
    pub is_unread: bool,
    /// How many bytes these are.
    pub unwritten_bytes: usize,
    /// When it was accepted, to the millisecond.
    pub connected_at: SystemTime,
    /// How many bytes have been read from its socket, within TLS and without what comes before the protocol (the PROXY
    /// protocol, handshakes of TLS).
    pub received_bytes: u64,
    /// In how many pieces.
    pub reads: u64,
    /// How many bytes have been written to its socket; likewise.
    pub sent_bytes: u64,
    /// In how many pieces.
    pub writes: u64,
    /// Its channels, by number.
    pub channels: Vec<ChannelOverview>,
    /// How many channels it may have; 0 for no limit, and for protocols without channels.
    pub channel_max: u16,
    /// The largest frame in bytes; 0 for protocols that agree on none.
    pub frame_size_max: u32,
    /// The heartbeat that was agreed upon, in seconds; 0 for none.
    pub heartbeat_s: u16,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It has not logged in.
    Starting,
    /// It has logged in, and agrees on limits.
    Tuning,
    /// It opens a virtual host.
    Opening,
    /// It can do everything.
    Running,
    /// It has published while memory or disk was low, and is not read from.
    Blocked,
    /// It has been told to close.
    Closing,
    /// It is gone.
    Closed,
}

impl ConnectionState {
    /// The state in RabbitMQ's words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Tuning => "tuning",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// A channel of a connection; a STOMP session is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelOverview {
    /// Its number within the connection.
    pub number: u16,
    /// How many consumers it has.
    pub consumers: usize,
    /// How many deliveries it has not settled.
    pub unacked: usize,
    /// How many deliveries a consumer that is started from now on may hold; 0 for any number.
    pub prefetch: u16,
    /// The same for all its consumers together.
    pub global_prefetch: u16,
    /// Its publishes are confirmed.
    pub confirms: bool,
    /// How many of them are not yet.
    pub unconfirmed: u64,
    /// It works in transactions.
    pub transactional: bool,
    /// How many publishes the transaction holds.
    pub uncommitted: usize,
    /// How many deliveries are settled in it.
    pub uncommitted_acks: usize,
}

impl ConnectionOverview {
    /// One of which nothing else is known.
    pub(crate) fn new(
        registration: &Registration,
        endpoints: Option<Endpoints>,
        protocol: &str,
    ) -> Self {
        Self {
            id: registration.id().0,
            name: endpoints.map_or_else(|| "in-process".to_owned(), |ends| ends.to_string()),
            peer: endpoints.map(|ends| ends.peer),
            local: endpoints.map(|ends| ends.local),
            protocol: protocol.to_owned(),
            user: None,
            mechanism: None,
            client_properties: Table::default(),
            vhost: None,
            is_encrypted: registration.tls().is_some(),
            tls: registration.tls().cloned(),
            state: ConnectionState::Starting,
            is_unread: false,
            unwritten_bytes: 0,
            connected_at: SystemTime::UNIX_EPOCH,
            received_bytes: 0,
            reads: 0,
            sent_bytes: 0,
            writes: 0,
            channels: Vec::new(),
            channel_max: 0,
            frame_size_max: 0,
            heartbeat_s: 0,
        }
    }
}

/// A question to a connection, with the way back.
#[derive(Clone, Debug)]
pub(crate) struct Survey(mpsc::Sender<ConnectionOverview>);

impl Survey {
    pub(crate) fn answer(&self, overview: ConnectionOverview) {
        // There is room for the answer of everybody who was asked; nobody may be waiting any more.
        let _ = self.0.try_send(overview);
    }
}

impl Broker {
    /// All clients with a socket, by their ids, which grow: each says what it is at its next turn. Clients of this process
    /// are not among them.
    pub async fn connections(&self) -> Vec<ConnectionOverview> {
        let outboxes = self.shared.registry.outboxes_of(Kind::Socket);
        let (sender, mut answers) = mpsc::channel(outboxes.len().max(1));
        for (_, outbox) in outboxes {
            let survey = Survey(sender.clone());
            let wakers = outbox.inquire(|inquiry| inquiry.surveys.push(survey));
            wakers
                .into_iter()
                .flatten()
                .for_each(std::task::Waker::wake);
        }
        drop(sender);
        let mut connections = Vec::new();
        let all = async {
            while let Some(connection) = answers.recv().await {
                connections.push(connection);
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("some connections did not say in time what they are");
        }
        connections.sort_unstable_by_key(|connection| connection.id);
        connections
    }

    /// Closes a connection: its client is told `CONNECTION_FORCED` with this reason, and has to agree; one that does not
    /// read for a second is cut off. False when there is none with this id.
    pub fn close_connection(&self, id: u64, reason: &str) -> bool {
        let outboxes = self.shared.registry.outboxes_of(Kind::Socket);
        let found = outboxes.into_iter().find(|(of, _)| of.0 == id);
        let Some((_, outbox)) = found else {
            return false;
        };
        outbox.ask_to_close(ReplyCode::ConnectionForced, reason.to_owned());
        true
    }
}
