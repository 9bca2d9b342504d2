//! Any operations on a queue do what they do to its naive twin.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_queue_store::fuzzing::operations(data));
