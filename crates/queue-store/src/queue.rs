//! The queue: what can be done with it.

mod chunk;
mod consumers;
mod inspect;
mod lease;
mod level;
mod paged;
mod paging;
mod ready;
mod rebuild;
mod rehome;
mod rest;
mod ring;
mod slow;
mod unacked;
mod upkeep;

use std::fmt;
use std::iter;
use std::num::NonZeroU64;

pub use consumers::ConsumerId;
pub use inspect::{Browsed, BrowsedItem, UnackedDelivery};
pub use paged::PagedOut;
pub use rebuild::Rebuilt;

use crate::{
    ConsumeError, ConsumerOptions, DeathReason, Delivery, DeliveryId, Effect, Message, Overflow,
    Published, QueueOptions, RequeueOrder, Settlement, Stored, TakeMode, Time, UnknownDelivery,
};
use chunk::{CHUNK_LEN, Waiting};
use consumers::Consumers;
use ready::{Ready, Taken};
use slow::Slow;
use unacked::{NO_CONSUMER, Outstanding, Unacked};

/// A message queue.
///
/// ```text
///            publish ──────────────────────┐ somebody waits
///               │                          ▼
///               ▼   a consumer has room, or take
///             ready ────────────────► unacknowledged ──► settle: Ack ──► gone
///               │ ▲                        │ │
///       expired │ └──────── settle: Requeue┘ └─ settle: Discard ──► dead
///    one too many                              or over the delivery limit
///               ▼
///             dead
/// ```
///
/// What the calls have in common:
///
/// - Between calls no message waits that a consumer could have, as far as the queue knows, unless
///   one has been [withdrawn](Self::withdraw); a consumer that a [`Gate`] refused is not tried
///   again until [`poll`](Self::poll).
/// - Between calls the message that is to be delivered next is not overdue. Only that one is looked
///   at: an overdue message behind one that is not, of its own priority or a higher one, counts as
///   ready until its turn, but is never delivered (RabbitMQ's classic queues).
/// - Between calls the caller brings back what is [wanted](Self::wanted_page) of what it had
///   [paged out](Self::page_out), or does so in a later call; [`next_deadline`](Self::next_deadline)
///   does not remind of it. What waits behind a wanted page waits; nothing overtakes it.
/// - Effects are appended to the caller's list, in the order in which they have to happen. One call
///   appends as many as there are messages that can be delivered or are dead; consumers with a
///   prefetch or a window bound it.
/// - Nothing panics whatever the order of calls; ids that are not known are answered with an error
///   or `false`.
///
/// [`Gate`]: crate::Gate
pub struct Queue {
    options: QueueOptions,
    ready: Ready,
    unacked: Unacked,
    consumers: Consumers,
    /// What it takes to serve consumers that do not want everything to wait; most queues have none.
    slow: Option<Box<Slow>>,
    /// How many messages were put on the list of returned ones; the rank of the next.
    returns: u64,
    /// When the queue was last in use. While it has consumers, it is.
    used_at: Time,
    /// Whether it was said that the lease is over, since it was last renewed.
    lease_over: bool,
    /// How many messages share a chunk.
    chunk_len: u16,
    /// The number of the next message that is stored. At a thousand million messages a second
    /// numbers last for 584 years.
    next_number: NonZeroU64,
    /// No message without a home that is unacknowledged or has come back has a lower number than
    /// this. `u64::MAX` while there is none.
    homeless_from: u64,
}

impl Queue {
    /// An empty queue, whose lease begins now.
    #[must_use]
    pub fn new(options: QueueOptions, now: Time) -> Self {
        Self::with_chunk_len(options, now, CHUNK_LEN)
    }

    /// An empty queue with so many messages to a chunk, so that a test needs few to page some out.
    pub(crate) fn with_chunk_len(options: QueueOptions, now: Time, chunk_len: u16) -> Self {
        Self {
            ready: Ready::default(),
            unacked: Unacked::new(),
            consumers: Consumers::new(options.single_active_consumer),
            slow: None,
            returns: 0,
            used_at: now,
            lease_over: false,
            chunk_len,
            next_number: NonZeroU64::MIN,
            homeless_from: u64::MAX,
            options,
        }
    }

    /// Adds a message: to the consumer whose turn it is if nobody is ahead of it, else at the end
    /// of its priority.
    ///
    /// A message whose time to live is zero expires unless it is delivered by this call or waits
    /// behind others. At a maximum length of zero likewise only a message that is handed over at
    /// once is not dropped.
    ///
    /// In a durable queue a persistent message is stored, unless it is handed at once to somebody
    /// who does not settle.
    pub fn publish(&mut self, now: Time, message: Message, effects: &mut Vec<Effect>) -> Published {
        self.expire(now, effects);
        self.append(now, message, effects)
    }

    /// [Publishes](Self::publish) messages that have come together, for less than one after the other costs. Those that are
    /// rejected are given to `rejected`, with what came with them.
    pub fn publish_all<T>(
        &mut self,
        now: Time,
        messages: impl IntoIterator<Item = (Message, T)>,
        effects: &mut Vec<Effect>,
        mut rejected: impl FnMut(Message, T),
    ) {
        // What enters is dealt with as it does, if it is overdue at once.
        self.expire(now, effects);
        let ends = self.consumers.begin_together();
        for (message, tag) in messages {
            if let Published::Rejected(message) = self.append(now, message, effects) {
                rejected(message, tag);
            }
        }
        if ends {
            self.consumers.end_together(effects);
        }
    }

    fn append(&mut self, now: Time, message: Message, effects: &mut Vec<Effect>) -> Published {
        // As in RabbitMQ a queue that refuses does so without asking whether a consumer is waiting,
        // which shows only at a maximum of zero and when the body alone is beyond the limit.
        if self.refuses(&message) {
            if self.options.overflow == Overflow::RejectPublishDlx {
                let reason = DeathReason::MaxLength;
                effects.push(Effect::Dead {
                    message: message.clone(),
                    reason,
                    delivery_count: 0,
                    stored: None,
                });
            }
            return Published::Rejected(message);
        }
        let level = message.priority().min(self.options.max_priority);
        let deadline = self.deadline(now, &message);
        let is_kept = self.options.durable && message.is_persistent();
        if self.ready.is_empty()
            && let Some(consumer) = self.consumers.admit(&message, effects)
        {
            let is_kept = is_kept && self.consumers.settles(consumer);
            let stored = is_kept.then(|| self.store(&message, deadline, effects));
            let taken = Taken {
                message,
                deadline,
                delivery_count: 0,
                stored,
                level,
                seq: self.ready.pass(level),
            };
            self.deliver(now, consumer, taken, effects);
        } else {
            let stored = is_kept.then(|| self.store(&message, deadline, effects));
            let waiting = Waiting {
                message,
                deadline,
                delivery_count: 0,
                stored,
            };
            self.ready.push(level, waiting, self.chunk_len);
            self.drop_excess(now, effects);
            self.expire(now, effects);
            self.relieve(now, effects);
        }
        Published::Accepted
    }

    /// Takes the next message without consuming: AMQP's `basic.get`. `None` when nothing is ready,
    /// or a page is [wanted](Self::wanted_page) now: bring it back and ask again. Renews the lease.
    ///
    /// Prefetch limits do not apply, and an exclusive or single active consumer does not stand in
    /// the way.
    pub fn take(
        &mut self,
        now: Time,
        mode: TakeMode,
        effects: &mut Vec<Effect>,
    ) -> Option<Delivery> {
        self.touch(now);
        self.expire(now, effects);
        let taken = self.pop(now, effects)?;
        let owner = (mode == TakeMode::Ack).then_some(NO_CONSUMER);
        self.note_handed(owner.is_some(), &taken, effects);
        Some(self.hand_over(now, owner, taken))
    }

    /// Settles one delivery, of a consumer or taken.
    ///
    /// A message that goes back keeps its deadline, and expires as soon as it is the next if it is
    /// overdue. It may push the queue over its maximum length, which is then enforced before anybody
    /// is served (RabbitMQ's order).
    ///
    /// # Errors
    ///
    /// [`UnknownDelivery`] when it was settled before. Nothing has changed then, except that what
    /// was overdue has expired.
    pub fn settle(
        &mut self,
        now: Time,
        id: DeliveryId,
        how: Settlement,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UnknownDelivery> {
        match self.settle_many(now, iter::once(id), how, effects) {
            0 => Err(UnknownDelivery),
            _ => Ok(()),
        }
    }

    /// Settles deliveries together and returns how many there were; ids that are not known are
    /// passed over.
    ///
    /// Nobody is served until all are settled, so that messages which go back together are
    /// delivered again in the order they had. On a list of returned messages (see
    /// [`RequeueOrder::Returns`]) they join in the order given.
    pub fn settle_many(
        &mut self,
        now: Time,
        ids: impl IntoIterator<Item = DeliveryId>,
        how: Settlement,
        effects: &mut Vec<Effect>,
    ) -> usize {
        self.expire(now, effects);
        let mut settled = 0;
        for id in ids {
            let Some(Outstanding {
                taken, consumer, ..
            }) = self.unacked.remove(id)
            else {
                continue;
            };
            settled += 1;
            if consumer != NO_CONSUMER {
                self.consumers.count_settled(consumer, effects);
            }
            match how {
                Settlement::Ack => {
                    if let Some(stored) = taken.stored {
                        effects.push(Effect::Gone { stored });
                    }
                }
                Settlement::Requeue | Settlement::Abandon => self.put_back(taken, how, effects),
                Settlement::Discard => effects.push(taken.into_dead(DeathReason::Rejected)),
            }
        }
        if matches!(how, Settlement::Requeue | Settlement::Abandon) {
            self.drop_excess(now, effects);
            self.expire(now, effects);
        }
        self.dispatch(now, effects);
        self.relieve(now, effects);
        settled
    }

    /// Adds a consumer and gives it what it can have. While there are consumers the queue is in
    /// use.
    ///
    /// # Errors
    ///
    /// [`ConsumeError::ExclusiveUse`] when somebody consumes alone, or the new one wants to and
    /// others are there or the queue has a single active consumer.
    pub fn consume(
        &mut self,
        now: Time,
        options: ConsumerOptions,
        effects: &mut Vec<Effect>,
    ) -> Result<ConsumerId, ConsumeError> {
        self.expire(now, effects);
        let slow = options.slow.as_deref().map(slow::Limits::of);
        let id = self.consumers.register(options)?;
        if let Some(limits) = slow {
            self.slow.get_or_insert_default().add(limits);
        }
        self.touch(now);
        self.dispatch(now, effects);
        self.relieve(now, effects);
        Ok(id)
    }

    /// Takes a consumer out; false if it is not there. It gets nothing more. What it has not
    /// settled stays with it and can still be settled in any way.
    ///
    /// When it was the single active consumer, the next is served: the one of the highest priority,
    /// then the oldest. The lease begins when the last one goes.
    pub fn cancel(&mut self, now: Time, id: ConsumerId, effects: &mut Vec<Effect>) -> bool {
        self.expire(now, effects);
        let found = self.withdraw(now, id);
        if found {
            self.dispatch(now, effects);
            self.relieve(now, effects);
        }
        found
    }

    /// Takes a consumer out as [`cancel`](Self::cancel) does, and serves nobody in its place yet:
    /// for one whose deliveries are about to come back, which are the next then. To be followed by
    /// settling them, were it none: every other call may serve others.
    pub fn withdraw(&mut self, now: Time, id: ConsumerId) -> bool {
        let found = self.take_out(id);
        if found {
            self.touch(now);
        }
        found
    }

    /// Does what time and room allow: removes what is overdue, and after a
    /// [rebuild](Self::rebuild) what is too much, serves consumers that a gate had refused, and says
    /// so when the lease is over.
    ///
    /// To be called at [`next_deadline`](Self::next_deadline), and when a gate of one of its
    /// consumers has opened. More often is harmless.
    pub fn poll(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        self.drop_excess(now, effects);
        self.consumers.release_held();
        self.dispatch(now, effects);
        self.relieve(now, effects);
        if !self.lease_over && self.lease_deadline().is_due(now) {
            self.lease_over = true;
            effects.push(Effect::Expired);
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing happens before: a message expires,
    /// or the lease is over. `None` for never.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let lease = if self.lease_over {
            Time::MAX
        } else {
            self.lease_deadline()
        };
        let next = self.ready.deadline().min(lease);
        (next != Time::MAX).then_some(next)
    }

    /// Renews the lease: the queue was declared again, or asked for. [`take`](Self::take) and
    /// consumers do so themselves.
    pub fn touch(&mut self, now: Time) {
        self.used_at = now;
        self.lease_over = false;
    }

    /// Drops all that is ready and returns how many messages that were. They are not dead, they are
    /// gone. What is unacknowledged stays. Pages are dropped unread.
    pub fn purge(&mut self, effects: &mut Vec<Effect>) -> u64 {
        let purged = self.ready.len() as u64;
        self.ready.clear(effects);
        purged
    }

    /// Changes what may change: everything but [`durable`](QueueOptions::durable),
    /// [`max_priority`](QueueOptions::max_priority),
    /// [`single_active_consumer`](QueueOptions::single_active_consumer) and
    /// [`requeue`](QueueOptions::requeue), which stay as they are.
    ///
    /// Limits act at once, on what is there. A time to live acts on what comes later; deadlines are
    /// fixed when a message enters. A changed lease begins now.
    pub fn set_options(&mut self, now: Time, options: QueueOptions, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        if options.expires_ms != self.options.expires_ms {
            self.touch(now);
        }
        let QueueOptions {
            durable,
            max_priority,
            single_active_consumer,
            requeue,
            ..
        } = self.options;
        self.options = QueueOptions {
            durable,
            max_priority,
            single_active_consumer,
            requeue,
            ..options
        };
        self.drop_excess(now, effects);
    }
}

/// What settling and delivering consist of.
impl Queue {
    /// Has a message kept on disk that enters. Out of the way of those that are not kept.
    #[inline(never)]
    fn store(&mut self, message: &Message, deadline: Time, effects: &mut Vec<Effect>) -> Stored {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        effects.push(Effect::Store {
            number,
            message: message.clone(),
            deadline,
        });
        Stored { number, home: None }
    }

    /// Gives a message to a consumer that has been admitted.
    fn deliver(&mut self, now: Time, consumer: u32, taken: Taken, effects: &mut Vec<Effect>) {
        let owner = self.consumers.settles(consumer).then_some(consumer);
        self.note_handed(owner.is_some(), &taken, effects);
        if self.slow.is_some() && taken.delivery_count == 0 {
            self.tell_left_out(consumer, effects);
        }
        let id = self.consumers.id(consumer);
        let delivery = self.hand_over(now, owner, taken);
        // Made where it stays: on its way through the stack it would be copied in pieces that are not those in which it
        // was just written there, for which a processor waits.
        effects.extend(iter::once_with(|| Effect::Deliver {
            consumer: id,
            delivery,
        }));
    }

    /// Makes a delivery, which its owner, if any, has to settle.
    ///
    /// Always inlined: as a function of its own it would have the delivery copied once more on its
    /// way into an effect, which costs every message a twentieth of its instructions.
    #[inline(always)]
    fn hand_over(&mut self, now: Time, owner: Option<u32>, taken: Taken) -> Delivery {
        let delivery_count = taken.delivery_count;
        let redelivered = delivery_count > 0;
        let (id, message) = match owner {
            None => (None, taken.message),
            Some(owner) => {
                let message = taken.message.clone();
                (Some(self.unacked.insert(taken, owner, now)), message)
            }
        };
        Delivery {
            id,
            message,
            redelivered,
            delivery_count,
        }
    }

    /// Says what a delivery means for a message, if it is on disk.
    #[inline]
    fn note_handed(&mut self, to_settle: bool, taken: &Taken, effects: &mut Vec<Effect>) {
        if let Some(stored) = taken.stored {
            self.note_stored_handed(to_settle, taken.delivery_count > 0, stored, effects);
        }
    }

    /// Out of the way of messages that are not on disk.
    #[inline(never)]
    fn note_stored_handed(
        &mut self,
        to_settle: bool,
        redelivered: bool,
        stored: Stored,
        effects: &mut Vec<Effect>,
    ) {
        if !to_settle {
            return effects.push(Effect::Gone { stored });
        }
        if stored.home.is_none() {
            self.homeless_from = self.homeless_from.min(stored.number.get());
        }
        if !redelivered {
            effects.push(Effect::Handed { stored });
        }
    }

    /// Puts a message back that was delivered, unless it has come back too often.
    fn put_back(&mut self, mut taken: Taken, how: Settlement, effects: &mut Vec<Effect>) {
        taken.delivery_count = taken.delivery_count.saturating_add(1);
        let limit = self.options.delivery_limit;
        if limit.is_some_and(|limit| taken.delivery_count > limit) {
            return effects.push(taken.into_dead(DeathReason::DeliveryLimit));
        }
        if let Some(stored) = taken.stored {
            effects.push(Effect::Returned {
                stored,
                delivery_count: taken.delivery_count,
            });
        }
        let (level, seq, waiting) = (taken.level, taken.seq, taken.into_waiting());
        match self.options.requeue {
            RequeueOrder::OldPlace => self.ready.insert_returned(level, seq, waiting),
            RequeueOrder::Returns if limit.is_none() && how == Settlement::Requeue => {
                self.ready.push(level, waiting, self.chunk_len);
            }
            RequeueOrder::Returns => {
                self.ready.insert_returned(level, self.returns, waiting);
                self.returns += 1;
            }
        }
    }
}

/// How much there is, not what: a queue can hold a million messages.
impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("options", &self.options)
            .field("ready", &self.ready_len())
            .field("unacked", &self.unacked_len())
            .field("consumers", &self.consumer_len())
            .finish_non_exhaustive()
    }
}
