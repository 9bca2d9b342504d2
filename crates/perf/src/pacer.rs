//! Even spacing of messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;

/// A thread that wakes producers one after the other, each as often as its rate says.
///
/// The runtime's own timers have a resolution of a millisecond, which would make ten messages at once out of 10,000 a
/// second. Dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The schedule of one producer.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    rate: u32,
    /// When the first message is due, in nanoseconds of the run's clock.
    start_ns: u64,
    wake: Arc<Notify>,
}

impl Pace {
    /// The paces of so many producers that all send `rate` messages a second. They begin one after the other within the
    /// time between two messages.
    pub(crate) fn spread(rate: u32, producers: u32, start_ns: u64) -> Vec<Self> {
        let period_ns = 1_000_000_000 / u64::from(rate);
        (0..producers)
            .map(|producer| Self {
                rate,
                start_ns: start_ns + period_ns * u64::from(producer) / u64::from(producers),
                wake: Arc::default(),
            })
            .collect()
    }

    /// How many messages are due by now since the beginning.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        let Some(elapsed) = now_ns.checked_sub(self.start_ns) else {
            return 0;
        };
        let due = u128::from(elapsed) * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(due).map_or(u64::MAX, |due| due + 1)
    }

    /// When the message with this number is due.
    fn due_ns(&self, message: u64) -> u64 {
        let offset = u128::from(message) * 1_000_000_000 / u128::from(self.rate);
        self.start_ns + u64::try_from(offset).unwrap_or(u64::MAX / 2)
    }

    /// Waits for the next tick. One that came while nobody waited counts.
    pub(crate) async fn tick(&self) {
        self.wake.notified().await;
    }
}

impl Pacer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub(crate) fn start(paces: Vec<Pace>, clock: Clock) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || keep_pace(&paces, clock, &told))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

fn keep_pace(paces: &[Pace], clock: Clock, stop: &AtomicBool) {
    for message in 0.. {
        for pace in paces {
            let due_ns = pace.due_ns(message);
            // A late thread catches up without sleeping. The system wakes it some 50 microseconds late anyway.
            if let Some(early) = due_ns.checked_sub(clock.nanos()) {
                thread::sleep(Duration::from_nanos(early));
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            pace.wake.notify_one();
        }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It sleeps no longer than a second, the period of the lowest rate.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_due_at_the_start_and_the_others_evenly_after_it() {
        let pace = &Pace::spread(1_000, 1, 5_000_000)[0];
        assert_eq!(pace.due(4_999_999), 0);
        assert_eq!(pace.due(5_000_000), 1);
        assert_eq!(pace.due(5_999_999), 1);
        assert_eq!(pace.due(6_000_000), 2);
        for message in [0, 1, 2, 999, 1_000_000_007] {
            assert_eq!(pace.due(pace.due_ns(message)), message + 1);
        }
    }

    #[test]
    fn rates_that_divide_no_second_do_not_drift() {
        let pace = &Pace::spread(3, 1, 0)[0];
        assert_eq!(pace.due(100 * 1_000_000_000), 301);
    }

    #[test]
    fn producers_take_turns() {
        let starts: Vec<u64> = Pace::spread(1_000, 4, 0)
            .iter()
            .map(|pace| pace.start_ns)
            .collect();
        assert_eq!(starts, [0, 250_000, 500_000, 750_000]);
    }
}
