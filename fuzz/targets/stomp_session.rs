//! Whatever a client of STOMP says, over TCP or WebSocket, the broker answers in frames and keeps nothing of it when it is
//! gone.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_broker::fuzzing::stomp_session(data));
