//! Topic patterns with wildcards, matched against a key without allocating.
//!
//! A [`TopicTrie`] holds pairs of a pattern, such as `stock.*.nyse` or `log.#`, and a value, such as the queue that asked
//! for it. Given a key, such as `stock.ibm.nyse`, it finds the values of all patterns that match. It is what a topic
//! exchange of AMQP routes with, and a table of MQTT subscriptions.
//!
//! ```
//! use leveret_topic_trie::TopicTrie;
//!
//! let mut trie = TopicTrie::new();
//! trie.insert("stock.*.nyse", "traders");
//! trie.insert("stock.#", "archive");
//! trie.insert("weather.#", "archive");
//!
//! let mut found = Vec::new();
//! trie.for_each_match("stock.ibm.nyse", |value| found.push(*value));
//! found.sort();
//! assert_eq!(found, ["archive", "traders"]);
//!
//! trie.remove("stock.#", "archive");
//! assert_eq!(trie.matches("stock").len(), 0);
//! ```
//!
//! # What matches
//!
//! Patterns and keys are divided into words at each `.`; what lies between two of them is a word even if it is empty, and
//! the empty text alone has no words. In a pattern, `*` matches exactly one word and `#` matches any number, also none.
//! They are wildcards only as whole words. [`Syntax`] chooses other characters, such as MQTT's.
//!
//! | Pattern | matches | does not match |
//! | --- | --- | --- |
//! | `a.*.b` | `a.x.b`, `a..b` | `a.b`, `a.x.y.b` |
//! | `a.#` | `a`, `a.b`, `a.`, `a.b.c` | `ab`, `b.a` |
//! | `#.b.#` | `b`, `a.b`, `b.c`, `b.b` | `ab` |
//! | `*.#` | `a`, `a.b`, `.` | the empty key |
//! | `a*` | `a*` | `ab` |
//!
//! # What it costs
//!
//! Patterns that begin alike share nodes, so a key is compared with very many patterns at once. A match allocates
//! nothing, and only reads: share the trie behind an `Arc` or a lock as you like. Its time is bounded by the number of
//! nodes times the words of the key **whatever the patterns are**; there is no blow-up when a pattern has many `#`. Keys
//! and patterns may be of any length, and none overflows the stack; those of more than 256 words, which AMQP cannot
//! express, are [matched more slowly](TopicTrie::for_each_match).
//!
//! A node takes 24 bytes and its place in a table about 16; the values of a pattern take as much as a `Vec` or as one
//! value, whichever is larger. All of them are kept in vectors that double when they are full. A word is stored once,
//! however many patterns have it.
//!
//! # What it is not
//!
//! There is no limit on the number, the length or the wildcards of patterns; that is for the caller to decide. The trie
//! does not cache the results of matches. It knows nothing of MQTT's shared subscriptions or of topics that begin with
//! `$`.

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

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
