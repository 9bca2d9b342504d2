//! What becomes of the seeds of a fuzz target, the same on every run.

use std::fs;
use std::path::Path;

/// The seeds of a target, by name.
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
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
pub(crate) fn run(what: &str, data: &[u8], body: fn(&[u8])) {
    if std::panic::catch_unwind(|| body(data)).is_err() {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{what}: {hex}");
    }
}

/// Runs each seed whole, with the byte at `cuts_at` saying how it is cut into pieces, and broken off anywhere behind that.
pub(crate) fn cut_anywhere(target: &str, cuts_at: usize, body: fn(&[u8])) {
    for (name, mut data) in seeds(target) {
        let step = (data.len() / 60).max(1);
        for end in (cuts_at + 1..data.len()).step_by(step) {
            run(&name, &data[..end], body);
        }
        for cuts in [0, 1, 77] {
            data[cuts_at] = cuts;
            run(&name, &data, body);
        }
    }
}

/// Runs each seed with a few wrong bytes, again and again.
pub(crate) fn with_wrong_bytes(target: &str, body: fn(&[u8])) {
    let mut random = Random(1);
    for (name, data) in seeds(target) {
        for _ in 0..60 {
            let mut wrong = data.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(wrong.len());
                wrong[at] = random.next().to_le_bytes()[0];
            }
            run(&name, &wrong, body);
        }
    }
}

/// Runs noise of all sizes.
pub(crate) fn with_noise(body: fn(&[u8])) {
    let mut random = Random(3);
    for _ in 0..300 {
        let size = random.below(500);
        let data: Vec<u8> = (0..size).map(|_| random.next().to_le_bytes()[0]).collect();
        run("noise", &data, body);
    }
}

/// SplitMix64: numbers without a pattern, the same ones on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
