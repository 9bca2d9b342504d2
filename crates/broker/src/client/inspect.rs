//! Looking at what waits in queues and exchanges, where it may be called off, and at the ways that messages take.

use leveret_amqp_codec::Properties;
use leveret_queue_store::Message;

use super::{Client, QueueInfo};
use crate::error::{Error, Refusal};
use crate::vhost::{Explanation, Scheduled, Unacked, Unroutable};

impl Client {
    /// How a queue stands at the moment. Its lease is not renewed by looking.
    ///
    /// # Errors
    /// When it does not exist, or is exclusive to another client.
    pub async fn queue_info(&self, name: &str) -> Result<QueueInfo, Error> {
        let queue = self.decided(|| self.queue(name)).await?;
        Ok(QueueInfo::new(queue.name(), queue.counts()))
    }

    /// Looks at the first `limit` messages that are ready, in the order in which they will be delivered, and leaves them
    /// as they are.
    ///
    /// # Errors
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn browse(&self, queue: &str, limit: usize) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        let queue = self.decided(|| self.queue(queue)).await?;
        queue.browse(|message, _| {
            if messages.len() < limit {
                messages.push(message.clone());
            }
            messages.len() < limit
        });
        Ok(messages)
    }

    /// The messages that wait in an exchange of type [`Delayed`](crate::ExchangeType::Delayed), in the order in which they
    /// will be routed.
    ///
    /// # Errors
    /// When the exchange does not exist, or is of another type, or what it has on disk cannot be read; for clients that act
    /// for a user.
    pub async fn scheduled(&self, exchange: &str) -> Result<Vec<Scheduled>, Error> {
        self.caller().require_trust()?;
        let found = self.vhost()?.delayed(exchange)?.list();
        Ok(found.map_err(|error| Refusal::unreadable(&error))?)
    }

    /// Takes a message out of a delayed exchange before its time and gives it back; none when its time has come
    /// meanwhile.
    ///
    /// # Errors
    /// When the exchange does not exist, or is of another type, or what it has on disk cannot be read; for clients that act
    /// for a user.
    pub async fn cancel_scheduled(
        &self,
        exchange: &str,
        id: u64,
    ) -> Result<Option<Message>, Error> {
        self.caller().require_trust()?;
        let found = self.vhost()?.delayed(exchange)?.cancel(id);
        Ok(found.map_err(|error| Refusal::unreadable(&error))?)
    }

    /// How a message with this key and these properties would be routed at this moment, binding by binding, with those
    /// that nearly matched. Nothing is published.
    ///
    /// # Errors
    /// When the exchange does not exist or may not be published to; for clients that act for a user.
    pub async fn explain(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
    ) -> Result<Explanation, Error> {
        self.caller().require_trust()?;
        Ok(self
            .inner
            .vhost
            .explain(exchange, routing_key, properties)?)
    }

    /// The latest messages of this virtual host that reached no queue, oldest first: 64 of them, and one MiB, at most.
    /// [`Client::explain`] tells why. None for clients that act for a user.
    pub async fn unroutable(&self) -> Vec<Unroutable> {
        if self.caller().require_trust().is_err() {
            return Vec::new();
        }
        self.inner.vhost.unroutable()
    }

    /// Who holds messages of a queue without having settled them, and since when, oldest first.
    ///
    /// # Errors
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn unacked(&self, queue: &str) -> Result<Vec<Unacked>, Error> {
        let mut held = self.decided(|| self.queue(queue)).await?.unacked();
        let holders = held.iter().filter_map(|held| held.holder).collect();
        let endpoints = self.inner.shared.registry.endpoints(&holders);
        for held in &mut held {
            let ends = held.holder.and_then(|id| endpoints.get(&id));
            held.connection = ends.map(ToString::to_string);
        }
        Ok(held)
    }
}
