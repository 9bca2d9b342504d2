//! Random operations on a journal, with crashes at any moment: what was said to be safe is there, what
//! was gone is not, and everything else is as if it had happened or had not.
//!
//! `JOURNAL_SEED=7 cargo test --test journal_crashes` runs one seed, `JOURNAL_SEEDS=5000` so many.

mod journal_model;

use journal_model::{Faults, Run};

/// So many seeds, or the one that the environment names.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("JOURNAL_SEED").map(|seed| seed.parse::<u64>()) {
        Ok(seed) => seed.clone().unwrap()..seed.unwrap() + 1,
        Err(_) => 0..std::env::var("JOURNAL_SEEDS").map_or(count, |count| count.parse().unwrap()),
    }
}

#[test]
fn what_was_safe_survives_power_cuts() {
    for seed in seeds(250) {
        println!("seed {seed}");
        Run::new(seed, Faults::default()).run();
    }
}

#[test]
fn what_was_safe_survives_failing_syncs_and_writes() {
    for seed in seeds(120) {
        println!("seed {seed}");
        let faults = Faults {
            failing: true,
            ..Faults::default()
        };
        Run::new(seed, faults).run();
    }
}

#[test]
fn what_was_safe_survives_too_many_open_files() {
    for seed in seeds(120) {
        println!("seed {seed}");
        let faults = Faults {
            out_of_files: true,
            full: seed % 3 == 0,
            ..Faults::default()
        };
        Run::new(seed, faults).run();
    }
}

#[test]
fn what_was_safe_survives_a_full_disk() {
    for seed in seeds(120) {
        println!("seed {seed}");
        let faults = Faults {
            full: true,
            ..Faults::default()
        };
        Run::new(seed, faults).run();
    }
}
