//! The nodes of the trie and the way from one to the next.

use std::borrow::Borrow;
use std::hash::BuildHasher;

use crate::arena::{Arena, Id};
use crate::id_table::IdTable;
use crate::values::Values;
use crate::words::{WordId, Words};

/// The id of a [`Node`].
pub(crate) type NodeId<V> = Id<Node<V>>;

/// The beginning of at least one stored pattern.
///
/// Twenty-four bytes. A node knows its parent, so a pattern can be read from its last node upwards, and its two wildcard
/// children; the children for ordinary words are found by the table in [`Tree`].
#[derive(Clone)]
pub(crate) struct Node<V> {
    /// `None` for the root alone.
    pub(crate) parent: Option<NodeId<V>>,
    /// The last word of the beginning that this node stands for; `None` for the root alone.
    pub(crate) word: Option<WordId>,
    /// The child for the wildcard of exactly one word.
    pub(crate) one: Option<NodeId<V>>,
    /// The child for the wildcard of zero or more words.
    pub(crate) many: Option<NodeId<V>>,
    /// How many children there are for ordinary words.
    pub(crate) literals: u32,
    /// The values of the pattern that ends here.
    pub(crate) values: Option<Id<Values<V>>>,
}

impl<V> Node<V> {
    fn is_needed(&self) -> bool {
        self.values.is_some() || self.literals > 0 || self.one.is_some() || self.many.is_some()
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            parent: None,
            word: None,
            one: None,
            many: None,
            literals: 0,
            values: None,
        }
    }
}

/// All nodes and the values of those where a pattern ends. The root is always there and stands for the pattern without words.
#[derive(Clone)]
pub(crate) struct Tree<V> {
    pub(crate) nodes: Arena<Node<V>>,
    pub(crate) values: Arena<Values<V>>,
    /// Children for ordinary words, filed under parent and word.
    children: IdTable<Node<V>>,
    seeds: Seeds,
}

impl<V> Tree<V> {
    pub(crate) const ROOT: NodeId<V> = NodeId::<V>::FIRST;

    pub(crate) fn new<S: BuildHasher>(hasher: &S) -> Self {
        let mut nodes = Arena::new();
        let root = nodes.insert(Node::default());
        debug_assert!(root == Self::ROOT, "a new arena fills its slots in order");
        Self {
            nodes,
            values: Arena::new(),
            children: IdTable::new(),
            seeds: Seeds::new(hasher),
        }
    }

    /// The child of `parent` for an ordinary word.
    #[inline]
    pub(crate) fn literal(&self, parent: NodeId<V>, word: WordId) -> Option<NodeId<V>> {
        self.children.find(self.seeds.tag(parent, word), |id| {
            let node = &self.nodes[id];
            node.parent == Some(parent) && node.word == Some(word)
        })
    }

    /// The values of the pattern that ends at `node`.
    #[inline]
    pub(crate) fn values_at(&self, node: NodeId<V>) -> &[V] {
        self.nodes[node]
            .values
            .map_or(&[], |id| self.values[id].as_slice())
    }

    /// The nodes where patterns end.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = NodeId<V>> {
        self.nodes
            .ids()
            .filter(|id| self.nodes[*id].values.is_some())
    }

    /// Adds a value to the pattern that ends at `node`, unless it is there already.
    pub(crate) fn insert_value(&mut self, node: NodeId<V>, value: V) -> bool
    where
        V: Eq,
    {
        let node = &mut self.nodes[node];
        let values = *node
            .values
            .get_or_insert_with(|| self.values.insert(Values::Vacant));
        self.values[values].insert(value)
    }

    /// Removes a value from the pattern that ends at `node`, and says whether it was there.
    ///
    /// The node stays, needed or not.
    pub(crate) fn remove_value<Q>(&mut self, node: NodeId<V>, value: &Q) -> bool
    where
        V: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let Some(id) = self.nodes[node].values else {
            return false;
        };
        let removed = self.values[id].remove(value);
        if self.values[id].is_vacant() {
            self.values.take(id);
            self.nodes[node].values = None;
        }
        removed
    }

    /// The child of `parent` for a word of a pattern, wildcard or not.
    pub(crate) fn child(&self, parent: NodeId<V>, word: WordId) -> Option<NodeId<V>> {
        match word {
            _ if word == Words::ONE => self.nodes[parent].one,
            _ if word == Words::MANY => self.nodes[parent].many,
            _ => self.literal(parent, word),
        }
    }

    /// Adds the child of `parent` for `word`, which is not there yet.
    pub(crate) fn add_child(&mut self, parent: NodeId<V>, word: WordId) -> NodeId<V> {
        let child = self.nodes.insert(Node {
            parent: Some(parent),
            word: Some(word),
            ..Node::default()
        });
        let node = &mut self.nodes[parent];
        match word {
            _ if word == Words::ONE => node.one = Some(child),
            _ if word == Words::MANY => node.many = Some(child),
            _ => {
                node.literals += 1;
                self.children.insert(self.seeds.tag(parent, word), child);
            }
        }
        child
    }

    /// Removes `node` when neither a value nor a child needs it, and returns its parent and its word.
    ///
    /// The root is always needed.
    pub(crate) fn remove_unneeded(&mut self, node: NodeId<V>) -> Option<(NodeId<V>, WordId)> {
        if self.nodes[node].is_needed() {
            return None;
        }
        let (parent, word) = (self.nodes[node].parent?, self.nodes[node].word?);
        self.nodes.take(node);
        match word {
            _ if word == Words::ONE => self.nodes[parent].one = None,
            _ if word == Words::MANY => self.nodes[parent].many = None,
            _ => {
                self.nodes[parent].literals -= 1;
                self.children.remove(self.seeds.tag(parent, word), node);
            }
        }
        Some((parent, word))
    }
}

/// What keeps the table of children unpredictable.
///
/// The ids in its keys are given out in order and so are easily guessed by a peer, who chooses the patterns. The two
/// secret numbers come from the trie's hasher; if that is keyed, so is the table. A multiplication is all it takes to
/// mix eight bytes that are known to be two ids, where the trie's hasher has to be ready for anything.
#[derive(Clone)]
struct Seeds {
    mask: u64,
    /// Odd, so that no bit of the ids is multiplied away.
    factor: u64,
}

impl Seeds {
    fn new<S: BuildHasher>(hasher: &S) -> Self {
        Self {
            mask: hasher.hash_one("mask"),
            factor: hasher.hash_one("factor") | 1,
        }
    }

    #[inline]
    fn tag<V>(&self, parent: NodeId<V>, word: WordId) -> u32 {
        let ids = u64::from(parent.number()) << 32 | u64::from(word.number());
        let product = u128::from(ids ^ self.mask) * u128::from(self.factor);
        let folded = (product >> 64) as u64 ^ product as u64;
        (folded ^ (folded >> 32)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_twenty_four_bytes() {
        assert_eq!(size_of::<Node<String>>(), 24);
    }
}
