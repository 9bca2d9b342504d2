//! The clock of a run.

use std::time::{Duration, Instant};

/// Counts from the beginning of a run. The stamps in messages are its readings, so they mean something within one
/// process only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a load generator measures real time"
    )]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Nanoseconds since the start. They overflow after 584 years.
    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.start.elapsed()
    }
}
