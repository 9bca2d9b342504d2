//! The trie does what a list of patterns does that is searched from end to end.

use leveret_topic_trie::fuzzing::{naive, operations};
use leveret_topic_trie::{Syntax, TopicTrie};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Patterns and keys of up to eight words, empty words and wildcards among them.
fn topic() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "", "*", "#", "#"]), 0..8).prop_map(|words| words.join("."))
}

/// Keys of more words than fit the smaller of the sets that the walk works with.
fn long_key() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", ""]), 60..80).prop_map(|words| words.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_operations_agree_with_the_model(data in vec(any::<u8>(), 0..600)) {
        operations(&data);
    }

    #[test]
    fn any_set_of_patterns_finds_what_the_model_finds(patterns in vec(topic(), 0..40), keys in vec(topic(), 1..20)) {
        let trie: TopicTrie<usize> = patterns.iter().zip(0..).collect();
        let mut scanning = trie.clone();
        scanning.insert(&["overlong"; 300].join("."), usize::MAX);
        for key in keys {
            let expected: Vec<_> =
                (0..patterns.len()).filter(|index| naive::matches(Syntax::AMQP, &patterns[*index], &key)).collect();
            for trie in [&trie, &scanning] {
                let mut found: Vec<_> = trie.matches(&key).copied().collect();
                found.sort_unstable();
                prop_assert_eq!(&found, &expected, "{:?}", key);
            }
        }
    }

    #[test]
    fn long_keys_walk_the_way_patterns_are_matched_one_by_one(patterns in vec(topic(), 0..40), key in long_key()) {
        let trie: TopicTrie<usize> = patterns.iter().zip(0..).collect();
        let mut scanning = trie.clone();
        scanning.insert(&["overlong"; 300].join("."), usize::MAX);
        let mut walked: Vec<_> = trie.matches(&key).collect();
        let mut scanned: Vec<_> = scanning.matches(&key).collect();
        walked.sort_unstable();
        scanned.sort_unstable();
        prop_assert_eq!(walked, scanned);
    }
}
