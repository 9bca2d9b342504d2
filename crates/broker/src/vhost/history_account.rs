//! How much exchanges keep of what has passed them: all of it is counted, and shares a part of the memory limit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Services;

/// The part of the memory limit that all histories of a broker may take together: a quarter. The memory alarm can then
/// always end, because what is in queues can be consumed.
const BUDGET_DIVISOR: usize = 4;

/// Messages of which some can be given up.
pub(super) trait PushOut {
    /// What all of it counts for.
    fn bytes(&self) -> usize;

    /// Gives up the oldest; false when there is nothing left.
    fn push_out(&mut self) -> bool;
}

/// What one history counts for among all histories. It lies under the lock of the history.
#[derive(Debug)]
pub(super) struct HistoryAccount {
    services: Arc<Services>,
    counted: usize,
}

/// A change to what a history takes of the memory.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub(super) struct Recount {
    before: usize,
    after: usize,
}

impl HistoryAccount {
    pub(super) fn new(services: &Arc<Services>) -> Self {
        Self {
            services: Arc::clone(services),
            counted: 0,
        }
    }

    /// Pushes out what is too much, and counts what is left. What is given back is for [`Recount::tell`].
    pub(super) fn settle(&mut self, kept: &mut impl PushOut) -> Recount {
        let before = self.counted;
        let budget = self.services.memory.limit() / BUDGET_DIVISOR;
        let histories = &self.services.histories;
        let others = histories.load(Ordering::Relaxed).saturating_sub(before);
        while others.saturating_add(kept.bytes()) > budget && kept.push_out() {}
        let after = kept.bytes();
        histories.fetch_add(after, Ordering::Relaxed);
        histories.fetch_sub(before, Ordering::Relaxed);
        self.counted = after;
        Recount { before, after }
    }
}

impl Drop for HistoryAccount {
    /// What is kept goes out of memory with the exchange, or with the broker.
    fn drop(&mut self) {
        let counted = self.counted;
        self.services
            .histories
            .fetch_sub(counted, Ordering::Relaxed);
        self.services.memory.account(counted, 0);
    }
}

impl Recount {
    /// Counts against the memory limit. Must be called without a lock, because it may wake connections.
    pub(super) fn tell(self, services: &Services) {
        if self.before != self.after {
            services.account(self.before, self.after);
        }
    }
}
