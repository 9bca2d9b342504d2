//! Whatever a client says, the broker answers in frames and keeps nothing of it when it is gone.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_broker::fuzzing::amqp_session(data));
