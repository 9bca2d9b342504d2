//! The deliveries of a consumer.

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer, Result};

use crate::broker::fresh_name;
use crate::client::soon;
use crate::harness::QUIET;

/// The deliveries of one consumer.
pub(crate) struct Inbox(Consumer);

impl Inbox {
    /// Starts a consumer with manual acknowledgement on `queue`.
    pub(crate) async fn of(channel: &Channel, queue: &ShortString) -> Result<Self> {
        Self::with(channel, queue, BasicConsumeOptions::default()).await
    }

    /// Starts a consumer with these options on `queue`.
    pub(crate) async fn with(
        channel: &Channel,
        queue: &ShortString,
        options: BasicConsumeOptions,
    ) -> Result<Self> {
        let tag = fresh_name("consumer");
        channel
            .basic_consume(queue.clone(), tag, options, FieldTable::default())
            .await
            .map(Self)
    }

    /// The consumer's tag.
    pub(crate) fn tag(&self) -> ShortString {
        self.0.tag()
    }

    /// Waits for the next `count` deliveries.
    ///
    /// # Panics
    ///
    /// When one of them is late, or the consumer ends before.
    pub(crate) async fn take(&mut self, count: usize) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::with_capacity(count);
        while deliveries.len() < count {
            match soon("a delivery", self.0.next()).await {
                Some(delivery) => deliveries.push(delivery?),
                None => panic!(
                    "the consumer ended after {} of {count} deliveries",
                    deliveries.len()
                ),
            }
        }
        Ok(deliveries)
    }

    /// Panics if there is one more delivery now or a little later.
    pub(crate) async fn stays_empty(&mut self) {
        if let Ok(extra) = tokio::time::timeout(QUIET, self.0.next()).await {
            panic!("nothing more expected, got {extra:?}");
        }
    }

    /// Waits until the broker or the client has ended the consumer.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        match soon("the end of the consumer", self.0.next()).await {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(delivery)) => panic!("no delivery expected, got {delivery:?}"),
        }
    }
}
