//! Random use of a whole broker on a disk that fails, with crashes at any moment, compared with a model.
//!
//! Definitions and messages lie on one disk and go together. Nothing runs by itself: no thread, no task and no clock, so a
//! seed does the same every time. `SIM_SEED=7 cargo test -p leveret-broker --features journal --lib simulation` runs one,
//! `SIM_SEEDS=5000` so many.

mod model;
mod plan;
mod run;
mod world;

use run::Run;

/// So many seeds take some ten seconds without optimisation, which is what the suite can bear.
const SEEDS: u64 = 100;

/// Seeds beyond these that have found something: a power cut while the database was being made, and a start that was cut
/// off and left an empty file of the log behind.
const FOUND: [u64; 2] = [166, 175];

fn seeds() -> Vec<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIM_SEEDS").unwrap_or(SEEDS))
            .chain(FOUND)
            .collect(),
    }
}

#[test]
fn what_was_promised_holds_after_crashes_at_any_moment() {
    for seed in seeds() {
        println!("seed {seed}");
        Run::new(seed).run();
    }
}
