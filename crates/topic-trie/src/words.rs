//! Words of patterns, each stored once.

use std::hash::{BuildHasher, Hasher};

use crate::arena::{Arena, Id};
use crate::id_table::IdTable;
use crate::syntax::Syntax;

/// The id of a [`Word`]; two words of patterns are equal when their ids are.
pub(crate) type WordId = Id<Word>;

/// A word that at least one node stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    text: Box<str>,
    /// The nodes that stand for it. It leaves with the last of them.
    uses: u32,
    tag: u32,
}

/// The words of all patterns, and the two wildcards.
///
/// The wildcards have ids, so that a node need not care what it stands for, but are not in the table: a key that
/// contains the text of one has a word there that no pattern knows.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    words: Arena<Word>,
    table: IdTable<Word>,
}

impl Words {
    /// The wildcard for exactly one word.
    pub(crate) const ONE: WordId = WordId::FIRST;

    /// The wildcard for zero or more words.
    pub(crate) const MANY: WordId = WordId::SECOND;

    pub(crate) fn new(syntax: Syntax) -> Self {
        let mut words = Arena::new();
        for (wildcard, id) in [
            (syntax.one_word(), Self::ONE),
            (syntax.many_words(), Self::MANY),
        ] {
            let inserted = words.insert(Word {
                text: wildcard.into(),
                uses: 0,
                tag: 0,
            });
            debug_assert_eq!(inserted, id, "a new arena fills its slots in order");
        }
        Self {
            words,
            table: IdTable::new(),
        }
    }

    /// The text of a word, or of a wildcard.
    pub(crate) fn text(&self, id: WordId) -> &str {
        &self.words[id].text
    }

    /// The word of a key, or `None` when no pattern has it, so that only wildcards can match it.
    #[inline]
    pub(crate) fn find<S: BuildHasher>(&self, hasher: &S, text: &str) -> Option<WordId> {
        self.find_tagged(tag(hasher, text), text)
    }

    /// The word of a pattern, wildcards included.
    pub(crate) fn find_in_pattern<S: BuildHasher>(&self, hasher: &S, text: &str) -> Option<WordId> {
        self.wildcard(text).or_else(|| self.find(hasher, text))
    }

    /// The word of a pattern, stored if it is new. Follow it with [`hold`](Self::hold), or it stays for good.
    pub(crate) fn intern<S: BuildHasher>(&mut self, hasher: &S, text: &str) -> WordId {
        if let Some(wildcard) = self.wildcard(text) {
            return wildcard;
        }
        let tag = tag(hasher, text);
        self.find_tagged(tag, text).unwrap_or_else(|| {
            let id = self.words.insert(Word {
                text: text.into(),
                uses: 0,
                tag,
            });
            self.table.insert(tag, id);
            id
        })
    }

    /// Notes that a node stands for the word.
    pub(crate) fn hold(&mut self, id: WordId) {
        self.words[id].uses += 1;
    }

    /// Notes that a node no longer stands for the word, and forgets the word with the last one.
    pub(crate) fn release(&mut self, id: WordId) {
        let word = &mut self.words[id];
        word.uses -= 1;
        if word.uses == 0 && id != Self::ONE && id != Self::MANY {
            let word = self.words.take(id);
            self.table.remove(word.tag, id);
        }
    }

    /// The number of different words, not counting the wildcards.
    pub(crate) fn len(&self) -> usize {
        self.words.len() - 2
    }

    fn wildcard(&self, text: &str) -> Option<WordId> {
        [Self::ONE, Self::MANY]
            .into_iter()
            .find(|id| self.text(*id) == text)
    }

    #[inline]
    fn find_tagged(&self, tag: u32, text: &str) -> Option<WordId> {
        self.table.find(tag, |id| *self.words[id].text == *text)
    }
}

/// The hash of a word, folded to what a table keeps.
///
/// Peers choose the words. It is the keyed hasher that keeps them from choosing words that collide.
#[inline]
fn tag<S: BuildHasher>(hasher: &S, text: &str) -> u32 {
    let mut hasher = hasher.build_hasher();
    hasher.write(text.as_bytes());
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}
