//! Exchange types: given a message's key and headers, which destinations does it go to?
//!
//! A router knows nothing of queues and names; it holds destinations by id and is told of each binding once per
//! distinct (destination, key).

mod direct;
mod fanout;
mod hash;
mod headers;
mod near_miss;
pub(crate) mod presence;
mod random;
mod shares;
mod topic;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use leveret_amqp_codec::{RawProperties, RawTable, ValueRef};

use crate::arguments::Arguments;
use crate::error::Refusal;
use direct::DirectRouter;
use fanout::FanoutRouter;
use hash::{ConsistentHashRouter, HashedBy, ModulusHashRouter};
use headers::HeadersRouter;
use presence::PresenceRouter;
use random::RandomRouter;

pub(crate) use headers::HeaderIndex;
pub(crate) use near_miss::near_miss;
use topic::TopicRouter;

/// A queue within its virtual host. Ids are reused after deletion, by which time no binding names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueId(pub(crate) u32);

/// An exchange within its virtual host; reused like [`QueueId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ExchangeId(pub(crate) u32);

/// What a binding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// The exchange types, by their names on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
    ModulusHash,
    Random,
    /// A fanout that keeps its latest messages for new bindings.
    RecentHistory,
    /// Another type, some time later.
    Delayed,
    /// A topic exchange that knows who is subscribed.
    Presence,
}

impl ExchangeKind {
    const ALL: [Self; 10] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::RecentHistory,
        Self::Delayed,
        Self::Presence,
    ];

    /// # Errors
    /// 503 for a name that is none; it closes the connection.
    pub(crate) fn from_name(name: &str) -> Result<Self, Refusal> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Refusal::command_invalid(format!("unknown exchange type '{name}'")))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::RecentHistory => "x-recent-history",
            Self::Delayed => "x-delayed-message",
            Self::Presence => "x-presence",
        }
    }

    /// Whether keys mean topics, for which there are permissions of their own.
    pub(crate) fn has_topics(self) -> bool {
        matches!(self, Self::Topic | Self::Presence)
    }
}

/// The arguments of a binding: part of its identity, whatever their order.
pub(crate) struct BindingArguments {
    given: Arguments,
    canonical: Vec<u8>,
}

impl BindingArguments {
    /// None for an empty table, which is what nearly all bindings have.
    pub(crate) fn new(table: RawTable<'_>) -> Option<Arc<Self>> {
        if table.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            given: Arguments::new(table),
            canonical: table.canonical_bytes(),
        }))
    }

    pub(crate) fn table(&self) -> RawTable<'_> {
        self.given.table()
    }
}

impl PartialEq for BindingArguments {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for BindingArguments {}

impl Hash for BindingArguments {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Debug for BindingArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.given.fmt(f)
    }
}

/// A binding of one exchange, by all that makes it another one.
type BindingId = (Destination, Arc<str>, Option<Arc<BindingArguments>>);

/// What routing looks at in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) routing_key: &'a str,
    pub(crate) headers: RawTable<'a>,
    /// The headers by name, if there are so many that it is worth it; the same is found without.
    pub(crate) index: Option<&'a HeaderIndex<'a>>,
    pub(crate) properties: RawProperties<'a>,
}

/// The bindings of one exchange, arranged for its type.
#[derive(Debug)]
pub(crate) enum Router {
    Direct(DirectRouter),
    Fanout(FanoutRouter),
    Topic(Box<TopicRouter>),
    Headers(HeadersRouter),
    ConsistentHash(ConsistentHashRouter),
    ModulusHash(ModulusHashRouter),
    Random(RandomRouter),
    Presence(Box<PresenceRouter>),
}

impl Router {
    /// The router for a new exchange; `seed` is for types that choose by chance.
    ///
    /// # Errors
    /// 406 for arguments that the type does not accept, 503 for a delayed exchange of an unknown type.
    pub(crate) fn new(
        kind: ExchangeKind,
        arguments: RawTable<'_>,
        seed: u64,
    ) -> Result<Self, Refusal> {
        Ok(match kind {
            ExchangeKind::Direct => Self::Direct(DirectRouter::default()),
            ExchangeKind::Fanout | ExchangeKind::RecentHistory => {
                Self::Fanout(FanoutRouter::default())
            }
            ExchangeKind::Topic => Self::Topic(Box::default()),
            ExchangeKind::Headers => Self::Headers(HeadersRouter::default()),
            ExchangeKind::ConsistentHash => Self::ConsistentHash(ConsistentHashRouter::new(
                HashedBy::from_arguments(arguments)?,
            )),
            ExchangeKind::ModulusHash => Self::ModulusHash(ModulusHashRouter::default()),
            ExchangeKind::Random => Self::Random(RandomRouter::new(seed)),
            ExchangeKind::Delayed => Self::new(delayed_kind(arguments)?, arguments, seed)?,
            ExchangeKind::Presence => {
                Self::Presence(Box::new(PresenceRouter::from_arguments(arguments)?))
            }
        })
    }

    /// Whether a binding with this key and these arguments makes sense to this type.
    ///
    /// # Errors
    /// 406 for a headers exchange's `x-match` that is not one of its four values, and for a weight that is none.
    pub(crate) fn validate(&self, key: &str, arguments: RawTable<'_>) -> Result<(), Refusal> {
        match self {
            Self::Headers(_) => headers::validate(arguments),
            Self::ConsistentHash(_) => hash::validate_weight(key).map(|_| ()),
            Self::Presence(_) => presence::role(arguments).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Adds a binding that is not there yet.
    pub(crate) fn insert(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        match self {
            Self::Direct(router) => router.insert(destination, key),
            Self::Fanout(router) => router.insert(destination),
            Self::Topic(router) => router.insert(destination, key),
            Self::Headers(router) => router.insert(destination, key, arguments),
            Self::ConsistentHash(router) => router.insert(destination, key),
            Self::ModulusHash(router) => router.insert(destination, key),
            Self::Random(router) => router.insert(destination),
            Self::Presence(router) => router.insert(destination, key, arguments),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        match self {
            Self::Direct(router) => router.remove(destination, key),
            Self::Fanout(router) => router.remove(destination),
            Self::Topic(router) => router.remove(destination, key),
            Self::Headers(router) => router.remove(destination, key, arguments),
            Self::ConsistentHash(router) => router.remove(destination, key),
            Self::ModulusHash(router) => router.remove(destination, key),
            Self::Random(router) => router.remove(destination),
            Self::Presence(router) => router.remove(destination, key, arguments),
        }
    }

    /// Whether messages come by a binding with these arguments, and not events alone.
    pub(crate) fn leads_messages(&self, arguments: Option<&Arc<BindingArguments>>) -> bool {
        match self {
            Self::Presence(_) => !presence::watches(arguments),
            _ => true,
        }
    }

    /// Calls `found` for each destination of the message; a destination may be named more than once.
    pub(crate) fn route(&self, subject: &Subject<'_>, found: &mut dyn FnMut(Destination)) {
        match self {
            Self::Direct(router) => router.route(subject.routing_key, found),
            Self::Fanout(router) => router.route(found),
            Self::Topic(router) => router.route(subject.routing_key, found),
            Self::Headers(router) => router.route(subject.headers, subject.index, found),
            Self::ConsistentHash(router) => router.route(subject, found),
            Self::ModulusHash(router) => router.route(subject.routing_key, found),
            Self::Random(router) => router.route(found),
            Self::Presence(router) => router.route(subject.routing_key, found),
        }
    }

    /// Whether the destinations follow from the routing key alone, so that they may be remembered by it.
    pub(crate) fn looks_at_key_only(&self) -> bool {
        match self {
            Self::Headers(_) | Self::Random(_) => false,
            Self::ConsistentHash(router) => router.looks_at_key_only(),
            Self::Direct(_)
            | Self::Fanout(_)
            | Self::Topic(_)
            | Self::ModulusHash(_)
            | Self::Presence(_) => true,
        }
    }

    /// How many bindings, or arguments of bindings, are looked at for each message, where that is all of them.
    pub(crate) fn compared_len(&self) -> usize {
        match self {
            Self::Headers(router) => router.len(),
            _ => 0,
        }
    }

    /// Whether further routing keys of a message lead to nothing more. A type that chooses one destination does so by the
    /// first key, for all of them (behaviour reference, 5.10).
    pub(crate) fn is_blind_to_further_keys(&self) -> bool {
        match self {
            Self::Fanout(_)
            | Self::Headers(_)
            | Self::ConsistentHash(_)
            | Self::ModulusHash(_)
            | Self::Random(_) => true,
            Self::Direct(_) | Self::Topic(_) | Self::Presence(_) => false,
        }
    }

    /// Who is where, if it knows.
    pub(crate) fn as_presence(&self) -> Option<&PresenceRouter> {
        match self {
            Self::Presence(router) => Some(router),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn as_presence_mut(&mut self) -> Option<&mut PresenceRouter> {
        match self {
            Self::Presence(router) => Some(router),
            _ => None,
        }
    }

    /// Every destination, perhaps several times.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        match self {
            Self::Direct(router) => router.destinations(),
            Self::Fanout(router) => router.destinations(),
            Self::Topic(router) => router.destinations(),
            Self::Headers(router) => router.destinations(),
            Self::ConsistentHash(router) => router.destinations(),
            Self::ModulusHash(router) => router.destinations(),
            Self::Random(router) => router.destinations(),
            Self::Presence(router) => router.destinations(),
        }
    }
}

/// The type behind a delayed exchange (behaviour reference, section 16).
fn delayed_kind(arguments: RawTable<'_>) -> Result<ExchangeKind, Refusal> {
    let Some(name) = arguments.get("x-delayed-type").and_then(ValueRef::as_str) else {
        return Err(Refusal::precondition_failed(
            "Invalid argument, 'x-delayed-type' must be an existing exchange type",
        ));
    };
    match ExchangeKind::from_name(name)? {
        kind @ (ExchangeKind::Delayed | ExchangeKind::Presence) => {
            Err(Refusal::precondition_failed(format!(
                "Invalid argument, '{}' can't be used for 'x-delayed-type'",
                kind.name()
            )))
        }
        kind => Ok(kind),
    }
}
