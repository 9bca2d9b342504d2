//! What queues have had of a history: by which bindings, and when these were there.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::kept::Had;
use crate::exchange::QueueId;

type Hasher = foldhash::fast::RandomState;

/// How many bindings that are gone are remembered of one queue. A client that goes on binding and unbinding with ever new
/// keys may be given a message again that it had by one of the oldest.
const PAST_BINDINGS_MAX: usize = 64;

/// See the module. A queue is forgotten when it goes.
#[derive(Debug, Default)]
pub(super) struct Spans {
    queues: HashMap<QueueId, OfQueue, Hasher>,
}

/// What one queue has had.
#[derive(Debug, Default)]
pub(super) struct OfQueue {
    /// The keys by which it is bound, with the numbers after which each of these bindings has everything, in order: the same
    /// key may be bound several times, with different arguments.
    open: HashMap<Arc<str>, SmallVec<[u64; 1]>, Hasher>,
    /// Bindings that are gone, so many at most.
    gone: Vec<Gone>,
}

/// A binding that is gone: the queue has had all messages that it leads to with numbers beyond `after`, up to `until`.
#[derive(Clone, Debug)]
struct Gone {
    key: Arc<str>,
    after: u64,
    until: u64,
}

impl OfQueue {
    /// What it has had, by key: messages with numbers beyond the first, up to the second, which for a binding that is still
    /// there is the largest of all.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Had)> {
        // Of bindings with one key, the one that has most has what the others have.
        let open = self.open.iter();
        let open = open.filter_map(|(key, after)| Some((key, (*after.first()?, u64::MAX))));
        open.chain(self.gone.iter().map(|it| (&it.key, (it.after, it.until))))
    }
}

impl Spans {
    pub(super) fn of(&self, queue: QueueId) -> Option<&OfQueue> {
        self.queues.get(&queue)
    }

    /// A binding is made; the queue has what it leads to after that number.
    pub(super) fn open(&mut self, queue: QueueId, key: &Arc<str>, after: u64) {
        let OfQueue { open, gone } = self.queues.entry(queue).or_default();
        let mut after = after;
        // What was had by the same binding before and reaches up to this one is part of it.
        gone.retain(|it| {
            let continues = it.key == *key && it.until >= after;
            if continues {
                after = after.min(it.after);
            }
            !continues
        });
        let open = open.entry(Arc::clone(key)).or_default();
        let place = open.partition_point(|other| *other <= after);
        open.insert(place, after);
    }

    /// A binding is taken away after that number.
    pub(super) fn close(&mut self, queue: QueueId, key: &str, until: u64) {
        let Some(OfQueue { open, gone }) = self.queues.get_mut(&queue) else {
            return;
        };
        let Some((key, bindings)) = open.remove_entry(key) else {
            return;
        };
        let mut bindings = bindings;
        // While there are others, they know more.
        let Some(after) = bindings.pop() else { return };
        if !bindings.is_empty() {
            open.insert(key, bindings);
            return;
        }
        gone.push(Gone { key, after, until });
        if gone.len() > PAST_BINDINGS_MAX
            && let Some(oldest) = gone.iter().map(|it| it.until).min()
            && let Some(at) = gone.iter().position(|it| it.until == oldest)
        {
            gone.swap_remove(at);
        }
    }

    pub(super) fn forget(&mut self, queue: QueueId) {
        self.queues.remove(&queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId(1);

    fn spans(spans: &Spans) -> Vec<(&str, u64, Option<u64>)> {
        let of_queue = spans.of(QUEUE).into_iter().flat_map(OfQueue::iter);
        let told = of_queue.map(|(key, (after, until))| {
            let is_gone = until < u64::MAX;
            (&**key, after, is_gone.then_some(until))
        });
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn a_binding_made_again_goes_on_where_it_ended() {
        let mut it = Spans::default();
        it.open(QUEUE, &"a".into(), 5);
        it.close(QUEUE, "a", 9);
        assert_eq!(spans(&it), [("a", 5, Some(9))]);
        it.open(QUEUE, &"a".into(), 9);
        assert_eq!(spans(&it), [("a", 5, None)]);
    }

    #[test]
    fn a_binding_made_again_later_leaves_what_was_between() {
        let mut it = Spans::default();
        it.open(QUEUE, &"a".into(), 5);
        it.close(QUEUE, "a", 9);
        it.open(QUEUE, &"a".into(), 20);
        assert_eq!(spans(&it), [("a", 5, Some(9)), ("a", 20, None)]);
        it.forget(QUEUE);
        assert_eq!(spans(&it), []);
    }

    #[test]
    fn of_two_bindings_with_one_key_the_one_that_knows_more_stays() {
        let mut it = Spans::default();
        it.open(QUEUE, &"a".into(), 5);
        it.open(QUEUE, &"a".into(), 7);
        assert_eq!(spans(&it), [("a", 5, None)], "it has what the other has");
        it.close(QUEUE, "a", 9);
        assert_eq!(spans(&it), [("a", 5, None)]);
        it.close(QUEUE, "a", 9);
        it.close(QUEUE, "a", 9);
        assert_eq!(spans(&it), [("a", 5, Some(9))]);
        it.forget(QUEUE);
        assert_eq!(spans(&it), []);
    }

    #[test]
    fn only_so_many_bindings_that_are_gone_are_remembered() {
        let mut it = Spans::default();
        for at in 0..200 {
            let key: Arc<str> = at.to_string().into();
            it.open(QUEUE, &key, at);
            it.close(QUEUE, &key, at + 1);
        }
        let left = spans(&it);
        assert_eq!(left.len(), PAST_BINDINGS_MAX);
        assert!(left.iter().all(|(_, after, _)| *after >= 136));
    }

    #[test]
    fn very_many_bindings_are_made_and_removed_in_a_moment() {
        const BINDINGS: u64 = 50_000;
        let mut it = Spans::default();
        for at in 0..BINDINGS {
            it.open(QUEUE, &at.to_string().into(), at);
            it.open(QUEUE, &"same".into(), at);
        }
        assert_eq!(spans(&it).len() as u64, BINDINGS + 1);
        for at in 0..BINDINGS {
            it.close(QUEUE, &at.to_string(), BINDINGS);
            it.close(QUEUE, "same", BINDINGS);
        }
        assert!(spans(&it).len() <= PAST_BINDINGS_MAX);
    }
}
