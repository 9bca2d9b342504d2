//! How much disk is free, and the alarm that stops publishers before a journal fills it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use leveret_queue_store::Time;

use crate::alarms::{Alarm, Alarms};

/// Tells how much disk there is for the broker: for [`Builder::disk_space`](crate::Builder::disk_space).
///
/// The broker itself asks no file system, so that who embeds it decides which one counts.
pub trait DiskSpace: Send + Sync + 'static {
    /// How many bytes can be written before the disk is full. May block for as long as the file system does: it is called
    /// on a thread for that, and not again before it has returned.
    ///
    /// # Errors
    /// When the file system does not say. The broker logs it, leaves the alarm as it is and asks again.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The time between two measurements when nothing is near the limit, and while there is an alarm. RabbitMQ's.
const INTERVAL_MAX_MS: u64 = 10_000;

/// The shortest time between two measurements. RabbitMQ's.
const INTERVAL_MIN_MS: u64 = 100;

/// How fast a disk is assumed to fill, in bytes a millisecond; the next measurement comes when half of what there is above
/// the limit could be gone. RabbitMQ's; a faster disk is measured too late and stops publishers that much below the limit.
const FILL_RATE: u64 = 250_000;

/// What is known of the disk.
pub(crate) struct DiskGauge {
    probe: Option<Arc<dyn DiskSpace>>,
    limit: AtomicU64,
    /// What was free when it was measured last; [`UNKNOWN`] before.
    free: AtomicU64,
    /// The last measurement failed.
    failed: AtomicBool,
    /// When to measure next, in milliseconds of the broker's clock.
    next_at_ms: AtomicU64,
    alarms: Arc<Alarms>,
}

/// No disk has as much.
const UNKNOWN: u64 = u64::MAX;

impl fmt::Debug for DiskGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskGauge")
            .field("limit", &self.limit())
            .field("free", &self.free())
            .finish_non_exhaustive()
    }
}

impl DiskGauge {
    pub(crate) fn new(probe: Option<Arc<dyn DiskSpace>>, limit: u64, alarms: Arc<Alarms>) -> Self {
        // Without a probe nothing is ever due.
        let next_at = if probe.is_some() {
            Time::from_millis(0)
        } else {
            Time::MAX
        };
        Self {
            probe,
            limit: AtomicU64::new(limit),
            free: AtomicU64::new(UNKNOWN),
            failed: AtomicBool::new(false),
            next_at_ms: AtomicU64::new(next_at.as_millis()),
            alarms,
        }
    }

    /// Whoever can tell how much is free.
    pub(crate) fn probe(&self) -> Option<Arc<dyn DiskSpace>> {
        self.probe.clone()
    }

    /// When to measure next.
    pub(crate) fn next_at(&self) -> Time {
        Time::from_millis(self.next_at_ms.load(Ordering::SeqCst))
    }

    /// Takes a measurement in, and decides about the alarm and the time of the next one.
    pub(crate) fn handle_measured(&self, now: Time, free: io::Result<u64>) {
        match free {
            Ok(free) => {
                self.free.store(free.min(UNKNOWN - 1), Ordering::SeqCst);
                self.failed.store(false, Ordering::Relaxed);
                self.judge();
            }
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "cannot tell how much disk is free; trying again");
                }
            }
        }
        let next_at = now.saturating_add(self.interval_ms());
        self.next_at_ms.store(next_at.as_millis(), Ordering::SeqCst);
    }

    fn interval_ms(&self) -> u64 {
        if self.alarms.is_raised(Alarm::Disk) {
            return INTERVAL_MAX_MS;
        }
        let Some(free) = self.free() else {
            return INTERVAL_MAX_MS;
        };
        let above = free.saturating_sub(self.limit());
        (above / (2 * FILL_RATE)).clamp(INTERVAL_MIN_MS, INTERVAL_MAX_MS)
    }

    /// Compares what is free with the limit.
    fn judge(&self) {
        let (Some(free), limit) = (self.free(), self.limit()) else {
            return;
        };
        if free < limit {
            if self.alarms.raise(Alarm::Disk) {
                tracing::warn!(free, limit, "disk alarm: publishers are blocked");
            }
        } else if self.alarms.end(Alarm::Disk) {
            tracing::info!(free, limit, "disk alarm is over");
        }
    }

    /// What was free when it was measured last.
    pub(crate) fn free(&self) -> Option<u64> {
        let free = self.free.load(Ordering::SeqCst);
        (free != UNKNOWN).then_some(free)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::SeqCst)
    }

    /// Changes the limit, which is compared at once with what was free last.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::SeqCst);
        self.judge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl DiskSpace for Nothing {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    fn gauge(limit: u64) -> (DiskGauge, Arc<Alarms>) {
        let alarms = Arc::new(Alarms::default());
        let gauge = DiskGauge::new(Some(Arc::new(Nothing)), limit, Arc::clone(&alarms));
        (gauge, alarms)
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn less_than_the_limit_raises_the_alarm_and_as_much_ends_it() {
        let (gauge, alarms) = gauge(50);
        for (free, raised) in [(50, false), (49, true), (0, true), (50, false)] {
            gauge.handle_measured(at(0), Ok(free));
            assert_eq!(
                alarms.is_raised(Alarm::Disk),
                raised,
                "{free} bytes are free"
            );
        }
    }

    #[test]
    fn a_changed_limit_is_compared_at_once() {
        let (gauge, alarms) = gauge(50);
        gauge.set_limit(1_000);
        assert!(!alarms.is_any_raised(), "nothing was measured yet");
        gauge.handle_measured(at(0), Ok(1_000));
        gauge.set_limit(1_001);
        assert!(alarms.is_raised(Alarm::Disk));
        gauge.set_limit(0);
        assert!(!alarms.is_any_raised());
    }

    #[test]
    fn a_measurement_that_fails_changes_nothing() {
        let (gauge, alarms) = gauge(50);
        gauge.handle_measured(at(0), Ok(7));
        gauge.handle_measured(at(10), Err(io::ErrorKind::NotFound.into()));
        assert!(alarms.is_raised(Alarm::Disk));
        assert_eq!(gauge.free(), Some(7));
        assert_eq!(gauge.next_at(), at(10_010), "it is tried again");
    }

    #[test]
    fn it_is_measured_more_often_near_the_limit() {
        let (gauge, _) = gauge(50_000_000);
        for (free, wait) in [
            (1_000_000_000_000, 10_000),
            (550_000_000, 1_000),
            (50_000_000, 100),
            (49_999_999, 10_000),
        ] {
            gauge.handle_measured(at(0), Ok(free));
            assert_eq!(gauge.next_at(), at(wait), "{free} bytes are free");
        }
    }

    #[test]
    fn without_a_probe_nothing_is_due() {
        let gauge = DiskGauge::new(None, 50, Arc::default());
        assert_eq!(gauge.next_at(), Time::MAX);
        assert_eq!(gauge.free(), None);
    }
}
