//! Who asks a virtual host for something.

use std::sync::Arc;

use super::grants::{Grants, Resource, Right};
use crate::auth::Identity;
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::quota::Seat;

/// A connection with the rights of its user. Every operation that a client can ask a virtual host for takes one.
///
/// Its checks refuse in RabbitMQ's words, and do so before it is known whether what was asked for exists.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: ConnectionId,
    authority: Authority,
    /// Counts as one of the virtual host's connections.
    _seat: Option<Seat>,
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
            _seat: None,
        }
    }

    /// A user who may do the same.
    pub(crate) fn unrestricted(connection: ConnectionId, user: Arc<str>) -> Self {
        Self {
            connection,
            authority: Authority::Everything { user: Some(user) },
            _seat: None,
        }
    }

    /// Somebody who may do nothing.
    pub(crate) fn nobody(connection: ConnectionId) -> Self {
        Self {
            connection,
            authority: Authority::Nothing,
            _seat: None,
        }
    }

    /// Somebody who may do what the accounts say.
    pub(crate) fn granted(connection: ConnectionId, grants: Grants) -> Self {
        Self {
            connection,
            authority: Authority::Granted(grants),
            _seat: None,
        }
    }

    /// The caller, who has taken this seat in its virtual host.
    pub(crate) fn seated(self, seat: Seat) -> Self {
        Self {
            _seat: Some(seat),
            ..self
        }
    }

    /// Room for one more channel, for as long as the seat is held.
    ///
    /// # Errors
    /// 530 when the user has as many as it may have.
    pub(crate) fn open_channel(&self) -> Result<Option<Seat>, Refusal> {
        match &self.authority {
            Authority::Everything { .. } | Authority::Nothing => Ok(None),
            Authority::Granted(grants) => grants.open_channel(),
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

    /// The right to publish a message with this `user-id`, for a caller who has logged in as `identity`.
    ///
    /// # Errors
    /// 406 when it is another's, and the caller may not act for others.
    pub(crate) fn check_user_id(
        &self,
        identity: Option<&Identity>,
        claimed: Option<&str>,
    ) -> Result<(), Refusal> {
        let (Some(claimed), Some(identity)) = (claimed, identity) else {
            return Ok(());
        };
        if *claimed == **identity.username() || self.is_impersonator() {
            return Ok(());
        }
        Err(Refusal::precondition_failed(format!(
            "user_id property set to '{claimed}' but authenticated user was '{}'",
            identity.username()
        )))
    }

    /// Whether the caller may act in the name of other users.
    pub(crate) fn is_impersonator(&self) -> bool {
        match &self.authority {
            Authority::Everything { .. } | Authority::Nothing => false,
            Authority::Granted(grants) => grants.is_impersonator(),
        }
    }

    /// The right to look at what no permission is about, which the embedding program alone has.
    ///
    /// # Errors
    /// 403 for everybody else.
    pub(crate) fn require_trust(&self) -> Result<(), Refusal> {
        match &self.authority {
            Authority::Everything { .. } => Ok(()),
            Authority::Nothing | Authority::Granted(_) => Err(Refusal::access_refused(
                "only clients that act for no user may ask for this",
            )),
        }
    }

    /// Has this outbox told, too, when the user is deleted.
    pub(crate) fn follow(&self, outbox: &Arc<Outbox>) {
        if let Authority::Granted(grants) = &self.authority {
            grants.follow(outbox);
        }
    }
}
