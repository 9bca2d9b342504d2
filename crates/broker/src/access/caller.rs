//! Who asks a virtual host for something.

use std::sync::Arc;

use super::grants::{Grants, Resource, Right};
use crate::connection::ConnectionId;
use crate::error::Refusal;

/// A connection with the rights of its user. Every operation that a client can ask a virtual host for takes one.
///
/// Its checks refuse in RabbitMQ's words, and do so before it is known whether what was asked for exists.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: ConnectionId,
    authority: Authority,
}

#[derive(Debug)]
enum Authority {
    /// The embedding program itself, or the user who was let in by a broker without accounts.
    Everything {
        user: Option<Arc<str>>,
    },
    /// Nobody has logged in yet, or no virtual host is open.
    Nothing,
    Granted(Grants),
}

impl Caller {
    /// Somebody who may do everything, but publish in another's name.
    pub(crate) fn trusted(connection: ConnectionId) -> Self {
        Self {
            connection,
            authority: Authority::Everything { user: None },
        }
    }

    /// A user who may do the same.
    pub(crate) fn unrestricted(connection: ConnectionId, user: Arc<str>) -> Self {
        Self {
            connection,
            authority: Authority::Everything { user: Some(user) },
        }
    }

    /// Somebody who may do nothing.
    pub(crate) fn nobody(connection: ConnectionId) -> Self {
        Self {
            connection,
            authority: Authority::Nothing,
        }
    }

    /// Somebody who may do what the accounts say.
    pub(crate) fn granted(connection: ConnectionId, grants: Grants) -> Self {
        Self {
            connection,
            authority: Authority::Granted(grants),
        }
    }

    /// The connection, whose exclusive queues are no one else's.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The user who has logged in. None for the embedding program.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        match &self.authority {
            Authority::Everything { user } => user.as_ref(),
            Authority::Nothing => None,
            Authority::Granted(grants) => Some(grants.user()),
        }
    }

    /// # Errors
    /// 403 when the caller does not have this right.
    pub(crate) fn require(&self, right: Right, resource: Resource<'_>) -> Result<(), Refusal> {
        match &self.authority {
            Authority::Everything { .. } => Ok(()),
            Authority::Nothing => Err(Refusal::access_refused("no virtual host is open")),
            Authority::Granted(grants) => grants.require(right, resource),
        }
    }

    /// The right to use a routing key with a topic exchange, for a caller who has the right to the exchange.
    ///
    /// # Errors
    /// 403 when the caller does not have it.
    pub(crate) fn require_key(
        &self,
        right: Right,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Refusal> {
        match &self.authority {
            Authority::Everything { .. } => Ok(()),
            Authority::Nothing => Err(Refusal::access_refused("no virtual host is open")),
            Authority::Granted(grants) => grants.require_key(right, exchange, routing_key),
        }
    }

    /// Whether the caller may publish messages whose `user-id` is another's.
    pub(crate) fn is_impersonator(&self) -> bool {
        match &self.authority {
            Authority::Everything { .. } | Authority::Nothing => false,
            Authority::Granted(grants) => grants.is_impersonator(),
        }
    }
}
