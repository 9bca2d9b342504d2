//! Whatever a connection begins with, the header of a proxy is read or refused, and no byte behind it is taken.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_broker::fuzzing::proxy_header(data));
