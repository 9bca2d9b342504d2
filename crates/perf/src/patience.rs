//! How long to wait for what may never come.

use std::time::Duration;

use crate::progress::Counts;

/// When something last moved.
#[derive(Debug)]
pub(crate) struct Moved {
    total: u64,
    at: Duration,
    patience: Duration,
}

impl Moved {
    /// Counts from now, as if something had just moved.
    pub(crate) fn new(now: Duration, patience: Duration) -> Self {
        Self {
            total: 0,
            at: now,
            patience,
        }
    }

    /// How long to wait on for one of the counters to move; zero when patience is at its end.
    pub(crate) fn patience_left(&mut self, now: Duration, counts: Counts) -> Duration {
        let Counts {
            sent,
            received,
            foreign,
            confirmed,
            nacked,
            ..
        } = counts;
        let total = sent + received + foreign + confirmed + nacked;
        if total != self.total {
            (self.total, self.at) = (total, now);
        }
        (self.at + self.patience).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_begins_anew_with_each_movement() {
        let second = Duration::from_secs(1);
        let mut moved = Moved::new(Duration::ZERO, 3 * second);
        let mut counts = Counts::default();
        assert_eq!(moved.patience_left(2 * second, counts), second);
        counts.confirmed = 1;
        assert_eq!(moved.patience_left(2 * second, counts), 3 * second);
        assert_eq!(moved.patience_left(9 * second, counts), Duration::ZERO);
    }
}
