//! A queue in its virtual host: the state machine of `queue-store` behind a lock.

mod consumers;
mod effects;
mod inspect;

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};
use std::task::Waker;

use leveret_amqp_codec::{Properties, RawProperties, Value};
use leveret_queue_store::{
    ConsumerId, DeathReason, Delivery, DeliveryId, Effect, Lsn, Message, Queue, QueueKey,
    QueueOptions, Settlement, Stored, TakeMode, Time,
};
use parking_lot::Mutex;
use smallvec::SmallVec;

pub(crate) use consumers::{CannotConsume, ConsumerLink};
pub(super) use effects::Afterwards;
pub(crate) use inspect::Counts;
pub use inspect::Unacked;

use super::arguments::QueueType;
use super::durable::{Disk, Leaving};
use super::{Services, VirtualHost};
use crate::arguments::Arguments;
use crate::connection::ConnectionId;
use crate::exchange::QueueId;
use crate::outbox::{Outbox, Outgoing};
use crate::quota::Seat;
use crate::slow;
use crate::store::{Holder, Relieved, Resident};
use crate::timers::{Due, TimerId};

/// What a queue was declared with.
#[derive(Clone, Debug)]
pub(crate) struct QueueDefinition {
    pub(crate) name: Arc<str>,
    pub(crate) queue_type: QueueType,
    pub(crate) durable: bool,
    /// Under which a durable queue and its messages are kept; none for any other.
    pub(crate) key: Option<QueueKey>,
    pub(crate) auto_delete: bool,
    /// The connection that alone may use the queue.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) arguments: Arguments,
    /// Most queues have none.
    pub(crate) dead_letter: Option<Box<DeadLetterTarget>>,
}

/// Where dead messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterTarget {
    pub(crate) exchange: Arc<str>,
    /// Instead of the message's own keys.
    pub(crate) routing_key: Option<Arc<str>>,
    /// They are kept until they have arrived there.
    pub(crate) at_least_once: bool,
}

/// A message that died here, on its way to the dead letter exchange.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) queue: Arc<QueueCell>,
    pub(crate) message: Message,
    pub(crate) reason: DeathReason,
    /// What it is called on disk, where it stays until it has arrived.
    pub(crate) stored: Option<Stored>,
    /// How often it had come back.
    pub(crate) delivery_count: u32,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Up to where the journal must be safe before the messages are, if any of them has to be.
    pub(crate) safe_at: Option<Lsn>,
    /// The connection of a consumer that is [behind](Outbox::is_behind) with what it has been given.
    pub(crate) behind: Option<Arc<Outbox>>,
}

/// Which publish of a batch a message came from, so that its refusal can be told; `u32::MAX` when nobody wants to know.
pub(crate) type Ticket = u32;

/// See the module.
///
/// Its lock is taken after the topology's and before an outbox's. While it is held, messages go to outboxes, so that the
/// order of deliveries is the order of the queue; waking, dead-lettering and timers wait until it is released.
#[derive(Debug)]
pub(crate) struct QueueCell {
    id: QueueId,
    /// It is deleted when nobody uses it for some time.
    has_lease: bool,
    definition: QueueDefinition,
    vhost: Weak<VirtualHost>,
    services: Arc<Services>,
    timer: TimerId,
    /// Its part of the store, where the broker has one.
    disk: Option<Disk>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// By the index of the consumer's id.
    links: Vec<Option<(ConsumerId, ConsumerLink)>>,
    /// A deleted queue takes no more messages and has no more consumers; whoever still holds it finds it empty.
    deleted: bool,
    /// An auto-delete queue goes with its last consumer, but not before it had one.
    had_consumer: bool,
    /// The earliest entry of this queue among the broker's timers.
    timer_at: Option<Time>,
    /// What the memory gauge counts for this queue.
    accounted: usize,
    /// Whether the store knows that it holds messages.
    is_listed: bool,
    /// Why those leave that are being settled.
    leaving: Leaving,
    /// Whether anybody took a message since the store asked last whether it can have memory.
    was_used: bool,
    /// Counts as one of the queues that a connection has made.
    seat: Option<Seat>,
}

/// A queue that has just been emptied for good.
#[derive(Debug)]
pub(super) struct Deleted {
    /// How many messages were ready in it.
    pub(super) ready: u64,
    pub(super) afterwards: Afterwards,
}

impl QueueCell {
    pub(crate) fn new(
        id: QueueId,
        definition: QueueDefinition,
        options: QueueOptions,
        vhost: &VirtualHost,
        now: Time,
    ) -> Arc<Self> {
        let key = definition.key;
        let disk = Disk::new(&vhost.services, key);
        let has_lease = options.expires_ms.is_some();
        let options = QueueOptions {
            durable: disk.as_ref().is_some_and(Disk::is_durable),
            ..options
        };
        let queue = match &disk {
            Some(disk) => disk.make_queue(key, options, now),
            None => Queue::new(options, now),
        };
        let state = State {
            queue,
            links: Vec::new(),
            deleted: false,
            had_consumer: false,
            timer_at: None,
            accounted: 0,
            is_listed: false,
            leaving: Leaving::Done,
            was_used: false,
            seat: None,
        };
        let cell = Arc::new(Self {
            id,
            has_lease,
            definition,
            vhost: Weak::clone(&vhost.myself),
            services: Arc::clone(&vhost.services),
            timer: vhost.services().timers.new_id(),
            disk,
            state: Mutex::new(state),
        });
        if let Some(disk) = &cell.disk {
            disk.register(key, &cell);
        }
        cell
    }

    pub(crate) fn id(&self) -> QueueId {
        self.id
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.definition.name
    }

    pub(crate) fn definition(&self) -> &QueueDefinition {
        &self.definition
    }

    pub(crate) fn is_quorum(&self) -> bool {
        self.definition.queue_type == QueueType::Quorum
    }

    pub(crate) fn has_single_active_consumer(&self) -> bool {
        self.state.lock().queue.options().single_active_consumer
    }

    /// Whether its dead letters are kept until they have arrived.
    pub(crate) fn keeps_undelivered(&self) -> bool {
        let target = self.definition.dead_letter.as_ref();
        target.is_some_and(|target| target.at_least_once)
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.state.lock().deleted
    }

    /// The properties a delivery goes out with when they are not the message's own: a quorum queue adds the header
    /// `x-delivery-count` (behaviour reference, section 9), to what is got always, to what is consumed from the second
    /// delivery on. A delivery before which messages were left out says how many.
    pub(crate) fn stamped_properties(
        &self,
        delivery: &Delivery,
        got: bool,
        left_out: u64,
    ) -> Option<Vec<u8>> {
        // What every delivery has at hand comes first.
        let has_count = (got || delivery.delivery_count > 0) && self.is_quorum();
        if !has_count && left_out == 0 {
            return None;
        }
        let mut properties = Properties::from(RawProperties::from_validated_bytes(
            delivery.message.properties(),
        ));
        let headers = properties.headers.get_or_insert_default();
        if has_count {
            headers.insert(
                "x-delivery-count",
                Value::I64(i64::from(delivery.delivery_count)),
            );
        }
        if left_out > 0 {
            let count = i64::try_from(left_out).unwrap_or(i64::MAX);
            headers.insert(slow::DROPPED, Value::I64(count));
        }
        Some(properties.to_bytes())
    }

    /// Appends messages in order; the tickets of those that the queue refused are added to `refused`.
    ///
    /// A queue that has been deleted swallows them: RabbitMQ confirms what was on its way to a queue that went away.
    pub(crate) fn publish(
        self: &Arc<Self>,
        now: Time,
        messages: impl Iterator<Item = (Message, Ticket)>,
        refused: &mut Vec<Ticket>,
    ) -> Accepted {
        let mut afterwards = Afterwards::default();
        let accepted = self.publish_locked(now, messages, refused, &mut afterwards);
        self.follow_up(now, afterwards);
        accepted
    }

    /// [`QueueCell::publish`] for a caller that holds locks: what comes of it is to be given to [`QueueCell::follow_up`] once
    /// it no longer does.
    pub(in crate::vhost) fn publish_locked(
        &self,
        now: Time,
        messages: impl Iterator<Item = (Message, Ticket)>,
        refused: &mut Vec<Ticket>,
        afterwards: &mut Afterwards,
    ) -> Accepted {
        let behind = self.with_locked(now, afterwards, |state, now, effects| {
            if state.deleted {
                return None;
            }
            let refuse = |_, ticket| refused.push(ticket);
            state.queue.publish_all(now, messages, effects, refuse);
            state.behind(effects)
        });
        let safe_at = afterwards.safe_at.take();
        Accepted { safe_at, behind }
    }

    /// Takes the next message, as basic.get does, and tells how many remain. None as well while more is overdue before it,
    /// out of memory, than goes in one turn.
    pub(crate) fn take(self: &Arc<Self>, now: Time, mode: TakeMode) -> Option<(Delivery, u64)> {
        self.with(now, |state, now, effects| {
            state.was_used = true;
            loop {
                if let Some(delivery) = state.queue.take(now, mode, effects) {
                    return Some((delivery, state.queue.ready_len() as u64));
                }
                let (disk, page) = (self.disk.as_ref()?, state.queue.wanted_page()?);
                if !self.may_bring_in(state, now, effects::died(effects)) {
                    return None;
                }
                // Where that may pass it is tried again afterwards, and by a timer.
                disk.bring_in(self.name(), &mut state.queue, now, page, effects)
                    .ok()?;
            }
        })
    }

    /// Settles deliveries of this queue, in order, then hands out what that made room for.
    pub(crate) fn settle(
        self: &Arc<Self>,
        now: Time,
        deliveries: impl Iterator<Item = DeliveryId>,
        how: Settlement,
    ) {
        self.settle_and_leave(now, deliveries, how, Leaving::Done);
    }

    /// [`QueueCell::settle`] in one transaction with what was published just before: no crash leaves neither.
    pub(crate) fn settle_behind_publishes(
        self: &Arc<Self>,
        now: Time,
        deliveries: impl Iterator<Item = DeliveryId>,
        how: Settlement,
    ) {
        self.settle_and_leave(now, deliveries, how, Leaving::Replaced);
    }

    fn settle_and_leave(
        self: &Arc<Self>,
        now: Time,
        deliveries: impl Iterator<Item = DeliveryId>,
        how: Settlement,
        leaving: Leaving,
    ) {
        self.with(now, |state, now, effects| {
            // What comes back to a deleted queue has no place to go and dies without a letter.
            let how = if state.deleted { Settlement::Ack } else { how };
            state.leaving = leaving;
            state.queue.settle_many(now, deliveries, how, effects);
        });
    }

    /// Expires what is due and hands out what can be handed out: a timer fired, or an outbox has room again.
    pub(crate) fn poll(self: &Arc<Self>, now: Time) {
        self.with(now, State::poll);
    }

    /// It was declared again, or looked for: use of a classic queue, of a quorum queue not (RabbitMQ).
    pub(super) fn asked_for(self: &Arc<Self>, now: Time) {
        if !self.is_quorum() {
            self.touch(now);
        }
    }

    /// Renews the lease of a queue that expires when unused.
    pub(crate) fn touch(self: &Arc<Self>, now: Time) {
        if self.has_lease {
            self.with(now, |state, now, _| state.queue.touch(now));
        }
    }

    /// Removes what is ready and tells how much that was.
    pub(crate) fn purge(self: &Arc<Self>, now: Time) -> u64 {
        self.with(now, |state, _, effects| state.queue.purge(effects))
    }

    /// A message that was dead has arrived where it should: it need not be on disk any more.
    pub(super) fn forget(&self, letter: &DeadLetter) {
        if let (Some(disk), Some(stored)) = (&self.disk, letter.stored) {
            disk.forget(stored);
        }
    }

    /// It counts as one of the queues that a connection has made until it is deleted.
    pub(super) fn made_by(&self, seat: Option<Seat>) {
        self.state.lock().seat = seat;
    }

    /// Empties the queue for good and puts word of it into its consumers' outboxes. None when `condition` does not hold
    /// for it, or when it was deleted before. The topology is locked meanwhile; what comes of it must be given to
    /// [`QueueCell::follow_up`] once it no longer is.
    pub(super) fn delete(
        self: &Arc<Self>,
        now: Time,
        condition: impl FnOnce(Counts) -> bool,
    ) -> Option<Deleted> {
        let mut wakers: SmallVec<[Waker; 4]> = SmallVec::new();
        let mut afterwards = Afterwards::default();
        let ready = self.with_locked(now, &mut afterwards, |state, now, effects| {
            if state.deleted || !condition(state.counts()) {
                return None;
            }
            let ready = state.queue.purge(effects);
            for (consumer, link) in state.links.drain(..).flatten() {
                state.queue.cancel(now, consumer, effects);
                let cancelled = Outgoing::ConsumerCancelled {
                    channel: link.channel,
                    consumer: link.key,
                };
                wakers.extend(link.outbox.push([cancelled]));
            }
            state.deleted = true;
            // Routes that are remembered may hold the queue for long.
            state.seat = None;
            Some(ready)
        });
        afterwards.wakers.append(&mut wakers);
        if let (Some(_), Some(disk)) = (ready, &self.disk) {
            disk.delete();
        }
        ready.map(|ready| Deleted { ready, afterwards })
    }
}

impl Drop for QueueCell {
    /// A deadline may be years ahead; it is not to be kept for a queue that has gone.
    fn drop(&mut self) {
        if self.state.get_mut().timer_at.is_some() {
            self.services.timers.cancel(self.timer);
        }
    }
}

impl Resident for QueueCell {
    fn move_to_pages(&self, below: NonZeroU64) {
        let Some(disk) = &self.disk else { return };
        let options = {
            let mut state = self.state.lock();
            disk.move_to_pages(&mut state.queue, below);
            state.queue.options().clone()
        };
        if self.keeps_undelivered()
            && let Some(vhost) = self.vhost.upgrade()
        {
            vhost.undelivered.with_old(self, below, |letters| {
                disk.move_letters(&options, letters);
            });
        }
    }

    /// What is overdue and out of memory stays there until timers run: it may be more than there is memory for, and where dead
    /// letters go to disk nobody writes them yet.
    fn begin(self: Arc<Self>, now: Time) {
        let mut afterwards = Afterwards::without_pages();
        self.with_locked(now, &mut afterwards, State::poll);
        self.follow_up(now, afterwards);
    }
}

impl Holder for QueueCell {
    fn relieve(self: Arc<Self>, now: Time) -> Relieved {
        self.give_up_memory(now)
    }
}

impl State {
    fn poll(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.timer_at.is_some_and(|at| at <= now) {
            self.timer_at = None;
        }
        self.queue.poll(now, effects);
    }
}

impl Due for QueueCell {
    fn run(self: Arc<Self>, now: Time) {
        let mut afterwards = Afterwards::by_timer();
        self.with_locked(now, &mut afterwards, State::poll);
        self.follow_up(now, afterwards);
    }
}
