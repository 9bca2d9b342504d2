//! `x-presence`: a topic exchange that knows who is subscribed to which key, and tells those who watch.

mod arguments;
mod roll;
mod watchers;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use leveret_amqp_codec::RawTable;
use leveret_queue_store::Time;
use leveret_topic_trie::TopicTrie;
use smallvec::SmallVec;

use super::topic::TopicRouter;
use super::{BindingArguments, BindingId, Destination, QueueId};
use crate::connection::ConnectionId;
use crate::error::Refusal;

use arguments::Settings;
pub(crate) use arguments::{MEMBER, MODE, Role, has_wildcard, role};
pub(crate) use roll::{Member, Present};
use roll::{PlaceId, Roll};
use watchers::Watchers;

type Hasher = foldhash::fast::RandomState;

/// What has become of a member at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is there already when somebody begins to watch.
    Present,
    Joined,
    /// It has unsubscribed, or ended its connection in order.
    Left,
    /// Its connection broke and it has not come back in time.
    Lost,
}

impl Event {
    /// What its header says.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Lost => "lost",
        }
    }
}

/// The headers of an event.
pub(crate) const EVENT: &str = "event";
pub(crate) const NAME: &str = "member";
pub(crate) const USER: &str = "user";
pub(crate) const SINCE: &str = "since";
pub(crate) const CONNECTIONS: &str = "connections";

/// What watchers are to be told, in the order in which it happened.
#[derive(Debug)]
pub(crate) enum Change {
    /// Something has become of a member. It is for those who watched when it did.
    Happened {
        event: Event,
        member: Present,
        number: u64,
    },
    /// A queue has begun to watch when these were there.
    Watching {
        queue: QueueId,
        present: Vec<Present>,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    InOrder,
    Broken,
}

/// See the module.
///
/// A member is present at a key for as long as a binding to that key exists, and a connection that has asked for it. Who
/// asks again for a binding that exists is present by it too. All of it lies under the lock of the topology; what happens
/// is noted as a [`Change`] there, and told later.
#[derive(Debug)]
pub(crate) struct PresenceRouter {
    messages: TopicRouter,
    watchers: Watchers,
    roll: Roll,
    /// Who is present by which binding.
    bound: HashMap<BindingId, SmallVec<[(ConnectionId, PlaceId); 1]>, Hasher>,
    /// The bindings by which a connection is present.
    by_connection: HashMap<ConnectionId, HashSet<BindingId, Hasher>, Hasher>,
}

impl PresenceRouter {
    /// # Errors
    /// 406 for arguments of the exchange that are no numbers, or out of range.
    pub(super) fn from_arguments(arguments: RawTable<'_>) -> Result<Self, Refusal> {
        let Settings { grace_ms, max } = Settings::parse(arguments)?;
        Ok(Self {
            messages: TopicRouter::default(),
            watchers: Watchers::default(),
            roll: Roll::new(grace_ms, max),
            bound: HashMap::default(),
            by_connection: HashMap::default(),
        })
    }

    pub(super) fn insert(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        if !watches(arguments) {
            return self.messages.insert(destination, key);
        }
        if let Destination::Queue(queue) = destination {
            let watched = self.watchers.of_destination(destination);
            let present = self.roll.matching(key, |key| !matches(&watched, key));
            self.roll.note(Change::Watching { queue, present });
        }
        let id = (destination, Arc::clone(key), arguments.cloned());
        self.watchers.insert(id, self.roll.happened());
    }

    pub(super) fn remove(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        let id = (destination, Arc::clone(key), arguments.cloned());
        if watches(arguments) {
            return self.watchers.remove(&id);
        }
        self.messages.remove(destination, key);
        for (connection, place) in self.bound.remove(&id).into_iter().flatten() {
            self.forget_binding(connection, &id);
            self.roll.leave(place, connection, None);
        }
    }

    pub(super) fn route(&self, routing_key: &str, found: &mut dyn FnMut(Destination)) {
        self.messages.route(routing_key, found);
    }

    /// Those that get messages; who only watches is none.
    pub(super) fn destinations(&self) -> Vec<Destination> {
        let mut destinations = self.messages.destinations();
        destinations.extend(self.watchers.destinations());
        destinations
    }

    /// Whether a destination may watch with one more binding.
    pub(crate) fn has_room_to_watch(&self, destination: Destination) -> bool {
        self.watchers.has_room(destination)
    }

    /// Whether there is room for a member at a key.
    pub(crate) fn has_room(&self, key: &str, member: &Member) -> bool {
        self.roll.has_room(key, member)
    }

    /// A connection has asked for a binding that makes a member present at its key.
    pub(crate) fn join(
        &mut self,
        now: Time,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
        (connection, member): (ConnectionId, &Member),
    ) {
        let id = (destination, Arc::clone(key), arguments.cloned());
        let holders = self.bound.entry(id.clone()).or_default();
        if holders.iter().any(|(holder, _)| *holder == connection) {
            return;
        }
        let place = self.roll.enter(now, key, member, connection);
        holders.push((connection, place));
        self.by_connection.entry(connection).or_default().insert(id);
    }

    /// Whether a connection makes anybody present.
    pub(crate) fn is_present(&self, connection: ConnectionId) -> bool {
        self.by_connection.contains_key(&connection)
    }

    /// A connection has ended: whom it made present is not by it any more.
    pub(crate) fn connection_ended(&mut self, now: Time, connection: ConnectionId, end: End) {
        for id in self.by_connection.remove(&connection).into_iter().flatten() {
            self.release(now, connection, &id, end);
        }
    }

    /// A connection does not use a queue any more, which stays.
    #[cfg(feature = "stomp")]
    pub(crate) fn queue_unused(&mut self, now: Time, connection: ConnectionId, queue: QueueId) {
        let ids = self.by_connection.get(&connection).into_iter().flatten();
        let of_queue: Vec<_> = ids
            .filter(|(destination, ..)| *destination == Destination::Queue(queue))
            .cloned()
            .collect();
        for id in of_queue {
            self.forget_binding(connection, &id);
            self.release(now, connection, &id, End::InOrder);
        }
    }

    fn release(&mut self, now: Time, connection: ConnectionId, id: &BindingId, end: End) {
        let Some(holders) = self.bound.get_mut(id) else {
            return;
        };
        let broken_at = (end == End::Broken).then_some(now);
        holders.retain(|(holder, place)| {
            if *holder == connection {
                self.roll.leave(*place, connection, broken_at);
            }
            *holder != connection
        });
        if holders.is_empty() {
            self.bound.remove(id);
        }
    }

    fn forget_binding(&mut self, connection: ConnectionId, id: &BindingId) {
        if let Some(ids) = self.by_connection.get_mut(&connection) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    /// Those whose time to come back is over are lost, so many at most.
    pub(crate) fn expire(&mut self, now: Time, max: usize) {
        self.roll.expire(now, max);
    }

    /// When somebody is lost who does not come back.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.roll.next_deadline()
    }

    /// Who is present at the keys that match a pattern, by key and name.
    pub(crate) fn present(&self, pattern: &str) -> Vec<Present> {
        self.roll.matching(pattern, |_| true)
    }

    /// What watchers are to be told of since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.roll.take_changes()
    }

    /// The queues that watched a key when the change with this number happened there, each once.
    pub(crate) fn watchers_of(&self, key: &str, number: u64) -> Vec<QueueId> {
        self.watchers.of(key, number)
    }
}

fn matches(patterns: &TopicTrie<()>, key: &str) -> bool {
    let mut matches = false;
    patterns.for_each_match(key, |()| matches = true);
    matches
}

/// Whether a binding with these arguments is there for events.
pub(super) fn watches(arguments: Option<&Arc<BindingArguments>>) -> bool {
    // Nearly always there are none. What cannot be read was refused when it was bound.
    arguments.is_some_and(|arguments| matches!(role(arguments.table()), Ok(Role::Watch)))
}

#[cfg(test)]
mod tests;
