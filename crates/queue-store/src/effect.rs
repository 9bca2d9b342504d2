//! What a queue wants done.

use std::num::NonZeroU64;

use crate::{ConsumerId, Message, PageId, Stored, Time};

/// Something the caller has to carry out, in the order in which it was appended.
///
/// [`Store`](Self::Store), [`Handed`](Self::Handed), [`Returned`](Self::Returned) and
/// [`Gone`](Self::Gone) are for whoever keeps the messages of a durable queue on disk: what they
/// say in their order is enough to [rebuild](crate::Queue::rebuild) the queue. A queue that is not
/// durable has none of them, nor has a message that does not ask to survive a restart.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Hand the delivery to the consumer.
    Deliver {
        /// Who gets it. It may have been cancelled since; the delivery then has to be settled for
        /// it.
        consumer: ConsumerId,
        /// What it gets.
        delivery: Delivery,
    },
    /// The message has left the queue undelivered or refused: dead-letter it, or forget it.
    Dead {
        /// The message, as it was published.
        message: Message,
        /// What it died of.
        reason: DeathReason,
        /// How often it had come back.
        delivery_count: u32,
        /// What it is called on disk, if it is there. It has left the queue for good: there is no
        /// [`Gone`](Self::Gone) for it as well, so that the caller may keep it on disk until the
        /// dead letter has arrived.
        stored: Option<Stored>,
    },
    /// A message has entered a durable queue and is to be kept on disk. It comes before everything
    /// else about that message.
    Store {
        /// Its number in the queue, higher than all before.
        number: NonZeroU64,
        /// The message.
        message: Message,
        /// When it expires; [`Time::MAX`] for never.
        deadline: Time,
    },
    /// A message that is on disk is being delivered and has to be settled, and it has not come back
    /// before: should it be found on disk after a restart, it is redelivered from now on.
    Handed {
        /// What it is called.
        stored: Stored,
    },
    /// A message that is on disk has come back.
    Returned {
        /// What it is called.
        stored: Stored,
        /// How often it has come back now.
        delivery_count: u32,
    },
    /// A message that is on disk has left the queue for good: settled, delivered to somebody who
    /// does not settle, or purged.
    Gone {
        /// What it is called.
        stored: Stored,
    },
    /// Nothing in a page is needed any more: its messages were purged while they were out of memory
    /// (and there is no [`Gone`](Self::Gone) for each), or it has been brought back and none of its
    /// messages has to survive a restart. Queues that are not durable say this too.
    PageGone {
        /// Which page.
        page: PageId,
    },
    /// Of a page nothing is needed any more from one slot to another, both included. Others in it
    /// may be: the messages of these were purged while they were out of memory, while some that had
    /// left before them were with consumers.
    SlotsGone {
        /// Which page.
        page: PageId,
        /// The first slot.
        first: u16,
        /// The last slot.
        last: u16,
    },
    /// The gate of this consumer's channel had refused somebody and now has room. What that changes
    /// in this queue has been done; poll the other queues that the gate belongs to.
    GateOpened {
        /// Whose gate it is. It may have been cancelled since.
        consumer: ConsumerId,
    },
    /// The window of this consumer had refused somebody because of what this queue had entered and has now given back, with
    /// nothing in it that would be written and tell: poll the queues that the window belongs to, this one too. Hardly ever.
    WindowOpened {
        /// Whose window it is.
        consumer: ConsumerId,
    },
    /// So many messages died of the maximum length since something was last delivered for the first
    /// time to a consumer that [drops the oldest](crate::SlowAction::DropOldest): they would have
    /// come just before its [`Deliver`](Self::Deliver), which is the next effect.
    LeftOut {
        /// Who missed them.
        consumer: ConsumerId,
        /// How many.
        count: u64,
    },
    /// Too much waited for a consumer that wants to be [closed](crate::SlowAction::Close) then. It
    /// has been cancelled; what it has not settled can still be settled.
    TooSlow {
        /// Who was too slow.
        consumer: ConsumerId,
    },
    /// The queue was unused for [`QueueOptions::expires_ms`](crate::QueueOptions::expires_ms):
    /// delete it with what it holds. Said once, until the queue is used again.
    Expired,
}

/// What a message died of. RabbitMQ's reasons in `x-death`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DeathReason {
    /// It waited too long: `expired`.
    Expired,
    /// It was one too many: `maxlen`.
    MaxLength,
    /// A consumer discarded it: `rejected`.
    Rejected,
    /// It came back too often: `delivery_limit`.
    DeliveryLimit,
}

impl DeathReason {
    /// The word for it in an `x-death` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// One message on its way to one consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// What to settle it with; `None` when there is nothing to settle.
    pub id: Option<DeliveryId>,
    /// The message.
    pub message: Message,
    /// Whether it had been delivered before. Who got it then need not have seen it.
    pub redelivered: bool,
    /// How often it has come back.
    pub delivery_count: u32,
}

/// Names one unacknowledged delivery of one queue.
///
/// Ids are not used again: one that has been settled stays unknown to its queue for ever. The ids
/// of different queues are alike, so keep them apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryId {
    /// Which delivery of the queue it was. First, so that ids order as the deliveries were made.
    pub(crate) serial: NonZeroU64,
    /// Where the queue keeps it.
    pub(crate) slot: u32,
}

/// What became of a publish.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a refused message has to be reported to its publisher"]
pub enum Published {
    /// The queue has it, or has dealt with it: delivered, expired or dropped it.
    Accepted,
    /// The queue is full. Here it is back.
    Rejected(Message),
}

impl Published {
    /// Whether the queue took the message.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_compact() {
        // An effect is written once and read once for every delivery; its size is part of the
        // speed.
        assert_eq!(size_of::<Option<DeliveryId>>(), 16);
        assert_eq!(size_of::<Delivery>(), 40);
        assert_eq!(size_of::<Effect>(), 48);
    }
}
