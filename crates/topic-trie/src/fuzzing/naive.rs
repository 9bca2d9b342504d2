//! The obvious way to match, to hold the trie against.

use crate::Syntax;

/// Whether `pattern` matches `key`, straight from the definition of the wildcards.
///
/// Tries every way to divide the key between the wildcards for many words, which takes exponential time in their number.
pub fn matches(syntax: Syntax, pattern: &str, key: &str) -> bool {
    words_match(syntax, &words(syntax, pattern), &words(syntax, key))
}

/// The words of a pattern or a key; none when it is empty.
fn words(syntax: Syntax, text: &str) -> Vec<&str> {
    if text.is_empty() {
        Vec::new()
    } else {
        text.split(char::from(syntax.separator())).collect()
    }
}

fn words_match(syntax: Syntax, pattern: &[&str], key: &[&str]) -> bool {
    let Some((first, pattern)) = pattern.split_first() else {
        return key.is_empty();
    };
    if *first == syntax.many_words() {
        return (0..=key.len()).any(|taken| words_match(syntax, pattern, &key[taken..]));
    }
    key.split_first().is_some_and(|(word, key)| {
        (*first == syntax.one_word() || first == word) && words_match(syntax, pattern, key)
    })
}

/// A list of pairs with the methods of [`TopicTrie`](crate::TopicTrie) that matter, each of which looks at all of it.
#[derive(Clone, Debug, Default)]
pub struct NaiveTrie<V> {
    syntax: Syntax,
    pairs: Vec<(String, V)>,
}

impl<V: Eq> NaiveTrie<V> {
    /// An empty list of patterns in `syntax`.
    pub fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            pairs: Vec::new(),
        }
    }

    /// A list of pairs of which the caller knows that they differ.
    pub fn from_pairs(syntax: Syntax, pairs: Vec<(String, V)>) -> Self {
        Self { syntax, pairs }
    }

    /// Adds a pair unless it is there.
    pub fn insert(&mut self, pattern: &str, value: V) -> bool {
        let is_new = self.position(pattern, &value).is_none();
        if is_new {
            self.pairs.push((pattern.to_owned(), value));
        }
        is_new
    }

    /// Removes a pair if it is there.
    pub fn remove(&mut self, pattern: &str, value: &V) -> bool {
        let index = self.position(pattern, value);
        index.map(|index| self.pairs.swap_remove(index)).is_some()
    }

    /// The values whose patterns match `key`.
    pub fn matches(&self, key: &str) -> impl Iterator<Item = &V> {
        self.pairs
            .iter()
            .filter(move |(pattern, _)| matches(self.syntax, pattern, key))
            .map(|(_, value)| value)
    }

    /// All pairs.
    pub fn pairs(&self) -> &[(String, V)] {
        &self.pairs
    }

    fn position(&self, pattern: &str, value: &V) -> Option<usize> {
        self.pairs
            .iter()
            .position(|pair| pair.0 == pattern && pair.1 == *value)
    }
}
