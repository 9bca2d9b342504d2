//! The messages that a history keeps: which they are, which go first, and whether some are missing.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use leveret_queue_store::{Message, Time};
use slab::Slab;

use super::limits::HistoryLimits;
use super::position;
use crate::memory::MemoryGauge;
use crate::vhost::history_account::PushOut;

type Hasher = foldhash::fast::RandomState;

/// How many routing keys one history knows. Far more than an application has rooms that anybody comes back to; a
/// publisher that makes up new ones for ever fills some ten MiB with them.
pub(super) const KEYS_MAX: usize = 65_536;

/// What a key costs beside its name and messages: its place in the slab, the map and one of the sets.
const KEY_OVERHEAD_BYTES: usize = 160;

/// What a message costs beside itself and what a place in a queue costs: its place in the order.
const ORDER_OVERHEAD_BYTES: usize = 32;

/// Messages by routing key, and in the order in which they passed.
///
/// Of each key it keeps what the limits say. Whoever needs room takes the oldest of all first ([`Kept::push_out`]), after
/// the keys of which nothing is left but the number of the last message, which is kept so that nobody is told of a gap in
/// one key because of another.
#[derive(Debug)]
pub(super) struct Kept {
    limits: HistoryLimits,
    keys: Slab<Key>,
    by_name: HashMap<Arc<str>, u32, Hasher>,
    /// Every entry, by the number of its message and its key.
    order: BTreeSet<(u64, u32)>,
    /// The keys without messages, by the number of the last they had.
    empty: BTreeSet<(u64, u32)>,
    /// Messages up to this number may have had keys that are not known any more.
    forgotten: u64,
    latest: Time,
    bytes: usize,
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    entries: VecDeque<Entry>,
    /// The latest message of this key that is not kept any more; 0 for none.
    lost: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    at: Time,
    message: Message,
}

/// What is kept of interest to somebody.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order in which they passed, each once.
    pub(super) messages: Vec<Message>,
    /// The latest message of the keys in question that is not kept, as far as that is known; 0 for none.
    pub(super) lost: u64,
    /// Whether one of these is among what was asked for.
    pub(super) is_missing: bool,
}

/// Messages that a queue has had: those with numbers beyond the first, up to the second.
pub(super) type Had = (u64, u64);

impl Kept {
    /// An empty one; messages up to the number `born` have passed before.
    pub(super) fn new(limits: HistoryLimits, born: u64) -> Self {
        Self {
            limits,
            keys: Slab::new(),
            by_name: HashMap::default(),
            order: BTreeSet::new(),
            empty: BTreeSet::new(),
            forgotten: born,
            latest: Time::from_millis(0),
            bytes: 0,
        }
    }

    /// Keeps a message under one of its keys. Numbers must grow.
    pub(super) fn add(&mut self, now: Time, number: u64, name: &str, message: &Message) {
        // The clocks of publishers may have been read in another order.
        self.latest = self.latest.max(now);
        let id = self.key(name);
        let key = &mut self.keys[id as usize];
        if key.entries.back().is_some_and(|last| last.number == number) {
            // The same key twice, in the message's CC header.
            return;
        }
        if key.entries.is_empty() {
            self.empty.remove(&(key.lost, id));
        }
        key.entries.push_back(Entry {
            number,
            at: self.latest,
            message: message.clone(),
        });
        self.bytes += cost(message);
        self.order.insert((number, id));
        let length = self.keys[id as usize].entries.len() as u64;
        if self.limits.length.is_some_and(|limit| length > limit) {
            self.drop_first_of(id);
        }
        while self.keys.len() > KEYS_MAX && self.push_out() {}
    }

    /// Drops what is too old. What has become so at a moment is gone at that moment.
    pub(super) fn expire(&mut self, now: Time) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            if let Some(&(_, id)) = self.order.first() {
                self.drop_first_of(id);
            }
        }
    }

    /// When the first message becomes too old.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let age_ms = self.limits.age_ms?;
        let &(_, id) = self.order.first()?;
        let first = self.keys[id as usize].entries.front()?;
        Some(first.at.saturating_add(age_ms))
    }

    /// What has passed after the number `after`. `interest` tells for a key whether it is asked for, and then what of it
    /// the one who asks has had already; where only one key can be, `only` says which, and the others are not looked at.
    pub(super) fn find(
        &self,
        now: Time,
        after: u64,
        only: Option<&str>,
        mut interest: impl FnMut(&str) -> Option<Vec<Had>>,
    ) -> Found {
        let mut found = Found {
            lost: self.forgotten,
            is_missing: self.forgotten > after,
            ..Found::default()
        };
        let mut entries: Vec<&Entry> = Vec::new();
        let (one, all) = match only {
            Some(name) => (self.by_name.get(name), None),
            None => (None, Some(&self.keys)),
        };
        let one = one.map(|id| &self.keys[*id as usize]);
        let all = all.into_iter().flatten().map(|(_, key)| key);
        for key in one.into_iter().chain(all) {
            let Some(mut had) = interest(&key.name) else {
                continue;
            };
            merge(&mut had);
            found.lost = found.lost.max(key.lost);
            found.is_missing |= key.lost > had_without_break(after, &had);
            let start = key.entries.partition_point(|entry| entry.number <= after);
            entries.extend(key.entries.range(start..).filter(|entry| {
                let at = had.partition_point(|(_, to)| *to < entry.number);
                had.get(at).is_none_or(|(from, _)| *from >= entry.number)
            }));
        }
        entries.sort_unstable_by_key(|entry| entry.number);
        entries.dedup_by_key(|entry| entry.number);
        found.messages = entries
            .into_iter()
            .filter_map(|entry| entry.alive(now))
            .collect();
        found
    }

    /// The place of a key, which gets one if it has none.
    fn key(&mut self, name: &str) -> u32 {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let key = Key {
            name: Arc::from(name),
            entries: VecDeque::new(),
            lost: 0,
        };
        self.bytes += key.cost();
        let name = Arc::clone(&key.name);
        // One more than the limit at most.
        let id = self.keys.insert(key) as u32;
        self.by_name.insert(name, id);
        id
    }

    fn drop_first_of(&mut self, id: u32) {
        let key = &mut self.keys[id as usize];
        let Some(entry) = key.entries.pop_front() else {
            return;
        };
        key.lost = entry.number;
        if key.entries.is_empty() {
            key.entries = VecDeque::new();
            self.empty.insert((entry.number, id));
        }
        self.order.remove(&(entry.number, id));
        self.bytes -= cost(&entry.message);
    }
}

impl PushOut for Kept {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn push_out(&mut self) -> bool {
        if let Some((lost, id)) = self.empty.pop_first() {
            let key = self.keys.remove(id as usize);
            self.by_name.remove(&key.name);
            self.bytes -= key.cost();
            self.forgotten = self.forgotten.max(lost);
            return true;
        }
        let Some(&(_, id)) = self.order.first() else {
            return false;
        };
        self.drop_first_of(id);
        true
    }
}

impl Key {
    fn cost(&self) -> usize {
        KEY_OVERHEAD_BYTES + self.name.len()
    }
}

impl Entry {
    /// The message with the time that it has left to live. None when it would have expired in a queue by now.
    fn alive(&self, now: Time) -> Option<Message> {
        let Some(expiration_ms) = self.message.expiration_ms() else {
            return Some(self.message.clone());
        };
        let dies_at = self.at.saturating_add(expiration_ms);
        let left_ms = dies_at.as_millis().saturating_sub(now.as_millis());
        if left_ms == 0 {
            return None;
        }
        Some(position::expiring(&self.message, left_ms))
    }
}

fn cost(message: &Message) -> usize {
    MemoryGauge::cost(1, message.size_bytes() as u64) + ORDER_OVERHEAD_BYTES
}

/// Puts them in order, and those that touch each other together.
fn merge(had: &mut Vec<Had>) {
    had.sort_unstable();
    had.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
}

/// Up to which number nothing is missing for somebody who knows everything up to `after` and has had these, in order.
fn had_without_break(after: u64, had: &[Had]) -> u64 {
    had.iter().fold(after, |known, (from, to)| {
        if *from <= known {
            known.max(*to)
        } else {
            known
        }
    })
}

#[cfg(test)]
mod tests;
