//! How many of something there may be at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counts what there is, and says no to one too many. Counting goes on where nobody has set a limit, so that one can be
/// set later.
#[derive(Debug)]
pub(crate) struct Quota {
    used: AtomicU32,
    /// `NOT_SET`, or fewer than 2^32.
    max: AtomicU64,
}

const NOT_SET: u64 = u64::MAX;

/// There are as many as there may be: that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached(pub(crate) u32);

impl Quota {
    pub(crate) fn new(max: Option<u32>) -> Self {
        let quota = Self {
            used: AtomicU32::new(0),
            max: AtomicU64::new(NOT_SET),
        };
        quota.set_max(max);
        quota
    }

    /// What there is stays, however many that are.
    pub(crate) fn set_max(&self, max: Option<u32>) {
        self.max
            .store(max.map_or(NOT_SET, u64::from), Ordering::Relaxed);
    }

    pub(crate) fn max(&self) -> Option<u32> {
        u32::try_from(self.max.load(Ordering::Relaxed)).ok()
    }

    #[cfg(test)]
    fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// One more, until the seat is dropped. Where no limit is set there may be `otherwise`.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn enter(self: &Arc<Self>, otherwise: u32) -> Result<Seat, Reached> {
        let max = self.max().unwrap_or(otherwise);
        let one_more = |used: u32| (used < max).then(|| used + 1);
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
        {
            Ok(_) => Ok(Seat(Arc::clone(self))),
            Err(_) => Err(Reached(max)),
        }
    }
}

/// One of those that a [`Quota`] counts.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Quota>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: u32 = 100;

    #[test]
    fn one_too_many_is_refused_until_somebody_leaves() {
        let quota = Arc::new(Quota::new(Some(2)));
        let (first, second) = (quota.enter(ENOUGH).unwrap(), quota.enter(ENOUGH).unwrap());
        assert_eq!(quota.enter(ENOUGH).unwrap_err(), Reached(2));
        drop(first);
        let third = quota.enter(ENOUGH).unwrap();
        assert_eq!(quota.used(), 2);
        drop((second, third));
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn a_limit_below_what_there_is_takes_nothing_away() {
        let quota = Arc::new(Quota::new(None));
        let seats = [0; 3].map(|_| quota.enter(ENOUGH).unwrap());
        quota.set_max(Some(1));
        assert_eq!(quota.enter(ENOUGH).unwrap_err(), Reached(1));
        assert_eq!(quota.used(), 3);
        drop(seats);
        quota.set_max(Some(0));
        assert_eq!(quota.enter(ENOUGH).unwrap_err(), Reached(0));
        quota.set_max(None);
        quota.enter(ENOUGH).unwrap();
        assert_eq!(quota.enter(0).unwrap_err(), Reached(0));
    }
}
