//! A message that was handed to this process.

use std::sync::Arc;

use leveret_amqp_codec::{Properties, RawProperties};
use leveret_queue_store::{DeliveryId, Message, Settlement};

use crate::clock::Clock;
use crate::vhost::{HISTORY_GAP, HISTORY_ID, Position, QueueCell, position_in};

/// A message from a queue, to be settled with [`ack`](Self::ack), [`nack`](Self::nack) or [`reject`](Self::reject).
///
/// Dropped without any of these it goes back to its old place in the queue, in a [quorum](crate::QueueType::Quorum) queue to
/// the front, so a worker that panics loses nothing.
/// Deliveries to a consumer with `no_ack` are settled already.
#[derive(Debug)]
pub struct Delivery {
    /// None once it is settled. What need not be settled holds on to nothing.
    unsettled: Option<(Arc<Source>, DeliveryId)>,
    message: Message,
    redelivered: bool,
    left_out: u64,
}

/// Where deliveries come from and go back to.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) queue: Arc<QueueCell>,
    pub(super) clock: Clock,
}

impl Delivery {
    pub(super) fn new(
        source: &Arc<Source>,
        delivery: leveret_queue_store::Delivery,
        left_out: u64,
    ) -> Self {
        Self {
            unsettled: delivery.id.map(|id| (Arc::clone(source), id)),
            message: delivery.message,
            redelivered: delivery.redelivered,
            left_out,
        }
    }

    /// The message itself.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.message.body()
    }

    /// The exchange it was published to; empty for the default one.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.message.exchange()
    }

    /// The key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.message.routing_key()
    }

    /// Its properties and headers.
    #[must_use]
    pub fn properties(&self) -> Properties {
        Properties::from(RawProperties::from_validated_bytes(
            self.message.properties(),
        ))
    }

    /// Where the message stands in the history of the exchange that it came by, for
    /// [`QueueOptions::resume_from`](crate::QueueOptions::resume_from). None when no exchange on its way keeps one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position_in(HISTORY_ID)
    }

    /// Some of the messages between the position that was resumed from and this one may be missing, because they were not
    /// kept long enough; none after the position that this gives. The message itself is the first that there is.
    #[must_use]
    pub fn gap(&self) -> Option<Position> {
        self.position_in(HISTORY_GAP)
    }

    fn position_in(&self, header: &str) -> Option<Position> {
        let properties = RawProperties::from_validated_bytes(self.message.properties());
        position_in(properties.headers(), header)
    }

    /// It was handed to a consumer before, who may have seen it.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// How many messages were dropped just before this one because its consumer was slow, and wants the
    /// [oldest dropped](crate::WhenSlow::DropOldest) then.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.left_out
    }

    /// The message with everything it came with, to be kept or passed on.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// It is done with: the queue forgets it.
    pub fn ack(mut self) {
        self.settle(Settlement::Ack);
    }

    /// It was not done: back to its old place in the queue, or, without `requeue`, dead-lettered or forgotten.
    pub fn nack(mut self, requeue: bool) {
        self.settle(if requeue {
            Settlement::Requeue
        } else {
            Settlement::Discard
        });
    }

    /// The same as [`nack`](Self::nack), under the name that AMQP had first.
    pub fn reject(self, requeue: bool) {
        self.nack(requeue);
    }

    fn settle(&mut self, how: Settlement) {
        if let Some((source, id)) = self.unsettled.take() {
            let now = source.clock.now();
            source.queue.settle(now, std::iter::once(id), how);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle(Settlement::Abandon);
    }
}
