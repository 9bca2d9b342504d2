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
