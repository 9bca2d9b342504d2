//! One channel: its consumers, its unacknowledged deliveries and the message it is receiving.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use leveret_queue_store::{ConsumerId, DeliveryId, Gate, Settlement, Time};
use slab::Slab;

use super::confirms::Confirms;
use super::tx::Transaction;
use crate::error::Refusal;
use crate::memory::Held;
use crate::outbox::ConsumerKey;
use crate::quota::Seat;
use crate::session::unacked::{LOOK_MAX, Outstanding, SourceKey, Unacked, UnknownTag, by_source};
use crate::vhost::QueueCell;

type Hasher = foldhash::fast::RandomState;

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    /// We sent channel.close: everything but close and close-ok is thrown away until the client has answered.
    pub(super) closing: bool,
    pub(super) content: Option<IncomingContent>,
    pub(super) consumers: Slab<Consumer>,
    pub(super) tags: HashMap<Arc<str>, ConsumerKey, Hasher>,
    pub(super) unacked: Unacked,
    pub(super) sources: Slab<Source>,
    /// The source of a queue, by the queue's address.
    source_keys: HashMap<usize, SourceKey, Hasher>,
    /// Sources with acknowledgements that their queues have not been told of.
    dirty: Vec<SourceKey>,
    pub(super) next_tag: u64,
    /// For consumers started from now on; 0 for no limit.
    pub(super) prefetch: u16,
    /// For all consumers of the channel together (basic.qos with global set); 0 for no limit.
    pub(super) global_prefetch: u16,
    /// What enforces it.
    pub(super) gate: Arc<Gate>,
    pub(super) mode: Mode,
    /// The channel's reply consumer, and the name that its requests carry as `reply-to`.
    pub(super) reply_to: Option<(ConsumerKey, Arc<str>)>,
    /// Stands for an empty queue name.
    pub(super) last_queue: Option<Arc<str>>,
    /// Counts as one of the channels of the user and of the virtual host.
    _seats: [Option<Seat>; 2],
}

/// What a channel promises its publishers. Confirms and transactions exclude each other.
#[derive(Debug)]
pub(super) enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Transaction),
}

/// A consumer of this channel.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) tag: Arc<str>,
    pub(super) source: SourceKey,
    pub(super) id: ConsumerId,
    /// Room for this consumer alone, where it has any.
    pub(super) own_window: Option<Arc<Gate>>,
}

/// A queue that this channel consumes or gets from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) queue: Arc<QueueCell>,
    /// Consumers, and deliveries that are not settled: while there are any, the source stays.
    uses: usize,
    /// Acknowledged, and not yet told to the queue.
    acked: Vec<DeliveryId>,
}

/// A publish of which not everything has arrived.
#[derive(Debug)]
pub(super) struct IncomingContent {
    pub(super) exchange: Box<str>,
    pub(super) routing_key: Box<str>,
    pub(super) mandatory: bool,
    /// None until the content header came.
    pub(super) body: Option<IncomingBody>,
}

#[derive(Debug)]
pub(super) struct IncomingBody {
    pub(super) properties: Box<[u8]>,
    pub(super) announced: u64,
    pub(super) received: BytesMut,
    /// Counts what was received against the memory limit.
    pub(super) held: Held,
}

impl Channel {
    pub(super) fn new(seats: [Option<Seat>; 2]) -> Self {
        Self {
            closing: false,
            content: None,
            consumers: Slab::new(),
            tags: HashMap::default(),
            unacked: Unacked::default(),
            sources: Slab::new(),
            source_keys: HashMap::default(),
            dirty: Vec::new(),
            next_tag: 1,
            prefetch: 0,
            global_prefetch: 0,
            gate: Arc::new(Gate::new(usize::MAX)),
            mode: Mode::Plain,
            reply_to: None,
            last_queue: None,
            _seats: seats,
        }
    }

    pub(super) fn take_tag(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        tag
    }

    /// The source for a queue, which counts one more use.
    pub(super) fn use_source(&mut self, queue: &Arc<QueueCell>) -> SourceKey {
        let address = Arc::as_ptr(queue) as usize;
        let sources = &mut self.sources;
        let key = *self.source_keys.entry(address).or_insert_with(|| {
            let source = Source {
                queue: Arc::clone(queue),
                uses: 0,
                acked: Vec::new(),
            };
            if sources.capacity() == 0 {
                // A slab would begin with four, and very many clients consume from one queue.
                sources.reserve_exact(1);
            }
            let key = sources.insert(source);
            SourceKey(u32::try_from(key).expect("fewer than 2^32 queues on one channel"))
        });
        self.sources[key.0 as usize].uses += 1;
        key
    }

    /// Takes uses of a source back; with the last one the channel forgets the queue.
    pub(super) fn release_source(&mut self, key: SourceKey, uses: usize) {
        let source = &mut self.sources[key.0 as usize];
        source.uses -= uses;
        if source.uses == 0 && source.acked.is_empty() {
            let source = self.sources.remove(key.0 as usize);
            self.source_keys
                .remove(&(Arc::as_ptr(&source.queue) as usize));
        }
    }

    /// Notes a delivery that the client must settle.
    pub(super) fn add_unacked(&mut self, tag: u64, source: SourceKey, id: DeliveryId) {
        self.sources[source.0 as usize].uses += 1;
        self.unacked.push(tag, Outstanding { source, id });
    }

    /// Remembers an acknowledgement until [`Channel::flush_acks`]; true when there was none to remember before.
    pub(super) fn ack(&mut self, delivery: Outstanding) -> bool {
        let had_none = self.dirty.is_empty();
        remember_ack(&mut self.sources, &mut self.dirty, delivery);
        had_none
    }

    /// The same for everything up to a tag.
    pub(super) fn ack_up_to(&mut self, tag: u64) -> Result<bool, UnknownTag> {
        let had_none = self.dirty.is_empty();
        for (_, delivery) in self.unacked.take_up_to(tag)? {
            remember_ack(&mut self.sources, &mut self.dirty, delivery);
        }
        Ok(had_none && !self.dirty.is_empty())
    }

    /// Whether any of these queues has yet to be told of acknowledgements.
    pub(super) fn owes_acks_to(&self, queues: &[Arc<QueueCell>]) -> bool {
        if self.dirty.len().saturating_mul(queues.len()) > LOOK_MAX {
            return true;
        }
        let mut owed = self.dirty.iter();
        owed.any(|key| {
            let owed = &self.sources[key.0 as usize].queue;
            queues.iter().any(|queue| Arc::ptr_eq(queue, owed))
        })
    }

    /// Tells the queues what was acknowledged. Returns as [`Channel::prefetch_opened`] does.
    pub(super) fn flush_acks(&mut self, now: Time) -> usize {
        if self.dirty.is_empty() {
            return 0;
        }
        while let Some(key) = self.dirty.pop() {
            let source = &mut self.sources[key.0 as usize];
            let settled = source.acked.len();
            let queue = Arc::clone(&source.queue);
            queue.settle(now, source.acked.drain(..), Settlement::Ack);
            self.release_source(key, settled);
        }
        self.prefetch_opened(now)
    }

    /// Gives deliveries back to their queues, or discards them, in order. To be followed by [`Channel::prefetch_opened`].
    pub(super) fn settle(&mut self, now: Time, deliveries: &[Outstanding], how: Settlement) {
        self.settle_by(deliveries, |queue, ids| {
            queue.settle(now, ids.into_iter(), how);
        });
    }

    /// [`Channel::settle`] for what is settled in one transaction with what was published just before.
    pub(super) fn settle_behind_publishes(
        &mut self,
        now: Time,
        deliveries: &[Outstanding],
        how: Settlement,
    ) {
        self.settle_by(deliveries, |queue, ids| {
            queue.settle_behind_publishes(now, ids.into_iter(), how);
        });
    }

    fn settle_by(
        &mut self,
        deliveries: &[Outstanding],
        settle: impl Fn(&Arc<QueueCell>, Vec<DeliveryId>),
    ) {
        for (key, ids) in by_source(deliveries.iter().copied()) {
            let queue = Arc::clone(&self.sources[key.0 as usize].queue);
            let settled = ids.len();
            settle(&queue, ids);
            self.release_source(key, settled);
        }
    }

    /// Whether any of these deliveries is from a durable queue.
    pub(super) fn are_any_durable(&self, deliveries: &[Outstanding]) -> bool {
        let mut queues = deliveries
            .iter()
            .map(|delivery| &self.sources[delivery.source.0 as usize].queue);
        queues.any(|queue| queue.definition().durable)
    }

    /// Deliveries were settled, so the shared limit may have room: a queue serves its own consumers again by itself, but
    /// the others of this channel must be told. Returns how many were.
    pub(super) fn prefetch_opened(&self, now: Time) -> usize {
        if self.global_prefetch == 0 {
            return 0;
        }
        self.poll_queues(now);
        self.consumers.len()
    }

    /// The consumer of this tag. A reply consumer keeps its tag from no other (RabbitMQ).
    pub(super) fn find_consumer(&self, tag: &str) -> Option<ConsumerKey> {
        if let Some(key) = self.tags.get(tag) {
            return Some(*key);
        }
        let (key, _) = self.reply_to.as_ref()?;
        let consumer = self.consumers.get(key.0 as usize)?;
        (*consumer.tag == *tag).then_some(*key)
    }

    /// Forgets a consumer that its queue has forgotten already. Its tag is free again; its deliveries stay outstanding.
    pub(super) fn forget_consumer(&mut self, key: ConsumerKey) {
        let consumer = self.consumers.remove(key.0 as usize);
        let reply_consumer = self
            .reply_to
            .take_if(|(reply_consumer, _)| *reply_consumer == key);
        if reply_consumer.is_none() {
            self.tags.remove(&consumer.tag);
        }
        self.release_source(consumer.source, 1);
    }

    /// Whether the channel may have a reply consumer (behaviour reference, section 14).
    pub(super) fn check_reply_consumer(&self, no_ack: bool) -> Result<(), Refusal> {
        if !no_ack {
            return Err(Refusal::precondition_failed(
                "reply consumer cannot acknowledge",
            ));
        }
        if self.reply_to.is_some() {
            return Err(Refusal::precondition_failed("reply consumer already set"));
        }
        Ok(())
    }

    /// The queue of a consumer.
    pub(super) fn queue_of(&self, consumer: &Consumer) -> &Arc<QueueCell> {
        &self.sources[consumer.source.0 as usize].queue
    }

    /// Has every queue that this channel consumes from look again whether it can deliver.
    pub(super) fn poll_queues(&self, now: Time) {
        // Once each, however many consumers it has: it tells all of them.
        for (_, source) in &self.sources {
            source.queue.poll(now);
        }
    }
}

fn remember_ack(sources: &mut Slab<Source>, dirty: &mut Vec<SourceKey>, delivery: Outstanding) {
    let source = &mut sources[delivery.source.0 as usize];
    if source.acked.is_empty() {
        dirty.push(delivery.source);
    }
    source.acked.push(delivery.id);
}
