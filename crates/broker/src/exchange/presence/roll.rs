//! Who is where.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use leveret_queue_store::Time;
use leveret_topic_trie::TopicTrie;
use slab::Slab;

use super::arguments::has_wildcard;
use super::{Change, Event, Hasher, matches};
use crate::connection::ConnectionId;

/// Somebody who can be present. Two are the same when both fields are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Member {
    /// What it is called.
    pub(crate) name: Arc<str>,
    /// The user who has logged in.
    pub(crate) user: Arc<str>,
}

/// A member at a key, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) key: Arc<str>,
    pub(crate) member: Member,
    /// Since when, without an interruption that was told.
    pub(crate) since: Time,
    /// How many connections it has there. None while it is on its way back.
    pub(crate) connections: u32,
}

/// Names a member at a key as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PlaceId(usize);

#[derive(Debug)]
struct Place {
    present: Present,
    /// One of its connections broke, and it has until then to come back.
    lost_at: Option<Time>,
}

/// Members by key.
///
/// ```text
///            enter                     leave, the last connection, in order
///  ─────────────────────► present ────────────────────────────────────────► Left
///     Joined      ▲                     │ the last connection, broken
///                 │ enter: nobody is    ▼
///                 └── told ────────── on its way back ────────────────────► Lost
///                                            the grace is over, or there is no room
/// ```
///
/// Bounded by the number of places. When all are taken, who is on its way back gives up its place to who is there.
#[derive(Debug)]
pub(super) struct Roll {
    grace_ms: u64,
    max: usize,
    places: Slab<Place>,
    keys: HashMap<Arc<str>, BTreeMap<Member, PlaceId>, Hasher>,
    /// How many bindings of a connection lead to a place.
    seats: HashMap<(PlaceId, ConnectionId), u32, Hasher>,
    /// Those who have lost a connection, by the end of their grace.
    awaited: BTreeSet<(Time, PlaceId)>,
    changes: Vec<Change>,
    happened: u64,
}

impl Roll {
    pub(super) fn new(grace_ms: u64, max: usize) -> Self {
        Self {
            grace_ms,
            max,
            places: Slab::new(),
            keys: HashMap::default(),
            seats: HashMap::default(),
            awaited: BTreeSet::new(),
            changes: Vec::new(),
            happened: 0,
        }
    }

    /// The number of the next change.
    pub(super) fn happened(&self) -> u64 {
        self.happened
    }

    pub(super) fn note(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Nobody is there, and nothing is kept of those who were.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let nobody = self.places.is_empty() && self.keys.is_empty();
        nobody && self.seats.is_empty() && self.awaited.is_empty()
    }

    fn find(&self, key: &str, member: &Member) -> Option<PlaceId> {
        self.keys.get(key)?.get(member).copied()
    }

    pub(super) fn has_room(&self, key: &str, member: &Member) -> bool {
        self.places.len() < self.max
            || self.find(key, member).is_some()
            || self.first_away().is_some()
    }

    /// Who has been away for the longest time.
    fn first_away(&self) -> Option<PlaceId> {
        let is_away = |place: &PlaceId| self.places[place.0].present.connections == 0;
        self.awaited.iter().map(|(_, place)| *place).find(is_away)
    }

    /// A member is present by one more binding of a connection.
    pub(super) fn enter(
        &mut self,
        now: Time,
        key: &Arc<str>,
        member: &Member,
        connection: ConnectionId,
    ) -> PlaceId {
        let found = self.find(key, member);
        let id = found.unwrap_or_else(|| self.begin(now, key, member));
        self.stop_waiting(id);
        let seats = self.seats.entry((id, connection)).or_insert(0);
        *seats += 1;
        self.places[id.0].present.connections += u32::from(*seats == 1);
        if found.is_none() {
            self.tell(id, Event::Joined);
        }
        id
    }

    fn begin(&mut self, now: Time, key: &Arc<str>, member: &Member) -> PlaceId {
        if self.places.len() >= self.max
            && let Some(away) = self.first_away()
        {
            self.end(away, Event::Lost);
        }
        let id = PlaceId(self.places.insert(Place {
            present: Present {
                key: Arc::clone(key),
                member: member.clone(),
                since: now,
                connections: 0,
            },
            lost_at: None,
        }));
        let members = self.keys.entry(Arc::clone(key)).or_default();
        members.insert(member.clone(), id);
        id
    }

    /// A binding of a connection makes a member present no more: because the connection broke, at that time, or in order.
    pub(super) fn leave(&mut self, id: PlaceId, connection: ConnectionId, broken_at: Option<Time>) {
        let Some(seats) = self.seats.get_mut(&(id, connection)) else {
            return;
        };
        *seats -= 1;
        if *seats > 0 {
            return;
        }
        self.seats.remove(&(id, connection));
        self.places[id.0].present.connections -= 1;
        if let Some(now) = broken_at
            && self.grace_ms > 0
        {
            self.stop_waiting(id);
            let until = now.saturating_add(self.grace_ms);
            self.places[id.0].lost_at = Some(until);
            self.awaited.insert((until, id));
        }
        let place = &self.places[id.0];
        if place.present.connections == 0 && place.lost_at.is_none() {
            let event = match broken_at {
                Some(_) => Event::Lost,
                None => Event::Left,
            };
            self.end(id, event);
        }
    }

    /// Nobody is on the way back, or not any more.
    fn stop_waiting(&mut self, id: PlaceId) {
        if let Some(until) = self.places[id.0].lost_at.take() {
            self.awaited.remove(&(until, id));
        }
    }

    /// Gives up waiting where it has been long enough, for so many at most.
    pub(super) fn expire(&mut self, now: Time, max: usize) {
        for _ in 0..max {
            let Some((until, id)) = self.awaited.first().copied() else {
                return;
            };
            if until > now {
                return;
            }
            self.stop_waiting(id);
            if self.places[id.0].present.connections == 0 {
                self.end(id, Event::Lost);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.awaited.first().map(|(until, _)| *until)
    }

    fn end(&mut self, id: PlaceId, event: Event) {
        self.stop_waiting(id);
        self.tell(id, event);
        let Present { key, member, .. } = self.places.remove(id.0).present;
        if let Some(members) = self.keys.get_mut(&key) {
            members.remove(&member);
            if members.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    fn tell(&mut self, id: PlaceId, event: Event) {
        let member = self.places[id.0].present.clone();
        let number = self.happened;
        self.happened += 1;
        self.note(Change::Happened {
            event,
            member,
            number,
        });
    }

    /// Who is present at the keys that match a pattern and are wanted, by key and name.
    pub(super) fn matching(&self, pattern: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Present> {
        let mut keys: Vec<&Arc<str>> = if has_wildcard(pattern) {
            let mut trie: TopicTrie<()> = TopicTrie::new();
            trie.insert(pattern, ());
            self.keys.keys().filter(|key| matches(&trie, key)).collect()
        } else {
            let found = self.keys.get_key_value(pattern);
            found.map(|(key, _)| key).into_iter().collect()
        };
        keys.retain(|key| is_wanted(key));
        keys.sort_unstable();
        let members = keys.into_iter().filter_map(|key| self.keys.get(key));
        members
            .flat_map(BTreeMap::values)
            .map(|id| self.places[id.0].present.clone())
            .collect()
    }
}
