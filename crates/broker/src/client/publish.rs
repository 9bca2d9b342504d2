//! Publishing: from an application's message to the queues that it reaches, and what the application hears of it.

use std::sync::Arc;

use leveret_amqp_codec::{Peek, Properties, RawProperties};
use leveret_queue_store::{Lsn, Message, MessageParts, Time};

use super::{Client, Confirm, Publish};
use crate::delivery_mode;
use crate::error::{Error, Refusal};
use crate::expiration;
use crate::vhost::{Route, RouteCache, VirtualHost};

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) cache: RouteCache,
    scratch: Vec<u8>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            // Several threads may publish at once.
            cache: RouteCache::counting(),
            scratch: Vec::new(),
        }
    }
}

impl Client {
    /// Publishes a message. It is with its queues when this returns; the future tells what became of it, as a publisher
    /// confirm does, and need not be awaited.
    ///
    /// The empty exchange leads to the queue whose name is the routing key.
    ///
    /// While messages take more memory than the [limit](crate::Builder::memory_limit) the future waits, which is how a
    /// publisher that awaits its confirms is slowed down.
    ///
    /// Where an [`Authorizer`](crate::Authorizer) has to be asked whether the user may publish this, the message is with its
    /// queues as soon as that is known, in its order among what this client does. Meanwhile messages wait: 1,024 at most, of
    /// 16 MiB together unless a single one has more; what is too much is an error.
    ///
    /// # Errors
    /// The future resolves to an error when the exchange does not exist or may not be published to, when a queue whose
    /// overflow behaviour says so refused the message, and, for a [mandatory](Publish::mandatory) one, when it reached
    /// no queue: that error gives the message back. With a data directory also when the disk failed before a persistent
    /// message for a durable queue was safe there.
    pub fn publish(&self, publish: Publish<'_>) -> Confirm {
        if let Some(asking) = &self.inner.asking {
            return self.publish_asked(asking, &publish);
        }
        let result = self.publish_now(&publish);
        Confirm::new(result, &self.inner.shared.services)
    }

    /// As [`Client::publish_now`], on the way that few messages take.
    #[cold]
    #[inline(never)]
    pub(super) fn publish_if_permitted(&self, publish: &Publish<'_>) -> Result<Option<Lsn>, Error> {
        self.publish_now(publish)
    }

    /// Tells up to where the journal must be safe before the message is, if it has to be.
    #[inline(always)]
    fn publish_now(&self, publish: &Publish<'_>) -> Result<Option<Lsn>, Error> {
        for name in [publish.exchange, publish.routing_key] {
            if name.len() > 255 {
                return Err(Refusal::precondition_failed(
                    "names and routing keys have at most 255 bytes",
                )
                .into());
            }
        }
        let properties = publish
            .properties
            .as_ref()
            .map(Properties::to_bytes)
            .unwrap_or_default();
        let raw = RawProperties::from_validated_bytes(&properties);
        let peek = if raw.is_empty() {
            Peek::default()
        } else {
            raw.peek()
        };
        let claimed = peek.user_id.as_deref();
        self.caller().check_user_id(claimed)?;
        let expiration_ms = expiration::of(&peek)?;
        let (route, message) = {
            let mut publisher = self.inner.publisher.lock();
            let Publisher { cache, scratch } = &mut *publisher;
            let route = self.vhost()?.route(
                self.caller(),
                cache,
                publish.exchange,
                publish.routing_key,
                raw,
                peek.headers,
            )?;
            let parts = MessageParts {
                exchange: publish.exchange,
                routing_key: publish.routing_key,
                properties: &properties,
                body: publish.body,
                persistent: delivery_mode::is_persistent(&peek)?,
                priority: peek.priority.unwrap_or(0),
                expiration_ms,
            };
            (route, Message::new(&parts, scratch))
        };
        let now = self.inner.shared.now();
        let mut safe_at = self.inner.vhost.capture(now, &route, &message);
        if route.passes.is_some() {
            return self.pass(now, route, message, publish.mandatory, safe_at);
        }
        let Some((last, others)) = route.queues.split_last() else {
            if route.captures.is_empty() {
                self.inner.vhost.note_unroutable(now, &message);
            }
            return if publish.mandatory {
                Err(Error::unroutable(message))
            } else {
                Ok(safe_at)
            };
        };
        let mut refused = Vec::new();
        for queue in others {
            let message = std::iter::once((message.clone(), 0));
            safe_at = safe_at.max(queue.publish(now, message, &mut refused).safe_at);
        }
        let message = std::iter::once((message, 0));
        safe_at = safe_at.max(last.publish(now, message, &mut refused).safe_at);
        if refused.is_empty() {
            Ok(safe_at)
        } else {
            Err(Error::queue_full())
        }
    }

    /// Publishes a message whose way leads through exchanges that keep history.
    fn pass(
        &self,
        now: Time,
        route: Arc<Route>,
        message: Message,
        mandatory: bool,
        safe_at: Option<Lsn>,
    ) -> Result<Option<Lsn>, Error> {
        let unroutable = (mandatory && route.queues.is_empty()).then(|| message.clone());
        let mut refused = Vec::new();
        let stored = VirtualHost::pass(now, route, message, &mut refused);
        match unroutable {
            Some(message) => Err(Error::unroutable(message)),
            None if refused.is_empty() => Ok(safe_at.max(stored)),
            None => Err(Error::queue_full()),
        }
    }
}
