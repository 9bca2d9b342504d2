//! Random use of a whole broker on a disk that fails, with crashes at any moment, compared with a model.
//!
//! Definitions and messages lie on one disk and go together. Nothing runs by itself: no thread, no task and no clock, so a
//! seed does the same every time. `SIM_SEED=7 cargo test -p leveret-broker --features journal --lib simulation` runs one,
//! `SIM_SEEDS=5000` so many.

mod model;
mod moves;
mod plan;
mod run;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use run::Run;

/// So many seeds take some ten seconds without optimisation, which is what the suite can bear.
const SEEDS: u64 = 100;

/// Seeds beyond these that have found something: a letter that was pushed out ahead of what was published behind it, a
/// power cut while the database was being made, and a start that was cut off and left an empty file of the log behind.
const FOUND: [u64; 3] = [160, 166, 175];

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
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let found = FOUND.into_iter().filter(|seed| *seed >= seeds);
    let failed = failures(&(0..seeds).chain(found).collect::<Vec<_>>());
    assert!(
        failed.is_empty(),
        "{failed:?} fail; SIM_SEED={} shows what that one does",
        failed[0]
    );
}

/// Runs seeds on as many threads as there are processors, and says which have failed.
#[expect(
    clippy::print_stdout,
    reason = "shown with what a test has said when it fails"
)]
fn failures(seeds: &[u64]) -> Vec<u64> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if catch_unwind(AssertUnwindSafe(|| Run::new(*seed, false).run())).is_err() {
                println!("that was seed {seed}");
                failed.push(*seed);
            }
        }
        failed
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut failed: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failed = workers
            .into_iter()
            .map(|worker| worker.join().expect("it catches what its seeds do"));
        failed.flatten().collect()
    });
    failed.sort_unstable();
    failed
}

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in 0..10 {
        let [first, second] = [(); 2].map(|()| Run::new(seed, false).run());
        assert_eq!(first, second, "seed {seed}");
    }
}
