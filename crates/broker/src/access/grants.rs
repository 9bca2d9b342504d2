//! What one user may do in one virtual host, remembered.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pattern::{Pattern, PatternError};
use super::permissions::{Permissions, TopicPermissions};
use super::right::{Resource, Right};
use super::table::Access;
use super::topic_pattern::{TopicPattern, Variables};
use super::words;
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::quota::Seat;

type Hasher = foldhash::fast::RandomState;

/// How many permitted names one connection remembers before it starts anew. RabbitMQ remembers 12 for each channel; this
/// is for all channels together, and costs a client with many queues some kilobytes at most.
const REMEMBERED_MAX: usize = 128;

/// The rights of a connection that has opened a virtual host.
///
/// They are looked up when they are first needed, and again after each change to the accounts. Its lock is taken under
/// those of the virtual host, and that of [`Access`] under it.
pub(crate) struct Grants {
    access: Arc<Access>,
    user: Arc<str>,
    vhost: Arc<str>,
    state: Mutex<State>,
    /// Counts as one of the user's connections.
    _seat: Seat,
}

#[derive(Default)]
struct State {
    /// That of the accounts when `held` was looked up; none before the first time.
    generation: Option<u64>,
    held: Held,
    /// What was found to be permitted since then: the right, the kind and the name.
    permitted: HashSet<Box<[u8]>, Hasher>,
    /// The key that is being looked for.
    key: Vec<u8>,
}

/// What the accounts say.
#[derive(Default)]
pub(super) struct Held {
    /// None: no right at all.
    pub(super) permissions: Option<Arc<Permissions>>,
    /// By exchange.
    pub(super) topics: HashMap<Arc<str>, HeldTopic, Hasher>,
    pub(super) is_impersonator: bool,
}

/// The topic permissions for one exchange, with the patterns for this connection once they were needed.
pub(super) struct HeldTopic {
    permissions: TopicPermissions,
    write: Option<Result<Pattern, PatternError>>,
    read: Option<Result<Pattern, PatternError>>,
}

impl From<TopicPermissions> for HeldTopic {
    fn from(permissions: TopicPermissions) -> Self {
        Self {
            permissions,
            write: None,
            read: None,
        }
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl Grants {
    pub(super) fn new(access: Arc<Access>, user: Arc<str>, vhost: Arc<str>, seat: Seat) -> Self {
        Self {
            access,
            user,
            vhost,
            state: Mutex::default(),
            _seat: seat,
        }
    }

    /// Whose rights they are.
    pub(super) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// Room for one more channel, for as long as the seat is held.
    ///
    /// # Errors
    /// 530 when the user has as many as it may have.
    pub(super) fn open_channel(&self) -> Result<Option<Seat>, Refusal> {
        self.access.open_channel(&self.user)
    }

    pub(super) fn follow(&self, outbox: &Arc<Outbox>) {
        self.access.follow(&self.user, outbox);
    }

    /// # Errors
    /// 403 when the user does not have the right.
    pub(super) fn require(&self, right: Right, resource: Resource<'_>) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        self.refresh(&mut state);
        if state.may(right, resource) {
            return Ok(());
        }
        Err(words::no_access(resource, &self.vhost, &self.user))
    }

    /// The right to use a routing key with a topic exchange, for whoever has the right to the exchange.
    ///
    /// # Errors
    /// 403 when the user does not have it.
    pub(super) fn require_key(
        &self,
        right: Right,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        self.refresh(&mut state);
        let variables = Variables {
            username: &self.user,
            vhost: &self.vhost,
        };
        let topic = state.held.topics.get_mut(exchange);
        if topic.is_none_or(|topic| topic.may(right, routing_key, variables)) {
            return Ok(());
        }
        Err(words::no_access_to_key(
            routing_key,
            exchange,
            &self.vhost,
            &self.user,
        ))
    }

    /// Whether the user may publish in the name of others.
    pub(super) fn is_impersonator(&self) -> bool {
        let mut state = self.state.lock();
        self.refresh(&mut state);
        state.held.is_impersonator
    }

    fn refresh(&self, state: &mut State) {
        // Read before the accounts are: what changes in between is looked up once more, and not missed.
        let generation = self.access.generation();
        if state.generation != Some(generation) {
            state.generation = Some(generation);
            state.held = self.access.held(&self.user, &self.vhost);
            state.permitted.clear();
        }
    }
}

impl State {
    fn may(&mut self, right: Right, resource: Resource<'_>) -> bool {
        let Some(permissions) = &self.held.permissions else {
            return false;
        };
        let pattern = permissions.of(right);
        if pattern.is_everything() {
            return true;
        }
        self.key.clear();
        self.key.push(right as u8);
        self.key
            .extend_from_slice(resource.kind().as_str().as_bytes());
        self.key.extend_from_slice(resource.name().as_bytes());
        if self.permitted.contains(self.key.as_slice()) {
            return true;
        }
        let may = pattern.matches(resource.name());
        if may {
            if self.permitted.len() >= REMEMBERED_MAX {
                self.permitted.clear();
            }
            self.permitted.insert(self.key.as_slice().into());
        }
        may
    }
}

impl HeldTopic {
    fn may(&mut self, right: Right, routing_key: &str, variables: Variables<'_>) -> bool {
        let (pattern, made) = match right {
            Right::Read => (&self.permissions.read, &mut self.read),
            Right::Write => (&self.permissions.write, &mut self.write),
            // Nothing asks for it, and there is no such permission.
            Right::Configure => return false,
        };
        let made = made.get_or_insert_with(|| for_connection(pattern, variables));
        made.as_ref()
            .is_ok_and(|pattern| pattern.matches(routing_key))
    }
}

fn for_connection(
    pattern: &TopicPattern,
    variables: Variables<'_>,
) -> Result<Pattern, PatternError> {
    let made = pattern.with(variables);
    if let Err(error) = &made {
        tracing::warn!(user = variables.username, %error, "a topic permission permits nothing");
    }
    made
}
