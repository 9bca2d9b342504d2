//! Iterators over what a trie holds or finds.

use std::{fmt, iter, slice, vec};

use crate::arena::Ids;
use crate::syntax::Syntax;
use crate::tree::{Node, NodeId, Tree};
use crate::words::Words;

/// The values found for a key; see [`TopicTrie::matches`](crate::TopicTrie::matches).
#[derive(Clone, Debug)]
pub struct Matches<'a, V> {
    found: vec::IntoIter<&'a V>,
}

impl<'a, V> Matches<'a, V> {
    pub(crate) fn new(found: Vec<&'a V>) -> Self {
        Self {
            found: found.into_iter(),
        }
    }
}

impl<'a, V> Iterator for Matches<'a, V> {
    type Item = &'a V;

    fn next(&mut self) -> Option<&'a V> {
        self.found.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.found.size_hint()
    }
}

impl<V> ExactSizeIterator for Matches<'_, V> {}

impl<V> iter::FusedIterator for Matches<'_, V> {}

/// The different patterns of a trie; see [`TopicTrie::patterns`](crate::TopicTrie::patterns).
///
/// A pattern is put together from its words when it is asked for.
pub struct Patterns<'a, V> {
    tree: &'a Tree<V>,
    words: &'a Words,
    syntax: Syntax,
    nodes: Ids<Node<V>>,
}

impl<'a, V> Patterns<'a, V> {
    pub(crate) fn new(tree: &'a Tree<V>, words: &'a Words, syntax: Syntax) -> Self {
        Self {
            tree,
            words,
            syntax,
            nodes: tree.nodes.ids(),
        }
    }

    /// The next node where a pattern ends, and its values.
    fn next_leaf(&mut self) -> Option<(NodeId<V>, &'a [V])> {
        let leaf = self
            .nodes
            .find(|id| self.tree.nodes[*id].values.is_some())?;
        Some((leaf, self.tree.values_at(leaf)))
    }

    fn write(&self, leaf: NodeId<V>) -> String {
        self.tree.pattern(leaf, self.words, self.syntax)
    }
}

impl<V> Iterator for Patterns<'_, V> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let (leaf, _) = self.next_leaf()?;
        Some(self.write(leaf))
    }
}

impl<V> iter::FusedIterator for Patterns<'_, V> {}

impl<V> Clone for Patterns<'_, V> {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            ..*self
        }
    }
}

impl<V> fmt::Debug for Patterns<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The pairs of a trie; see [`TopicTrie::iter`](crate::TopicTrie::iter).
///
/// Each pair brings its own copy of the pattern, put together from its words when the pair is asked for.
pub struct Iter<'a, V> {
    patterns: Patterns<'a, V>,
    /// The pattern whose values are being listed.
    leaf: NodeId<V>,
    values: slice::Iter<'a, V>,
}

impl<'a, V> Iter<'a, V> {
    pub(crate) fn new(patterns: Patterns<'a, V>) -> Self {
        Self {
            patterns,
            leaf: Tree::ROOT,
            values: [].iter(),
        }
    }
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (String, &'a V);

    fn next(&mut self) -> Option<(String, &'a V)> {
        loop {
            if let Some(value) = self.values.next() {
                return Some((self.patterns.write(self.leaf), value));
            }
            let (leaf, values) = self.patterns.next_leaf()?;
            self.leaf = leaf;
            self.values = values.iter();
        }
    }
}

impl<V> iter::FusedIterator for Iter<'_, V> {}

impl<V> Clone for Iter<'_, V> {
    fn clone(&self) -> Self {
        Self {
            patterns: self.patterns.clone(),
            leaf: self.leaf,
            values: self.values.clone(),
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Iter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
