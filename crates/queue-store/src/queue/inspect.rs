//! Looking at a queue without touching it.

use super::level::Waits;
use super::unacked::NO_CONSUMER;
use super::{ConsumerId, Queue};
use crate::{ConsumerOptions, DeliveryId, Message, PageId, QueueOptions, Time};

/// What [`Queue::browse`] comes across.
#[derive(Clone, Copy, Debug)]
pub enum BrowsedItem<'a> {
    /// A message.
    Message(Browsed<'a>),
    /// Messages that are out of memory.
    Page {
        /// The page to read them from.
        page: PageId,
        /// How many messages are to be delivered before the first of them.
        position: usize,
        /// How many there are.
        len: usize,
        /// The first and the last slot of those in the page that are meant.
        slots: (u16, u16),
    },
}

/// A waiting message, as [`Queue::browse`] finds it.
#[derive(Clone, Copy, Debug)]
pub struct Browsed<'a> {
    /// How many messages are to be delivered before it.
    pub position: usize,
    /// The message.
    pub message: &'a Message,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often it has come back.
    pub delivery_count: u32,
    /// When it expires, if it does.
    pub expires_at: Option<Time>,
}

/// A message that somebody has and has not settled, as [`Queue::unacked`] finds it.
#[derive(Clone, Copy, Debug)]
pub struct UnackedDelivery<'a> {
    /// What to settle it with.
    pub id: DeliveryId,
    /// Who has it; `None` if it was taken without consuming. The consumer may have been cancelled.
    pub consumer: Option<ConsumerId>,
    /// When it was delivered.
    pub since: Time,
    /// The message.
    pub message: &'a Message,
    /// How often it had come back before this delivery.
    pub delivery_count: u32,
}

impl Queue {
    /// What the queue was told, with later changes.
    #[must_use]
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// How many messages are ready. Overdue ones that are not the first are among them.
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// A consumer that a gate has refused and that could go on if the gate let it: what is ready
    /// waits for it.
    #[must_use]
    pub fn held_consumer(&self) -> Option<ConsumerId> {
        self.consumers.held()
    }

    /// The body bytes that are ready.
    #[must_use]
    pub fn ready_bytes(&self) -> u64 {
        self.ready.body_bytes()
    }

    /// How many messages are in memory: those that are ready and not paged out, and those that are
    /// delivered and not settled.
    #[must_use]
    pub fn resident_len(&self) -> usize {
        self.ready.resident_len() + self.unacked.len()
    }

    /// What the messages that are in memory hold of it, [`Message::size_bytes`] of each: properties and
    /// names as well as bodies.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.ready.resident_bytes() + self.unacked.size_bytes()
    }

    /// How many messages are delivered and not settled.
    #[must_use]
    pub fn unacked_len(&self) -> usize {
        self.unacked.len()
    }

    /// The body bytes that are delivered and not settled.
    #[must_use]
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked.body_bytes()
    }

    /// How many consumers there are, active or not.
    #[must_use]
    pub fn consumer_len(&self) -> usize {
        self.consumers.len()
    }

    /// What the consumer was told, while it consumes.
    #[must_use]
    pub fn consumer_options(&self, consumer: ConsumerId) -> Option<&ConsumerOptions> {
        self.consumers.options(consumer)
    }

    /// Whether messages can reach the consumer: it is there, and it is not standing by for the
    /// single active one.
    #[must_use]
    pub fn is_active(&self, consumer: ConsumerId) -> bool {
        self.consumers.is_active(consumer)
    }

    /// All that is ready, in the order in which it is to be delivered.
    pub fn browse(&self) -> impl Iterator<Item = BrowsedItem<'_>> {
        let mut next = 0;
        self.ready.iter().map(move |waits| {
            let position = next;
            match waits {
                Waits::InMemory(waiting) => {
                    next += 1;
                    BrowsedItem::Message(Browsed {
                        position,
                        message: waiting.message,
                        redelivered: waiting.delivery_count > 0,
                        delivery_count: waiting.delivery_count,
                        expires_at: (waiting.deadline != Time::MAX).then_some(waiting.deadline),
                    })
                }
                Waits::Paged(paged) => {
                    let (page, len) = (paged.page, paged.len as usize);
                    next += len;
                    BrowsedItem::Page {
                        page,
                        position,
                        len,
                        slots: paged.slots.unwrap_or((0, u16::MAX)),
                    }
                }
            }
        })
    }

    /// When a message was delivered that is not settled yet; `None` when the id names none.
    #[must_use]
    pub fn delivered_at(&self, id: DeliveryId) -> Option<Time> {
        Some(self.unacked.get(id)?.since)
    }

    /// Who has what and since when, in no particular order.
    pub fn unacked(&self) -> impl Iterator<Item = UnackedDelivery<'_>> {
        self.unacked
            .iter()
            .map(|(id, outstanding)| UnackedDelivery {
                id,
                consumer: (outstanding.consumer != NO_CONSUMER)
                    .then(|| self.consumers.id(outstanding.consumer)),
                since: outstanding.since,
                message: &outstanding.taken.message,
                delivery_count: outstanding.taken.delivery_count,
            })
    }
}
