//! The fuzz target of WebSockets on a stable compiler: over its seeds, over what becomes of them, and over noise.

#![cfg(feature = "stomp")]

mod support;

use leveret_broker::fuzzing::websocket;
use support::seeds::{Random, run, seeds};

const TARGET: &str = "websocket";

#[test]
fn seeds_may_be_cut_anywhere_and_come_in_pieces_of_any_size() {
    for (name, mut data) in seeds(TARGET) {
        for cuts in [0, 1, 77] {
            data[0] = cuts;
            run(&name, &data, websocket);
        }
        let step = (data.len() / 60).max(1);
        for end in (1..data.len()).step_by(step) {
            run(&name, &data[..end], websocket);
        }
    }
}

#[test]
fn seeds_with_wrong_bytes_leave_nothing_behind() {
    let mut random = Random(1);
    for (name, data) in seeds(TARGET) {
        for _ in 0..60 {
            let mut wrong = data.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(wrong.len());
                wrong[at] = random.next().to_le_bytes()[0];
            }
            run(&name, &wrong, websocket);
        }
    }
}

#[test]
fn noise_leaves_nothing_behind() {
    let mut random = Random(2);
    for _ in 0..300 {
        let len = random.below(400);
        let noise: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
        run("noise", &noise, websocket);
    }
}
