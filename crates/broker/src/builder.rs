//! What a broker is told before it starts, and its start.

// First, because the page of `Builder` lists methods in the order of these modules.
mod listeners;

mod limits;
mod start;

#[cfg(feature = "journal")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "journal")]
use leveret_queue_store::SyncPolicy;

use crate::access::Accounts;
use crate::auth::Authenticator;
use crate::broker::Broker;
use crate::clock::VirtualClock;
use crate::config::Config;
use crate::disk::DiskSpace;
use crate::error::Error;
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

    /// Lets clients in that use the mechanism ANONYMOUS, as this user and without asking the authenticator; not those
    /// on web pages of other hosts, unless their origins are listed. Off unless set.
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
    /// more waits in the data directory and is read again when its turn comes. 8 MiB unless set. Queues that nobody takes
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

    /// Opens the data directory and the listeners and starts the broker on the current tokio runtime. Nobody is let in
    /// before everything durable is there again.
    ///
    /// # Errors
    /// When a listener's address cannot be opened, one for TLS has no configuration, the data directory not be used, or
    /// the accounts have permissions of a user or for a virtual host that does not exist. Nothing is left running then.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and IO enabled.
    pub async fn start(self) -> Result<Broker, Error> {
        let beginning = self.begin().await?;
        self.start_from(beginning).await
    }
}
