//! Who is subscribed, as a list and as a stream of events.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use leveret_amqp_codec::{RawProperties, Table, ValueRef};
use leveret_queue_store::Time;

use super::{Client, ConsumeOptions, Consumer, Delivery, QueueOptions};
use crate::error::Error;
use crate::exchange::presence::{CONNECTIONS, EVENT, Event, MODE, NAME, Present, SINCE, USER};

/// A member that is present at a key of an exchange of type [`Presence`](crate::ExchangeType::Presence).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentMember {
    /// Where.
    pub key: Arc<str>,
    /// What it is called: the user, or what that calls itself behind its name (`guest/Ann`).
    pub member: Arc<str>,
    /// The user who has logged in, or for whom an impersonator speaks.
    pub user: Arc<str>,
    /// When it came, to the millisecond.
    pub since: Time,
    /// How many connections it has there. None while its last one broke and it may come back.
    pub connections: u32,
}

/// What has become of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceKind {
    /// It was there already.
    Present,
    /// It has come.
    Joined,
    /// It has unsubscribed, or ended its connection in order.
    Left,
    /// Its connection broke, and it has not come back within the exchange's
    /// [grace](crate::ExchangeOptions::presence_grace).
    Lost,
}

/// Something that has become of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceEvent {
    /// What.
    pub kind: PresenceKind,
    /// Of whom, as it was then.
    pub member: PresentMember,
}

/// The events of the keys that match a pattern, in the order in which they happen; also a [`Stream`] of them.
///
/// First comes who is present, then what changes, nothing missing and nothing twice. It ends when the broker is shut down.
/// After the exchange has been deleted nothing comes any more. Events that are not taken wait, and count against the
/// memory limit. Dropping it ends it.
#[derive(Debug)]
pub struct Presence {
    consumer: Consumer,
    exchange: Arc<str>,
}

impl Client {
    /// Watches who is present at the keys of an exchange of type [`Presence`](crate::ExchangeType::Presence) that match a
    /// pattern, with wildcards as in bindings.
    ///
    /// # Errors
    /// When the exchange does not exist, or is of another type.
    pub async fn presence(&self, exchange: &str, pattern: &str) -> Result<Presence, Error> {
        self.vhost()?.require_presence(exchange)?;
        let options = QueueOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueOptions::default()
        };
        let queue = self.declare_queue("", options).await?;
        let options = ConsumeOptions {
            no_ack: true,
            ..ConsumeOptions::default()
        };
        // The queue goes with its consumer, also when it cannot be bound.
        let consumer = self.consume(&queue.name, options).await?;
        let watch: Table = [(MODE, "watch")].into_iter().collect();
        self.bind_queue_with(&queue.name, exchange, pattern, &watch)
            .await?;
        Ok(Presence {
            consumer,
            exchange: exchange.into(),
        })
    }

    /// Who is present at this moment at the keys that match a pattern, by key and name.
    ///
    /// # Errors
    /// When the exchange does not exist, or is of another type.
    pub async fn present(
        &self,
        exchange: &str,
        pattern: &str,
    ) -> Result<Vec<PresentMember>, Error> {
        let present = self.vhost()?.present(exchange, pattern)?;
        Ok(present.into_iter().map(PresentMember::from).collect())
    }
}

impl From<Present> for PresentMember {
    fn from(present: Present) -> Self {
        let Present {
            key,
            member,
            since,
            connections,
        } = present;
        Self {
            key,
            member: member.name,
            user: member.user,
            since,
            connections,
        }
    }
}

impl Presence {
    /// Waits for the next event; none when there will be no more.
    ///
    /// # Cancel safety
    /// An event is only taken when this returns it.
    pub async fn recv(&mut self) -> Option<PresenceEvent> {
        loop {
            let delivery = self.consumer.recv().await?;
            if let Some(event) = PresenceEvent::read(&delivery, &self.exchange) {
                return Some(event);
            }
        }
    }

    /// Takes the next event if one is there.
    pub fn try_recv(&mut self) -> Option<PresenceEvent> {
        loop {
            let delivery = self.consumer.try_recv()?;
            if let Some(event) = PresenceEvent::read(&delivery, &self.exchange) {
                return Some(event);
            }
        }
    }
}

impl Stream for Presence {
    type Item = PresenceEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PresenceEvent>> {
        loop {
            let Some(delivery) = ready!(Pin::new(&mut self.consumer).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            if let Some(event) = PresenceEvent::read(&delivery, &self.exchange) {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl PresenceEvent {
    /// None for what is no event: somebody may have sent it to the queue by its name.
    fn read(delivery: &Delivery, exchange: &str) -> Option<Self> {
        let message = delivery.message();
        if message.exchange() != exchange {
            return None;
        }
        let headers = RawProperties::from_validated_bytes(message.properties()).headers()?;
        let text = |name| headers.get(name).and_then(ValueRef::as_str);
        let number = |name| headers.get(name).and_then(|value| value.as_integer());
        let kind = match text(EVENT)? {
            event if event == Event::Present.as_str() => PresenceKind::Present,
            event if event == Event::Joined.as_str() => PresenceKind::Joined,
            event if event == Event::Left.as_str() => PresenceKind::Left,
            event if event == Event::Lost.as_str() => PresenceKind::Lost,
            _ => return None,
        };
        let member = PresentMember {
            key: message.routing_key().into(),
            member: text(NAME)?.into(),
            user: text(USER)?.into(),
            since: Time::from_millis(u64::try_from(number(SINCE)?).ok()?),
            connections: u32::try_from(number(CONNECTIONS)?).ok()?,
        };
        Some(Self { kind, member })
    }
}
