//! The deliveries of a channel, or of a session without channels, that wait for their acknowledgement.

use std::collections::{HashMap, VecDeque};

use leveret_queue_store::DeliveryId;

/// How many pairs of queues are compared to learn whether one that is about to get a message has yet to be told of
/// acknowledgements. With more it takes less to tell all of them.
pub(in crate::session) const LOOK_MAX: usize = 4096;

/// Names a queue within its channel, or a subscription within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::session) struct SourceKey(pub(in crate::session) u32);

/// A delivery that was acknowledged or must go back.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Outstanding {
    pub(in crate::session) source: SourceKey,
    pub(in crate::session) id: DeliveryId,
}

/// Deliveries by their sources, in the order in which these first appear; each source's in order.
pub(in crate::session) fn by_source(
    deliveries: impl IntoIterator<Item = Outstanding>,
) -> Vec<(SourceKey, Vec<DeliveryId>)> {
    let mut groups: Vec<(SourceKey, Vec<DeliveryId>)> = Vec::new();
    let mut places: HashMap<SourceKey, usize, foldhash::fast::RandomState> = HashMap::default();
    for Outstanding { source, id } in deliveries {
        // Most often all are of one.
        if let Some((latest, ids)) = groups.last_mut()
            && *latest == source
        {
            ids.push(id);
            continue;
        }
        if groups.len() == 1 {
            places.insert(groups[0].0, 0);
        }
        let place = match groups.len() {
            0 => 0,
            new => *places.entry(source).or_insert(new),
        };
        match groups.get_mut(place) {
            Some((_, ids)) => ids.push(id),
            None => groups.push((source, vec![id])),
        }
    }
    groups
}

/// Deliveries by their tag, oldest first.
///
/// Clients mostly acknowledge in order, so the front is where things happen; one that is settled out of order leaves a
/// gap, and when gaps make up more than half of the list they are swept out.
#[derive(Debug, Default)]
pub(in crate::session) struct Unacked {
    entries: VecDeque<Entry>,
    outstanding: usize,
}

#[derive(Debug)]
struct Entry {
    tag: u64,
    /// None once it is settled.
    delivery: Option<Outstanding>,
}

/// No delivery with this tag is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct UnknownTag;

/// Lists shorter than this are not worth a sweep.
const SWEEP_MIN: usize = 64;

impl Unacked {
    /// Adds a delivery; tags only grow.
    pub(in crate::session) fn push(&mut self, tag: u64, delivery: Outstanding) {
        debug_assert!(
            self.entries.back().is_none_or(|last| last.tag < tag),
            "tags only grow"
        );
        self.entries.push_back(Entry {
            tag,
            delivery: Some(delivery),
        });
        self.outstanding += 1;
    }

    /// Takes the delivery with this tag.
    pub(in crate::session) fn take(&mut self, tag: u64) -> Result<Outstanding, UnknownTag> {
        let at = self
            .entries
            .binary_search_by_key(&tag, |entry| entry.tag)
            .map_err(|_| UnknownTag)?;
        let delivery = self.entries[at].delivery.take().ok_or(UnknownTag)?;
        self.outstanding -= 1;
        self.trim();
        Ok(delivery)
    }

    /// Puts deliveries that were taken back among the others.
    pub(in crate::session) fn put_back(
        &mut self,
        deliveries: impl Iterator<Item = (u64, Outstanding)>,
    ) {
        let mut entries: Vec<_> = std::mem::take(&mut self.entries).into();
        entries.retain(|entry| entry.delivery.is_some());
        entries.extend(deliveries.map(|(tag, delivery)| Entry {
            tag,
            delivery: Some(delivery),
        }));
        entries.sort_unstable_by_key(|entry| entry.tag);
        self.outstanding = entries.len();
        self.entries = entries.into();
    }

    /// Takes everything up to and including this tag, which must be outstanding itself; tag 0 takes everything, however
    /// little that is.
    pub(in crate::session) fn take_up_to(
        &mut self,
        tag: u64,
    ) -> Result<impl Iterator<Item = (u64, Outstanding)> + '_, UnknownTag> {
        let end = if tag == 0 {
            self.entries.len()
        } else {
            let at = self
                .entries
                .binary_search_by_key(&tag, |entry| entry.tag)
                .map_err(|_| UnknownTag)?;
            if self.entries[at].delivery.is_none() {
                return Err(UnknownTag);
            }
            at + 1
        };
        let outstanding = self
            .entries
            .range(..end)
            .filter(|entry| entry.delivery.is_some())
            .count();
        self.outstanding -= outstanding;
        Ok(self
            .entries
            .drain(..end)
            .filter_map(|entry| Some((entry.tag, entry.delivery?))))
    }

    /// What is outstanding, oldest first.
    pub(in crate::session) fn iter(&self) -> impl Iterator<Item = Outstanding> {
        self.entries.iter().filter_map(|entry| entry.delivery)
    }

    /// Takes everything of one source, oldest first.
    #[cfg(feature = "stomp")]
    pub(in crate::session) fn take_from(&mut self, source: SourceKey) -> Vec<Outstanding> {
        let mut taken = Vec::new();
        self.entries.retain(|entry| match entry.delivery {
            Some(delivery) if delivery.source == source => {
                taken.push(delivery);
                false
            }
            other => other.is_some(),
        });
        self.outstanding = self.entries.len();
        taken
    }

    /// Takes everything.
    pub(in crate::session) fn take_all(&mut self) -> impl Iterator<Item = Outstanding> + use<> {
        self.outstanding = 0;
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|entry| entry.delivery)
    }

    fn trim(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.delivery.is_none())
        {
            self.entries.pop_front();
        }
        if self.entries.len() > SWEEP_MIN.max(2 * self.outstanding) {
            self.entries.retain(|entry| entry.delivery.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;
    use leveret_queue_store::{
        ConsumerOptions, Effect, Message, MessageParts, Queue, QueueOptions, Time,
    };

    /// Deliveries of a real queue, with the tags 1 to `count`.
    fn list(count: u64) -> Unacked {
        let (now, mut effects) = (Time::from_millis(0), Vec::new());
        let mut queue = Queue::new(QueueOptions::default(), now);
        queue
            .consume(now, ConsumerOptions::default(), &mut effects)
            .unwrap();
        let message = Message::new(&MessageParts::default(), &mut Vec::new());
        let mut unacked = Unacked::default();
        for tag in 1..=count {
            assert!(
                queue
                    .publish(now, message.clone(), &mut effects)
                    .is_accepted()
            );
            let Some(Effect::Deliver { delivery, .. }) = effects.pop() else {
                panic!("a consumer waits")
            };
            unacked.push(
                tag,
                Outstanding {
                    source: SourceKey(0),
                    id: delivery.id.unwrap(),
                },
            );
        }
        unacked
    }

    fn tags(unacked: &mut Unacked, up_to: u64) -> Result<Vec<u64>, UnknownTag> {
        Ok(unacked.take_up_to(up_to)?.map(|(tag, _)| tag).collect())
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut unacked = list(3);
        assert!(unacked.take(2).is_ok());
        assert!(unacked.take(2).is_err());
        assert!(unacked.take(4).is_err());
        assert!(unacked.take(0).is_err());
        assert_eq!(unacked.outstanding, 2);
    }

    #[test]
    fn multiple_takes_what_is_left_up_to_the_tag() {
        let mut unacked = list(5);
        unacked.take(2).unwrap();
        assert_eq!(tags(&mut unacked, 3), Ok(vec![1, 3]));
        assert_eq!(tags(&mut unacked, 3), Err(UnknownTag));
        assert_eq!(tags(&mut unacked, 9), Err(UnknownTag));
        assert_eq!(tags(&mut unacked, 0), Ok(vec![4, 5]));
        assert_eq!(tags(&mut unacked, 0), Ok(vec![]));
    }

    #[test]
    #[cfg(feature = "stomp")]
    fn a_source_goes_with_what_it_has_not_settled() {
        let mut unacked = list(4);
        unacked.take(2).unwrap();
        assert!(unacked.take_from(SourceKey(7)).is_empty());
        assert_eq!(unacked.take_from(SourceKey(0)).len(), 3);
        assert_eq!(tags(&mut unacked, 0), Ok(vec![]));
    }

    #[test]
    fn gaps_behind_an_old_delivery_are_swept_out() {
        let mut unacked = list(10_000);
        for tag in 2..=10_000 {
            unacked.take(tag).unwrap();
        }
        assert!(unacked.entries.len() <= SWEEP_MIN + 1);
        assert!(unacked.take(1).is_ok());
    }

    /// The same as [`by_source`], source by source.
    fn by_source_naively(mut rest: Vec<Outstanding>) -> Vec<(SourceKey, Vec<DeliveryId>)> {
        let mut groups = Vec::new();
        while let Some(first) = rest.first() {
            let source = first.source;
            let (these, others): (Vec<Outstanding>, Vec<_>) =
                rest.iter().partition(|delivery| delivery.source == source);
            groups.push((source, these.iter().map(|delivery| delivery.id).collect()));
            rest = others;
        }
        groups
    }

    #[test]
    fn deliveries_are_told_apart_by_their_sources() {
        let all: Vec<_> = list(200).take_all().collect();
        for sources in [1, 2, 3, 40] {
            for seed in 0..10_u64 {
                let chance = |at: usize| mix(seed << 32 | at as u64) % sources;
                let mixed = all.iter().enumerate().map(|(at, delivery)| Outstanding {
                    source: SourceKey(chance(at) as u32),
                    id: delivery.id,
                });
                let mixed: Vec<_> = mixed.collect();
                let want = by_source_naively(mixed.clone());
                assert_eq!(by_source(mixed), want, "{sources} sources, seed {seed}");
            }
        }
        assert_eq!(by_source([]), []);
    }

    #[test]
    fn deliveries_of_very_many_sources_are_told_apart_in_a_moment() {
        const SOURCES: u32 = 50_000;
        let all = list(SOURCES.into()).take_all();
        let of_each = all.zip(0..).map(|(delivery, source)| Outstanding {
            source: SourceKey(source),
            ..delivery
        });
        assert_eq!(by_source(of_each).len(), SOURCES as usize);
    }

    #[test]
    fn what_is_put_back_is_in_its_old_place() {
        let mut unacked = list(4);
        let taken = [(3, unacked.take(3).unwrap()), (1, unacked.take(1).unwrap())];
        unacked.put_back(taken.into_iter());
        assert_eq!(tags(&mut unacked, 0), Ok(vec![1, 2, 3, 4]));
    }
}
