//! A queue and its twin, doing the same things.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;

use super::disk::Disk;
use super::model::{Consumer, Done, Given, Model, Slow};
use super::operation::{GATES, Operation, Source};
use crate::{
    BrowsedItem, ConsumerId, ConsumerOptions, Delivery, DeliveryId, Effect, Gate, Message,
    MessageParts, PageId, PagedMessage, PagedOut, Published, Queue, Rebuilt, RequeueOrder,
    Settlement, SlowConsumer, TakeMode, Time,
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
        // Windows of up to a few messages, channels of up to three deliveries.
        let limit = |source: &mut Source<'_>| {
            (usize::from(source.below(250)), usize::from(source.below(4)))
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
                for _ in 0..count {
                    let message = self.message(persistent, priority, expiration_ms, padding);
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

    fn page_out(&mut self, pages: u8) {
        for _ in 0..pages {
            let page = self.disk.new_page();
            let resident = self.resident();
            let Some(out) = self.queue.page_out(page) else {
                return;
            };
            self.keep(page, out, resident);
        }
    }

    /// Memory is very short.
    fn page_out_any(&mut self, pages: u8, least: usize) {
        for _ in 0..pages {
            let page = self.disk.new_page();
            let resident = self.resident();
            let Some(out) = self.queue.page_out_any(page, least) else {
                let ready = self.queue.resident_len() - self.queue.unacked_len();
                let may_stay = self.model.options.requeue == RequeueOrder::Returns
                    || !self.model.unacked.is_empty();
                assert!(ready == 0 || least > 0 || may_stay, "{ready} are left");
                return;
            };
            self.keep(page, out, resident);
        }
    }

    fn resident(&self) -> (usize, u64) {
        (self.queue.resident_len(), self.queue.resident_bytes())
    }

    /// Writes what has left memory, where there was so much before.
    fn keep(&mut self, page: PageId, out: PagedOut, before: (usize, u64)) {
        let after = self.resident();
        let left = before.0 - after.0;
        if let PagedOut::New(messages) = out {
            let bytes = messages.iter().map(|paged| paged.message.body_len() as u64);
            assert_eq!(messages.len(), left);
            assert_eq!(bytes.sum::<u64>(), before.1 - after.1);
            let max_priority = self.model.options.max_priority;
            self.disk.write(page, max_priority, messages);
        }
        assert!(left > 0);
    }

    /// Makes one page of several, as long as there are any.
    fn join(&mut self, at_least: usize) {
        while let Some(pages) = self.queue.to_join(at_least) {
            assert!(pages.len() >= 2);
            let resident = self.resident();
            let parts = pages.iter().map(|page| self.disk.read(*page).collect());
            let parts = parts.collect();
            let page = self.disk.new_page();
            let messages = self.queue.join(page, at_least, parts, &mut self.effects);
            let max_priority = self.model.options.max_priority;
            if !messages.is_empty() {
                self.disk.write(page, max_priority, messages);
            }
            assert_eq!(self.resident(), resident);
            self.absorb();
        }
    }

    /// Gives a page to what is older than some of the newest, and again until nothing needs one.
    fn rehome(&mut self, below: u8, limit: usize) {
        let next = self.disk.next_number().get();
        let below = next.saturating_sub(u64::from(below) / 4);
        let below = NonZeroU64::new(below.max(1)).expect("it is at least one");
        loop {
            let pages = self.queue.rehome(below, limit, || self.disk.new_page());
            if pages.is_empty() {
                break;
            }
            for (page, messages) in pages {
                assert!((1..=limit).contains(&messages.len()));
                let max_priority = self.model.options.max_priority;
                self.disk.write(page, max_priority, messages);
            }
        }
        assert!(limit == 0 || self.disk.all_have_homes_below(below));
    }

    /// The queue is lost and made again of what is on disk.
    fn restart(&mut self, now: Time) {
        let found = self.disk.recover();
        let mut numbers = Vec::new();
        let mut last = BTreeMap::new();
        for message in found.iter().flat_map(|item| self.messages_of(item)) {
            let number = message.stored.expect("others are lost").number;
            let level = message
                .message
                .priority()
                .min(self.model.options.max_priority);
            let before = last.insert(level, number);
            if self.model.options.requeue == RequeueOrder::OldPlace {
                assert!(before < Some(number), "pages are in each other's way");
            }
            numbers.push(number);
        }
        for out in &self.model.unacked {
            let consumer = out.consumer.map(|number| &self.model.consumers[number]);
            if let Some(channel) = consumer.and_then(|consumer| consumer.channel) {
                let opened = self.channels[channel].leave(1);
                assert_eq!(opened, self.model.channels[channel].leave(1));
            }
        }
        self.consumers.clear();
        self.deliveries.clear();
        self.model.restart(&numbers);
        let options = self.model.options.clone();
        self.queue = Queue::with_chunk_len(options, now, self.chunk_len);
        self.queue.fill(self.disk.next_number(), found);
        self.compare_ready();
        self.tend(now, &Operation::Poll);
        self.poll(now);
    }

    fn messages_of(&self, item: &Rebuilt) -> Vec<PagedMessage> {
        match item {
            Rebuilt::Message(message) => vec![message.clone()],
            Rebuilt::Page { page, .. } => {
                self.disk.read(*page).map(|(_, message)| message).collect()
            }
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

    fn slow_consumer(&self, slow: Slow) -> SlowConsumer {
        SlowConsumer {
            action: slow.action,
            limit: slow.limit,
            limit_bytes: slow.limit_bytes,
            own_window: slow.own_window.map(|own| Arc::clone(&self.windows[own])),
        }
    }

    fn number(&self, id: ConsumerId) -> usize {
        self.consumers
            .iter()
            .position(|consumer| *consumer == id)
            .expect("a consumer that is known")
    }

    /// What an effect is in terms of the model, if it is anything there.
    fn done(&mut self, effect: Effect) -> Option<Done> {
        let done = match effect {
            Effect::Deliver { consumer, delivery } => {
                let consumer = self.number(consumer);
                let Consumer { window, slow, .. } = self.model.consumers[consumer];
                let own = slow.and_then(|slow| slow.own_window);
                for window in window.into_iter().chain(own) {
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
                stored: _,
            } => Done::Dead {
                message,
                reason,
                delivery_count,
            },
            Effect::GateOpened { consumer } => Done::GateOpened {
                consumer: self.number(consumer),
            },
            Effect::LeftOut { consumer, count } => Done::LeftOut {
                consumer: self.number(consumer),
                count,
            },
            Effect::TooSlow { consumer } => Done::TooSlow {
                consumer: self.number(consumer),
            },
            Effect::Expired => Done::Expired,
            Effect::Store { .. }
            | Effect::Handed { .. }
            | Effect::Returned { .. }
            | Effect::Gone { .. }
            | Effect::PageGone { .. }
            | Effect::SlotsGone { .. } => return None,
        };
        Some(done)
    }

    fn compare(&mut self) {
        assert_eq!(
            std::mem::take(&mut self.done),
            std::mem::take(&mut self.model.done)
        );
        self.compare_disk();
        self.compare_ready();

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

    fn compare_ready(&self) {
        let expected = self.model.in_order();
        let browsed = self.browsed();
        assert_eq!(browsed.len(), expected.len());
        for ((message, deadline, delivery_count), item) in browsed.into_iter().zip(expected) {
            assert_eq!(message, item.message);
            assert_eq!(delivery_count, item.delivery_count);
            assert_eq!(deadline, item.deadline.map_or(Time::MAX, Time::from_millis));
        }
    }

    /// What is ready, read from pages where it is not in memory.
    fn browsed(&self) -> Vec<(Message, Time, u32)> {
        let mut all = Vec::new();
        for item in self.queue.browse() {
            match item {
                BrowsedItem::Message(browsed) => {
                    let count = browsed.delivery_count;
                    assert_eq!(browsed.position, all.len());
                    assert_eq!(browsed.redelivered, count > 0);
                    let deadline = browsed.expires_at.unwrap_or(Time::MAX);
                    all.push((browsed.message.clone(), deadline, count));
                }
                BrowsedItem::Page {
                    page,
                    position,
                    len,
                    slots: (first, last),
                } => {
                    assert_eq!(position, all.len());
                    let meant = self
                        .disk
                        .read(page)
                        .filter(|(index, _)| (first..=last).contains(index));
                    all.extend(
                        meant.map(|(_, paged)| {
                            (paged.message, paged.deadline, paged.delivery_count)
                        }),
                    );
                    assert_eq!(position + len, all.len());
                }
            }
        }
        all
    }

    /// What the effects left on disk is what would have to survive if the process ended here.
    fn compare_disk(&self) {
        let alive = self.disk.alive();
        assert_eq!(alive.len(), self.model.stored().count());
        for (number, item, delivery_count) in self.model.stored() {
            let kept = &alive[&number];
            assert_eq!(kept.message, item.message);
            assert_eq!(
                kept.deadline,
                item.deadline.map_or(Time::MAX, Time::from_millis)
            );
            assert_eq!(kept.delivery_count, delivery_count, "message {number}");
        }
    }
}
