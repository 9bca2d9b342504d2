//! A queue with a clock, for tests that say what they want in a line.

// Each test file uses its part of this.
#![allow(dead_code)]

use std::num::NonZeroU64;

use leveret_queue_store::{
    Browsed, BrowsedItem, ConsumerId, ConsumerOptions, DeathReason, Delivery, DeliveryId, Effect,
    Message, MessageParts, PageId, PagedMessage, Published, Queue, QueueOptions, Settlement,
    Stored, TakeMode, Time,
};

/// The parts of a message that only says its body.
pub(crate) fn parts(body: &str) -> MessageParts<'_> {
    MessageParts {
        body: body.as_bytes(),
        ..MessageParts::default()
    }
}

pub(crate) fn message(body: &str) -> Message {
    Message::new(&parts(body), &mut Vec::new())
}

/// A persistent message with this number, as it is put into a page.
pub(crate) fn paged(number: u64, body: &[u8]) -> PagedMessage {
    let parts = MessageParts {
        body,
        persistent: true,
        ..MessageParts::default()
    };
    PagedMessage {
        message: Message::new(&parts, &mut Vec::new()),
        stored: Some(Stored {
            number: NonZeroU64::new(number).expect("numbers begin at one"),
            home: None,
        }),
        deadline: Time::MAX,
        delivery_count: 0,
    }
}

/// A consumer that may have so many unacknowledged deliveries.
pub(crate) fn prefetch(prefetch: u32) -> ConsumerOptions {
    ConsumerOptions {
        prefetch,
        ..ConsumerOptions::default()
    }
}

/// A consumer that does not acknowledge.
pub(crate) fn no_ack() -> ConsumerOptions {
    ConsumerOptions {
        no_ack: true,
        ..ConsumerOptions::default()
    }
}

/// A queue at a time that only the test moves.
pub(crate) struct Subject {
    pub(crate) queue: Queue,
    now: Time,
    effects: Vec<Effect>,
}

impl Subject {
    pub(crate) fn new(options: QueueOptions) -> Self {
        let now = Time::from_millis(1_000_000);
        Self {
            queue: Queue::new(options, now),
            now,
            effects: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Milliseconds until the queue wants to be polled.
    pub(crate) fn due_in(&self) -> Option<u64> {
        Some(self.queue.next_deadline()?.as_millis() - self.now.as_millis())
    }

    /// Lets time pass without telling the queue.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = self.now.saturating_add(ms);
    }

    pub(crate) fn poll(&mut self) {
        self.queue.poll(self.now, &mut self.effects);
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, body: &str) {
        assert!(self.offer(&parts(body)).is_accepted(), "{body} was refused");
    }

    #[track_caller]
    pub(crate) fn publish_all(&mut self, bodies: &[&str]) {
        bodies.iter().for_each(|body| self.publish(body));
    }

    pub(crate) fn offer(&mut self, parts: &MessageParts<'_>) -> Published {
        self.queue.publish(
            self.now,
            Message::new(parts, &mut Vec::new()),
            &mut self.effects,
        )
    }

    #[track_caller]
    pub(crate) fn consume(&mut self, options: ConsumerOptions) -> ConsumerId {
        self.queue
            .consume(self.now, options, &mut self.effects)
            .expect("nobody is alone")
    }

    pub(crate) fn cancel(&mut self, consumer: ConsumerId) -> bool {
        self.queue.cancel(self.now, consumer, &mut self.effects)
    }

    pub(crate) fn withdraw(&mut self, consumer: ConsumerId) -> bool {
        self.queue.withdraw(self.now, consumer)
    }

    pub(crate) fn take(&mut self) -> Option<Delivery> {
        self.queue.take(self.now, TakeMode::Ack, &mut self.effects)
    }

    /// Takes a message that must be there, to be settled.
    #[track_caller]
    pub(crate) fn take_id(&mut self) -> DeliveryId {
        self.take()
            .and_then(|delivery| delivery.id)
            .expect("a message is ready")
    }

    /// Takes everything and names it.
    pub(crate) fn take_all(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.take())
            .map(|delivery| body(&delivery.message))
            .collect()
    }

    #[track_caller]
    pub(crate) fn settle(&mut self, id: DeliveryId, how: Settlement) {
        self.queue
            .settle(self.now, id, how, &mut self.effects)
            .expect("it is outstanding");
    }

    pub(crate) fn settle_many(&mut self, ids: &[DeliveryId], how: Settlement) -> usize {
        self.queue
            .settle_many(self.now, ids.iter().copied(), how, &mut self.effects)
    }

    pub(crate) fn purge(&mut self) -> u64 {
        self.queue.purge(&mut self.effects)
    }

    /// Brings messages back into memory.
    pub(crate) fn restore(
        &mut self,
        page: PageId,
        messages: impl IntoIterator<Item = (u16, PagedMessage)>,
    ) -> bool {
        self.queue
            .restore(self.now, page, messages, &mut self.effects)
    }

    /// What is ready, all of it in memory.
    pub(crate) fn browsed(&self) -> impl Iterator<Item = Browsed<'_>> {
        self.queue.browse().map(|item| match item {
            BrowsedItem::Message(browsed) => browsed,
            BrowsedItem::Page { .. } => panic!("nothing was paged out"),
        })
    }

    pub(crate) fn set_options(&mut self, options: QueueOptions) {
        self.queue.set_options(self.now, options, &mut self.effects);
    }

    /// Publishes what has come together. Nothing of it may be refused.
    #[track_caller]
    pub(crate) fn publish_together(&mut self, bodies: &[String]) {
        let messages = bodies.iter().map(|body| (message(body), body));
        self.queue
            .publish_all(self.now, messages, &mut self.effects, |_, body| {
                panic!("{body} was refused")
            });
    }

    /// What has happened since this was last asked.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The deliveries since the last look. Nothing else may have happened.
    #[track_caller]
    pub(crate) fn deliveries(&mut self) -> Vec<(ConsumerId, Delivery)> {
        let deliveries = self.effects().into_iter().map(|effect| match effect {
            Effect::Deliver { consumer, delivery } => (consumer, delivery),
            other => panic!("not a delivery: {other:?}"),
        });
        deliveries.collect()
    }

    /// Who got what since the last look.
    #[track_caller]
    pub(crate) fn delivered(&mut self) -> Vec<(ConsumerId, String)> {
        let deliveries = self.deliveries().into_iter();
        deliveries
            .map(|(consumer, delivery)| (consumer, body(&delivery.message)))
            .collect()
    }

    /// What died and of what since the last look. Nothing else may have happened.
    #[track_caller]
    pub(crate) fn dead(&mut self) -> Vec<(String, DeathReason)> {
        let dead = self.effects().into_iter().map(|effect| match effect {
            Effect::Dead {
                message, reason, ..
            } => (body(&message), reason),
            other => panic!("not a death: {other:?}"),
        });
        dead.collect()
    }
}

pub(crate) fn body(message: &Message) -> String {
    String::from_utf8(message.body().to_vec()).expect("tests publish text")
}
