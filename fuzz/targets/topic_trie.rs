//! Any operations on a trie do what they do to a list of patterns.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_topic_trie::fuzzing::operations(data));
