//! What queues have had of a history: by which bindings, and when these were there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::exchange::QueueId;

type Hasher = foldhash::fast::RandomState;

/// How many bindings that are gone are remembered of one queue. A client that goes on binding and unbinding with ever new
/// keys may be given a message again that it had by one of the oldest.
const PAST_BINDINGS_MAX: usize = 64;

/// See the module. A queue is forgotten when it goes.
#[derive(Debug, Default)]
pub(super) struct Spans {
    queues: HashMap<QueueId, Vec<Span>, Hasher>,
}

/// A binding, and that the queue has had all messages that it leads to with numbers beyond `after`, up to `until`.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) key: Arc<str>,
    pub(super) after: u64,
    /// None: it is still there.
    pub(super) until: Option<u64>,
}

impl Spans {
    pub(super) fn of(&self, queue: QueueId) -> &[Span] {
        self.queues.get(&queue).map_or(&[], Vec::as_slice)
    }

    /// A binding is made; the queue has what it leads to after that number.
    pub(super) fn open(&mut self, queue: QueueId, key: &Arc<str>, after: u64) {
        let spans = self.queues.entry(queue).or_default();
        let mut after = after;
        // What was had by the same binding before and reaches up to this one is part of it.
        spans.retain(|span| {
            let continues = span.key == *key && span.until.is_some_and(|until| until >= after);
            if continues {
                after = after.min(span.after);
            }
            !continues
        });
        spans.push(Span {
            key: Arc::clone(key),
            after,
            until: None,
        });
    }

    /// A binding is taken away after that number.
    pub(super) fn close(&mut self, queue: QueueId, key: &str, until: u64) {
        let Some(spans) = self.queues.get_mut(&queue) else {
            return;
        };
        // The same key may be bound several times, with different arguments.
        let open = spans.iter().enumerate();
        let open = open.filter(|(_, span)| span.until.is_none() && *span.key == *key);
        let others = open.clone().count();
        let Some((at, _)) = open.max_by_key(|(_, span)| span.after) else {
            return;
        };
        if others > 1 {
            // The others go on, and know more.
            spans.swap_remove(at);
        } else {
            spans[at].until = Some(until);
        }
        let past = spans.iter().filter(|span| span.until.is_some());
        if past.clone().count() > PAST_BINDINGS_MAX
            && let Some(oldest) = past.filter_map(|span| span.until).min()
            && let Some(at) = spans.iter().position(|span| span.until == Some(oldest))
        {
            spans.swap_remove(at);
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
        let of_queue = spans.of(QUEUE).iter();
        of_queue.map(|it| (&*it.key, it.after, it.until)).collect()
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
    }

    #[test]
    fn of_two_bindings_with_one_key_the_one_that_knows_more_stays() {
        let mut it = Spans::default();
        it.open(QUEUE, &"a".into(), 5);
        it.open(QUEUE, &"a".into(), 7);
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
        assert_eq!(it.of(QUEUE).len(), PAST_BINDINGS_MAX);
        assert!(it.of(QUEUE).iter().all(|span| span.after >= 136));
    }
}
