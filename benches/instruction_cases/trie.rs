//! The trie among few and among many patterns. Words are hashed as the broker does, but with one seed in every run.

use foldhash::fast::FixedState;
use leveret_benches::Patterns;
use leveret_topic_trie::TopicTrie;

use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("trie/match among 100", || find(100)),
    Case::new("trie/match among 1000", || find(1_000)),
    Case::new("trie/match among 10000", || find(10_000)),
    Case::new("trie/match among 100000", || find(100_000)),
    Case::new("trie/insert, up to 10000", insert),
];

/// Keys to look for: enough for the average to say something, few enough for valgrind.
const KEYS: usize = 1_000;

fn find(size: usize) -> usize {
    let patterns = Patterns::new(size);
    let trie = fill(&patterns);
    let found = measured(|| {
        let mut found = 0;
        for key in &patterns.keys[..KEYS] {
            trie.for_each_match(key, |_| found += 1);
        }
        found
    });
    assert!(found >= KEYS / 2, "every other key is matched by something");
    KEYS
}

fn insert() -> usize {
    let patterns = Patterns::new(10_000);
    let trie = measured(|| fill(&patterns));
    assert_eq!(trie.len(), patterns.pairs.len());
    patterns.pairs.len()
}

fn fill(patterns: &Patterns) -> TopicTrie<u32, FixedState> {
    let mut trie = TopicTrie::with_hasher(FixedState::with_seed(7));
    for (pattern, value) in &patterns.pairs {
        trie.insert(pattern, *value);
    }
    trie
}
