//! The fuzz target of AMQP sessions on a stable compiler: over its seeds, over what becomes of them, and over noise.

mod support;

use leveret_broker::fuzzing::amqp_session;
use support::seeds::{Random, cut_anywhere, run, with_noise, with_wrong_bytes};

const TARGET: &str = "amqp_session";

/// The seeds, by name.
fn seeds() -> Vec<(String, Vec<u8>)> {
    support::seeds::seeds(TARGET)
}

#[test]
fn every_seed_leaves_nothing_behind() {
    for (name, data) in seeds() {
        run(&name, &data, amqp_session);
    }
}

#[test]
fn seeds_may_be_cut_anywhere_and_come_in_pieces_of_any_size() {
    cut_anywhere(TARGET, 1, amqp_session);
}

#[test]
fn seeds_with_wrong_bytes_leave_nothing_behind() {
    with_wrong_bytes(TARGET, amqp_session);
}

/// Whole frames of one conversation in the middle of another: what no client would say, well formed.
#[test]
fn seeds_may_be_mixed_frame_by_frame() {
    let seeds = seeds();
    let frames: Vec<Vec<&[u8]>> = seeds.iter().map(|(_, data)| frames(&data[2..])).collect();
    let all: Vec<&[u8]> = frames.concat();
    let mut random = Random(2);
    for round in 0..1500 {
        let mut mixed = vec![1, random.next().to_le_bytes()[0] & round as u8];
        for _ in 0..random.below(40) {
            mixed.extend_from_slice(all[random.below(all.len())]);
        }
        run("mixed", &mixed, amqp_session);
    }
}

/// Cuts well-formed bytes into frames; what is not a frame ends them.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Ok(Some((_, size))) =
        leveret_amqp_codec::RawFrame::decode(bytes, &leveret_amqp_codec::Limits::default())
    {
        frames.push(&bytes[..size]);
        bytes = &bytes[size..];
    }
    frames
}

#[test]
fn noise_leaves_nothing_behind() {
    with_noise(amqp_session);
}
