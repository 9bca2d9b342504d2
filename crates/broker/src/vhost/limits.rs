//! How much there may be in one virtual host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::VirtualHost;
use crate::quota::{Quota, Reached, Seat};

/// How much there may be in a virtual host at once. None is no limit, 0 forbids it.
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

/// The limits as they are looked at.
#[derive(Debug)]
pub(super) struct Limits {
    connections: Arc<Quota>,
    queues_max: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Arc::new(Quota::new(None)),
            queues_max: AtomicU64::new(NO_LIMIT),
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
        self.limits.connections.enter()
    }

    /// How many queues there may be.
    pub(super) fn queues_max(&self) -> usize {
        let own = self.limits.queues_max.load(Ordering::Relaxed);
        let own = usize::try_from(own).unwrap_or(usize::MAX);
        own.min(self.services.queues_max)
    }
}
