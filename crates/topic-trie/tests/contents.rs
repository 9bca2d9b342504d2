//! What a trie holds, apart from what matches.

use std::hash::{BuildHasherDefault, DefaultHasher};

use leveret_topic_trie::fuzzing::node_and_word_count;
use leveret_topic_trie::{Syntax, TopicTrie};

/// Patterns that share beginnings, words and wildcards with each other.
fn patterns() -> impl Iterator<Item = String> {
    (0..5_000u32).map(|number| match number % 5 {
        0 => format!("a.{}.*.{number}", number % 17),
        1 => format!("#.{number}.a"),
        2 => format!("*.{}.#", number % 700),
        3 => format!("user.{number}.{}", number % 3),
        _ => format!("{}..{number}.", number % 29),
    })
}

#[test]
fn pair_is_inserted_and_removed_once() {
    let mut trie = TopicTrie::new();
    assert!(trie.insert("a.*", 1));
    assert!(!trie.insert("a.*", 1));
    assert!(trie.insert("a.*", 2));
    assert!(trie.insert("a.#", 1));
    assert_eq!(trie.len(), 3);
    assert!(!trie.remove("a.*", &3));
    assert!(!trie.remove("a.b", &1));
    assert!(!trie.remove("a", &1));
    assert!(trie.remove("a.*", &1));
    assert!(!trie.remove("a.*", &1));
    assert_eq!(trie.len(), 2);
    assert_eq!(trie.matches("a.b").count(), 2);
}

#[test]
fn value_under_two_matching_patterns_is_reported_for_each() {
    let trie = TopicTrie::from([("a.*", 1), ("a.#", 1), ("#", 2)]);
    let mut found: Vec<_> = trie.matches("a.b").copied().collect();
    found.sort_unstable();
    assert_eq!(found, [1, 1, 2]);
}

#[test]
fn patterns_that_match_the_same_keys_stay_apart() {
    let mut trie = TopicTrie::from([("#", 'x'), ("#.#", 'x')]);
    assert_eq!(trie.len(), 2);
    assert!(trie.remove("#", &'x'));
    assert!(!trie.contains("#", &'x'));
    assert_eq!(trie.patterns().collect::<Vec<_>>(), ["#.#"]);
}

#[test]
fn values_are_found_by_what_they_borrow_as() {
    let mut trie = TopicTrie::new();
    trie.insert("a", "one".to_owned());
    assert!(trie.contains("a", "one"));
    assert_eq!(trie.values("a"), ["one"]);
    assert!(trie.values("b").is_empty());
    assert!(trie.remove("a", "one"));
}

#[test]
fn all_pairs_are_listed_as_they_were_written() {
    let mut pairs: Vec<_> = patterns().zip(0..).collect();
    pairs.extend(
        ["", ".", "..", "#.#", "*.#.*", "größe.日本"].map(|pattern| (pattern.to_owned(), 0)),
    );
    pairs.extend((0..50).map(|value| ("many.values".to_owned(), value)));
    let trie: TopicTrie<u32> = pairs.iter().cloned().collect();
    let mut listed: Vec<_> = trie
        .iter()
        .map(|(pattern, value)| (pattern, *value))
        .collect();
    listed.sort_unstable();
    pairs.sort_unstable();
    assert_eq!(listed, pairs);
    pairs.dedup_by(|left, right| left.0 == right.0);
    assert_eq!(trie.patterns().count(), pairs.len());
}

#[test]
fn removing_everything_leaves_nothing_behind() {
    let mut trie: TopicTrie<u32> = patterns().zip(0..).collect();
    let (nodes, words) = node_and_word_count(&trie);
    assert!(nodes > 5_000 && words > 4_000);
    for (pattern, value) in patterns().zip(0..) {
        assert!(trie.remove(&pattern, &value), "{pattern}");
    }
    assert!(trie.is_empty());
    assert_eq!(node_and_word_count(&trie), (1, 0));
}

#[test]
fn trie_that_has_shrunk_still_holds_and_finds_the_rest() {
    let mut trie: TopicTrie<u32> = patterns().zip(0..).collect();
    let rest = |value: u32| value % 50 == 3;
    for (pattern, value) in patterns().zip(0..) {
        assert!(rest(value) || trie.remove(&pattern, &value));
    }
    for (pattern, value) in patterns().zip(0..) {
        assert_eq!(trie.contains(&pattern, &value), rest(value), "{pattern}");
        assert!(
            !rest(value) || trie.matches(&pattern).any(|found| *found == value),
            "{pattern}"
        );
    }
    let counts = node_and_word_count(&trie);
    trie.shrink_to_fit();
    assert_eq!(
        node_and_word_count(&trie),
        counts,
        "nothing is left to remove"
    );
    assert_eq!(trie.len(), 100);
}

#[test]
fn cleared_trie_is_like_new() {
    let mut trie: TopicTrie<u32> = patterns().zip(0..).collect();
    trie.insert(&["#"; 300].join("."), 7);
    trie.clear();
    assert!(trie.is_empty() && trie.matches("a").len() == 0 && trie.iter().next().is_none());
    assert_eq!(node_and_word_count(&trie), (1, 0));
    assert!(trie.insert("a", 1));
}

#[test]
fn every_word_may_have_the_same_hash() {
    /// A hasher that ignores what it is given.
    #[derive(Default)]
    struct Constant;
    impl std::hash::Hasher for Constant {
        fn write(&mut self, _: &[u8]) {}
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut trie: TopicTrie<usize, BuildHasherDefault<Constant>> = TopicTrie::default();
    let patterns: Vec<_> = patterns().take(300).collect();
    trie.extend(patterns.iter().zip(0..));
    for (pattern, value) in patterns.iter().zip(0..) {
        assert!(trie.matches(pattern).any(|found| *found == value));
        assert!(trie.remove(pattern, &value));
    }
}

#[test]
fn hasher_and_syntax_are_the_callers_choice() {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut trie = TopicTrie::with_syntax_and_hasher(Syntax::MQTT, hasher);
    trie.insert("a/+", 1);
    assert_eq!(trie.syntax(), Syntax::MQTT);
    assert_eq!(trie.matches("a/b").len(), 1);
    assert_eq!(format!("{trie:?}"), r#"{("a/+", 1)}"#);
}

#[test]
fn trie_is_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<TopicTrie<u32>>();
}
