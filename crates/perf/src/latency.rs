//! Times from one event to another, as distributions.

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told from longer ones, in nanoseconds: ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// The finest difference that is kept, in nanoseconds: a hundredth of what a message takes at best.
const FINEST_NS: u64 = 100;

/// Significant decimal digits: times are right to a thousandth.
const DIGITS: u8 = 3;

/// A distribution that one thread adds to and another reads now and then.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Histogram<u64>>);

/// Percentiles of a distribution, in microseconds. Zeros when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many times were recorded.
    pub count: u64,
    /// Half of all were at most so long.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(histogram()))
    }

    /// Lets `record` record times in nanoseconds. The lock is held meanwhile.
    pub(crate) fn with(&self, record: impl FnOnce(&mut Histogram<u64>)) {
        record(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Moves everything recorded so far to the end of `total`.
    pub(crate) fn drain_into(&self, total: &mut Histogram<u64>) {
        self.with(|recorded| {
            // Both have the same bounds, so each value of one has a place in the other.
            let _ = total.add(&*recorded);
            recorded.reset();
        });
    }
}

/// An empty distribution.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(FINEST_NS, LONGEST_NS, DIGITS)
        .expect("the bounds are constants that the library accepts")
}

/// Records a time; longer ones count as the longest.
#[inline]
pub(crate) fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos);
}

impl Percentiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let microseconds = |nanos: u64| nanos as f64 / 1_000.0;
        let quantile = |quantile| microseconds(histogram.value_at_quantile(quantile));
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: microseconds(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_thousandth() {
        let recorder = Recorder::new();
        recorder.with(|histogram| (1..=1_000).for_each(|n| record(histogram, n * 1_000_000)));
        let mut total = histogram();
        recorder.drain_into(&mut total);
        let percentiles = Percentiles::of(&total);
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 0.0011, "{got}");
        close(percentiles.p50, 500_000.0);
        close(percentiles.p99_9, 999_000.0);
        close(percentiles.max, 1_000_000.0);
        assert_eq!(percentiles.count, 1_000);
    }

    #[test]
    fn what_was_drained_is_not_there_twice() {
        let recorder = Recorder::new();
        recorder.with(|histogram| record(histogram, 5_000));
        let mut total = histogram();
        recorder.drain_into(&mut total);
        recorder.drain_into(&mut total);
        assert_eq!(total.len(), 1);
    }

    #[test]
    fn the_longest_time_does_not_overflow() {
        let mut times = histogram();
        record(&mut times, u64::MAX);
        assert!(Percentiles::of(&times).max >= 599_000_000.0);
    }

    #[test]
    fn nothing_is_zeros() {
        assert_eq!(Percentiles::of(&histogram()), Percentiles::default());
    }
}
