//! The naive twin of a queue: lists, searched from end to end.

mod slow;

use std::cmp::Reverse;
use std::num::NonZeroU64;

use crate::{DeathReason, Message, Overflow, QueueOptions, RequeueOrder, Settlement, Time};

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
pub(super) struct Consumer {
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i64,
    pub(super) prefetch: u32,
    pub(super) window: Option<usize>,
    pub(super) channel: Option<usize>,
    pub(super) slow: Option<Slow>,
    pub(super) cancelled: bool,
    /// Whether a gate refused it since it was last in line.
    pub(super) held: bool,
    /// Whether it had enough at its turn and has settled nothing since.
    pub(super) full: bool,
    /// Where it stands in line, and when it was put aside: smaller is earlier.
    pub(super) ticket: u64,
}

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) used: usize,
    pub(super) limit: usize,
    pub(super) starved: bool,
}

impl Gate {
    pub(super) fn try_enter(&mut self, amount: usize) -> bool {
        let room = self.used < self.limit;
        if room {
            self.used += amount;
        } else {
            self.starved = true;
        }
        room
    }

    pub(super) fn leave(&mut self, amount: usize) -> bool {
        self.used -= amount;
        self.used < self.limit && std::mem::take(&mut self.starved)
    }

    pub(super) fn set_limit(&mut self, limit: usize) -> bool {
        self.limit = limit;
        self.used < limit && std::mem::take(&mut self.starved)
    }
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
        let (length, bytes) = (
            self.ready.len() as u64 + 1,
            self.ready_bytes() + message.body_len() as u64,
        );
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
                Settlement::Requeue => self.put_back(item),
            }
        }
        self.drop_excess();
        self.dispatch();
        self.relieve();
        settled
    }

    fn count_settled(&mut self, index: usize) {
        if let Some(channel) = self.consumers[index].channel
            && self.channels[channel].leave(1)
        {
            self.done.push(Done::GateOpened { consumer: index });
            self.readmit(index);
            self.release_held();
        } else {
            self.readmit(index);
        }
    }

    /// Puts a consumer back in line that had enough at its turn.
    fn readmit(&mut self, index: usize) {
        let consumer = &mut self.consumers[index];
        if std::mem::take(&mut consumer.full) && !consumer.cancelled {
            self.take_ticket(index);
        }
    }

    fn put_back(&mut self, mut item: Item) {
        item.delivery_count += 1;
        if self
            .options
            .delivery_limit
            .is_some_and(|limit| item.delivery_count > limit)
        {
            return self.bury(item, DeathReason::DeliveryLimit);
        }
        if self.options.requeue == RequeueOrder::Returns {
            item.place = (self.options.delivery_limit.is_none(), self.number_place());
        }
        self.ready.push(item);
    }

    /// The number of the new consumer, or none.
    pub(super) fn consume(&mut self, consumer: Consumer) -> Option<usize> {
        self.expire();
        let mut others = self
            .consumers
            .iter()
            .filter(|other| !other.cancelled)
            .peekable();
        let single = self.options.single_active_consumer;
        if consumer.exclusive && (single || others.peek().is_some())
            || others.any(|other| other.exclusive)
        {
            return None;
        }
        let number = self.consumers.len();
        self.consumers.push(consumer);
        self.take_ticket(number);
        if single && self.active.is_none() {
            self.active = Some(number);
        }
        self.touch();
        self.dispatch();
        self.relieve();
        Some(number)
    }

    pub(super) fn cancel(&mut self, number: usize) -> bool {
        self.expire();
        let found = self.take_out(number);
        if found {
            self.relieve();
        }
        found
    }

    fn take_out(&mut self, number: usize) -> bool {
        if std::mem::replace(&mut self.consumers[number].cancelled, true) {
            return false;
        }
        if self.active == Some(number) {
            let others = self
                .consumers
                .iter()
                .enumerate()
                .filter(|(_, other)| !other.cancelled);
            self.active = others
                .min_by_key(|(age, other)| (Reverse(other.priority), *age))
                .map(|(age, _)| age);
        }
        self.touch();
        self.dispatch();
        true
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

    pub(super) fn is_active(&self, number: usize) -> bool {
        !self.consumers[number].cancelled && self.active.is_none_or(|active| active == number)
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

    /// The first in line whose gates admit the message.
    fn admit(&mut self, message: &Message) -> Option<usize> {
        loop {
            let in_line = (0..self.consumers.len()).filter(|number| self.is_in_line(*number));
            let key = |number: &usize| {
                (
                    Reverse(self.consumers[*number].priority),
                    self.consumers[*number].ticket,
                )
            };
            let number = in_line.min_by_key(key)?;
            if self.has_enough(number) {
                self.consumers[number].full = true;
                continue;
            }
            if self.try_enter(number, message.size_bytes()) {
                return Some(number);
            }
            self.consumers[number].held = true;
            self.consumers[number].ticket = self.number_ticket();
        }
    }

    fn is_in_line(&self, number: usize) -> bool {
        let consumer = &self.consumers[number];
        self.is_active(number) && !consumer.held && !consumer.full
    }

    fn has_enough(&self, number: usize) -> bool {
        let Consumer {
            no_ack, prefetch, ..
        } = self.consumers[number];
        !no_ack && prefetch != 0 && self.unacked_of(number) >= prefetch as usize
    }

    fn try_enter(&mut self, number: usize, size: usize) -> bool {
        let own = self.consumers[number].slow.and_then(|slow| slow.own_window);
        if own.is_some_and(|own| !self.windows[own].try_enter(size)) {
            return false;
        }
        let entered = self.try_enter_shared(number, size);
        if let Some(own) = own
            && !entered
        {
            self.windows[own].leave(size);
        }
        entered
    }

    fn try_enter_shared(&mut self, number: usize, size: usize) -> bool {
        let Consumer {
            no_ack,
            window,
            channel,
            ..
        } = self.consumers[number];
        if window.is_some_and(|window| !self.windows[window].try_enter(size)) {
            return false;
        }
        let refused =
            channel.is_some_and(|channel| !no_ack && !self.channels[channel].try_enter(1));
        if refused && window.is_some_and(|window| self.windows[window].leave(size)) {
            self.done.push(Done::GateOpened { consumer: number });
        }
        !refused
    }

    fn unacked_of(&self, number: usize) -> usize {
        self.unacked
            .iter()
            .filter(|out| out.consumer == Some(number))
            .count()
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

    fn release_held(&mut self) {
        let mut held: Vec<_> = (0..self.consumers.len())
            .filter(|number| self.consumers[*number].held)
            .collect();
        held.sort_by_key(|number| self.consumers[*number].ticket);
        for number in held {
            self.consumers[number].held = false;
            self.take_ticket(number);
        }
    }

    fn take_ticket(&mut self, number: usize) {
        self.consumers[number].ticket = self.number_ticket();
    }

    fn number_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
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
