//! Matching a key against all patterns at once.

use crate::positions::Positions;
use crate::tree::{NodeId, Tree};
use crate::words::{WordId, Words};

/// One way through the trie, down every branch that the key allows.
///
/// The walk asks of each node at which positions of the key it can be reached: for which numbers `p` the pattern that
/// leads to the node matches the first `p` words. Those positions travel down as a *set*:
///
/// - at the root it is `{0}`;
/// - a child for an ordinary word is reached one past every position that the word stands at;
/// - a child for exactly one word is reached one past every position but the end;
/// - a child for zero or more words is reached at the smallest position and at all that follow.
///
/// A pattern matches when the end of the key is among the positions of its last node.
///
/// Because all positions of a node arrive together, and a node has one parent, **a node is visited at most once**,
/// however many ways there are to divide the key between several `#`. Hence a value is reported at most once, and the
/// work is bounded by the number of nodes times the words of the key. `#` is why the set may have more than one
/// element; without it, at most one child for the word, one for `*` and one for `#` is visited for each node.
///
/// The recursion is as deep as the longest pattern, never as the key; [`WORDS_MAX`] bounds both.
pub(crate) struct Walk<'t, 'k, V, F, const LANES: usize> {
    tree: &'t Tree<V>,
    key: &'k [Option<WordId>],
    report: F,
    steps: usize,
}

/// The most words that a pattern may have for all patterns to be walked at once, and that a key may have.
///
/// A key or pattern of AMQP is a short string of at most 255 bytes (AMQP 4.2.5.3) and so has at most 256 words, when it is
/// nothing but separators.
pub(crate) const WORDS_MAX: usize = 256;

impl<'t, 'k, V, F: FnMut(&'t V), const LANES: usize> Walk<'t, 'k, V, F, LANES> {
    /// Reports the values of all patterns that match `key`, its words as the patterns know them, and returns how many
    /// steps it took: nodes visited and children looked for.
    ///
    /// The key must have fewer words than the sets have room for, because its end is a position too.
    #[inline]
    pub(crate) fn run(tree: &'t Tree<V>, key: &'k [Option<WordId>], report: F) -> usize {
        debug_assert!(key.len() < Positions::<LANES>::CAPACITY);
        let mut walk = Self {
            tree,
            key,
            report,
            steps: 0,
        };
        walk.visit(Tree::ROOT, Positions::one(0));
        walk.steps
    }

    /// Visits a node that is reached at `positions`, of which there is at least one.
    fn visit(&mut self, id: NodeId<V>, positions: Positions<LANES>) {
        self.steps += 1;
        let node = &self.tree.nodes[id];
        let end = self.key.len();
        if positions.contains(end) {
            self.tree.values_at(id).iter().for_each(&mut self.report);
        }
        let mut inside = positions;
        inside.remove(end);
        if node.literals > 0 {
            self.visit_literals(id, inside);
        }
        if let Some(one) = node.one
            && inside.first().is_some()
        {
            self.visit(one, inside.advanced());
        }
        if let Some(many) = node.many
            && let Some(first) = positions.first()
        {
            self.visit(many, Positions::range(first, end));
        }
    }

    /// Visits the children for the words that stand at `positions`, each child once.
    fn visit_literals(&mut self, parent: NodeId<V>, mut positions: Positions<LANES>) {
        while let Some(position) = positions.first() {
            positions.remove(position);
            let Some(word) = self.key[position] else {
                continue;
            };
            self.steps += 1;
            let Some(child) = self.tree.literal(parent, word) else {
                continue;
            };
            let mut reached = Positions::one(position + 1);
            let mut others = positions;
            while let Some(other) = others.first() {
                others.remove(other);
                if self.key[other] == Some(word) {
                    positions.remove(other);
                    reached.insert(other + 1);
                }
            }
            self.visit(child, reached);
        }
    }
}

/// Whether the pattern that ends at `leaf` matches a key, given as its words from last to first.
///
/// This is for keys and patterns of any length: it looks at one pattern only, needs no memory and does not recurse. The
/// pattern is read upwards from its last node, and the key backwards. When a word does not fit, the latest `#` takes one
/// word more; earlier ones need not be tried again, because they would only leave the later one fewer words to choose
/// from. That makes at most the words of the pattern times those of the key.
pub(crate) fn matches_backwards<'k, V>(
    tree: &Tree<V>,
    words: &Words,
    leaf: NodeId<V>,
    mut key: impl Iterator<Item = &'k str> + Clone,
) -> bool {
    let mut at = leaf;
    let mut latest_many = None;
    loop {
        let node = &tree.nodes[at];
        let next = match (node.parent, node.word) {
            (Some(parent), Some(word)) if word == Words::MANY => {
                latest_many = Some((parent, key.clone()));
                Some(parent)
            }
            (Some(parent), Some(word)) if word == Words::ONE => key.next().map(|_| parent),
            (Some(parent), Some(word)) => key
                .next()
                .filter(|text| words.text(word) == *text)
                .map(|_| parent),
            _ if key.next().is_none() => return true,
            _ => None,
        };
        if let Some(parent) = next {
            at = parent;
        } else if let Some((above, mut rest)) = latest_many.take()
            && rest.next().is_some()
        {
            key = rest.clone();
            latest_many = Some((above, rest));
            at = above;
        } else {
            return false;
        }
    }
}
