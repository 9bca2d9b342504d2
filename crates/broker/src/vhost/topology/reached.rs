//! Which queues a message has come to.

use smallvec::SmallVec;

use crate::exchange::QueueId;

/// Fewer than this are not looked through for repetitions before the end.
const SWEEP_MIN: usize = 4096;

/// Queues to which a message comes. A way may lead to the same ones again and again, for each of its routing keys; that takes
/// memory in proportion to the number of different ones all the same.
#[derive(Debug)]
pub(super) struct Reached {
    queues: SmallVec<[QueueId; 8]>,
    sweep_at: usize,
}

impl Reached {
    pub(super) fn new() -> Self {
        Self {
            queues: SmallVec::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, queue: QueueId) {
        self.queues.push(queue);
    }

    /// A key has been followed through an exchange.
    #[inline]
    pub(super) fn sweep_if_many(&mut self) {
        if self.queues.len() >= self.sweep_at {
            self.sweep();
        }
    }

    #[cold]
    fn sweep(&mut self) {
        self.queues.sort_unstable();
        self.queues.dedup();
        self.sweep_at = SWEEP_MIN.max(2 * self.queues.len());
    }

    /// Each queue once, in order.
    pub(super) fn into_queues(mut self) -> SmallVec<[QueueId; 8]> {
        self.queues.sort_unstable();
        self.queues.dedup();
        self.queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_are_reached_again_and_again_take_no_more_memory() {
        let mut reached = Reached::new();
        for _ in 0..100 {
            (0..5000).for_each(|id| reached.add(QueueId(id)));
            reached.sweep_if_many();
        }
        assert!(reached.queues.capacity() <= 32_768);
        let want: Vec<_> = (0..5000).map(QueueId).collect();
        assert_eq!(reached.into_queues()[..], want);
    }
}
