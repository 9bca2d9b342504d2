//! Who asks a virtual host for something.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use leveret_queue_store::Time;

use super::asked::Asked;
use super::grants::Grants;
use super::question::OwnedQuestion;
use super::right::{Resource, Right};
use super::user::Tag;
use crate::auth::{Authorizer, Identity};
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::quota::{Quota, Reached, Seat};
use crate::random::RandomNames;

/// A connection with the rights of its user. Every operation that a client can ask a virtual host for takes one.
///
/// Its checks refuse in RabbitMQ's words, and do so before it is known whether what was asked for exists.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: ConnectionId,
    authority: Authority,
    /// The identity says that it may act for others.
    impersonates: AtomicBool,
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
    Asked(Box<Asked>),
}

impl Caller {
    fn new(connection: ConnectionId, authority: Authority) -> Self {
        Self {
            connection,
            authority,
            impersonates: AtomicBool::new(false),
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

    /// Somebody who may do what an authorizer says.
    pub(crate) fn asked(connection: ConnectionId, asked: Asked) -> Self {
        Self::new(connection, Authority::Asked(Box::new(asked)))
    }

    /// The caller, whose identity has these tags.
    pub(crate) fn tagged(self, tags: &[Tag]) -> Self {
        self.set_tags(tags);
        self
    }

    fn set_tags(&self, tags: &[Tag]) {
        let impersonates = tags.contains(&Tag::Impersonator);
        self.impersonates.store(impersonates, Ordering::Relaxed);
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
            Authority::Asked(asked) => asked.open_channel(),
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
            Authority::Asked(asked) => Some(asked.user()),
        }
    }

    /// # Errors
    /// 403 when the caller does not have this right.
    pub(crate) fn require(&self, right: Right, resource: Resource<'_>) -> Result<(), Refusal> {
        match &self.authority {
            Authority::Everything { .. } => Ok(()),
            Authority::Nothing => Err(Refusal::access_refused("no virtual host is open")),
            Authority::Granted(grants) => grants.require(right, resource),
            Authority::Asked(asked) => asked.require(right, resource),
        }
    }

    /// The right to use routing keys with a topic exchange, for a caller who has the right to the exchange.
    ///
    /// # Errors
    /// 403 for the first that the caller does not have.
    pub(crate) fn require_keys(
        &self,
        right: Right,
        exchange: &str,
        routing_keys: &[&str],
    ) -> Result<(), Refusal> {
        match &self.authority {
            Authority::Everything { .. } => Ok(()),
            Authority::Nothing => Err(Refusal::access_refused("no virtual host is open")),
            Authority::Granted(grants) => {
                let mut keys = routing_keys.iter();
                keys.try_for_each(|key| grants.require_key(right, exchange, key))
            }
            Authority::Asked(asked) => asked.require_keys(right, exchange, routing_keys),
        }
    }

    /// Has what several operations are going to need asked together, before the first of them: rights, and one to read from
    /// an exchange by a key.
    ///
    /// # Errors
    /// When something has to be asked. What is refused is for the operations to tell.
    #[cfg(feature = "stomp")]
    pub(crate) fn foresee(
        &self,
        rights: &[(Right, Resource<'_>)],
        topic: Option<(&str, &str)>,
    ) -> Result<(), Refusal> {
        match &self.authority {
            Authority::Asked(asked) => asked.foresee(rights, topic),
            _ => Ok(()),
        }
    }

    /// Whom to ask what the caller may do; nobody, when it is known without.
    pub(crate) fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        match &self.authority {
            Authority::Asked(asked) => Some(asked.authorizer()),
            _ => None,
        }
    }

    /// Whether somebody may have to be asked what the caller may do.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.authority, Authority::Asked(_))
    }

    /// What was asked has been answered, as far as there are answers.
    pub(crate) fn note(&self, now: Time, questions: &[OwnedQuestion], answers: &[bool]) {
        if let Authority::Asked(asked) = &self.authority {
            asked.note(now, questions, answers);
        }
    }

    /// What was asked for has been tried again with the answers.
    pub(crate) fn settle(&self) {
        if let Authority::Asked(asked) = &self.authority {
            asked.settle();
        }
    }

    /// Forgets answers that are too old; not while something is under way that needs them. True when routes that were found
    /// with them are to be forgotten as well.
    #[inline]
    pub(crate) fn forget_stale(&self, now: Time) -> bool {
        match &self.authority {
            Authority::Asked(asked) => asked.forget_stale(now),
            _ => false,
        }
    }

    /// The user has shown a new secret, and is this now. Everything that had to be asked will be asked again.
    pub(crate) fn renew(&self, identity: &Identity) {
        self.set_tags(identity.tags());
        if let Authority::Asked(asked) = &self.authority
            && let Some(authorizer) = identity.rights_from()
        {
            asked.replace_authorizer(Arc::clone(authorizer));
        }
    }

    /// A name for a queue that is to have one made up.
    pub(crate) fn draw_name(&self, names: &RandomNames, prefix: &str) -> String {
        match &self.authority {
            Authority::Asked(asked) => asked.draw_name(names, prefix),
            _ => names.name(prefix),
        }
    }

    /// Has a name that was drawn drawn again the next time, when it is not known yet whether the caller may use it.
    pub(crate) fn keep_name(&self, name: &str) {
        if let Authority::Asked(asked) = &self.authority {
            asked.keep_name(name);
        }
    }

    /// The right to publish a message with this `user-id`.
    ///
    /// # Errors
    /// 406 when it is another's, and the caller may not act for others.
    pub(crate) fn check_user_id(&self, claimed: Option<&str>) -> Result<(), Refusal> {
        let Some(claimed) = claimed else {
            return Ok(());
        };
        let Some(user) = self.user() else {
            return Ok(());
        };
        if *claimed == **user || self.is_impersonator() {
            return Ok(());
        }
        Err(Refusal::precondition_failed(format!(
            "user_id property set to '{claimed}' but authenticated user was '{user}'"
        )))
    }

    /// Whether the caller may act in the name of other users.
    pub(crate) fn is_impersonator(&self) -> bool {
        if self.impersonates.load(Ordering::Relaxed) {
            return true;
        }
        match &self.authority {
            Authority::Everything { .. } | Authority::Nothing | Authority::Asked(_) => false,
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
            Authority::Nothing | Authority::Granted(_) | Authority::Asked(_) => Err(
                Refusal::access_refused("only clients that act for no user may ask for this"),
            ),
        }
    }

    /// Has this outbox told, too, when the user is deleted.
    pub(crate) fn follow(&self, outbox: &Arc<Outbox>) {
        match &self.authority {
            Authority::Everything { .. } | Authority::Nothing => {}
            Authority::Granted(grants) => grants.follow(outbox),
            Authority::Asked(asked) => asked.follow(outbox),
        }
    }
}
