//! The fuzz target of STOMP sessions on a stable compiler: over its seeds, over what becomes of them, and over noise.

#![cfg(feature = "stomp")]

mod support;

use leveret_broker::fuzzing::stomp_session;
use support::seeds::{Random, run};

const TARGET: &str = "stomp_session";

/// The seeds, by name.
fn seeds() -> Vec<(String, Vec<u8>)> {
    support::seeds::seeds(TARGET)
}

#[test]
fn every_seed_leaves_nothing_behind() {
    for (name, data) in seeds() {
        run(&name, &data, stomp_session);
    }
}

#[test]
fn seeds_may_be_cut_anywhere_and_come_in_pieces_of_any_size() {
    for (name, data) in seeds() {
        for cuts in [0, 1, 77] {
            let mut data = data.clone();
            data[1] = cuts;
            run(&name, &data, stomp_session);
        }
        let step = (data.len() / 60).max(1);
        for end in (2..data.len()).step_by(step) {
            run(&name, &data[..end], stomp_session);
        }
    }
}

#[test]
fn seeds_with_wrong_bytes_leave_nothing_behind() {
    let mut random = Random(1);
    for (name, data) in seeds() {
        for _ in 0..60 {
            let mut wrong = data.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(wrong.len());
                wrong[at] = random.next().to_le_bytes()[0];
            }
            run(&name, &wrong, stomp_session);
        }
    }
}

/// Whole frames of one conversation in the middle of another: what no client would say, well formed.
#[test]
fn seeds_may_be_mixed_frame_by_frame() {
    let seeds = seeds();
    let frames: Vec<Vec<&[u8]>> = seeds.iter().map(|(_, data)| frames(&data[2..])).collect();
    let all: Vec<&[u8]> = frames.concat();
    let mut random = Random(2);
    for round in 0..1500 {
        // Connected; within a WebSocket, and with a history, in every way of combining these.
        let how = [1, 5, 17, 21][round % 4];
        let mut mixed = vec![how, random.next().to_le_bytes()[0] & round as u8];
        for _ in 0..random.below(40) {
            mixed.extend_from_slice(all[random.below(all.len())]);
        }
        run("mixed", &mixed, stomp_session);
    }
}

/// Cuts well-formed bytes into frames. A seed has no NUL elsewhere.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == 0).collect()
}

#[test]
fn noise_leaves_nothing_behind() {
    let mut random = Random(3);
    for _ in 0..300 {
        let size = random.below(500);
        let data: Vec<u8> = (0..size).map(|_| random.next().to_le_bytes()[0]).collect();
        run("noise", &data, stomp_session);
    }
}
