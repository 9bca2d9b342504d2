//! No bytes make the decoder of AMQP panic, and what it decodes can be looked at.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_amqp_codec::fuzzing::decode(data));
