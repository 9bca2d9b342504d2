//! The subscriptions of a session and its unacknowledged deliveries.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_queue_store::{ConsumerId, DeliveryId, Gate, Settlement, Time};
use slab::Slab;
use smallvec::SmallVec;

use crate::outbox::ConsumerKey;
use crate::session::unacked::{LOOK_MAX, Outstanding, SourceKey, Unacked, UnknownTag, by_source};
use crate::vhost::QueueCell;

type Hasher = foldhash::fast::RandomState;

/// How a subscription acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckMode {
    /// Not at all: what was sent is done with.
    Auto,
    /// Everything up to the message, on the whole session.
    Cumulative,
    /// The message alone.
    Individual,
}

/// How a subscription's messages are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consuming {
    pub(super) ack: AckMode,
    /// They come from an exchange that keeps history.
    pub(super) has_history: bool,
}

/// One subscription: a consumer and how the client calls it.
#[derive(Debug)]
pub(super) struct Subscription {
    /// `T_` and the id, `Q_` and the destination of one without id, or `/temp-queue/` and a name.
    pub(super) tag: Arc<str>,
    /// The `destination` header.
    pub(super) destination: Box<str>,
    pub(super) ack: AckMode,
    pub(super) queue: Arc<QueueCell>,
    consumer: ConsumerId,
    /// Room for this subscription alone, where it has any.
    pub(super) own_window: Option<Arc<Gate>>,
    /// Its messages have positions, which their ids end with.
    pub(super) has_history: bool,
    /// Acknowledged, and not yet told to the queue.
    acked: Vec<DeliveryId>,
    /// It ends, so that what was assigned to it is not sent any more but goes back.
    ending: bool,
}

impl Subscription {
    /// What the `subscription` header of its messages says. None for one that has no id.
    pub(super) fn id(&self) -> Option<&str> {
        match self.tag.strip_prefix("T_") {
            None if self.tag.starts_with("Q_") => None,
            None => Some(&self.tag),
            id => id,
        }
    }

    /// How errors call it: `id='1'`.
    pub(super) fn description(&self) -> String {
        self.id().map_or_else(
            || format!("destination='{}'", self.destination),
            |id| format!("id='{id}'"),
        )
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }
}

/// A subscription whose consumer has been registered.
pub(super) struct Started {
    pub(super) tag: Arc<str>,
    pub(super) destination: Box<str>,
    pub(super) how: Consuming,
    pub(super) queue: Arc<QueueCell>,
    pub(super) consumer: ConsumerId,
    pub(super) own_window: Option<Arc<Gate>>,
}

/// A place for a subscription whose consumer is about to be registered.
pub(super) struct Vacancy<'a> {
    subscriptions: &'a mut Subscriptions,
}

/// See the module.
///
/// Deliveries are numbered across all subscriptions, so that a cumulative acknowledgement covers all of them.
#[derive(Debug)]
pub(super) struct Subscriptions {
    slots: Slab<Subscription>,
    by_tag: HashMap<Arc<str>, ConsumerKey, Hasher>,
    unacked: Unacked,
    last_number: u64,
    /// Those with acknowledgements that their queues have not been told of.
    dirty: Vec<ConsumerKey>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            slots: Slab::new(),
            by_tag: HashMap::default(),
            unacked: Unacked::default(),
            last_number: 0,
            dirty: Vec::new(),
        }
    }
}

impl Vacancy<'_> {
    /// The key that [`Vacancy::fill`] will give out.
    pub(super) fn key(&self) -> ConsumerKey {
        key(self.subscriptions.slots.vacant_key())
    }

    pub(super) fn fill(self, started: Started) {
        let key = self.key();
        let Started {
            tag,
            destination,
            how,
            queue,
            consumer,
            own_window,
        } = started;
        self.subscriptions.slots.insert(Subscription {
            tag: Arc::clone(&tag),
            destination,
            ack: how.ack,
            queue,
            consumer,
            own_window,
            has_history: how.has_history,
            acked: Vec::new(),
            ending: false,
        });
        self.subscriptions.by_tag.insert(tag, key);
    }
}

impl Subscriptions {
    pub(super) fn vacancy(&mut self) -> Vacancy<'_> {
        Vacancy {
            subscriptions: self,
        }
    }

    pub(super) fn get(&self, key: ConsumerKey) -> Option<&Subscription> {
        self.slots.get(key.0 as usize)
    }

    pub(super) fn find(&self, tag: &str) -> Option<ConsumerKey> {
        self.by_tag.get(tag).copied()
    }

    /// The number of the next delivery. The first is 1.
    pub(super) fn number_delivery(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many deliveries wait to be settled.
    pub(super) fn unacked_len(&self) -> usize {
        self.unacked.iter().count()
    }

    /// Notes a delivery that the client must settle.
    pub(super) fn add_unacked(&mut self, number: u64, key: ConsumerKey, id: DeliveryId) {
        let source = SourceKey(key.0);
        self.unacked.push(number, Outstanding { source, id });
    }

    /// Takes one delivery, or everything up to it.
    pub(super) fn take(
        &mut self,
        number: u64,
        cumulative: bool,
    ) -> Result<Vec<Outstanding>, UnknownTag> {
        if cumulative {
            let taken = self.unacked.take_up_to(number)?;
            return Ok(taken.map(|(_, delivery)| delivery).collect());
        }
        Ok(vec![self.unacked.take(number)?])
    }

    /// Remembers acknowledgements until [`Subscriptions::flush_acks`].
    pub(super) fn ack(&mut self, deliveries: Vec<Outstanding>) {
        for Outstanding { source, id } in deliveries {
            let subscription = &mut self.slots[source.0 as usize];
            if subscription.acked.is_empty() {
                self.dirty.push(ConsumerKey(source.0));
            }
            subscription.acked.push(id);
        }
    }

    /// Whether any of these queues has yet to be told of acknowledgements.
    pub(super) fn owe_acks_to(&self, queues: &[Arc<QueueCell>]) -> bool {
        if self.dirty.len().saturating_mul(queues.len()) > LOOK_MAX {
            return true;
        }
        let mut owed = self.dirty.iter().filter_map(|key| self.get(*key));
        owed.any(|owed| queues.iter().any(|queue| Arc::ptr_eq(queue, &owed.queue)))
    }

    /// Tells the queues what was acknowledged.
    pub(super) fn flush_acks(&mut self, now: Time) {
        while let Some(key) = self.dirty.pop() {
            if let Some(subscription) = self.slots.get_mut(key.0 as usize) {
                let queue = Arc::clone(&subscription.queue);
                queue.settle(now, subscription.acked.drain(..), Settlement::Ack);
            }
        }
    }

    /// Gives deliveries back to their queues, or discards them, in order.
    pub(super) fn settle(&self, now: Time, deliveries: Vec<Outstanding>, how: Settlement) {
        for (source, ids) in by_source(deliveries) {
            let queue = &self.slots[source.0 as usize].queue;
            queue.settle(now, ids.into_iter(), how);
        }
    }

    /// Begins to end a subscription: nothing is assigned to it from now on, and what was assigned in an acknowledging
    /// mode is not sent any more. To be followed by [`Subscriptions::forget`] or [`Subscriptions::forget_all`].
    pub(super) fn begin_to_end(&mut self, now: Time, key: ConsumerKey) {
        let subscription = &mut self.slots[key.0 as usize];
        subscription.ending = subscription.ack != AckMode::Auto;
        let queue = Arc::clone(&subscription.queue);
        queue.withdraw(now, subscription.consumer);
    }

    /// Forgets a subscription that its queue has forgotten already. What it has not settled goes back.
    pub(super) fn forget(&mut self, now: Time, key: ConsumerKey) {
        self.flush_acks(now);
        let unsettled = self.unacked.take_from(SourceKey(key.0));
        self.settle(now, unsettled, Settlement::Abandon);
        let subscription = self.slots.remove(key.0 as usize);
        self.by_tag.remove(&subscription.tag);
        subscription.queue.serve(now);
    }

    /// Cancels everything, the youngest first: the single active consumer of a queue is most likely the oldest, and were
    /// it to go before the others, each of them would be given messages and hand them back as redelivered.
    pub(super) fn begin_to_end_all(&mut self, now: Time) {
        let mut keys: Vec<_> = self.slots.iter().map(|(at, _)| key(at)).collect();
        keys.reverse();
        for key in keys {
            self.begin_to_end(now, key);
        }
    }

    /// Forgets everything; what is not settled goes back.
    pub(super) fn forget_all(&mut self, now: Time) {
        self.flush_acks(now);
        let unsettled = self.unacked.take_all().collect();
        self.settle(now, unsettled, Settlement::Abandon);
        for (_, subscription) in &self.slots {
            subscription.queue.serve(now);
        }
        *self = Self::default();
    }

    /// When the oldest delivery went out that is not settled.
    pub(super) fn oldest_delivery(&self) -> Option<Time> {
        let oldest = self.unacked.iter().next()?;
        let subscription = self.slots.get(oldest.source.0 as usize)?;
        subscription.queue.delivered_at(oldest.id)
    }

    /// Has every queue look again whether it can deliver.
    pub(super) fn poll_queues(&self, now: Time) {
        let mut queues: SmallVec<[&Arc<QueueCell>; 8]> =
            self.slots.iter().map(|(_, it)| &it.queue).collect();
        // Once each, however many subscriptions it has: it tells all of them.
        if queues.len() > 1 {
            queues.sort_unstable_by_key(|queue| Arc::as_ptr(queue));
            queues.dedup_by_key(|queue| Arc::as_ptr(queue));
        }
        for queue in queues {
            queue.poll(now);
        }
    }
}

fn key(at: usize) -> ConsumerKey {
    ConsumerKey(u32::try_from(at).expect("fewer than 2^32 subscriptions in one session"))
}
