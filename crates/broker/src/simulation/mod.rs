//! Random use of a whole broker on a disk that fails, with crashes at any moment, compared with a model.
//!
//! Definitions and messages lie on one disk and go together. Nothing runs by itself: no thread, no task and no clock, so a
//! seed does the same every time. `SIM_SEED=7 cargo test -p leveret-broker --features journal --lib simulation` runs one,
//! `SIM_SEEDS=5000` so many.

mod model;
mod plan;
mod run;
mod trace;
mod world;

use run::Run;

/// So many seeds take some ten seconds without optimisation, which is what the suite can bear.
const SEEDS: u64 = 100;

/// Seeds beyond these that have found something: a power cut while the database was being made, and a start that was cut
/// off and left an empty file of the log behind.
const FOUND: [u64; 2] = [166, 175];

/// A variable of the environment that is a number.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn what_was_promised_holds_after_crashes_at_any_moment() {
    if let Some(seed) = number("SIM_SEED") {
        let digest = Run::new(seed, true).run();
        println!("seed {seed} has led to {digest:016x}");
        return;
    }
    for seed in (0..number("SIM_SEEDS").unwrap_or(SEEDS)).chain(FOUND) {
        println!("seed {seed}: SIM_SEED={seed} shows what it does");
        Run::new(seed, false).run();
    }
}

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in 0..10 {
        let [first, second] = [(); 2].map(|()| Run::new(seed, false).run());
        assert_eq!(first, second, "seed {seed}");
    }
}
