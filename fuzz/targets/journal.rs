//! Any bytes as the files of a journal.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_queue_store::fuzzing::journal(data));
