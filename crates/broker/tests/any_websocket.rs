//! The fuzz target of WebSockets on a stable compiler: over its seeds, over what becomes of them, and over noise.

#![cfg(feature = "stomp")]

mod support;

use leveret_broker::fuzzing::websocket;
use support::seeds::{cut_anywhere, with_noise, with_wrong_bytes};

const TARGET: &str = "websocket";

#[test]
fn seeds_may_be_cut_anywhere_and_come_in_pieces_of_any_size() {
    cut_anywhere(TARGET, 0, websocket);
}

#[test]
fn seeds_with_wrong_bytes_leave_nothing_behind() {
    with_wrong_bytes(TARGET, websocket);
}

#[test]
fn noise_leaves_nothing_behind() {
    with_noise(websocket);
}
