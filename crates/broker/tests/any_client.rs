//! The fuzz target on a stable compiler: over its seeds, over what becomes of them, and over noise.

use std::fs;
use std::path::Path;

use leveret_broker::fuzzing::amqp_session;

/// The seeds, by name.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/amqp_session");
    let mut seeds = Vec::new();
    for file in fs::read_dir(&folder).expect("the corpus lies beside the crates") {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        seeds.push((name, fs::read(path).unwrap()));
    }
    seeds.sort();
    assert!(
        !seeds.is_empty(),
        "a corpus that is not there proves nothing"
    );
    seeds
}

/// Runs one input; a failure shows it, so that it can become a seed.
fn run(what: &str, data: &[u8]) {
    if std::panic::catch_unwind(|| amqp_session(data)).is_err() {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{what}: {hex}");
    }
}

/// SplitMix64: numbers without a pattern, the same ones on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[test]
fn every_seed_leaves_nothing_behind() {
    for (name, data) in seeds() {
        run(&name, &data);
    }
}

#[test]
fn seeds_may_be_cut_anywhere_and_come_in_pieces_of_any_size() {
    for (name, data) in seeds() {
        for cuts in [0, 1, 77] {
            let mut data = data.clone();
            data[1] = cuts;
            run(&name, &data);
        }
        let step = (data.len() / 60).max(1);
        for end in (2..data.len()).step_by(step) {
            run(&name, &data[..end]);
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
            run(&name, &wrong);
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
        let mut mixed = vec![1, random.next().to_le_bytes()[0] & round as u8];
        for _ in 0..random.below(40) {
            mixed.extend_from_slice(all[random.below(all.len())]);
        }
        run("mixed", &mixed);
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
    let mut random = Random(3);
    for _ in 0..300 {
        let size = random.below(500);
        let data: Vec<u8> = (0..size).map(|_| random.next().to_le_bytes()[0]).collect();
        run("noise", &data);
    }
}
