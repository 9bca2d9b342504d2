//! Topic exchanges: the binding key is a pattern.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_topic_trie::TopicTrie;

use super::Destination;

/// See the module. The trie keeps each (pattern, destination) once; what is bound again with other arguments is counted
/// beside it.
#[derive(Debug, Default)]
pub(crate) struct TopicRouter {
    trie: TopicTrie<Destination, foldhash::fast::RandomState>,
    /// How many bindings beyond the first a (pattern, destination) has. Nearly always empty.
    repeated: HashMap<(Arc<str>, Destination), u32, foldhash::fast::RandomState>,
}

impl TopicRouter {
    pub(super) fn insert(&mut self, destination: Destination, key: &Arc<str>) {
        if !self.trie.insert(key, destination) {
            *self
                .repeated
                .entry((Arc::clone(key), destination))
                .or_insert(0) += 1;
        }
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &Arc<str>) {
        if !self.repeated.is_empty() {
            let repeated = (Arc::clone(key), destination);
            if let Some(count) = self.repeated.get_mut(&repeated) {
                *count -= 1;
                if *count == 0 {
                    self.repeated.remove(&repeated);
                }
                return;
            }
        }
        self.trie.remove(key, &destination);
    }

    pub(super) fn route(&self, routing_key: &str, found: &mut dyn FnMut(Destination)) {
        self.trie
            .for_each_match(routing_key, |destination| found(*destination));
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.trie
            .iter()
            .map(|(_, destination)| *destination)
            .collect()
    }
}
