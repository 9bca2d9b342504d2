//! How long something takes, on two clocks.

use std::time::{Duration, Instant};

use crate::usage::thread_cpu_time;

/// Runs from its start on, for the thread that started it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// What a [`Stopwatch`] shows.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed {
    /// The time on the wall's clock.
    pub wall: Duration,
    /// The time for which a processor was at the thread. On a machine that does other things too it says more.
    pub cpu: Duration,
}

impl Stopwatch {
    /// Begins.
    #[expect(clippy::disallowed_methods, reason = "benches measure the machine")]
    #[must_use]
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: thread_cpu_time(),
        }
    }

    /// What has passed since the start. To be asked on the same thread.
    #[must_use]
    pub fn elapsed(&self) -> Elapsed {
        Elapsed {
            wall: self.wall.elapsed(),
            cpu: thread_cpu_time().saturating_sub(self.cpu),
        }
    }
}

impl Elapsed {
    /// Nanoseconds of processor time for each of `count` things.
    #[must_use]
    pub fn cpu_ns_each(&self, count: usize) -> f64 {
        self.cpu.as_nanos() as f64 / count as f64
    }

    /// Nanoseconds on the wall's clock for each of `count` things.
    #[must_use]
    pub fn wall_ns_each(&self, count: usize) -> f64 {
        self.wall.as_nanos() as f64 / count as f64
    }
}
