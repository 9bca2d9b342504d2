//! Topic patterns with wildcards, matched against a key without allocating.

mod arena;
#[doc(hidden)]
pub mod fuzzing;
mod id_table;
mod iter;
mod positions;
mod syntax;
mod tree;
mod trie;
mod values;
mod walk;
mod words;

pub use iter::{Iter, Matches, Patterns};
pub use syntax::Syntax;
pub use trie::TopicTrie;
