//! A place at the broker for a connection whose session is still to come.

use std::sync::Arc;

use leveret_queue_store::Time;

use crate::connection::{Endpoints, Kind, Registration, TurnedAway};
use crate::outbox::Outbox;
use crate::shared::Shared;

/// What a connection has from the moment it is accepted: it counts, and it can be told to go.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) registration: Registration,
    pub(super) outbox: Arc<Outbox>,
    pub(super) endpoints: Option<Endpoints>,
    /// From when on the time for the handshake counts, all that comes before the session included.
    pub(super) since: Time,
}

impl Seat {
    /// None when the broker is shutting down.
    pub(super) fn take(shared: &Shared, endpoints: Option<Endpoints>) -> Option<Self> {
        let outbox = Outbox::new(shared.busy.clone());
        Some(Self {
            registration: shared.registry.register(&outbox, Kind::Socket, endpoints)?,
            outbox,
            endpoints,
            since: shared.now(),
        })
    }

    /// It is known now where the client is: here it begins to count for its address.
    ///
    /// # Errors
    /// When there are too many from there.
    pub(super) fn arrive(
        &mut self,
        endpoints: Endpoints,
        shared: &Shared,
    ) -> Result<(), TurnedAway> {
        self.endpoints = Some(endpoints);
        self.registration
            .arrive(endpoints, shared.config.limits_of_addresses)?;
        tracing::debug!(connection = %endpoints, "accepted");
        Ok(())
    }

    /// No session will come.
    pub(super) fn leave(self) {
        drop(self.outbox.close());
    }

    pub(super) fn name(&self) -> String {
        Endpoints::name_of(self.endpoints)
    }
}
