//! Which queues a message has come to.

use smallvec::SmallVec;

use super::visited::mark;
use crate::exchange::QueueId;

/// Fewer than this are not looked through for repetitions before the end.
const FEW: usize = 4096;

/// Queues to which a message comes. A way may lead to the same ones again and again, for each of its routing keys; that takes
/// memory in proportion to the number of different ones all the same, and no more time than to find each.
#[derive(Debug)]
pub(super) struct Reached {
    queues: SmallVec<[QueueId; 8]>,
    /// When they are not few any more: a bit for each queue, by its id.
    marks: Vec<u64>,
}

impl Reached {
    pub(super) fn new() -> Self {
        Self {
            queues: SmallVec::new(),
            marks: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, queue: QueueId) {
        if self.marks.is_empty() || mark(&mut self.marks, queue.0) {
            self.queues.push(queue);
        }
    }

    /// A key has been followed through an exchange.
    #[inline]
    pub(super) fn mark_if_many(&mut self) {
        if self.queues.len() >= FEW && self.marks.is_empty() {
            self.mark_all();
        }
    }

    #[cold]
    fn mark_all(&mut self) {
        let marks = &mut self.marks;
        self.queues.retain(|queue| mark(marks, queue.0));
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
            reached.mark_if_many();
        }
        assert!(reached.queues.capacity() <= 32_768);
        let want: Vec<_> = (0..5000).map(QueueId).collect();
        assert_eq!(reached.into_queues()[..], want);
    }
}
