//! What the fuzz target, the tests and the bench share. Not part of the interface.

pub mod naive;
mod operations;

pub use operations::operations;

use std::hash::BuildHasher;

use crate::TopicTrie;

/// How many steps a match of `key` takes: nodes visited, children looked for, and patterns looked at one by one.
pub fn match_steps<V, S: BuildHasher>(trie: &TopicTrie<V, S>, key: &str) -> usize {
    trie.walk(key, |_| ())
}

/// How many nodes and words a trie has in use; an empty one has a root and no words.
pub fn node_and_word_count<V, S: BuildHasher>(trie: &TopicTrie<V, S>) -> (usize, usize) {
    trie.node_and_word_count()
}
