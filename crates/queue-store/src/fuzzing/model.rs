//! The naive twin of a queue: lists, searched from end to end.

mod consumers;
mod gate;
mod slow;

use std::cmp::Reverse;
use std::num::NonZeroU64;

use crate::{DeathReason, Message, Overflow, QueueOptions, RequeueOrder, Settlement, Time};

pub(in crate::fuzzing) use consumers::Consumer;
pub(in crate::fuzzing) use gate::Gate;
pub(in crate::fuzzing) use slow::Slow;

/// What a twin does, in terms that both can be translated to: consumers and deliveries are named by
/// their number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Done {
    Deliver {
        consumer: usize,
        delivery: Given,
    },
    Dead {
        message: Message,
        reason: DeathReason,
        delivery_count: u32,
    },
    GateOpened {
        consumer: usize,
    },
    WindowOpened {
        consumer: usize,
    },
    LeftOut {
        consumer: usize,
        count: u64,
    },
    TooSlow {
        consumer: usize,
    },
    Expired,
}

/// A delivery, named by its number among those that have to be settled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Given {
    pub(super) number: Option<usize>,
    pub(super) message: Message,
    pub(super) redelivered: bool,
    pub(super) delivery_count: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) message: Message,
    level: u8,
    /// Its place within the level: what was returned to a list of its own, then by number.
    place: (bool, u64),
    pub(super) deadline: Option<u64>,
    pub(super) delivery_count: u32,
    /// What it is called on disk.
    pub(super) number: Option<NonZeroU64>,
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) number: usize,
    pub(super) consumer: Option<usize>,
    pub(super) since: u64,
    pub(super) item: Item,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) options: QueueOptions,
    pub(super) now: u64,
    /// In no order.
    pub(super) ready: Vec<Item>,
    pub(super) unacked: Vec<Outstanding>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) windows: Vec<Gate>,
    pub(super) channels: Vec<Gate>,
    pub(super) used_at: u64,
    pub(super) lease_over: bool,
    pub(super) done: Vec<Done>,
    active: Option<usize>,
    delivered: usize,
    next_place: u64,
    next_ticket: u64,
    next_number: NonZeroU64,
    left_out: u64,
}

impl Model {
    pub(super) fn new(options: QueueOptions, now: u64, limits: &[(usize, usize)]) -> Self {
        let gate = |limit| Gate {
            used: 0,
            limit,
            starved: false,
        };
        Self {
            options,
            now,
            ready: Vec::new(),
            unacked: Vec::new(),
            consumers: Vec::new(),
            windows: limits.iter().map(|(window, _)| gate(*window)).collect(),
            channels: limits.iter().map(|(_, channel)| gate(*channel)).collect(),
            used_at: now,
            lease_over: false,
            done: Vec::new(),
            active: None,
            delivered: 0,
            next_place: 0,
            next_ticket: 0,
            next_number: NonZeroU64::MIN,
            left_out: 0,
        }
    }

    pub(super) fn publish(&mut self, message: Message) -> bool {
        self.expire();
        let (length, bytes) = match self.options.overflow {
            Overflow::RejectPublishBeyond => (self.ready.len() as u64, self.ready_bytes()),
            _ => (
                self.ready.len() as u64 + 1,
                self.ready_bytes() + message.body_len() as u64,
            ),
        };
        if self.options.overflow != Overflow::DropHead && self.is_over_limit(length, bytes) {
            if self.options.overflow == Overflow::RejectPublishDlx {
                self.done.push(Done::Dead {
                    message,
                    reason: DeathReason::MaxLength,
                    delivery_count: 0,
                });
            }
            return false;
        }
        let ttl = [self.options.message_ttl_ms, message.expiration_ms()]
            .into_iter()
            .flatten()
            .min();
        let mut item = Item {
            level: message.priority().min(self.options.max_priority),
            place: (true, self.number_place()),
            deadline: ttl.map(|ttl| self.now + ttl),
            delivery_count: 0,
            number: None,
            message,
        };
        let nobody_ahead = self.ready.is_empty();
        let consumer = nobody_ahead.then(|| self.admit(&item.message)).flatten();
        let is_done_with = consumer.is_some_and(|consumer| self.consumers[consumer].no_ack);
        if self.options.durable && item.message.is_persistent() && !is_done_with {
            item.number = Some(self.next_number);
            self.next_number = self.next_number.saturating_add(1);
        }
        match consumer {
            Some(consumer) => self.deliver(consumer, item),
            None => {
                self.ready.push(item);
                self.drop_excess();
                self.expire();
                self.relieve();
            }
        }
        true
    }

    pub(super) fn take(&mut self, to_settle: bool) -> Option<Given> {
        self.touch();
        self.expire();
        let item = self.pop()?;
        let given = self.hand_over(None, to_settle, item);
        self.expire();
        Some(given)
    }

    pub(super) fn settle(&mut self, numbers: &[usize], how: Settlement) -> usize {
        self.expire();
        let mut settled = 0;
        for number in numbers {
            let Some(index) = self.unacked.iter().position(|out| out.number == *number) else {
                continue;
            };
            let Outstanding { consumer, item, .. } = self.unacked.remove(index);
            settled += 1;
            if let Some(consumer) = consumer {
                self.count_settled(consumer);
            }
            match how {
                Settlement::Ack => {}
                Settlement::Discard => self.bury(item, DeathReason::Rejected),
                Settlement::Requeue | Settlement::Abandon => self.put_back(item, how),
            }
        }
        self.drop_excess();
        self.dispatch();
        self.relieve();
        settled
    }

    fn put_back(&mut self, mut item: Item, how: Settlement) {
        item.delivery_count += 1;
        if self
            .options
            .delivery_limit
            .is_some_and(|limit| item.delivery_count > limit)
        {
            return self.bury(item, DeathReason::DeliveryLimit);
        }
        if self.options.requeue == RequeueOrder::Returns {
            let goes_back = self.options.delivery_limit.is_none() && how == Settlement::Requeue;
            item.place = (goes_back, self.number_place());
        }
        self.ready.push(item);
    }

    pub(super) fn poll(&mut self) {
        self.expire();
        self.drop_excess();
        self.release_held();
        self.dispatch();
        self.relieve();
        if self
            .lease_deadline()
            .is_some_and(|deadline| deadline <= self.now)
            && !self.lease_over
        {
            self.lease_over = true;
            self.done.push(Done::Expired);
        }
    }

    pub(super) fn set_options(&mut self, options: QueueOptions) {
        self.expire();
        if options.expires_ms != self.options.expires_ms {
            self.touch();
        }
        let QueueOptions {
            durable,
            max_priority,
            single_active_consumer,
            requeue,
            ..
        } = self.options;
        self.options = QueueOptions {
            durable,
            max_priority,
            single_active_consumer,
            requeue,
            ..options
        };
        self.drop_excess();
    }

    pub(super) fn touch(&mut self) {
        self.used_at = self.now;
        self.lease_over = false;
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let head = self.next().and_then(|head| self.ready[head].deadline);
        let lease = if self.lease_over {
            None
        } else {
            self.lease_deadline()
        };
        head.into_iter().chain(lease).min().map(Time::from_millis)
    }

    /// What has to be on disk: the messages with a number, and how often they will have come back
    /// if they are found there.
    pub(super) fn stored(&self) -> impl Iterator<Item = (NonZeroU64, &Item, u32)> {
        let ready = self.ready.iter().map(|item| (item, item.delivery_count));
        let unacked = self.unacked.iter().map(|out| &out.item);
        ready
            .chain(unacked.map(|item| (item, item.delivery_count.max(1))))
            .filter_map(|(item, count)| Some((item.number?, item, count)))
    }

    /// Forgets what does not survive a restart. What does is ready, in the order of `numbers`.
    pub(super) fn restart(&mut self, numbers: &[NonZeroU64]) {
        let survivors = self.stored().map(|(number, item, delivery_count)| {
            let place = numbers.iter().position(|other| *other == number);
            let place = (true, place.expect("it was found") as u64);
            Item {
                place,
                delivery_count,
                ..item.clone()
            }
        });
        self.ready = survivors.collect();
        self.next_place = self.next_place.max(numbers.len() as u64);
        self.unacked.clear();
        self.consumers.clear();
        (self.active, self.delivered) = (None, 0);
        self.left_out = 0;
        self.touch();
    }

    pub(super) fn in_order(&self) -> Vec<&Item> {
        let mut items: Vec<_> = self.ready.iter().collect();
        items.sort_by_key(|item| (Reverse(item.level), item.place));
        items
    }

    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready
            .iter()
            .map(|item| item.message.body_len() as u64)
            .sum()
    }

    fn lease_deadline(&self) -> Option<u64> {
        let unused = self.consumers.iter().all(|consumer| consumer.cancelled);
        self.options
            .expires_ms
            .filter(|_| unused)
            .map(|expires_ms| self.used_at + expires_ms)
    }

    /// The message to be delivered next.
    fn next(&self) -> Option<usize> {
        let key = |index: &usize| (Reverse(self.ready[*index].level), self.ready[*index].place);
        (0..self.ready.len()).min_by_key(key)
    }

    fn pop(&mut self) -> Option<Item> {
        let next = self.next()?;
        Some(self.ready.remove(next))
    }

    pub(super) fn expire(&mut self) {
        let now = self.now;
        let is_overdue = |deadline| deadline <= now;
        while let Some(head) = self.next()
            && self.ready[head].deadline.is_some_and(is_overdue)
        {
            let item = self.ready.remove(head);
            self.bury(item, DeathReason::Expired);
        }
    }

    fn drop_excess(&mut self) {
        while self.options.overflow == Overflow::DropHead
            && self.is_over_limit(self.ready.len() as u64, self.ready_bytes())
            && let Some(item) = self.pop()
        {
            self.bury(item, DeathReason::MaxLength);
            self.count_left_out();
            self.expire();
        }
    }

    fn is_over_limit(&self, length: u64, bytes: u64) -> bool {
        self.options.max_length.is_some_and(|limit| length > limit)
            || self
                .options
                .max_length_bytes
                .is_some_and(|limit| bytes > limit)
    }

    fn dispatch(&mut self) {
        self.expire();
        while let Some(next) = self.next() {
            let message = self.ready[next].message.clone();
            let Some(consumer) = self.admit(&message) else {
                return;
            };
            let item = self.pop().expect("there is a next one");
            self.deliver(consumer, item);
            self.expire();
        }
    }

    fn deliver(&mut self, consumer: usize, item: Item) {
        let to_settle = !self.consumers[consumer].no_ack;
        if item.delivery_count == 0 {
            self.tell_left_out(consumer);
        }
        let delivery = self.hand_over(Some(consumer), to_settle, item);
        self.done.push(Done::Deliver { consumer, delivery });
        self.take_ticket(consumer);
    }

    fn hand_over(&mut self, consumer: Option<usize>, to_settle: bool, item: Item) -> Given {
        let number = to_settle.then_some(self.delivered);
        let (message, delivery_count) = (item.message.clone(), item.delivery_count);
        if let Some(number) = number {
            self.delivered += 1;
            self.unacked.push(Outstanding {
                number,
                consumer,
                since: self.now,
                item,
            });
        }
        Given {
            number,
            message,
            redelivered: delivery_count > 0,
            delivery_count,
        }
    }

    fn number_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    fn bury(&mut self, item: Item, reason: DeathReason) {
        let Item {
            message,
            delivery_count,
            ..
        } = item;
        self.done.push(Done::Dead {
            message,
            reason,
            delivery_count,
        });
    }
}
