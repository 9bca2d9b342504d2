//! Patterns and keys made to be expensive are not.

use std::thread;

use leveret_topic_trie::TopicTrie;
use leveret_topic_trie::fuzzing::{match_steps, node_and_word_count};

/// `count` times `word`, with separators between.
fn repeat(word: &str, count: usize) -> String {
    vec![word; count].join(".")
}

/// Asserts that a match of `key` finds `want` values and takes no more steps than the bound that the walk promises, and
/// returns the steps.
#[track_caller]
fn check(trie: &TopicTrie<usize>, key: &str, want: usize) -> usize {
    assert_eq!(trie.matches(key).len(), want);
    let (nodes, _) = node_and_word_count(trie);
    let words = key.split('.').count();
    let steps = match_steps(trie, key);
    assert!(
        steps <= nodes * (words + 1),
        "{steps} steps for {nodes} nodes and {words} words"
    );
    steps
}

#[test]
fn hashes_between_words_take_steps_by_the_node_not_by_the_split() {
    // 63 `#` around 62 words: there are about 10^36 ways to divide 127 words between them.
    let trie = TopicTrie::from([(format!("{}.#", repeat("#.a", 62)), 0)]);
    assert!(check(&trie, &repeat("a", 127), 1) < 1_000);
    assert!(check(&trie, &repeat("a", 61), 0) < 1_000);

    let trie = TopicTrie::from([(format!("{}.#.b", repeat("#.a", 61)), 0)]);
    assert!(
        check(&trie, &repeat("a", 127), 0) < 1_000,
        "not even when nothing matches"
    );
}

#[test]
fn every_mixture_of_wildcards_shares_its_steps() {
    // All patterns of ten words out of `a`, `*` and `#` that end in `#`.
    let words = ["a", "*", "#"];
    let patterns = (0..3usize.pow(9)).map(|number| {
        let mut pattern: Vec<_> = (0..9)
            .map(|place| words[number / 3usize.pow(place) % 3])
            .collect();
        pattern.push("#");
        pattern.join(".")
    });
    let trie: TopicTrie<usize> = patterns.zip(0..).collect();
    assert_eq!(trie.len(), 19_683);
    let (nodes, _) = node_and_word_count(&trie);
    let steps = check(&trie, &repeat("a", 40), 19_683);
    assert!(
        steps <= nodes * 2,
        "each node is visited once and looked for once"
    );
}

#[test]
fn nothing_but_hashes_matches_everything_once() {
    let trie: TopicTrie<usize> = (0..200)
        .map(|count| (repeat("#", count + 1), count))
        .collect();
    check(&trie, "", 200);
    check(&trie, &repeat("a", 127), 200);
    check(&trie, &repeat("", 256), 200);
}

#[test]
fn words_that_are_all_different_are_looked_up_once_a_node() {
    let key = (0..127)
        .map(|word| word.to_string())
        .collect::<Vec<_>>()
        .join(".");
    let mut trie = TopicTrie::from([
        (key.replace('.', ".#."), 0),
        (format!("#.{}.#", key.replace('.', ".#.")), 1),
    ]);
    trie.insert("#", 2);
    check(&trie, &key, 3);
}

#[test]
fn longest_key_and_patterns_of_amqp_walk_on_a_small_stack() {
    let body = || {
        let mut trie = TopicTrie::new();
        trie.insert(&repeat("", 256), 0);
        trie.insert(&repeat("*", 256), 1);
        trie.insert(&repeat("#", 256), 2);
        trie.insert(&format!("#{}", ".*".repeat(255)), 3);
        check(&trie, &".".repeat(255), 4);
    };
    // Half of what a thread of the standard library has.
    thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(body)
        .expect("a thread")
        .join()
        .expect("enough stack");
}

#[test]
fn key_of_a_mebibyte_of_separators_is_matched() {
    let trie = TopicTrie::from([
        ("#", 0),
        ("#.", 1),
        ("#.a", 2),
        ("*.#", 3),
        ("*.*", 4),
        ("..#..", 5),
        ("", 6),
    ]);
    let mut found: Vec<_> = trie.matches(&".".repeat(1 << 20)).copied().collect();
    found.sort_unstable();
    assert_eq!(found, [0, 1, 3, 5]);
}

#[test]
fn pattern_of_a_hundred_thousand_words_is_matched_and_removed() {
    let long = repeat("#.a", 50_000);
    let mut trie = TopicTrie::from([(long.as_str(), 0), ("a.#", 1), ("b", 2)]);
    assert_eq!(trie.matches("a.a").len(), 1);
    assert_eq!(trie.matches(&repeat("a", 50_000)).len(), 2);
    assert_eq!(trie.matches(&repeat("a", 49_999)).len(), 1);
    assert!(trie.contains(&long, &0));
    assert!(trie.patterns().any(|pattern| pattern == long));
    trie.extend((0..100).map(|number| (number.to_string(), number)));
    assert!(
        match_steps(&trie, "b") > 100,
        "patterns are looked at one by one"
    );
    assert!(trie.remove(&long, &0));
    assert!(
        match_steps(&trie, "b") < 5,
        "without it, they are walked at once again"
    );
}
