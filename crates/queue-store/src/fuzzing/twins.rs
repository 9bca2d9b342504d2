//! A queue and its twin, doing the same things.

mod compare;
mod paging;
mod translate;

use std::collections::VecDeque;
use std::sync::Arc;

use super::disk::Disk;
use super::model::{Consumer, Done, Model};
use super::operation::{GATES, Operation, Source};
use crate::{
    ConsumerId, ConsumerOptions, DeliveryId, Effect, Gate, Message, MessageParts, Published, Queue,
    Settlement, TakeMode, Time,
};

/// Both, and what translates between them.
pub(super) struct Twins {
    queue: Queue,
    model: Model,
    disk: Disk,
    chunk_len: u16,
    windows: Vec<Arc<Gate>>,
    channels: Vec<Arc<Gate>>,
    /// What has been delivered to each window and not been written.
    unwritten: Vec<VecDeque<usize>>,
    /// How many deliveries of other queues each channel has.
    elsewhere: Vec<usize>,
    /// The ids of the queue; the model's numbers are their indices.
    consumers: Vec<ConsumerId>,
    deliveries: Vec<DeliveryId>,
    effects: Vec<Effect>,
    done: Vec<Done>,
    published: u32,
    scratch: Vec<u8>,
}

impl Twins {
    pub(super) fn new(source: &mut Source<'_>) -> Self {
        let options = source.queue_options();
        let chunk_len = source.chunk_len();
        // Windows of up to a few messages or of very many, channels of up to three deliveries.
        let limit = |source: &mut Source<'_>| {
            let window = match usize::from(source.below(250)) {
                large @ 200.. => 1_000 * large,
                small => small,
            };
            (window, usize::from(source.below(4)))
        };
        let limits: Vec<_> = (0..GATES).map(|_| limit(source)).collect();
        let now = 1_000;
        Self {
            queue: Queue::with_chunk_len(options.clone(), Time::from_millis(now), chunk_len),
            model: Model::new(options, now, &limits),
            disk: Disk::new(),
            chunk_len,
            windows: limits
                .iter()
                .map(|(window, _)| Arc::new(Gate::new(*window)))
                .collect(),
            channels: limits
                .iter()
                .map(|(_, channel)| Arc::new(Gate::new(*channel)))
                .collect(),
            unwritten: vec![VecDeque::new(); GATES],
            elsewhere: vec![0; GATES],
            consumers: Vec::new(),
            deliveries: Vec::new(),
            effects: Vec::new(),
            done: Vec::new(),
            published: 0,
            scratch: Vec::new(),
        }
    }

    fn publish_one(&mut self, now: Time, message: Message) {
        let accepted = self.model.publish(message.clone());
        let published = self.queue.publish(now, message.clone(), &mut self.effects);
        let expected = if accepted {
            Published::Accepted
        } else {
            Published::Rejected(message)
        };
        assert_eq!(published, expected);
        self.bring_back(now);
    }

    fn publish_together(&mut self, now: Time, messages: Vec<Message>) {
        let mut expected = Vec::new();
        for (number, message) in messages.iter().enumerate() {
            if !self.model.publish(message.clone()) {
                expected.push((number, message.clone()));
            }
        }
        let mut rejected = Vec::new();
        let numbered = messages.into_iter().zip(0..);
        self.queue
            .publish_all(now, numbered, &mut self.effects, |message, number| {
                rejected.push((number, message));
            });
        assert_eq!(rejected, expected);
    }

    /// Does it to both and compares everything that can be seen.
    pub(super) fn apply(&mut self, operation: Operation) {
        let now = Time::from_millis(self.model.now);
        self.tend(now, &operation);
        match operation {
            Operation::Publish {
                count,
                persistent,
                priority,
                expiration_ms,
                padding,
            } => {
                let is_resident =
                    self.queue.resident_len() == self.queue.ready_len() + self.queue.unacked_len();
                // Where pages are brought back in between, things may come in another order.
                if is_resident && count % 2 == 0 {
                    let messages = (0..count)
                        .map(|_| self.message(persistent, priority, expiration_ms, padding))
                        .collect();
                    self.publish_together(now, messages);
                } else {
                    for _ in 0..count {
                        let message = self.message(persistent, priority, expiration_ms, padding);
                        self.publish_one(now, message);
                    }
                }
            }
            Operation::Take { mode } => {
                let mut delivery = self.queue.take(now, mode, &mut self.effects);
                while delivery.is_none() && self.queue.wanted_page().is_some() {
                    self.bring_back(now);
                    delivery = self.queue.take(now, mode, &mut self.effects);
                }
                let expected = self.model.take(mode == TakeMode::Ack);
                assert_eq!(delivery.map(|delivery| self.given(delivery)), expected);
            }
            Operation::Settle { delivery, how } => self.settle_one(now, delivery, how),
            Operation::SettleMany { first, step, how } => {
                let numbers = (0..self.deliveries.len())
                    .skip(first.into())
                    .step_by(usize::from(step % 4) + 1);
                let numbers: Vec<_> = numbers.collect();
                let ids = numbers.iter().map(|number| self.deliveries[*number]);
                let settled = self.queue.settle_many(now, ids, how, &mut self.effects);
                assert_eq!(settled, self.model.settle(&numbers, how));
            }
            Operation::Consume {
                no_ack,
                exclusive,
                priority,
                prefetch,
                window,
                channel,
                slow,
            } => {
                let options = ConsumerOptions {
                    no_ack,
                    exclusive,
                    priority,
                    prefetch,
                    window: window.map(|window| Arc::clone(&self.windows[window])),
                    channel_prefetch: channel.map(|channel| Arc::clone(&self.channels[channel])),
                    slow: slow.map(|slow| Box::new(self.slow_consumer(slow))),
                };
                let id = self.queue.consume(now, options, &mut self.effects);
                self.consumers.extend(id);
                let (cancelled, held, full, ticket) = (false, false, false, 0);
                let consumer = Consumer {
                    no_ack,
                    exclusive,
                    priority,
                    prefetch,
                    window,
                    channel,
                    slow,
                    cancelled,
                    held,
                    full,
                    ticket,
                };
                assert_eq!(id.is_ok(), self.model.consume(consumer).is_some());
            }
            Operation::Cancel { consumer } => {
                if let Some(number) = usize::from(consumer).checked_rem(self.consumers.len()) {
                    let cancelled =
                        self.queue
                            .cancel(now, self.consumers[number], &mut self.effects);
                    assert_eq!(cancelled, self.model.cancel(number));
                }
            }
            Operation::Withdraw { consumer } => self.withdraw(now, consumer),
            Operation::Poll => self.poll(now),
            Operation::Pass { ms } => self.model.now += u64::from(ms),
            Operation::Touch => {
                self.queue.touch(now);
                self.model.touch();
            }
            Operation::Purge => {
                assert_eq!(
                    self.queue.purge(&mut self.effects),
                    self.model.ready.len() as u64
                );
                self.model.ready.clear();
            }
            Operation::SetOptions { options } => {
                self.queue
                    .set_options(now, options.clone(), &mut self.effects);
                self.model.set_options(options);
            }
            Operation::Written { window } => {
                if let Some(size) = self.unwritten[window].pop_front() {
                    assert_eq!(
                        self.windows[window].leave(size),
                        self.model.windows[window].leave(size)
                    );
                }
            }
            Operation::EnterElsewhere { channel } => {
                let entered = self.channels[channel].try_enter(1);
                assert_eq!(entered, self.model.channels[channel].try_enter(1));
                self.elsewhere[channel] += usize::from(entered);
            }
            Operation::LeaveElsewhere { channel } => {
                if self.elsewhere[channel] > 0 {
                    self.elsewhere[channel] -= 1;
                    assert_eq!(
                        self.channels[channel].leave(1),
                        self.model.channels[channel].leave(1)
                    );
                }
            }
            Operation::SetLimit { gate, limit } => {
                let opened = self.windows[gate].set_limit(limit);
                assert_eq!(opened, self.model.windows[gate].set_limit(limit));
                let opened = self.channels[gate].set_limit(limit % 4);
                assert_eq!(opened, self.model.channels[gate].set_limit(limit % 4));
            }
            Operation::PageOut { pages } => self.page_out(pages),
            Operation::PageOutAny { pages, least } => self.page_out_any(pages, least.into()),
            Operation::Join { at_least } => self.join(at_least.into()),
            Operation::Rehome { below, limit } => self.rehome(below, limit.into()),
            Operation::Restart => self.restart(now),
        }
        self.bring_back(now);
        self.compare();
    }

    /// Has both expire what is due before an operation that does, if anything is out of memory: what
    /// comes of the operation must not depend on whether an overdue message is.
    fn tend(&mut self, now: Time, operation: &Operation) {
        let expires = !matches!(
            operation,
            Operation::Touch
                | Operation::Purge
                | Operation::PageOut { .. }
                | Operation::PageOutAny { .. }
                | Operation::Join { .. }
                | Operation::Rehome { .. }
        );
        let held = self.queue.ready_len() + self.queue.unacked_len();
        if expires && self.queue.resident_len() < held {
            self.queue.expire(now, &mut self.effects);
            self.bring_back(now);
            self.model.expire();
        }
    }

    /// Brings back what is wanted.
    fn bring_back(&mut self, now: Time) {
        self.absorb();
        while let Some(page) = self.queue.wanted_page() {
            let messages = self.disk.read(page);
            assert!(self.queue.restore(now, page, messages, &mut self.effects));
            self.absorb();
        }
    }

    /// Carries out what the queue has said up to now.
    fn absorb(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            self.disk.carry_out(&effect);
            let done = self.done(effect);
            self.done.extend(done);
        }
    }

    /// Settles, takes and cancels until nothing is left, so that a message which got lost is
    /// missed.
    pub(super) fn drain(&mut self) {
        for consumer in (0..=u8::MAX).take(self.consumers.len()) {
            self.apply(Operation::Cancel { consumer });
        }
        self.apply(Operation::SettleMany {
            first: 0,
            step: 0,
            how: Settlement::Requeue,
        });
        while self.queue.ready_len() > 0 {
            self.apply(Operation::Take {
                mode: TakeMode::NoAck,
            });
        }
        assert_eq!(
            (self.queue.unacked_len(), self.queue.unacked_bytes()),
            (0, 0)
        );
        assert!(
            self.channels
                .iter()
                .zip(&self.elsewhere)
                .all(|(channel, elsewhere)| channel.used() == *elsewhere)
        );
        assert!(self.disk.alive().is_empty() && self.disk.every_page_will_go());
    }

    /// A message that no other is equal to.
    fn message(
        &mut self,
        persistent: bool,
        priority: u8,
        expiration_ms: Option<u64>,
        padding: u8,
    ) -> Message {
        self.published += 1;
        let mut body = self.published.to_be_bytes().to_vec();
        body.resize(4 + usize::from(padding), 0);
        let parts = MessageParts {
            body: &body,
            persistent,
            priority,
            expiration_ms,
            ..MessageParts::default()
        };
        Message::new(&parts, &mut self.scratch)
    }

    /// A consumer goes, and all that it has comes back.
    fn withdraw(&mut self, now: Time, consumer: u8) {
        if let Some(number) = usize::from(consumer).checked_rem(self.consumers.len()) {
            let withdrawn = self.queue.withdraw(now, self.consumers[number]);
            assert_eq!(withdrawn, self.model.withdraw(number));
            let held = self.model.unacked.iter();
            let numbers: Vec<_> = held
                .filter(|outstanding| outstanding.consumer == Some(number))
                .map(|outstanding| outstanding.number)
                .collect();
            let ids = numbers.iter().map(|number| self.deliveries[*number]);
            let how = Settlement::Abandon;
            let settled = self.queue.settle_many(now, ids, how, &mut self.effects);
            assert_eq!(settled, self.model.settle(&numbers, how));
        }
    }

    fn poll(&mut self, now: Time) {
        self.queue.poll(now, &mut self.effects);
        self.model.poll();
    }

    /// Settles any delivery there ever was, so that most are known and some have been settled
    /// before.
    fn settle_one(&mut self, now: Time, delivery: u8, how: Settlement) {
        let known: Vec<_> = self
            .model
            .unacked
            .iter()
            .map(|outstanding| outstanding.number)
            .collect();
        let among = if delivery % 8 == 7 {
            (0..self.deliveries.len()).collect()
        } else {
            known
        };
        if let Some(index) = usize::from(delivery / 8).checked_rem(among.len()) {
            let settled =
                self.queue
                    .settle(now, self.deliveries[among[index]], how, &mut self.effects);
            assert_eq!(
                usize::from(settled.is_ok()),
                self.model.settle(&[among[index]], how)
            );
        }
    }
}
