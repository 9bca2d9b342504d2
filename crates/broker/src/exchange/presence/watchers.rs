//! Who is told what happens at which keys.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_topic_trie::TopicTrie;

use super::{Destination, Hasher, QueueId};
use crate::exchange::BindingId;

/// The bindings of those who watch, by pattern.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    trie: TopicTrie<Watch, Hasher>,
    watches: HashMap<BindingId, Watch, Hasher>,
    /// What each destination watches.
    patterns: HashMap<Destination, Vec<Arc<str>>, Hasher>,
    begun: u64,
}

/// How many bindings of one queue may watch. Each further one looks at those before it, so that nobody is told twice of who
/// is there.
const WATCHES_MAX: usize = 1024;

/// One binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    destination: Destination,
    /// The number of the first change that it is told of.
    since: u64,
    /// Makes it another one than all others: a queue may watch a pattern twice, with other arguments.
    serial: u64,
}

impl Watchers {
    /// A binding begins to watch with the change of this number.
    pub(super) fn insert(&mut self, id: BindingId, since: u64) {
        self.begun += 1;
        let watch = Watch {
            destination: id.0,
            since,
            serial: self.begun,
        };
        self.trie.insert(&id.1, watch);
        let patterns = self.patterns.entry(id.0).or_default();
        patterns.push(Arc::clone(&id.1));
        self.watches.insert(id, watch);
    }

    pub(super) fn remove(&mut self, id: &BindingId) {
        if let Some(watch) = self.watches.remove(id) {
            self.trie.remove(&id.1, &watch);
        }
        if let Some(patterns) = self.patterns.get_mut(&id.0) {
            if let Some(at) = patterns.iter().position(|pattern| *pattern == id.1) {
                patterns.swap_remove(at);
            }
            if patterns.is_empty() {
                self.patterns.remove(&id.0);
            }
        }
    }

    /// Whether a destination may watch with one more binding.
    pub(super) fn has_room(&self, destination: Destination) -> bool {
        let patterns = self.patterns.get(&destination);
        patterns.is_none_or(|patterns| patterns.len() < WATCHES_MAX)
    }

    /// What a destination watches.
    pub(super) fn of_destination(&self, destination: Destination) -> TopicTrie<()> {
        let mut trie = TopicTrie::new();
        for pattern in self.patterns.get(&destination).into_iter().flatten() {
            trie.insert(pattern, ());
        }
        trie
    }

    /// The queues that watched a key when the change with this number happened there, each once.
    pub(super) fn of(&self, key: &str, number: u64) -> Vec<QueueId> {
        let mut queues = Vec::new();
        self.trie.for_each_match(key, |watch| {
            if let Destination::Queue(queue) = watch.destination
                && watch.since <= number
            {
                queues.push(queue);
            }
        });
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    pub(super) fn destinations(&self) -> impl Iterator<Item = Destination> {
        self.watches.keys().map(|(destination, ..)| *destination)
    }
}
