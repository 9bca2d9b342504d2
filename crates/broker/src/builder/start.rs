//! From what a broker was told to a broker that runs.

use std::sync::Arc;

#[cfg(feature = "journal")]
use leveret_queue_store::JournalOptions;

use super::Builder;
use crate::access::Access;
use crate::auth::UserTable;
use crate::beginning::Beginning;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::error::Error;
use crate::net::{self, Listener};
use crate::shared::Shared;

impl Builder {
    #[cfg(feature = "journal")]
    pub(super) async fn begin(&self) -> Result<Beginning, Error> {
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
    pub(super) async fn begin(&self) -> Result<Beginning, Error> {
        Ok(Beginning::Fresh)
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
