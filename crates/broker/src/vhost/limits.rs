//! How much there may be in one virtual host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::VirtualHost;
use crate::access::Caller;
use crate::error::Refusal;
use crate::quota::{Quota, Reached, Seat};

/// How much there may be in a virtual host at once. None is what holds for all of them
/// ([`Builder::connections_per_vhost_max`](crate::Builder::connections_per_vhost_max),
/// [`Builder::queues_max`](crate::Builder::queues_max)), 0 forbids it.
///
/// What there is when a limit is set stays. Connections beyond it are refused with `NOT_ALLOWED` when they open the virtual
/// host, declarations with `PRECONDITION_FAILED`. Clients of this process count only when they
/// [act for a user](crate::Broker::client_for).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VhostLimits {
    /// Connections that have opened it.
    pub connections_max: Option<u32>,
    /// Queues in it, whoever declares them.
    pub queues_max: Option<u32>,
}

/// Stands for no limit.
const NO_LIMIT: u64 = u64::MAX;

/// By which a consumer counts as one of its connection's, and of its virtual host's.
pub(crate) type ConsumerSeats = [Option<Seat>; 2];

/// The limits as they are looked at.
#[derive(Debug)]
pub(super) struct Limits {
    connections: Arc<Quota>,
    queues_max: AtomicU64,
    channels: Arc<Quota>,
    consumers: Arc<Quota>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Arc::new(Quota::new(None)),
            queues_max: AtomicU64::new(NO_LIMIT),
            channels: Arc::new(Quota::new(None)),
            consumers: Arc::new(Quota::new(None)),
        }
    }
}

impl VirtualHost {
    pub(crate) fn set_limits(&self, limits: VhostLimits) {
        let VhostLimits {
            connections_max,
            queues_max,
        } = limits;
        self.limits.connections.set_max(connections_max);
        let queues_max = queues_max.map_or(NO_LIMIT, u64::from);
        self.limits.queues_max.store(queues_max, Ordering::Relaxed);
    }

    pub(crate) fn limits(&self) -> VhostLimits {
        let queues_max = self.limits.queues_max.load(Ordering::Relaxed);
        VhostLimits {
            connections_max: self.limits.connections.max(),
            queues_max: u32::try_from(queues_max).ok(),
        }
    }

    /// Counts a connection for as long as the seat is held.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn take_seat(&self) -> Result<Seat, Reached> {
        self.limits
            .connections
            .enter(self.services.connections_per_vhost)
    }

    /// Counts a channel for as long as the seat is held.
    ///
    /// # Errors
    /// 530 when there are as many as there may be.
    pub(crate) fn open_channel(&self) -> Result<Seat, Refusal> {
        let limit = self.services.allowances.channels_per_vhost;
        self.limits.channels.enter(limit).map_err(|Reached(limit)| {
            Refusal::not_allowed(format!(
                "number of channels opened in vhost '{}' has reached the maximum allowed limit of ({limit})",
                self.name
            ))
        })
    }

    /// Counts a consumer of its connection and of the virtual host, for as long as the seats are held; those of the embedding
    /// program itself are not counted.
    ///
    /// # Errors
    /// 530 when the connection has as many as it may have, 406 when the virtual host does.
    pub(crate) fn add_consumer(
        &self,
        caller: &Caller,
        queue: &str,
    ) -> Result<ConsumerSeats, Refusal> {
        let allowances = &self.services.allowances;
        let of_connection = caller.make_consumer(allowances.consumers_per_connection);
        let of_connection = of_connection.map_err(|Reached(limit)| {
            Refusal::not_allowed(format!(
                "reached maximum ({limit}) of consumers per connection"
            ))
        })?;
        if of_connection.is_none() {
            return Ok([None, None]);
        }
        let of_vhost = self.limits.consumers.enter(allowances.consumers_per_vhost);
        let of_vhost = of_vhost.map_err(|Reached(limit)| {
            Refusal::precondition_failed(format!(
                "cannot consume from queue '{queue}': consumer limit in vhost '{}' ({limit}) is reached",
                self.name
            ))
        })?;
        Ok([of_connection, Some(of_vhost)])
    }

    /// How many queues there may be.
    pub(super) fn queues_max(&self) -> usize {
        let own = self.limits.queues_max.load(Ordering::Relaxed);
        let own = usize::try_from(own).unwrap_or(usize::MAX);
        own.min(self.services.queues_max)
    }
}
