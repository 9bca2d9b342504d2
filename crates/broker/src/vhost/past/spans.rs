//! What queues have had of a history: by which bindings, and when these were there.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::arranged::Arranged;
use super::kept::Had;
use crate::exchange::{ExchangeKind, QueueId};

type Hasher = foldhash::fast::RandomState;

/// How many bindings that are gone are remembered of one queue. A client that goes on binding and unbinding with ever new
/// keys may be given a message again that it had by one of the oldest.
const PAST_BINDINGS_MAX: usize = 64;

/// Up to so many bindings of one queue are arranged each time that it is asked what it has had. Where there are more they stay
/// arranged, so that a client that makes very many does not have all of them looked at for each.
const FEW: usize = 64;

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
    /// The keys in `open`, once they have been asked about and while they are more than a few.
    arranged: Option<Box<Arranged>>,
}

/// What one queue has had, by routing key.
#[derive(Debug)]
pub(super) struct HadBy<'a> {
    of_queue: &'a OfQueue,
    open: Open<'a>,
    gone: Arranged,
}

/// The bindings that are there.
#[derive(Debug)]
enum Open<'a> {
    /// All lead to everything, and the one that has most has everything after that number.
    Alike(Option<u64>),
    Few(Arranged),
    Many(&'a Arranged),
}

/// A binding that is gone: the queue has had all messages that it leads to with numbers beyond `after`, up to `until`.
#[derive(Clone, Debug)]
struct Gone {
    key: Arc<str>,
    after: u64,
    until: u64,
}

impl HadBy<'_> {
    /// What it has had of messages with a routing key, in no particular order.
    pub(super) fn of(&self, routing_key: &str) -> Vec<Had> {
        let after = match &self.open {
            Open::Alike(after) => *after,
            Open::Few(arranged) => self.earliest(arranged, routing_key),
            Open::Many(arranged) => self.earliest(arranged, routing_key),
        };
        let mut had: Vec<Had> = after.map(|after| (after, u64::MAX)).into_iter().collect();
        self.gone.each_leading(routing_key, |key| {
            let gone = self.of_queue.gone.iter().filter(|it| it.key == *key);
            had.extend(gone.map(|it| (it.after, it.until)));
        });
        had
    }

    /// Of bindings that lead to the same, the one that has most has what the others have.
    fn earliest(&self, arranged: &Arranged, routing_key: &str) -> Option<u64> {
        let mut earliest = None;
        arranged.each_leading(routing_key, |key| {
            let after = self.of_queue.open.get(key).and_then(|after| after.first());
            earliest = earliest.into_iter().chain(after.copied()).min();
        });
        earliest
    }
}

impl OfQueue {
    fn had_by(&mut self, kind: ExchangeKind) -> HadBy<'_> {
        let is_alike = kind == ExchangeKind::Fanout;
        if !is_alike && self.open.len() > FEW && self.arranged.is_none() {
            self.arranged = Some(Box::new(Arranged::new(kind, self.open.keys())));
        }
        let open = match &self.arranged {
            _ if is_alike => Open::Alike(
                self.open
                    .values()
                    .filter_map(|it| it.first())
                    .min()
                    .copied(),
            ),
            Some(arranged) => Open::Many(arranged),
            None => Open::Few(Arranged::new(kind, self.open.keys())),
        };
        HadBy {
            of_queue: self,
            open,
            gone: Arranged::new(kind, self.gone.iter().map(|it| &it.key)),
        }
    }

    /// What it has had, by key: messages with numbers beyond the first, up to the second, which for a binding that is still
    /// there is the largest of all.
    #[cfg(test)]
    fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Had)> {
        // Of bindings with one key, the one that has most has what the others have.
        let open = self.open.iter();
        let open = open.filter_map(|(key, after)| Some((key, (*after.first()?, u64::MAX))));
        open.chain(self.gone.iter().map(|it| (&it.key, (it.after, it.until))))
    }
}

impl Spans {
    #[cfg(test)]
    fn of(&self, queue: QueueId) -> Option<&OfQueue> {
        self.queues.get(&queue)
    }

    /// What a queue has had of an exchange that routes like this; none if it has had nothing.
    pub(super) fn had_by(&mut self, queue: QueueId, kind: ExchangeKind) -> Option<HadBy<'_>> {
        Some(self.queues.get_mut(&queue)?.had_by(kind))
    }

    /// A binding is made; the queue has what it leads to after that number.
    pub(super) fn open(&mut self, queue: QueueId, key: &Arc<str>, after: u64) {
        let OfQueue {
            open,
            gone,
            arranged,
        } = self.queues.entry(queue).or_default();
        if let Some(arranged) = arranged {
            arranged.insert(key);
        }
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
        let Some(OfQueue {
            open,
            gone,
            arranged,
        }) = self.queues.get_mut(&queue)
        else {
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
        match arranged {
            Some(_) if open.len() <= FEW => *arranged = None,
            Some(arranged) => arranged.remove(&key),
            None => {}
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
    use crate::random::mix;

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

    /// What it has had of a key, each binding looked at by itself.
    fn had_naively(spans: &Spans, kind: ExchangeKind, routing_key: &str) -> Vec<Had> {
        let of_queue = spans.of(QUEUE).into_iter().flat_map(OfQueue::iter);
        let leading = of_queue.filter(|(key, _)| Arranged::new(kind, [*key]).leads(routing_key));
        let (open, mut had): (Vec<Had>, Vec<Had>) = leading
            .map(|(_, had)| had)
            .partition(|had| had.1 == u64::MAX);
        had.extend(open.into_iter().min());
        had.sort_unstable();
        had
    }

    #[test]
    fn what_a_queue_has_had_is_found_as_if_each_binding_were_looked_at() {
        let words = ["a", "b", "*", "#"];
        for kind in [
            ExchangeKind::Topic,
            ExchangeKind::Direct,
            ExchangeKind::Fanout,
        ] {
            let mut it = Spans::default();
            let mut most = 0;
            for step in 0..6000_u64 {
                let chance = mix(step);
                let word = |at: u32| words[(chance >> (2 * at)) as usize % 4];
                let key = (0..1 + (chance >> 20) as u32 % 4).map(word);
                let key: Arc<str> = key.collect::<Vec<_>>().join(".").into();
                // Many come first, and then they go.
                if (chance >> 30) % 2000 < step {
                    it.close(QUEUE, &key, step);
                } else {
                    it.open(QUEUE, &key, step);
                }
                if step % 50 != 0 {
                    continue;
                }
                most = most.max(it.of(QUEUE).map_or(0, |it| it.open.len()));
                for routing_key in ["a", "a.b", "b.a.b", "b.b.a.a", "c"] {
                    let want = had_naively(&it, kind, routing_key);
                    let had = it.had_by(QUEUE, kind);
                    let mut had = had.map_or_else(Vec::new, |had| had.of(routing_key));
                    had.sort_unstable();
                    assert_eq!(had, want, "{kind:?}, step {step}, {routing_key}");
                }
            }
            assert!(most > FEW, "{most}");
            let left = it.of(QUEUE).map_or(0, |it| it.open.len());
            assert!(left <= FEW, "{left}");
        }
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
