//! The trie itself.

use std::borrow::Borrow;
use std::hash::{BuildHasher, RandomState};
use std::{fmt, mem};

use crate::iter::{Iter, Matches, Patterns};
use crate::positions::Positions;
use crate::syntax::Syntax;
use crate::tree::{NodeId, Tree};
use crate::walk::{WORDS_MAX, Walk, matches_backwards};
use crate::words::{WordId, Words};

/// A set of pairs of a topic pattern and a value, which finds the values whose patterns match a key.
///
/// The same value may stand under many patterns and a pattern may have many values, but each pair is there at most once.
/// A [match](Self::for_each_match) reports every pair whose pattern matches, so a value that stands under two matching
/// patterns is reported twice.
///
/// Patterns are written in the [`Syntax`] of the trie, that of AMQP unless another one is asked for. Any text is a valid
/// pattern and a valid key.
///
/// `S` hashes the words. As those are often chosen by strangers, it should be keyed, as the default is.
#[derive(Clone)]
pub struct TopicTrie<V, S = RandomState> {
    syntax: Syntax,
    hasher: S,
    words: Words,
    tree: Tree<V>,
    /// The number of pairs.
    len: usize,
    /// How many pairs have a pattern of more than [`WORDS_MAX`] words.
    overlong: usize,
}

impl<V> TopicTrie<V> {
    /// An empty trie of AMQP patterns. It allocates a little even so.
    pub fn new() -> Self {
        Self::with_syntax(Syntax::AMQP)
    }

    /// An empty trie of patterns in `syntax`.
    pub fn with_syntax(syntax: Syntax) -> Self {
        Self::with_syntax_and_hasher(syntax, RandomState::new())
    }
}

impl<V, S: BuildHasher> TopicTrie<V, S> {
    /// An empty trie of AMQP patterns that hashes words with `hasher`.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_syntax_and_hasher(Syntax::AMQP, hasher)
    }

    /// An empty trie of patterns in `syntax` that hashes words with `hasher`.
    pub fn with_syntax_and_hasher(syntax: Syntax, hasher: S) -> Self {
        let words = Words::new(syntax);
        let tree = Tree::new(&hasher);
        Self {
            syntax,
            hasher,
            words,
            tree,
            len: 0,
            overlong: 0,
        }
    }

    /// Adds a pair, and returns `false` when it was there already.
    ///
    /// Takes time in proportion to the words of the pattern and to the values that the pattern has already, for each of
    /// them is compared with the new one.
    ///
    /// # Panics
    ///
    /// Panics when the patterns have more than `u32::MAX` different beginnings.
    pub fn insert(&mut self, pattern: &str, value: V) -> bool
    where
        V: Eq,
    {
        let node = self.find_or_add(pattern);
        let inserted = self.tree.insert_value(node, value);
        self.len += usize::from(inserted);
        self.overlong += usize::from(inserted && self.is_overlong(pattern));
        inserted
    }

    /// Removes a pair, and returns `false` when it was not there.
    ///
    /// What the pattern shared with no other pattern is removed with its last value. The room is used again by later
    /// patterns; when less than a quarter of a large trie is left in use, it goes back to the allocator as by
    /// [`shrink_to_fit`](Self::shrink_to_fit). Except for that, and it is rare enough not to change the sum, this takes
    /// as long as [`insert`](Self::insert).
    pub fn remove<Q>(&mut self, pattern: &str, value: &Q) -> bool
    where
        V: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let Some(mut node) = self.find(pattern) else {
            return false;
        };
        if !self.tree.remove_value(node, value) {
            return false;
        }
        self.len -= 1;
        self.overlong -= usize::from(self.is_overlong(pattern));
        while let Some((parent, word)) = self.tree.remove_unneeded(node) {
            self.words.release(word);
            node = parent;
        }
        if self.tree.is_sparse() {
            self.shrink_to_fit();
        }
        true
    }

    /// Whether this very pair is there. Wildcards stand for themselves: `a.*` does not contain `a.b`.
    pub fn contains<Q>(&self, pattern: &str, value: &Q) -> bool
    where
        V: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.values(pattern)
            .iter()
            .any(|stored| stored.borrow() == value)
    }

    /// The values of this very pattern, in no particular order; empty when the pattern is not there.
    pub fn values(&self, pattern: &str) -> &[V] {
        self.find(pattern)
            .map_or(&[], |node| self.tree.values_at(node))
    }

    /// Calls `f` with the value of every pair whose pattern matches `key`, in no particular order.
    ///
    /// Allocates nothing. Every pair is reported at most once. The time is bounded by the number of different beginnings
    /// of the patterns times the words of the key, however many `#` the patterns have; in practice only a handful of
    /// nodes is looked at.
    ///
    /// That bound holds for keys and patterns of at most 256 words, which is as many as AMQP can express. For a longer
    /// key, and for any key while a longer pattern is stored, every pattern is looked at by itself instead, each taking
    /// time in proportion to its own words times those of the key. The depth of the stack is bounded in any case.
    pub fn for_each_match<'a>(&'a self, key: &str, f: impl FnMut(&'a V)) {
        self.walk(key, f);
    }

    /// The values of all pairs whose pattern matches `key`, in no particular order.
    ///
    /// They are gathered into a vector first, because a walk through the trie cannot be left and continued without
    /// allocating. Where that matters, use [`for_each_match`](Self::for_each_match).
    pub fn matches(&self, key: &str) -> Matches<'_, V> {
        let mut found = Vec::new();
        self.for_each_match(key, |value| found.push(value));
        Matches::new(found)
    }

    /// All pairs, in no particular order, but with the values of a pattern next to each other.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter::new(self.patterns())
    }

    /// The different patterns, in no particular order.
    pub fn patterns(&self) -> Patterns<'_, V> {
        Patterns::new(&self.tree, &self.words, self.syntax)
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes all pairs and returns the memory that they took.
    pub fn clear(&mut self) {
        self.words = Words::new(self.syntax);
        self.tree = Tree::new(&self.hasher);
        self.len = 0;
        self.overlong = 0;
    }

    /// Returns the memory that removed pairs have left behind, by building the trie anew.
    ///
    /// Takes about as long as inserting all pairs, and the memory of both while it lasts.
    pub fn shrink_to_fit(&mut self) {
        let words = mem::replace(&mut self.words, Words::new(self.syntax));
        let mut tree = mem::replace(&mut self.tree, Tree::new(&self.hasher));
        for node in tree.nodes.ids() {
            if let Some(values) = tree.take_values(node) {
                let node_now = self.find_or_add(&tree.pattern(node, &words, self.syntax));
                self.tree.put_values(node_now, values);
            }
        }
        self.tree.shrink_to_fit();
    }

    /// How patterns and keys are written.
    pub fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// The nodes and the words in use: a root is all there is in an empty trie.
    pub(crate) fn node_and_word_count(&self) -> (usize, usize) {
        (self.tree.nodes.len(), self.words.len())
    }

    /// Does what [`for_each_match`](Self::for_each_match) says and returns the number of steps it took.
    pub(crate) fn walk<'a>(&'a self, key: &str, f: impl FnMut(&'a V)) -> usize {
        // Nearly all keys have so few words that one machine word holds all their positions, the end included.
        const FEW: usize = Positions::<1>::CAPACITY - 1;
        const LANES_MAX: usize = WORDS_MAX / 64 + 1;
        if self.overlong > 0 {
            return self.scan(key, f);
        }
        let mut few = [None; FEW];
        if let Some(words) = self.known_words(key, &mut few) {
            return Walk::<_, _, 1>::run(&self.tree, words, f);
        }
        let mut many = [None; WORDS_MAX];
        if let Some(words) = self.known_words(key, &mut many) {
            return Walk::<_, _, LANES_MAX>::run(&self.tree, words, f);
        }
        self.scan(key, f)
    }

    /// Looks at every pattern by itself; returns how many there were.
    fn scan<'a>(&'a self, key: &str, mut f: impl FnMut(&'a V)) -> usize {
        let key = self.syntax.split(key).rev();
        let mut steps = 0;
        for leaf in self.tree.leaves() {
            steps += 1;
            if matches_backwards(&self.tree, &self.words, leaf, key.clone()) {
                self.tree.values_at(leaf).iter().for_each(&mut f);
            }
        }
        steps
    }

    /// Writes the words of `key`, as the patterns know them, to the beginning of `buffer`; `None` if there are too many.
    fn known_words<'b>(
        &self,
        key: &str,
        buffer: &'b mut [Option<WordId>],
    ) -> Option<&'b [Option<WordId>]> {
        let mut count = 0;
        for text in self.syntax.split(key) {
            *buffer.get_mut(count)? = self.words.find(&self.hasher, text);
            count += 1;
        }
        Some(&buffer[..count])
    }

    fn is_overlong(&self, pattern: &str) -> bool {
        self.syntax.count_words(pattern) > WORDS_MAX
    }

    /// The node that `pattern` leads to, made if need be. A new one needs a value to stay.
    fn find_or_add(&mut self, pattern: &str) -> NodeId<V> {
        let mut node = Tree::ROOT;
        for text in self.syntax.split(pattern) {
            let word = self.words.intern(&self.hasher, text);
            node = match self.tree.child(node, word) {
                Some(child) => child,
                None => {
                    self.words.hold(word);
                    self.tree.add_child(node, word)
                }
            };
        }
        node
    }

    /// The node that `pattern` leads to, whether or not it ends there.
    fn find(&self, pattern: &str) -> Option<NodeId<V>> {
        self.syntax
            .split(pattern)
            .try_fold(Tree::ROOT, |node, text| {
                let word = self.words.find_in_pattern(&self.hasher, text)?;
                self.tree.child(node, word)
            })
    }
}

impl<V, S: BuildHasher + Default> Default for TopicTrie<V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<V: fmt::Debug, S: BuildHasher> fmt::Debug for TopicTrie<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<'a, V, S: BuildHasher> IntoIterator for &'a TopicTrie<V, S> {
    type Item = (String, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<P: AsRef<str>, V: Eq, S: BuildHasher> Extend<(P, V)> for TopicTrie<V, S> {
    fn extend<I: IntoIterator<Item = (P, V)>>(&mut self, pairs: I) {
        for (pattern, value) in pairs {
            self.insert(pattern.as_ref(), value);
        }
    }
}

impl<P: AsRef<str>, V: Eq, S: BuildHasher + Default> FromIterator<(P, V)> for TopicTrie<V, S> {
    fn from_iter<I: IntoIterator<Item = (P, V)>>(pairs: I) -> Self {
        let mut trie = Self::default();
        trie.extend(pairs);
        trie
    }
}

impl<P: AsRef<str>, V: Eq, const N: usize> From<[(P, V); N]> for TopicTrie<V> {
    fn from(pairs: [(P, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}
