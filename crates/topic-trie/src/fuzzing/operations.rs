//! Sequences of operations on a trie and its model.

use super::naive::NaiveTrie;
use super::{match_steps, node_and_word_count};
use crate::{Syntax, TopicTrie};

/// The letters that patterns and keys are made of, few enough for words to meet: two words, both wildcards, and the
/// separator twice, so that empty words are common.
const LETTERS: &[u8; 6] = b"ab*#..";

/// The most letters of a pattern or key; the model takes exponential time.
const LETTERS_MAX: u8 = 12;

/// Reads `data` as a list of operations and does them to a trie and to its model.
///
/// An operation is a byte that says what to do and with which of four values, a byte with a length, and that many bytes
/// for the letters. In MQTT's syntax, which the first byte of `data` may ask for, the letters are the same, and `*`
/// and `.` are ordinary.
///
/// # Panics
///
/// Panics when the trie and the model disagree, or when an emptied trie still holds on to something.
pub fn operations(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let syntax = if bytes.next().is_some_and(|byte| byte % 4 == 0) {
        Syntax::MQTT
    } else {
        Syntax::AMQP
    };
    let mut trie = TopicTrie::with_syntax(syntax);
    let mut model = NaiveTrie::new(syntax);
    while let Some(operation) = bytes.next() {
        let value = operation >> 4 & 3;
        let length = usize::from(bytes.next().unwrap_or(0) % (LETTERS_MAX + 1));
        let text: String = bytes
            .by_ref()
            .take(length)
            .map(|byte| letter(syntax, byte))
            .collect();
        match operation % 4 {
            0 | 1 => assert_eq!(
                trie.insert(&text, value),
                model.insert(&text, value),
                "insert {text:?}"
            ),
            2 => assert_eq!(
                trie.remove(&text, &value),
                model.remove(&text, &value),
                "remove {text:?}"
            ),
            _ => check_match(&trie, &model, &text),
        }
        assert_eq!(trie.len(), model.pairs().len());
    }
    check_pairs(&trie, &model);
    for (pattern, value) in model.pairs() {
        assert!(trie.remove(pattern, value), "remove {pattern:?} at the end");
    }
    assert!(trie.is_empty());
    assert_eq!(
        node_and_word_count(&trie),
        (1, 0),
        "an empty trie is a root"
    );
}

fn letter(syntax: Syntax, byte: u8) -> char {
    match char::from(LETTERS[usize::from(byte) % LETTERS.len()]) {
        '.' => char::from(syntax.separator()),
        '*' if byte >= 128 => syntax.one_word().chars().next().unwrap_or('*'),
        other => other,
    }
}

fn check_match(trie: &TopicTrie<u8>, model: &NaiveTrie<u8>, key: &str) {
    let mut found: Vec<_> = trie.matches(key).collect();
    let mut expected: Vec<_> = model.matches(key).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "values for {key:?} of {trie:?}");
    let (nodes, _) = node_and_word_count(trie);
    let words = key.len() + 1;
    assert!(
        match_steps(trie, key) <= nodes * (words + 1),
        "steps for {key:?} of {trie:?}"
    );
}

fn check_pairs(trie: &TopicTrie<u8>, model: &NaiveTrie<u8>) {
    let mut pairs: Vec<_> = trie
        .iter()
        .map(|(pattern, value)| (pattern, *value))
        .collect();
    let mut expected = model.pairs().to_vec();
    pairs.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pairs, expected);
    let mut patterns: Vec<_> = trie.patterns().collect();
    patterns.sort_unstable();
    expected.dedup_by(|left, right| left.0 == right.0);
    assert!(
        patterns
            .iter()
            .eq(expected.iter().map(|(pattern, _)| pattern))
    );
    assert!(
        pairs
            .iter()
            .all(|(pattern, value)| trie.contains(pattern, value))
    );
}
