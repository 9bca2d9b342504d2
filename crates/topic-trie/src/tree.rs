//! The nodes of the trie and the way from one to the next.

use std::borrow::Borrow;
use std::hash::BuildHasher;
use std::iter;

use crate::arena::{Arena, Id};
use crate::id_table::IdTable;
use crate::syntax::Syntax;
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

/// The slots for nodes that are kept however few are in use: about 32 KiB with all that belongs to them, too little to
/// be worth the time.
const SPARSE_MIN: usize = 512;

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

    /// Takes all values from the pattern that ends at `node`, if one does.
    pub(crate) fn take_values(&mut self, node: NodeId<V>) -> Option<Values<V>> {
        let id = self.nodes[node].values.take()?;
        Some(self.values.take(id))
    }

    /// Gives values to a pattern that has none.
    pub(crate) fn put_values(&mut self, node: NodeId<V>, values: Values<V>) {
        debug_assert!(self.nodes[node].values.is_none());
        self.nodes[node].values = Some(self.values.insert(values));
    }

    /// The pattern that leads to `node`, written out.
    pub(crate) fn pattern(&self, node: NodeId<V>, words: &Words, syntax: Syntax) -> String {
        let upwards = iter::successors(Some(node), |id| self.nodes[*id].parent);
        let mut texts: Vec<&str> = upwards
            .filter_map(|id| self.nodes[id].word)
            .map(|word| words.text(word))
            .collect();
        texts.reverse();
        let mut separator = [0; 4];
        texts.join(char::from(syntax.separator()).encode_utf8(&mut separator))
    }

    /// Whether so little is left of what the nodes once took that it is worth moving.
    pub(crate) fn is_sparse(&self) -> bool {
        self.nodes.slot_count() > SPARSE_MIN && self.nodes.len() * 4 < self.nodes.slot_count()
    }

    /// Returns the room that was set aside for nodes and values to come.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.nodes.shrink_to_fit();
        self.values.shrink_to_fit();
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
