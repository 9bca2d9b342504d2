//! Exchange types: given a message's key and headers, which destinations does it go to?
//!
//! A router knows nothing of queues and names; it holds destinations by id and is told of each binding once per
//! distinct (destination, key).

mod direct;
mod fanout;
mod headers;
mod topic;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use leveret_amqp_codec::RawTable;

use crate::arguments::Arguments;
use crate::error::Refusal;
use direct::DirectRouter;
use fanout::FanoutRouter;
use headers::HeadersRouter;
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
}

impl ExchangeKind {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "direct" => Self::Direct,
            "fanout" => Self::Fanout,
            "topic" => Self::Topic,
            "headers" => Self::Headers,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
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
        Some(Arc::new(Self { given: Arguments::new(table), canonical: table.canonical_bytes() }))
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

/// What routing looks at in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) routing_key: &'a str,
    pub(crate) headers: RawTable<'a>,
}

/// The bindings of one exchange, arranged for its type.
#[derive(Debug)]
pub(crate) enum Router {
    Direct(DirectRouter),
    Fanout(FanoutRouter),
    Topic(TopicRouter),
    Headers(HeadersRouter),
}

impl Router {
    pub(crate) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(DirectRouter::default()),
            ExchangeKind::Fanout => Self::Fanout(FanoutRouter::default()),
            ExchangeKind::Topic => Self::Topic(TopicRouter::default()),
            ExchangeKind::Headers => Self::Headers(HeadersRouter::default()),
        }
    }

    /// Whether a binding with these arguments makes sense to this type.
    ///
    /// # Errors
    /// 406 for a headers exchange's `x-match` that is not one of its four values.
    pub(crate) fn validate(&self, arguments: RawTable<'_>) -> Result<(), Refusal> {
        match self {
            Self::Headers(_) => headers::validate(arguments),
            _ => Ok(()),
        }
    }

    /// Adds a binding that is not there yet.
    pub(crate) fn insert(&mut self, destination: Destination, key: &Arc<str>, arguments: Option<&Arc<BindingArguments>>) {
        match self {
            Self::Direct(router) => router.insert(destination, key),
            Self::Fanout(router) => router.insert(destination),
            Self::Topic(router) => router.insert(destination, key),
            Self::Headers(router) => router.insert(destination, key, arguments),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(&mut self, destination: Destination, key: &Arc<str>, arguments: Option<&Arc<BindingArguments>>) {
        match self {
            Self::Direct(router) => router.remove(destination, key),
            Self::Fanout(router) => router.remove(destination),
            Self::Topic(router) => router.remove(destination, key),
            Self::Headers(router) => router.remove(destination, key, arguments),
        }
    }

    /// Calls `found` for each destination of the message; a destination may be named more than once.
    pub(crate) fn route(&self, subject: &Subject<'_>, found: &mut dyn FnMut(Destination)) {
        match self {
            Self::Direct(router) => router.route(subject.routing_key, found),
            Self::Fanout(router) => router.route(found),
            Self::Topic(router) => router.route(subject.routing_key, found),
            Self::Headers(router) => router.route(subject.headers, found),
        }
    }

    /// Whether the destinations follow from the routing key alone, so that they may be remembered by it.
    pub(crate) fn looks_at_key_only(&self) -> bool {
        !matches!(self, Self::Headers(_))
    }

    /// Every destination, perhaps several times.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        match self {
            Self::Direct(router) => router.destinations(),
            Self::Fanout(router) => router.destinations(),
            Self::Topic(router) => router.destinations(),
            Self::Headers(router) => router.destinations(),
        }
    }
}
