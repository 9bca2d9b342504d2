//! What a consumer wants done when it is slow.

use leveret_queue_store::{SlowAction, SlowConsumer};

use crate::slow;

/// What happens when more waits for a consumer than it can take: it does not look, has its
/// [prefetch](crate::ConsumeOptions::prefetch), or is given messages faster than it takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenSlow {
    /// It waits in the queue.
    #[default]
    Wait,
    /// Beyond the limit the oldest of what waits is dropped as by the queue's own length limit, and dead-lettered where
    /// that would be. [`Delivery::dropped`](crate::Delivery::dropped) of the next delivery says how many messages were
    /// left out before it. No more than 64 KiB are on their way to the consumer.
    ///
    /// Where several consume from a queue, nothing is dropped unless all of them want it, and then by the largest of
    /// their limits.
    DropOldest(SlowLimit),
    /// Beyond the limit the consumer is ended: [`Consumer::was_too_slow`](crate::Consumer::was_too_slow). What waits is
    /// for others.
    Close(SlowLimit),
}

/// How much may wait for a consumer. A single message may be of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowLimit {
    /// How many messages, at least one; 1000 by default.
    pub messages: u64,
    /// How many bytes of bodies; 1 MiB by default.
    pub bytes: u64,
}

impl Default for SlowLimit {
    fn default() -> Self {
        Self {
            messages: slow::LIMIT_DEFAULT,
            bytes: slow::LIMIT_BYTES_DEFAULT,
        }
    }
}

impl WhenSlow {
    /// For the queue. The consumer's outbox is its own, so it needs no other window.
    pub(super) fn to_consumer(self) -> Option<Box<SlowConsumer>> {
        let (action, limit) = match self {
            Self::Wait => return None,
            Self::DropOldest(limit) => (SlowAction::DropOldest, limit),
            Self::Close(limit) => (SlowAction::Close, limit),
        };
        Some(Box::new(SlowConsumer {
            action,
            limit: limit.messages.max(1),
            limit_bytes: limit.bytes,
            own_window: None,
        }))
    }
}
