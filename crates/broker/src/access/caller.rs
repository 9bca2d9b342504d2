//! Who asks a virtual host for something.

use std::sync::{Arc, OnceLock};

use super::grants::Grants;
use super::right::{Resource, Right};
use crate::auth::Identity;
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::quota::{Quota, Reached, Seat};

/// A connection with the rights of its user. Every operation that a client can ask a virtual host for takes one.
///
/// Its checks refuse in RabbitMQ's words, and do so before it is known whether what was asked for exists.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: ConnectionId,
    authority: Authority,
    /// Counts as one of the virtual host's connections.
    _seat: Option<Seat>,
    /// What it has made that is still there, from the first of each on.
    queues: OnceLock<Arc<Quota>>,
    bindings: OnceLock<Arc<Quota>>,
    consumers: OnceLock<Arc<Quota>>,
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
    fn new(connection: ConnectionId, authority: Authority) -> Self {
        Self {
            connection,
            authority,
            _seat: None,
            queues: OnceLock::new(),
            bindings: OnceLock::new(),
            consumers: OnceLock::new(),
        }
    }

    /// Somebody who may do everything, but publish in another's name.
    pub(crate) fn trusted(connection: ConnectionId) -> Self {
        Self::new(connection, Authority::Everything { user: None })
    }

    /// A user who may do the same.
    pub(crate) fn unrestricted(connection: ConnectionId, user: Arc<str>) -> Self {
        Self::new(connection, Authority::Everything { user: Some(user) })
    }

    /// Somebody who may do nothing.
    pub(crate) fn nobody(connection: ConnectionId) -> Self {
        Self::new(connection, Authority::Nothing)
    }

    /// Somebody who may do what the accounts say.
    pub(crate) fn granted(connection: ConnectionId, grants: Grants) -> Self {
        Self::new(connection, Authority::Granted(grants))
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

    /// Whether what it has is limited: the embedding program knows itself what it does.
    fn is_counted(&self) -> bool {
        !matches!(self.authority, Authority::Everything { user: None })
    }

    /// Room for one more queue of its making, until the seat is dropped; none where it is not counted.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn make_queue(&self, limit: u32) -> Result<Option<Seat>, Reached> {
        self.make(&self.queues, limit)
    }

    /// The same for a binding.
    pub(crate) fn make_binding(&self, limit: u32) -> Result<Option<Seat>, Reached> {
        self.make(&self.bindings, limit)
    }

    /// The same for a consumer.
    pub(crate) fn make_consumer(&self, limit: u32) -> Result<Option<Seat>, Reached> {
        self.make(&self.consumers, limit)
    }

    fn make(&self, made: &OnceLock<Arc<Quota>>, limit: u32) -> Result<Option<Seat>, Reached> {
        if !self.is_counted() {
            return Ok(None);
        }
        let quota = made.get_or_init(|| Arc::new(Quota::new(None)));
        quota.enter(limit).map(Some)
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
