//! Whatever a client says where WebSockets are opened, the broker answers in HTTP and in frames, and keeps nothing of it when
//! it is gone.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_broker::fuzzing::websocket(data));
