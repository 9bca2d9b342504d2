//! Looking after a running broker, and stopping it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConfig;

use crate::access::{AccountChange, AccountError, Accounts};
use crate::alarms::Alarm;
use crate::auth::Identity;
use crate::beginning::Keeper;
use crate::builder::Builder;
use crate::client::Client;
use crate::error::Error;
use crate::net::{Listener, Service, Spoken};
use crate::shared::Shared;
use crate::vhost::{VhostLimits, VirtualHost};

/// A running broker.
///
/// Dropping it stops it at once: listeners are closed and connections told to go, without waiting for them.
/// [`Broker::shutdown`] waits. Several brokers may run in one process; they have nothing in common.
#[derive(Debug)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) timers: JoinHandle<()>,
    pub(crate) disk_gauge: JoinHandle<()>,
    /// The data directory; the last thing to go.
    pub(crate) _keeper: Keeper,
}

impl Broker {
    /// Begins to set up a broker.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The addresses on which AMQP clients are served, with their real ports, in the order in which they were asked
    /// for.
    #[must_use]
    pub fn amqp_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Spoken::Amqp.in_the_clear())
    }

    /// The addresses on which STOMP clients are served, with their real ports, in the order in which they were asked
    /// for.
    #[cfg(feature = "stomp")]
    #[must_use]
    pub fn stomp_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Spoken::Stomp.in_the_clear())
    }

    /// The addresses on which WebSockets are served, with their real ports, in the order in which they were asked for.
    #[cfg(feature = "stomp")]
    #[must_use]
    pub fn websocket_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Spoken::WebSocket.in_the_clear())
    }

    /// As [`Broker::amqp_addresses`], for AMQP over TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn amqps_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Spoken::Amqp.over_tls())
    }

    /// As [`Broker::stomp_addresses`], for STOMP over TLS.
    #[cfg(all(feature = "stomp", feature = "tls"))]
    #[must_use]
    pub fn stomps_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Spoken::Stomp.over_tls())
    }

    /// As [`Broker::websocket_addresses`], for WebSockets over TLS.
    #[cfg(all(feature = "stomp", feature = "tls"))]
    #[must_use]
    pub fn secure_websocket_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Spoken::WebSocket.over_tls())
    }

    /// Replaces the [configuration of TLS](Builder::tls), certificates and all, for connections that come from now on.
    /// Those that are there, and handshakes that have begun, go on with what they have.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, config: Arc<ServerConfig>) {
        self.shared.config.tls.set(config);
    }

    fn addresses(&self, service: Service) -> Vec<SocketAddr> {
        let of_service = |listener: &&Listener| listener.service() == service;
        let listeners = self.listeners.iter().filter(of_service);
        listeners.map(Listener::address).collect()
    }

    /// A client in this process, in the virtual host `/`. Each call makes a client of its own, as a connection is.
    ///
    /// # Errors
    /// When the broker is shut down.
    pub fn client(&self) -> Result<Client, Error> {
        self.client_of("/")
    }

    /// A client in this process, in the virtual host of this name.
    ///
    /// # Errors
    /// When there is no such virtual host, or the broker is shut down.
    pub fn client_of(&self, vhost: &str) -> Result<Client, Error> {
        let vhost = self.vhost(vhost)?;
        Client::new(Arc::clone(&self.shared), vhost).ok_or_else(Error::closed)
    }

    /// A client in this process that acts for a user: it may do what the user may do in that virtual host, counts against
    /// the user's limits as one connection, and is refused everything once the user is deleted. Nobody is asked for a
    /// password: who the user is, the program knows. The identity's [`Authorizer`](crate::Authorizer), where it has one, is
    /// asked about the virtual host before this returns.
    ///
    /// # Errors
    /// When there is no such virtual host, the user has no permissions there or as many connections as it may have, or the
    /// broker is shut down.
    pub async fn client_for(&self, identity: &Identity, vhost: &str) -> Result<Client, Error> {
        let vhost = self.vhost(vhost)?;
        Client::acting_for(identity, Arc::clone(&self.shared), vhost).await
    }

    pub(crate) fn vhost(&self, name: &str) -> Result<Arc<VirtualHost>, Error> {
        let found = self.shared.vhost(name);
        Ok(found.ok_or_else(|| AccountError::no_vhost(name))?)
    }

    /// Makes a virtual host: a world of exchanges, queues and bindings of its own, with the predeclared exchanges and
    /// nothing else. False when there is one of this name already, which is left as it is.
    ///
    /// With a data directory it is on the disk a moment later, which [`Broker::definitions_stored`] waits for.
    pub fn create_vhost(&self, name: &str) -> bool {
        self.shared.create_vhost(name)
    }

    /// Deletes a virtual host with its queues, their messages and its exchanges. Connections that have opened it are
    /// closed with `CONNECTION_FORCED`; clients of this process get errors. All permissions for it go too. False when there
    /// is none of this name.
    ///
    /// `/` can be deleted like any other. With a data directory it is gone from the disk a moment later, which
    /// [`Broker::definitions_stored`] waits for.
    pub fn delete_vhost(&self, name: &str) -> bool {
        self.shared.delete_vhost(name)
    }

    /// Waits until every durable definition that has been made or deleted so far is in the data directory. Ready at once
    /// without one.
    ///
    /// # Errors
    /// When the data directory can no longer be written to.
    pub async fn definitions_stored(&self) -> Result<(), Error> {
        let metadata = &self.shared.services.metadata;
        Ok(metadata.when_committed(metadata.latest()).await?)
    }

    /// The names of all virtual hosts, sorted.
    #[must_use]
    pub fn vhosts(&self) -> Vec<Arc<str>> {
        self.shared.vhost_names()
    }

    /// All users and what they may do, sorted by name; none when the broker was started without
    /// [accounts](Builder::accounts).
    #[must_use]
    pub fn accounts(&self) -> Option<Accounts> {
        self.shared.accounts()
    }

    /// Changes a user or what it may do, from now on; the only way to do so. Where accounts are
    /// [kept](Builder::keep_accounts) the change is in the data directory a moment later, which
    /// [`Broker::definitions_stored`] waits for; elsewhere whoever wants to keep it calls this and nothing else.
    ///
    /// # Errors
    /// When the user or the virtual host does not exist, when a user that is to be added does, for what was configured to
    /// stay as it is, when the broker was started without accounts, and when the data directory can no longer be written
    /// to. Nothing has changed then.
    pub fn change_accounts(&self, change: AccountChange) -> Result<(), Error> {
        Ok(self.shared.change_accounts(change)?)
    }

    /// Whether there is a user of this name that was configured with [`Builder::accounts`], of a broker that
    /// [keeps](Builder::keep_accounts) others: it cannot be changed.
    #[must_use]
    pub fn is_fixed_user(&self, name: &str) -> bool {
        self.shared.is_fixed_user(name)
    }

    /// How much there may be in a virtual host; none when there is none of this name.
    #[must_use]
    pub fn vhost_limits(&self, name: &str) -> Option<VhostLimits> {
        Some(self.shared.vhost(name)?.limits())
    }

    /// Limits what there may be in a virtual host. With a data directory the limits are on the disk a moment later, which
    /// [`Broker::definitions_stored`] waits for, and go with the virtual host.
    ///
    /// # Errors
    /// When there is none of this name, or the data directory can no longer be written to.
    pub fn set_vhost_limits(&self, name: &str, limits: VhostLimits) -> Result<(), Error> {
        Ok(self.shared.limit_vhost(name, limits)?)
    }

    /// How many clients there are, with and without a socket.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.registry.clients()
    }

    /// How many bytes the messages in all queues and histories take, as [`Builder::memory_limit`] counts them.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.shared.services.memory.used()
    }

    /// The memory limit in bytes; `usize::MAX` when there is none.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        self.shared.services.memory.limit()
    }

    /// Changes the [memory limit](Builder::memory_limit), which acts at once: publishers have to wait if messages take
    /// more, and need not if they take less than nine tenths of it.
    pub fn set_memory_limit(&self, bytes: usize) {
        self.shared.set_memory_limit(bytes);
    }

    /// How many bytes of disk were free when that was measured last; none without a [probe](Builder::disk_space), and
    /// none until it has answered.
    #[must_use]
    pub fn disk_free(&self) -> Option<u64> {
        self.shared.services.disk.free()
    }

    /// How many bytes of disk have to be free.
    #[must_use]
    pub fn disk_free_limit(&self) -> u64 {
        self.shared.services.disk.limit()
    }

    /// Changes [how much disk must be free](Builder::disk_free_limit), and compares it at once with what was measured
    /// last.
    pub fn set_disk_free_limit(&self, bytes: u64) {
        self.shared.services.disk.set_limit(bytes);
    }

    /// What runs low at the moment, so that publishers have to wait.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.shared.services.alarms.raised()
    }

    /// Waits until everything the broker knows of has been carried out: deliveries are written to their sockets, and
    /// whatever is due by the clock has happened.
    ///
    /// What a peer has sent but the system has not handed to the broker yet is not known to it; neither is waited for
    /// deliveries that this process has not taken from a [`Consumer`](crate::Consumer). A peer that does not read holds
    /// this up.
    pub async fn wait_idle(&self) {
        // Between two looks every task that is ready gets its turn; one quiet look could fall between a wake-up and the
        // task that it wakes.
        const QUIET_LOOKS: u32 = 8;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            quiet = if self.shared.is_idle() { quiet + 1 } else { 0 };
            tokio::task::yield_now().await;
        }
    }

    /// Stops accepting, asks all clients to close their connections (AMQP clients are told `CONNECTION_FORCED`), and
    /// waits until they have, or until the [timeout](Builder::shutdown_timeout) has passed.
    ///
    /// With a data directory, definitions and what durable queues hold of messages that ask to survive a restart are on the
    /// disk when this returns, also what was sent to clients and not acknowledged, which is delivered again; should the
    /// disk fail or be full, that is logged. All other messages are lost.
    pub async fn shutdown(mut self) {
        self.listeners.clear();
        self.shared.registry.close_all();
        let patience = self.shared.config.shutdown_timeout;
        if tokio::time::timeout(patience, self.shared.registry.wait_for_sockets())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connection_count(),
                "shut down without waiting for the last clients"
            );
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.listeners.clear();
        self.shared.registry.close_all();
        self.timers.abort();
        self.disk_gauge.abort();
    }
}
