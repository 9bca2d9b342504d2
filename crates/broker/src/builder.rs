//! What a broker is told before it starts, and its start.

use std::net::SocketAddr;
#[cfg(feature = "journal")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "journal")]
use leveret_queue_store::{JournalOptions, SyncPolicy};

use crate::access::{Access, Accounts};
use crate::auth::{Authenticator, UserTable};
use crate::beginning::Beginning;
use crate::broker::Broker;
use crate::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::disk::DiskSpace;
use crate::error::Error;
use crate::net::{self, Listener};
use crate::shared::Shared;
use crate::vhost::HistoryLimits;

/// Sets up a broker. See [`Broker::builder`].
#[derive(Default)]
#[must_use = "nothing runs before start"]
pub struct Builder {
    config: Config,
    authenticator: Option<Arc<dyn Authenticator>>,
    accounts: Option<Accounts>,
    virtual_clock: Option<VirtualClock>,
    disk_space: Option<Arc<dyn DiskSpace>>,
    #[cfg(feature = "journal")]
    data_dir: Option<PathBuf>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Listens for AMQP 0-9-1 clients on this address; port 0 has the system choose one, which
    /// [`Broker::amqp_addresses`] tells. May be called several times. Without any, the broker serves its own process
    /// only.
    pub fn amqp(mut self, address: impl Into<SocketAddr>) -> Self {
        self.config.amqp_listeners.push(address.into());
        self
    }

    /// Listens for STOMP clients on this address, as [`Builder::amqp`] does for AMQP; [`Broker::stomp_addresses`] tells
    /// where.
    #[cfg(feature = "stomp")]
    pub fn stomp(mut self, address: impl Into<SocketAddr>) -> Self {
        self.config.stomp_listeners.push(address.into());
        self
    }

    /// Listens for WebSockets on this address, as [`Builder::amqp`] does for AMQP; [`Broker::websocket_addresses`] tells
    /// where. Within them STOMP is spoken (subprotocols `v10.stomp` to `v12.stomp`) or AMQP 0-9-1 (`amqp`); of clients
    /// that ask for neither, the first bytes tell.
    #[cfg(feature = "stomp")]
    pub fn websocket(mut self, address: impl Into<SocketAddr>) -> Self {
        self.config.websocket_listeners.push(address.into());
        self
    }

    /// The path of WebSockets, `/ws` unless set. Requests for others are answered with 404.
    #[cfg(feature = "stomp")]
    pub fn websocket_path(mut self, path: impl Into<String>) -> Self {
        self.config.websocket.path = path.into();
        self
    }

    /// Which web pages may open WebSockets: values of the `Origin` header, such as `https://app.example`. Others are
    /// answered with 403; clients without that header, which are no browsers, are let in. Any page may unless set.
    #[cfg(feature = "stomp")]
    pub fn websocket_origins(
        mut self,
        origins: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.config.websocket.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Has STOMP clients log in with the `Authorization: Basic` header of the upgrade request, where there is one; what
    /// their CONNECT says does not count then. Off unless set.
    #[cfg(feature = "stomp")]
    pub fn websocket_http_auth(mut self, http_auth: bool) -> Self {
        self.config.websocket.http_auth = http_auth;
        self
    }

    /// Sends all STOMP frames as binary messages. Unless set they are sent as text, as RabbitMQ does, but for those whose
    /// body is no text.
    #[cfg(feature = "stomp")]
    pub fn websocket_binary(mut self, binary: bool) -> Self {
        self.config.websocket.binary = binary;
        self
    }

    /// Who STOMP clients are that give no `login`: a name and a passcode, which the authenticator is asked about as
    /// about any others. `guest` and `guest` unless set, as in RabbitMQ; with none, who does not log in is refused.
    #[cfg(feature = "stomp")]
    pub fn stomp_default_user(mut self, user: Option<(String, String)>) -> Self {
        self.config.stomp_default_user = user;
        self
    }

    /// The largest STOMP frame in bytes, headers and all; a larger one ends its session. 4 MiB unless set. Clients that
    /// have not logged in are held to 64 KiB.
    #[cfg(feature = "stomp")]
    pub fn stomp_frame_size_max(mut self, bytes: usize) -> Self {
        self.config.stomp_frame_size_max = bytes;
        self
    }

    /// Who may log in. Without this: `guest` with password `guest`, from loopback addresses only.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// What clients may do, once they have logged in; see [`Accounts`]. Without this, everything.
    pub fn accounts(mut self, accounts: Accounts) -> Self {
        self.accounts = Some(accounts);
        self
    }

    /// A virtual host that is there from the start, beside `/`. May be called several times.
    pub fn vhost(mut self, name: impl Into<String>) -> Self {
        self.config.vhosts.push(name.into());
        self
    }

    /// Lets clients in that use the mechanism ANONYMOUS, as this user and without asking the authenticator. Off unless
    /// set.
    pub fn anonymous_user(mut self, name: impl Into<String>) -> Self {
        self.config.anonymous_user = Some(name.into());
        self
    }

    /// Runs the broker on a clock that is moved by hand. Every TTL, lease and heartbeat follows it.
    pub fn virtual_clock(mut self, clock: VirtualClock) -> Self {
        self.virtual_clock = Some(clock);
        self
    }

    /// Keeps what is durable in this directory: virtual hosts, durable exchanges and queues, the bindings between them,
    /// persistent messages in durable queues, and all messages that wait in durable exchanges of type
    /// `x-delayed-message` are there again after a restart, whatever ended the last run. Without this nothing is kept.
    ///
    /// The directory is made if there is none, for its owner alone, and locked while the broker runs. Declarations of
    /// durable things, and their deletions, are answered once they are on the disk; those that come together share a
    /// write. Publishes of persistent messages are confirmed once they are (see [`Builder::sync_policy`]). On a full disk
    /// all of this waits until there is room, and publishers with it, while consumers go on. After any other error of
    /// the disk declarations are refused with `INTERNAL_ERROR` and publishes not confirmed until the broker is started
    /// anew.
    #[cfg(feature = "journal")]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// How many bytes of the messages in durable queues and delayed exchanges stay in memory, persistent or not; what is
    /// more waits in the data directory and is read again when its turn comes. 16 MiB unless set. Queues that nobody takes
    /// from make room first, down to what a page on disk would cost: some 2 KiB each. Unacknowledged messages stay in memory
    /// whatever they take. Without a data directory it has no meaning.
    #[cfg(feature = "journal")]
    pub fn durable_memory(mut self, bytes: usize) -> Self {
        self.config.durable_memory = bytes;
        self
    }

    /// When a persistent message in a durable queue counts as safe, so that its publisher is told. Once the disk says so,
    /// unless set. Without a data directory it has no meaning.
    #[cfg(feature = "journal")]
    pub fn sync_policy(mut self, policy: SyncPolicy) -> Self {
        self.config.sync = policy;
        self
    }

    /// How many bytes messages may take in memory before publishers are no longer read from; `connection.blocked` tells
    /// them. No limit unless set. Counted are the messages in queues and in [histories](crate::ExchangeOptions::history_length),
    /// which together take a quarter of it at most, and what it takes to hold them; not the buffers of connections.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.config.memory_limit = bytes;
        self
    }

    /// Who tells how much disk is free. Without this, and by default, the disk is not watched: a broker that keeps
    /// everything in memory fills none.
    ///
    /// It is asked when the broker starts, then every ten seconds, and more often when little more than the
    /// [limit](Self::disk_free_limit) is free.
    pub fn disk_space(mut self, disk_space: impl DiskSpace) -> Self {
        self.disk_space = Some(Arc::new(disk_space));
        self
    }

    /// How many bytes of [disk](Self::disk_space) must be free; with less, publishers wait as they do for
    /// [memory](Self::memory_limit), until there is as much again. 50 MB unless set, as in RabbitMQ; 0 for no limit.
    pub fn disk_free_limit(mut self, bytes: u64) -> Self {
        self.config.disk_free_limit = bytes;
        self
    }

    /// Has the exchange `amq.topic` of every virtual host, which is behind `/topic` destinations of STOMP, keep history: of
    /// each routing key the latest `length` messages, and of these what has passed within `age`, for clients that
    /// [come back](crate::QueueOptions::resume_from). None for no limit of that kind; with neither, which is the default,
    /// nothing is kept. Exchanges of your own are [declared](crate::ExchangeOptions::history_length) so.
    pub fn topic_history(mut self, length: Option<u64>, age: Option<Duration>) -> Self {
        self.config.topic_history = HistoryLimits::new(length, age);
        self
    }

    /// How long a client has from connecting to having opened its virtual host, before it is dropped. 10 s unless set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.handshake_timeout = timeout;
        self
    }

    /// How long AMQP clients may keep a delivery without acknowledging it. A channel that holds one for longer is closed
    /// with `PRECONDITION_FAILED`, and all it holds goes back to the queues. No limit unless set (RabbitMQ: 30 minutes),
    /// because work may take its time; whole milliseconds, at least one. A [`Delivery`](crate::Delivery) in this process
    /// has no such limit.
    pub fn consumer_timeout(mut self, timeout: Duration) -> Self {
        self.config.consumer_timeout = Some(timeout.max(Duration::from_millis(1)));
        self
    }

    /// How long a client whose login was refused is kept waiting before its socket is closed. Nothing unless set; a
    /// server that faces strangers wants some seconds, which make guessing slow (RabbitMQ takes three).
    pub fn refusal_delay(mut self, delay: Duration) -> Self {
        self.config.refusal_delay = delay;
        self
    }

    /// How many connections there may be at once; more are closed as soon as they are accepted. 100,000 unless set.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.config.connections_max = connections;
        self
    }

    /// How many queues a virtual host may have, each; declaring one more is refused with 406. No limit unless set, as in
    /// RabbitMQ; a broker that strangers may declare queues on wants one, because queues cost memory that the
    /// [memory limit](Self::memory_limit) does not count.
    pub fn queues_max(mut self, queues: usize) -> Self {
        self.config.queues_max = queues;
        self
    }

    /// How many channels a connection may have, proposed to clients, who may ask for fewer. 2047 unless set; 0 for no
    /// limit.
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.config.channel_max = channels;
        self
    }

    /// The largest frame in bytes, proposed to clients, who may ask for a smaller one. 131,072 unless set, and at least
    /// 8192.
    pub fn frame_size_max(mut self, bytes: u32) -> Self {
        self.config.frame_size_max = bytes.max(8192);
        self
    }

    /// The heartbeat interval proposed to clients, in whole seconds; clients choose their own. 60 s unless set, zero for
    /// none.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.heartbeat = interval;
        self
    }

    /// The largest body in bytes; a larger message closes its channel with 406. 128 MiB unless set.
    pub fn message_size_max(mut self, bytes: usize) -> Self {
        self.config.message_size_max = bytes;
        self
    }

    /// How long [`Broker::shutdown`] waits for clients to say goodbye. 5 s unless set.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.config.shutdown_timeout = timeout;
        self
    }

    /// What clients are told about the server: a product and a version. Some client libraries look at the version to
    /// decide what they may use, so by default it is that of the RabbitMQ whose behaviour is offered, 3.13.7.
    pub fn product(mut self, product: impl Into<String>, version: impl Into<String>) -> Self {
        self.config.product = product.into();
        self.config.version = version.into();
        self
    }

    /// Makes the names that the broker chooses (queues, consumer tags) follow from a seed, for tests that want the same
    /// ones on every run. Never use it where strangers connect: the names could be guessed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.name_seed = Some(seed);
        self
    }

    #[cfg(feature = "journal")]
    async fn begin(&self) -> Result<Beginning, Error> {
        let Some(path) = self.data_dir.clone() else {
            return Ok(Beginning::Fresh);
        };
        let options = JournalOptions {
            sync: self.config.sync,
            ..JournalOptions::default()
        };
        let opening = tokio::task::spawn_blocking(move || Beginning::in_dir(&path, options));
        // It ends without a result only when the runtime does.
        Ok(opening.await.map_err(|_| Error::closed())??)
    }

    #[cfg(not(feature = "journal"))]
    async fn begin(&self) -> Result<Beginning, Error> {
        Ok(Beginning::Fresh)
    }

    /// Opens the data directory and the listeners and starts the broker on the current tokio runtime. Nobody is let in
    /// before everything durable is there again.
    ///
    /// # Errors
    /// When a listener's address cannot be opened, the data directory not be used, or the accounts have permissions of a
    /// user or for a virtual host that does not exist. Nothing is left running then.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and IO enabled.
    pub async fn start(self) -> Result<Broker, Error> {
        let beginning = self.begin().await?;
        self.start_from(beginning).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the broker's own tasks are started here"
    )]
    pub(crate) async fn start_from(self, beginning: Beginning) -> Result<Broker, Error> {
        let config = &self.config;
        let vhost_exists = |name: &str| {
            config.vhosts.iter().any(|vhost| vhost == name) || beginning.has_vhost(name)
        };
        let access = self
            .accounts
            .map(|accounts| Access::new(accounts, vhost_exists));
        let access = access.transpose()?;
        let mut sockets = Vec::new();
        for (service, address) in self.config.listeners() {
            let socket =
                net::bind(address).map_err(|source| Error::listen(address.to_string(), source))?;
            sockets.push((service, socket));
        }
        let clock = self
            .virtual_clock
            .map_or_else(Clock::system, Clock::Virtual);
        let authenticator = self
            .authenticator
            .unwrap_or_else(|| Arc::new(UserTable::guest()));
        let make = |metadata, messages| {
            Shared::new(
                self.config,
                clock,
                authenticator,
                access,
                self.disk_space,
                metadata,
                messages,
            )
        };
        let (shared, keeper) = beginning.start(make)?;
        if let Some(probe) = shared.services.disk.probe() {
            // Before anybody can publish.
            net::measure_disk(&shared, &probe).await;
        }
        let timers = tokio::spawn(net::run_timers(Arc::clone(&shared)));
        let disk_gauge = tokio::spawn(net::run_disk_gauge(Arc::clone(&shared)));
        let mut broker = Broker {
            shared,
            listeners: Vec::new(),
            timers,
            disk_gauge,
            _keeper: keeper,
        };
        for (service, socket) in sockets {
            let listener = Listener::start(service, socket, Arc::clone(&broker.shared))
                .map_err(|source| Error::listen("a socket".to_owned(), source))?;
            broker.listeners.push(listener);
        }
        Ok(broker)
    }
}
