//! What a broker is told before it starts, and its start.

use std::net::SocketAddr;
#[cfg(feature = "journal")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "journal")]
use leveret_queue_store::{JournalOptions, SyncPolicy};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConfig;

use crate::access::{Access, Accounts};
use crate::auth::{Authenticator, UserTable};
use crate::beginning::Beginning;
use crate::broker::Broker;
use crate::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::disk::DiskSpace;
use crate::error::Error;
use crate::login_guard::FreeFailures;
use crate::net::{self, Listener};
use crate::network::Network;
use crate::shared::Shared;
use crate::vhost::HistoryLimits;

/// Sets up a broker. See [`Broker::builder`].
#[derive(Default)]
#[must_use = "nothing runs before start"]
pub struct Builder {
    config: Config,
    authenticator: Option<Arc<dyn Authenticator>>,
    accounts: Option<Accounts>,
    /// What accounts that are kept begin with.
    first_accounts: Option<Accounts>,
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

    /// How TLS is spoken by the listeners that have it: certificates, versions, and whether clients have to show a
    /// certificate. Needed before the first of [`Builder::amqps`] and its like; [`Broker::set_tls`] replaces it later.
    ///
    /// The provider of cryptography is that of the configuration. Its limits hold: rustls takes handshake messages of at
    /// most 64 KiB. A client has [the time of a handshake](Builder::handshake_timeout) for TLS and its login together,
    /// and no memory is taken for TLS before it has sent something.
    #[cfg(feature = "tls")]
    pub fn tls(self, config: Arc<ServerConfig>) -> Self {
        self.config.tls.set(config);
        self
    }

    /// Listens for AMQP over TLS on this address, as [`Builder::amqp`] does without; [`Broker::amqps_addresses`] tells
    /// where.
    #[cfg(feature = "tls")]
    pub fn amqps(mut self, address: impl Into<SocketAddr>) -> Self {
        let listener = (net::Spoken::Amqp, address.into());
        self.config.tls_listeners.push(listener);
        self
    }

    /// Listens for STOMP over TLS on this address; [`Broker::stomps_addresses`] tells where.
    #[cfg(all(feature = "stomp", feature = "tls"))]
    pub fn stomps(mut self, address: impl Into<SocketAddr>) -> Self {
        let listener = (net::Spoken::Stomp, address.into());
        self.config.tls_listeners.push(listener);
        self
    }

    /// Listens for WebSockets over TLS (`wss`) on this address, for what [`Builder::websocket`] serves without;
    /// [`Broker::secure_websocket_addresses`] tells where.
    #[cfg(all(feature = "stomp", feature = "tls"))]
    pub fn secure_websocket(mut self, address: impl Into<SocketAddr>) -> Self {
        let listener = (net::Spoken::WebSocket, address.into());
        self.config.tls_listeners.push(listener);
        self
    }

    /// Has STOMP clients that give no `login` log in as whom their certificate says they are
    /// ([`Authenticator::certificate_user`]), where they have shown one. Off unless set, as in RabbitMQ
    /// (`stomp.ssl_cert_login`).
    #[cfg(feature = "stomp")]
    pub fn stomp_certificate_login(mut self, certificate_login: bool) -> Self {
        self.config.stomp_certificate_login = certificate_login;
        self
    }

    /// Load balancers in these networks begin each connection with a header of the PROXY protocol, version 1 or 2, which
    /// tells whom they speak for: that address is what the [`Authenticator`], limits and the log see. Without a header
    /// a connection from there is closed; from anywhere else none is read. None unless set.
    ///
    /// Name the addresses of the proxies and nothing else: who may send a header may claim any address, `127.0.0.1`
    /// included.
    pub fn proxy_protocol_from(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.config.proxies.extend(networks);
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

    /// Has accounts that are kept: what [`Broker::change_accounts`] does is written to the data directory, and is there
    /// again after a restart. Without a data directory it holds until the broker ends.
    ///
    /// `first` is what they begin with in a data directory that has never had any, and is of no account later. Whatever
    /// stands in [`Builder::accounts`] as well, users by their names and permissions by what they are for, is *fixed*: it
    /// holds as it stands there, goes before what is stored, is not stored itself, and cannot be changed while the broker
    /// runs. When it is not there at a later start, it is gone.
    ///
    /// ```
    /// use leveret_broker::{AccountChange, Accounts, Broker, Permissions, User};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), leveret_broker::Error> {
    /// let operator = Accounts::default().with_user(User::new("operator"), "/", Permissions::everything());
    /// let broker = Broker::builder().accounts(operator).keep_accounts(Accounts::default()).start().await?;
    /// broker.change_accounts(AccountChange::AddUser(User::new("ann")))?;
    /// let refused = broker.change_accounts(AccountChange::DeleteUser { name: "operator".into() });
    /// assert!(refused.is_err_and(|error| error.is_fixed()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep_accounts(mut self, first: Accounts) -> Self {
        self.first_accounts = Some(first);
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

    /// How many logins may fail before those that follow are slowed down: of one user from one address, and of all users
    /// from one address, where an IPv6 network of 64 bits counts as one. 10 and 100 unless set.
    ///
    /// Beyond that, attempts of the same user from the same address, or of anybody from that address, are looked at one
    /// after the other, with a pause of a quarter of a second that doubles with each further failure up to half a minute.
    /// A right password that has waited for its turn is taken; an attempt whose turn would come after the
    /// [handshake timeout](Self::handshake_timeout) is refused unseen. After a minute without a failure half of them are
    /// forgotten. Other addresses notice nothing. What is remembered has a bound: 10,000 pairs and addresses.
    pub fn free_login_failures(mut self, of_user: u32, of_address: u32) -> Self {
        self.config.free_login_failures = FreeFailures {
            of_user,
            of_address,
        };
        self
    }

    /// How many connections there may be at once; more are closed as soon as they are accepted. 100,000 unless set.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.config.connections_max = connections;
        self
    }

    /// How many connections there may be at once from one address; an IPv6 network of 64 bits counts as one. More are
    /// closed as soon as it is known where they come from. No limit of its own unless set: a proxy that does not
    /// [tell whom it speaks for](Self::proxy_protocol_from), or a network behind one address, may stand for all clients.
    pub fn connections_per_address_max(mut self, connections: usize) -> Self {
        self.config.limits_of_addresses.connections_max = Some(connections);
        self
    }

    /// How many connections there may be at once from one address that have not logged in; more are closed as soon as
    /// it is known where they come from. 10,000 unless set, so that no single stranger takes up
    /// [all connections](Self::connections_max).
    pub fn strangers_per_address_max(mut self, connections: usize) -> Self {
        self.config.limits_of_addresses.strangers_max = connections;
        self
    }

    /// How many queues a virtual host may have, each; declaring one more is refused with 406. Two million unless set, which
    /// take some 1.4 GB (RabbitMQ has no limit): queues cost memory that the [memory limit](Self::memory_limit) does not
    /// count.
    pub fn queues_max(mut self, queues: usize) -> Self {
        self.config.queues_max = queues;
        self
    }

    /// How many exchanges a virtual host may have, each, beside those that are always there; declaring one more is refused
    /// with 406. 100,000 unless set.
    pub fn exchanges_max(mut self, exchanges: usize) -> Self {
        self.config.exchanges_max = exchanges;
        self
    }

    /// How many bindings a virtual host may have, each; one more is refused with 406. Ten million unless set, which takes
    /// some 2 GB.
    pub fn bindings_max(mut self, bindings: usize) -> Self {
        self.config.bindings_max = bindings;
        self
    }

    /// How many consumers an AMQP channel may have; with one more the connection is closed with 530, in RabbitMQ's words
    /// (`consumer_max_per_channel`). A STOMP session may have as many subscriptions. 10,000 unless set.
    pub fn consumers_per_channel_max(mut self, consumers: usize) -> Self {
        self.config.consumers_per_channel_max = consumers;
        self
    }

    /// How many bytes of messages one connection may hold that no queue has yet, in all of its channels: those of which
    /// not everything has arrived, and those in transactions that are not committed. Beyond, it is closed with 506
    /// (STOMP: an ERROR ends the session). 256 MiB unless set, and never less than the
    /// [largest message](Self::message_size_max).
    ///
    /// What else a connection holds is bounded by itself: what waits for its socket (1 MiB and one message), what queues
    /// have for it (512 KiB and one message), and answers that wait for the disk (256 KiB).
    pub fn held_max(mut self, bytes: usize) -> Self {
        self.config.held_max = bytes;
        self
    }

    /// How many bytes each connection may send a second, at least 4096: beyond, it is read from later. What comes in a
    /// second may come at once after a pause. No limit unless set.
    pub fn bytes_per_s_max(mut self, bytes: u64) -> Self {
        self.config.rate_limits.bytes_per_s = Some(bytes.max(4096));
        self
    }

    /// How many messages each connection may publish a second, at least 10: beyond, it is read from later, acknowledgements
    /// and all. What comes in a second may come at once after a pause, and what is in 4 KiB comes together. No limit unless
    /// set. A client that asks for heartbeats of a few seconds may be taken for dead while it is held up.
    pub fn messages_per_s_max(mut self, messages: u64) -> Self {
        self.config.rate_limits.messages_per_s = Some(messages.max(10));
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
    /// When a listener's address cannot be opened, one for TLS has no configuration, the data directory not be used, or the accounts have permissions of a
    /// user or for a virtual host that does not exist. Nothing is left running then.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and IO enabled.
    pub async fn start(self) -> Result<Broker, Error> {
        let beginning = self.begin().await?;
        self.start_from(beginning).await
    }

    /// The accounts of the broker, if it has any.
    ///
    /// # Errors
    /// When there are permissions of a user or for a virtual host that does not exist.
    fn access(&self, beginning: &Beginning) -> Result<Option<Access>, Error> {
        let config = &self.config;
        let vhost_exists = |name: &str| {
            config.vhosts.iter().any(|vhost| vhost == name) || beginning.has_vhost(name)
        };
        let access = match (&self.accounts, &self.first_accounts) {
            (None, None) => return Ok(None),
            (Some(accounts), None) => Access::new(accounts.clone(), vhost_exists)?,
            (accounts, Some(first)) => {
                let fixed = accounts.clone().unwrap_or_default();
                Access::kept(fixed, first.clone(), beginning.accounts(), vhost_exists)?
            }
        };
        Ok(Some(access))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the broker's own tasks are started here"
    )]
    pub(crate) async fn start_from(self, beginning: Beginning) -> Result<Broker, Error> {
        let access = self.access(&beginning)?;
        #[cfg(feature = "tls")]
        if !self.config.tls_listeners.is_empty() && !self.config.tls.is_set() {
            return Err(Error::no_tls());
        }
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
