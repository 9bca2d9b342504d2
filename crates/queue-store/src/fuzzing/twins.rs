//! A queue and its twin, doing the same things.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::model::{Consumer, Done, Given, Model};
use super::operation::{GATES, Operation, Source};
use crate::{
    ConsumerId, ConsumerOptions, Delivery, DeliveryId, Effect, Gate, Message, MessageParts,
    Published, Queue, Settlement, TakeMode, Time,
};

/// Both, and what translates between them.
pub(super) struct Twins {
    queue: Queue,
    model: Model,
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
    published: u32,
    scratch: Vec<u8>,
}

impl Twins {
    pub(super) fn new(source: &mut Source<'_>) -> Self {
        let options = source.queue_options();
        // Windows of up to a few messages, channels of up to three deliveries.
        let limit = |source: &mut Source<'_>| {
            (usize::from(source.below(250)), usize::from(source.below(4)))
        };
        let limits: Vec<_> = (0..GATES).map(|_| limit(source)).collect();
        let now = 1_000;
        Self {
            queue: Queue::new(options.clone(), Time::from_millis(now)),
            model: Model::new(options, now, &limits),
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
            published: 0,
            scratch: Vec::new(),
        }
    }

    /// Does it to both and compares everything that can be seen.
    pub(super) fn apply(&mut self, operation: Operation) {
        let now = Time::from_millis(self.model.now);
        match operation {
            Operation::Publish {
                count,
                priority,
                expiration_ms,
                padding,
            } => {
                for _ in 0..count {
                    let message = self.message(priority, expiration_ms, padding);
                    let accepted = self.model.publish(message.clone());
                    let published = self.queue.publish(now, message.clone(), &mut self.effects);
                    let expected = if accepted {
                        Published::Accepted
                    } else {
                        Published::Rejected(message)
                    };
                    assert_eq!(published, expected);
                }
            }
            Operation::Take { mode } => {
                let delivery = self.queue.take(now, mode, &mut self.effects);
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
            } => {
                let options = ConsumerOptions {
                    no_ack,
                    exclusive,
                    priority,
                    prefetch,
                    window: window.map(|window| Arc::clone(&self.windows[window])),
                    channel_prefetch: channel.map(|channel| Arc::clone(&self.channels[channel])),
                };
                let id = self.queue.consume(now, options, &mut self.effects);
                self.consumers.extend(id);
                let (cancelled, held, ticket) = (false, false, 0);
                let consumer = Consumer {
                    no_ack,
                    exclusive,
                    priority,
                    prefetch,
                    window,
                    channel,
                    cancelled,
                    held,
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
            Operation::Poll => self.poll(now),
            Operation::Pass { ms } => self.model.now += u64::from(ms),
            Operation::Touch => {
                self.queue.touch(now);
                self.model.touch();
            }
            Operation::Purge => {
                assert_eq!(self.queue.purge(), self.model.ready.len() as u64);
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
        }
        self.compare();
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
    }

    /// A message that no other is equal to.
    fn message(&mut self, priority: u8, expiration_ms: Option<u64>, padding: u8) -> Message {
        self.published += 1;
        let mut body = self.published.to_be_bytes().to_vec();
        body.resize(4 + usize::from(padding), 0);
        let parts = MessageParts {
            body: &body,
            priority,
            expiration_ms,
            ..MessageParts::default()
        };
        Message::new(&parts, &mut self.scratch)
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

    /// Names what the queue gave as the model does, and learns its id.
    fn given(&mut self, delivery: Delivery) -> Given {
        let Delivery {
            id,
            message,
            redelivered,
            delivery_count,
        } = delivery;
        let number = id.map(|id| {
            assert!(!self.deliveries.contains(&id), "an id was used again");
            self.deliveries.push(id);
            self.deliveries.len() - 1
        });
        Given {
            number,
            message,
            redelivered,
            delivery_count,
        }
    }

    fn number(&self, id: ConsumerId) -> usize {
        self.consumers
            .iter()
            .position(|consumer| *consumer == id)
            .expect("a consumer that is known")
    }

    fn done(&mut self, effect: Effect) -> Done {
        match effect {
            Effect::Deliver { consumer, delivery } => {
                let consumer = self.number(consumer);
                if let Some(window) = self.model.consumers[consumer].window {
                    self.unwritten[window].push_back(delivery.message.size_bytes());
                }
                Done::Deliver {
                    consumer,
                    delivery: self.given(delivery),
                }
            }
            Effect::Dead {
                message,
                reason,
                delivery_count,
            } => Done::Dead {
                message,
                reason,
                delivery_count,
            },
            Effect::GateOpened { consumer } => Done::GateOpened {
                consumer: self.number(consumer),
            },
            Effect::Expired => Done::Expired,
        }
    }

    fn compare(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        let done: Vec<_> = effects
            .into_iter()
            .map(|effect| self.done(effect))
            .collect();
        assert_eq!(done, std::mem::take(&mut self.model.done));

        let (queue, model) = (&self.queue, &self.model);
        assert_eq!(queue.next_deadline(), model.next_deadline());
        assert_eq!(queue.ready_len(), model.ready.len());
        assert_eq!(queue.ready_bytes(), model.ready_bytes());
        assert_eq!(queue.unacked_len(), model.unacked.len());
        assert_eq!(
            queue.consumer_len(),
            model
                .consumers
                .iter()
                .filter(|consumer| !consumer.cancelled)
                .count()
        );
        for (number, id) in self.consumers.iter().enumerate() {
            assert_eq!(queue.is_active(*id), model.is_active(number));
        }

        let expected = model.in_order();
        assert_eq!(queue.browse().count(), expected.len());
        for (position, (browsed, item)) in queue.browse().zip(expected).enumerate() {
            assert_eq!(
                (browsed.position, browsed.message),
                (position, &item.message)
            );
            assert_eq!(browsed.delivery_count, item.delivery_count);
            assert_eq!(browsed.redelivered, item.delivery_count > 0);
            assert_eq!(browsed.expires_at.map(Time::as_millis), item.deadline);
        }

        let held = queue.unacked().map(|out| {
            (
                out.id,
                (out.consumer, out.since, out.message, out.delivery_count),
            )
        });
        let held: BTreeMap<_, _> = held.collect();
        let expected = model.unacked.iter().map(|out| {
            let consumer = out.consumer.map(|number| self.consumers[number]);
            let since = Time::from_millis(out.since);
            (
                self.deliveries[out.number],
                (consumer, since, &out.item.message, out.item.delivery_count),
            )
        });
        assert_eq!(held, expected.collect());
        assert_eq!(
            queue.unacked_bytes(),
            held.values()
                .map(|held| held.2.body_len() as u64)
                .sum::<u64>()
        );

        for (gates, models) in [
            (&self.windows, &model.windows),
            (&self.channels, &model.channels),
        ] {
            assert!(
                gates
                    .iter()
                    .zip(models)
                    .all(|(gate, model)| gate.used() == model.used)
            );
        }
    }
}
