//! Connections to a directory.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::{Ldap as Handle, LdapConnAsync, LdapConnSettings, LdapError};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use super::settings::{LdapSettings, ServiceAccount};
use crate::clock;
use crate::outage::Outage;

/// How long a connection is kept that nobody uses; directories close theirs after some minutes.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Where and how connections are made; shared by all pools of a directory.
#[derive(Debug)]
pub(super) struct Servers {
    addresses: Vec<String>,
    start_tls: bool,
    tls: Arc<ClientConfig>,
    connect_timeout: Duration,
    request_timeout: Duration,
    outage: Outage,
}

/// Why the directory has not been asked, or has not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoDirectory {
    #[error("no connection: {0}")]
    NoConnection(String),
    #[error("no answer within {} ms", limit.as_millis())]
    TooSlow { limit: Duration },
    #[error("the service account may not log in: {0}")]
    ServiceAccount(String),
    #[error("{0}")]
    Failed(String),
}

impl Servers {
    pub(super) fn new(settings: &LdapSettings, tls: ClientConfig) -> Self {
        Self {
            addresses: settings.servers.clone(),
            start_tls: settings.start_tls,
            tls: Arc::new(tls),
            connect_timeout: settings.connect_timeout,
            request_timeout: settings.request_timeout,
            outage: Outage::default(),
        }
    }

    /// A connection to the first server that takes one.
    async fn connect(&self) -> Result<Handle, NoDirectory> {
        let mut problem = NoDirectory::NoConnection("there are no servers".to_owned());
        for address in &self.addresses {
            match tokio::time::timeout(self.connect_timeout, self.connect_to(address)).await {
                Ok(Ok(handle)) => return Ok(handle),
                Ok(Err(error)) => {
                    problem = NoDirectory::NoConnection(format!("{address}: {}", words(&error)));
                }
                Err(_) => {
                    let limit = self.connect_timeout.as_millis();
                    let text = format!("{address}: none within {limit} ms");
                    problem = NoDirectory::NoConnection(text);
                }
            }
        }
        Err(problem)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a connection is a task; it ends when its last handle is dropped"
    )]
    async fn connect_to(&self, address: &str) -> Result<Handle, LdapError> {
        let settings = LdapConnSettings::new()
            .set_config(Arc::clone(&self.tls))
            .set_starttls(self.start_tls && address.starts_with("ldap:"));
        let (connection, handle) = LdapConnAsync::with_settings(settings, address).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a connection to the directory has ended");
            }
        });
        Ok(handle)
    }
}

/// Some connections, each for one user at a time.
pub(super) struct Pool {
    servers: Arc<Servers>,
    /// Who they are; nobody, if they are there to try logins.
    account: Option<ServiceAccount>,
    turns: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    handle: Handle,
    since: Instant,
}

impl Pool {
    pub(super) fn new(
        servers: &Arc<Servers>,
        account: Option<ServiceAccount>,
        connections_max: usize,
    ) -> Self {
        Self {
            servers: Arc::clone(servers),
            account,
            turns: Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)),
            idle: Mutex::default(),
        }
    }

    /// What `work` finds out over a connection that nobody else uses meanwhile, within the time that a question has. When a
    /// kept connection turns out to be dead, it begins anew over another.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or `work` fails. Also logged, but not each time while it lasts.
    ///
    /// # Cancel safety
    /// Dropped, it closes its connection.
    pub(super) async fn with<T, F>(&self, work: impl Fn(Handle) -> F) -> Result<T, NoDirectory>
    where
        F: Future<Output = Result<T, LdapError>>,
    {
        let limit = self.servers.request_timeout;
        let outcome = tokio::time::timeout(limit, self.in_turn(work)).await;
        let outcome = outcome.unwrap_or(Err(NoDirectory::TooSlow { limit }));
        let place = self.servers.addresses.join(", ");
        self.servers
            .outage
            .note("ldap", &place, outcome.as_ref().err());
        outcome
    }

    async fn in_turn<T, F>(&self, work: impl Fn(Handle) -> F) -> Result<T, NoDirectory>
    where
        F: Future<Output = Result<T, LdapError>>,
    {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|_| NoDirectory::Failed("the pool is closed".to_owned()))?;
        if let Some(handle) = self.take() {
            match work(handle.clone()).await {
                Ok(found) => {
                    self.put_back(handle);
                    return Ok(found);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => return Err(NoDirectory::Failed(words(&error))),
            }
        }
        let handle = self.open().await?;
        let outcome = work(handle.clone()).await;
        let found = outcome.map_err(|error| NoDirectory::Failed(words(&error)))?;
        self.put_back(handle);
        Ok(found)
    }

    /// A new connection, as whom it is to be.
    async fn open(&self) -> Result<Handle, NoDirectory> {
        let mut handle = self.servers.connect().await?;
        if let Some(account) = &self.account {
            let password = account.password.expose();
            let bound = handle.simple_bind(&account.dn, password).await;
            let bound = bound.and_then(ldap3::LdapResult::success);
            bound.map_err(|error| NoDirectory::ServiceAccount(words(&error)))?;
        }
        Ok(handle)
    }

    fn take(&self) -> Option<Handle> {
        let now = clock::now();
        let mut idle = self.idle.lock();
        while let Some(mut newest) = idle.pop() {
            if now.duration_since(newest.since) < IDLE_MAX && !newest.handle.is_closed() {
                return Some(newest.handle);
            }
        }
        None
    }

    fn put_back(&self, handle: Handle) {
        let since = clock::now();
        // There are never more than turns.
        self.idle.lock().push(Idle { handle, since });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("servers", &self.servers.addresses)
            .field("account", &self.account)
            .field("idle", &self.idle.lock().len())
            .finish_non_exhaustive()
    }
}

/// Whether it is the connection that failed, and not what was asked.
fn is_of_connection(error: &LdapError) -> bool {
    matches!(
        error,
        LdapError::Io { .. }
            | LdapError::OpSend { .. }
            | LdapError::ResultRecv { .. }
            | LdapError::EndOfStream
    )
}

/// What the directory says is its own text, of whatever length.
fn words(error: &LdapError) -> String {
    const LOGGED_MAX: usize = 200;
    let text = match error {
        LdapError::LdapResult { result } => format!("result {}: {}", result.rc, result.text),
        other => other.to_string(),
    };
    text.chars().take(LOGGED_MAX).collect()
}
