//! A stream of deliveries.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use leveret_queue_store::{ConsumerId, Time};

use super::delivery::Source;
use super::{Client, Delivery};
use crate::clock::Sleep;
use crate::connection::Registration;
use crate::outbox::{AfterGap, Outbox, Outgoing, WINDOW_BYTES};

/// How many bytes of messages are taken before the window hears of it, unless all that is there has been taken. An
/// eighth keeps the queue at work while the rest is looked at, and spares nearly every message the trouble.
const TAKEN_BYTES_MAX: usize = WINDOW_BYTES / 8;

/// Receives the messages of a queue, in order; also a [`Stream`] of them.
///
/// It ends when the queue is deleted or the broker shut down, and when the user that its client acts for is deleted, may not
/// read from the queue any more with a [new secret](Client::update_secret), or has a login that has expired. A consumer that is not polled is given 512 KiB of messages
/// and then passed over, unless it [wants something else](crate::ConsumeOptions::when_slow). Dropping it cancels it: what it was given and has not taken goes back to the queue in its old
/// place, while deliveries that were taken remain to be settled.
#[derive(Debug)]
pub struct Consumer {
    /// Stays connected as long as it has consumers.
    client: Client,
    outbox: Arc<Outbox>,
    source: Arc<Source>,
    id: ConsumerId,
    inbox: VecDeque<Outgoing>,
    /// Bytes of messages that were taken and still count in the window.
    taken: usize,
    over: bool,
    was_too_slow: bool,
    /// When the client's login ends, and what wakes for it.
    expiry: Option<(Time, Sleep)>,
    /// Tells the broker's end to the outbox.
    _registration: Registration,
}

impl Consumer {
    pub(super) fn new(
        client: Client,
        registration: Registration,
        outbox: Arc<Outbox>,
        source: Source,
        id: ConsumerId,
    ) -> Self {
        Self {
            client,
            expiry: None,
            outbox,
            source: Arc::new(source),
            id,
            inbox: VecDeque::new(),
            taken: 0,
            over: false,
            was_too_slow: false,
            _registration: registration,
        }
    }

    /// Waits for the next message; none when there will be no more.
    ///
    /// # Cancel safety
    /// A message is only taken when this returns it.
    pub async fn recv(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Whether the stream has ended because the consumer was [too slow](crate::WhenSlow::Close) for its own taste.
    #[must_use]
    pub fn was_too_slow(&self) -> bool {
        self.was_too_slow
    }

    /// Takes the next message if one is there.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        match self.poll_recv(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(delivery) => delivery,
            Poll::Pending => None,
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.client.expires_at().is_some() && self.has_expired(cx) {
            self.over = true;
        }
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            match self.inbox.pop_front() {
                Some(Outgoing::Deliver { delivery, .. }) => {
                    return Poll::Ready(Some(self.take(delivery, 0)));
                }
                Some(Outgoing::DeliverAfterGap { after_gap, .. }) => {
                    let AfterGap { delivery, left_out } = *after_gap;
                    return Poll::Ready(Some(self.take(delivery, left_out)));
                }
                Some(Outgoing::ConsumerTooSlow { .. }) => {
                    self.was_too_slow = true;
                    self.over = true;
                }
                Some(Outgoing::ConsumerCancelled { .. } | Outgoing::Close { .. }) => {
                    self.over = true
                }
                Some(Outgoing::WindowOpened) => self.source.queue.poll(self.source.clock.now()),
                Some(_) => {}
                None => {
                    if self.outbox.poll_take(cx, &mut self.inbox).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Whether the client's login has ended. When it has not, this is to be asked again once it has.
    #[cold]
    fn has_expired(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(at) = self.client.expires_at() else {
                return false;
            };
            let clock = &self.source.clock;
            if at <= clock.now() {
                return true;
            }
            let (_, sleep) = match &mut self.expiry {
                Some(expiry) if expiry.0 == at => expiry,
                expiry => expiry.insert((at, clock.sleep_until(at))),
            };
            if Pin::new(sleep).poll(cx).is_pending() {
                return false;
            }
            // It wakes early when there is long to wait.
            self.expiry = None;
        }
    }

    fn take(&mut self, delivery: leveret_queue_store::Delivery, left_out: u64) -> Delivery {
        self.taken += delivery.message.size_bytes();
        if self.inbox.is_empty() || self.taken >= TAKEN_BYTES_MAX {
            self.leave_window();
        }
        Delivery::new(&self.source, delivery, left_out)
    }

    /// Has the queue fill the room again that was made.
    fn leave_window(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if self.outbox.window().leave(taken) {
            self.source.queue.poll(self.source.clock.now());
        }
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_recv(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let now = self.source.clock.now();
        self.source.queue.cancel_and_return(now, self.id, || {
            let waiting = self.inbox.drain(..).chain(self.outbox.close());
            let ids = waiting.filter_map(|item| match item {
                Outgoing::Deliver { delivery, .. } => delivery.id,
                Outgoing::DeliverAfterGap { after_gap, .. } => after_gap.delivery.id,
                _ => None,
            });
            ids.collect()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Broker, ConsumeOptions, Publish, QueueOptions};

    #[tokio::test]
    async fn an_opened_window_is_filled() {
        let broker = Broker::builder().start().await.unwrap();
        let client = broker.client().unwrap();
        let queue = QueueOptions::default();
        client.declare_queue("letters", queue).await.unwrap();
        let consume = ConsumeOptions::default();
        let mut consumer = client.consume("letters", consume).await.unwrap();
        assert!(consumer.outbox.window().try_enter(WINDOW_BYTES));
        let letter = Publish::to_queue("letters", b"held back");
        client.publish(letter).await.unwrap();
        assert!(consumer.try_recv().is_none());

        // The room is given back by a queue, which tells the consumer.
        let _ = consumer.outbox.window().leave(WINDOW_BYTES);
        assert!(consumer.try_recv().is_none());
        let _ = consumer.outbox.push([Outgoing::WindowOpened]);
        assert!(consumer.try_recv().is_some());
    }
}
