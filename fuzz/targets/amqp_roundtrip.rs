//! What was decoded is written as something that decodes to the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_amqp_codec::fuzzing::roundtrip(data));
