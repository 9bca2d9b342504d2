//! Who gets the next message.

use slab::Slab;

use super::lease::Lease;
use super::ring::{Links, Ring};
use crate::{ConsumeError, ConsumerOptions, Effect, Gate, Message, SlowAction, SlowConsumer};

/// Names one consumer of one queue. Ids are not used again before four thousand million further
/// consumers came.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConsumerId {
    slot: u32,
    /// The number of the consumer among all the queue ever had, as far as it fits.
    generation: u32,
}

impl ConsumerId {
    /// A small number that no other consumer of the queue has at the same time: for a table beside
    /// the queue. Those of consumers that are gone are used again.
    #[must_use]
    pub const fn index(self) -> usize {
        self.slot as usize
    }
}

/// The consumers of a queue, and whose turn it is.
///
/// ```text
///                 served
///                ┌────────────┐
///                ▼            │
///  consume ──► InLine ────────┘
///    │ │        │  ▲ │  ▲
///    │ │ its turn  │ │  │ poll, or room
///    │ │ with      │ │  │ made by settling
///    │ │ prefetch  │ │gate refused
///    │ │ reached▼  │ ▼  │
///    │ │       Full  Held           cancel, from anywhere ──► gone, or Leaving
///    │ └─► StandBy                                           until all is settled
///    │       │ single active consumer has gone
///    └───────┴─► InLine
/// ```
///
/// Who is served goes to the back of the line, and so does who comes back to it: consumers that can
/// all take messages are served in the order in which they came. Who has enough stays in line until
/// its turn comes, and keeps its place if it has settled something by then (RabbitMQ). There is a line for every
/// priority, and while anybody stands in a higher one those in lower ones get nothing (RabbitMQ's
/// consumer priorities).
#[derive(Debug)]
pub(super) struct Consumers {
    slots: Slab<Consumer>,
    /// The lines with somebody in them, by priority, so that the one to serve is the last.
    lines: Vec<Line>,
    /// Those a gate refused, in the order in which it did.
    held: Ring,
    /// How many consume, not counting who is leaving.
    len: usize,
    /// How many ever came.
    registered: u64,
    /// The active one, if only one is to be.
    single_active: Option<SingleActive>,
    /// Room in the window of the only one.
    lease: Lease,
}

/// The slot of the active consumer.
type SingleActive = Option<u32>;

#[derive(Debug)]
struct Line {
    priority: i64,
    ring: Ring,
}

#[derive(Debug)]
pub(super) struct Consumer {
    options: ConsumerOptions,
    registered: u64,
    unacked: u32,
    standing: Standing,
    pub(super) links: Links,
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// It can take a message, as far as the queue knows, unless it has as many as it wants.
    InLine,
    /// At its turn it had as many unacknowledged deliveries as it wants, and has settled none since.
    Full,
    /// One of its gates refused.
    Held,
    /// Another one is the single active consumer.
    StandBy,
    /// It has been cancelled and has deliveries to settle.
    Leaving,
}

impl Consumers {
    pub(super) fn new(single_active: bool) -> Self {
        Self {
            slots: Slab::new(),
            lines: Vec::new(),
            held: Ring::new(),
            len: 0,
            registered: 0,
            single_active: single_active.then_some(None),
            lease: Lease::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether messages can reach the consumer: it consumes and is not standing by.
    pub(super) fn is_active(&self, id: ConsumerId) -> bool {
        self.find(id).is_some_and(|consumer| {
            !matches!(consumer.standing, Standing::StandBy | Standing::Leaving)
        })
    }

    /// What a consumer was told, while it consumes.
    pub(super) fn options(&self, id: ConsumerId) -> Option<&ConsumerOptions> {
        let consumer = self.find(id)?;
        (consumer.standing != Standing::Leaving).then_some(&consumer.options)
    }

    /// The id of whoever is in a slot.
    pub(super) fn id(&self, slot: u32) -> ConsumerId {
        // Truncation is meant: see `ConsumerId`.
        ConsumerId {
            slot,
            generation: self.slots[slot as usize].registered as u32,
        }
    }

    /// Whether deliveries to a slot have to be settled.
    pub(super) fn settles(&self, slot: u32) -> bool {
        !self.slots[slot as usize].options.no_ack
    }

    /// What a consumer wants when it is slow, if it wants anything.
    pub(super) fn slow(&self, id: ConsumerId) -> Option<&SlowConsumer> {
        self.find(id)?.options.slow.as_deref()
    }

    /// Whether whoever is in a slot has the oldest dropped.
    pub(super) fn drops_oldest(&self, slot: u32) -> bool {
        let slow = self.slots[slot as usize].options.slow.as_ref();
        slow.is_some_and(|slow| slow.action == SlowAction::DropOldest)
    }

    /// The oldest of those that could not take what waits, and want to be closed when `is_too_much`
    /// holds for their limits.
    pub(super) fn too_slow(
        &self,
        is_too_much: impl Fn(&SlowConsumer) -> bool,
    ) -> Option<ConsumerId> {
        let slow = self.slots.iter().filter(|(_, consumer)| {
            matches!(consumer.standing, Standing::Full | Standing::Held)
                && consumer
                    .options
                    .slow
                    .as_ref()
                    .is_some_and(|slow| slow.action == SlowAction::Close && is_too_much(slow))
        });
        let (slot, _) = slow.min_by_key(|(_, consumer)| consumer.registered)?;
        Some(self.id(u32::try_from(slot).expect("it fitted when it was inserted")))
    }

    /// Adds a consumer.
    ///
    /// # Errors
    ///
    /// [`ConsumeError::ExclusiveUse`] when somebody consumes alone, or the new one wants to and
    /// others are there or the queue has a single active consumer.
    pub(super) fn register(
        &mut self,
        options: ConsumerOptions,
    ) -> Result<ConsumerId, ConsumeError> {
        let wants_alone = options.exclusive && (!self.is_empty() || self.single_active.is_some());
        if wants_alone || self.somebody_is_alone() {
            return Err(ConsumeError::ExclusiveUse);
        }
        if self.slots.capacity() == 0 {
            // A vector would begin with four, and very many queues have one consumer.
            self.slots.reserve_exact(1);
        }
        let (registered, links) = (self.registered, Links::default());
        let consumer = Consumer {
            options,
            registered,
            unacked: 0,
            standing: Standing::StandBy,
            links,
        };
        let slot = u32::try_from(self.slots.insert(consumer))
            .expect("as many consumers do not fit into memory");
        self.registered += 1;
        self.len += 1;
        match &mut self.single_active {
            Some(Some(_)) => {}
            Some(nobody) => {
                *nobody = Some(slot);
                self.join_line(slot);
            }
            None => self.join_line(slot),
        }
        Ok(self.id(slot))
    }

    /// An exclusive consumer is the only one, and single active queues have none, so looking at one
    /// slot would do if those that are leaving did not have slots too.
    fn somebody_is_alone(&self) -> bool {
        self.len == 1
            && self
                .slots
                .iter()
                .any(|(_, c)| c.options.exclusive && c.standing != Standing::Leaving)
    }

    /// Takes a consumer out; false if the id names none. What it has to settle stays its own.
    pub(super) fn cancel(&mut self, id: ConsumerId) -> bool {
        let Some(standing) = self.find(id).map(|consumer| consumer.standing) else {
            return false;
        };
        let slot = id.slot;
        match standing {
            Standing::InLine => self.leave_line(slot),
            Standing::Held => self.held.remove(&mut self.slots, slot),
            Standing::Full | Standing::StandBy => {}
            Standing::Leaving => return false,
        }
        self.len -= 1;
        if self.single_active == Some(Some(slot)) {
            self.single_active = Some(None);
        }
        if self.slots[slot as usize].unacked == 0 {
            self.forget(slot);
        } else {
            self.slots[slot as usize].standing = Standing::Leaving;
        }
        if self.single_active == Some(None) {
            self.promote();
        }
        true
    }

    /// Makes the next consumer the single active one: the highest priority, then the oldest.
    fn promote(&mut self) {
        let standing_by = self
            .slots
            .iter()
            .filter(|(_, consumer)| consumer.standing == Standing::StandBy);
        let next =
            standing_by.min_by_key(|(_, c)| (std::cmp::Reverse(c.options.priority), c.registered));
        if let Some((slot, _)) = next {
            let slot = u32::try_from(slot).expect("it fitted when it was inserted");
            self.single_active = Some(Some(slot));
            self.join_line(slot);
        }
    }

    /// Whether anybody can take a message, unless a gate refuses it. Those that have enough are put
    /// aside on the way.
    pub(super) fn is_anyone_in_line(&mut self) -> bool {
        while let Some(slot) = self.lines.last().and_then(|line| line.ring.first()) {
            if !self.slots[slot as usize].has_enough() {
                return true;
            }
            self.leave_line(slot);
            self.slots[slot as usize].standing = Standing::Full;
        }
        false
    }

    /// Several messages are about to be given out together. Says whether to [end](Self::end_together) that.
    pub(super) fn begin_together(&mut self) -> bool {
        self.slots.len() == 1 && self.lease.open()
    }

    /// They were given out, or could not be.
    pub(super) fn end_together(&mut self, effects: &mut Vec<Effect>) {
        let left = self.lease.close();
        let Some((slot, consumer)) = self.slots.iter().next().filter(|_| left > 0) else {
            return;
        };
        let window = consumer.options.window.as_ref();
        if window.is_some_and(|window| window.give_back(left)) {
            let slot = u32::try_from(slot).expect("it fitted when it was inserted");
            effects.push(Effect::WindowOpened {
                consumer: self.id(slot),
            });
        }
    }

    /// Finds the consumer for a message, if any can take one, and counts the message as given to
    /// it. Those that have enough, and those a gate refuses, are put aside on the way.
    pub(super) fn admit(&mut self, message: &Message, effects: &mut Vec<Effect>) -> Option<u32> {
        while let Some(slot) = self.lines.last().and_then(|line| line.ring.first()) {
            if self.slots[slot as usize].has_enough() {
                self.leave_line(slot);
                self.slots[slot as usize].standing = Standing::Full;
                continue;
            }
            let consumer = &self.slots[slot as usize];
            match consumer.options.try_enter(message, &mut self.lease) {
                Admission::Entered => {
                    self.count_served(slot);
                    return Some(slot);
                }
                Admission::Refused { opened_another } => {
                    if opened_another {
                        effects.push(Effect::WindowOpened {
                            consumer: self.id(slot),
                        });
                    }
                    self.leave_line(slot);
                    self.slots[slot as usize].standing = Standing::Held;
                    self.held.push(&mut self.slots, slot);
                }
            }
        }
        None
    }

    /// The first in line has got a message.
    fn count_served(&mut self, slot: u32) {
        let consumer = &mut self.slots[slot as usize];
        consumer.unacked += u32::from(!consumer.options.no_ack);
        if let Some(line) = self.lines.last_mut() {
            line.ring.rotate(&mut self.slots);
        }
    }

    /// A delivery to a slot has been settled.
    pub(super) fn count_settled(&mut self, slot: u32, effects: &mut Vec<Effect>) {
        let consumer = &mut self.slots[slot as usize];
        consumer.unacked -= 1;
        let opened = consumer
            .options
            .channel_prefetch
            .as_ref()
            .is_some_and(|gate| gate.leave(1));
        let (standing, unacked) = (consumer.standing, consumer.unacked);
        if opened {
            effects.push(Effect::GateOpened {
                consumer: self.id(slot),
            });
        }
        match standing {
            Standing::Full => self.join_line(slot),
            Standing::Leaving if unacked == 0 => self.forget(slot),
            _ => {}
        }
        if opened {
            self.release_held();
        }
    }

    /// Whom a gate refused first of all that still wait for it.
    pub(super) fn held(&self) -> Option<ConsumerId> {
        self.held.first().map(|slot| self.id(slot))
    }

    /// Puts everybody whom a gate refused back in line, to try again.
    pub(super) fn release_held(&mut self) {
        while let Some(slot) = self.held.first() {
            self.held.remove(&mut self.slots, slot);
            self.join_line(slot);
        }
    }

    fn join_line(&mut self, slot: u32) {
        let consumer = &mut self.slots[slot as usize];
        consumer.standing = Standing::InLine;
        let priority = consumer.options.priority;
        let index = match self
            .lines
            .binary_search_by_key(&priority, |line| line.priority)
        {
            Ok(index) => index,
            Err(index) => {
                if self.lines.capacity() == 0 {
                    self.lines.reserve_exact(1);
                }
                self.lines.insert(
                    index,
                    Line {
                        priority,
                        ring: Ring::new(),
                    },
                );
                index
            }
        };
        self.lines[index].ring.push(&mut self.slots, slot);
    }

    fn leave_line(&mut self, slot: u32) {
        let priority = self.slots[slot as usize].options.priority;
        let Ok(index) = self
            .lines
            .binary_search_by_key(&priority, |line| line.priority)
        else {
            unreachable!("who is in line stands in the line of its priority");
        };
        self.lines[index].ring.remove(&mut self.slots, slot);
        if self.lines[index].ring.is_empty() {
            self.lines.remove(index);
        }
    }

    fn forget(&mut self, slot: u32) {
        self.slots.remove(slot as usize);
        if self.slots.is_empty() {
            self.slots = Slab::new();
            self.lines = Vec::new();
        }
    }

    fn find(&self, id: ConsumerId) -> Option<&Consumer> {
        let consumer = self.slots.get(id.slot as usize)?;
        (consumer.registered as u32 == id.generation).then_some(consumer)
    }
}

impl Consumer {
    /// Whether its prefetch is reached. Deliveries that need not be settled are not counted.
    fn has_enough(&self) -> bool {
        self.options.prefetch > 0 && self.unacked >= self.options.prefetch
    }
}

/// Whether the gates of a consumer let a message through.
enum Admission {
    Entered,
    /// One refused. Giving back what the other had admitted may have made room somebody else was
    /// waiting for.
    Refused {
        opened_another: bool,
    },
}

impl ConsumerOptions {
    /// Passes all gates, or none.
    fn try_enter(&self, message: &Message, lease: &mut Lease) -> Admission {
        if let Some(slow) = &self.slow
            && let Some(own) = &slow.own_window
        {
            return self.try_enter_with(own, message, lease);
        }
        self.try_enter_shared(message, lease)
    }

    /// Out of the way of those that have no window of their own.
    #[inline(never)]
    fn try_enter_with(&self, own: &Gate, message: &Message, lease: &mut Lease) -> Admission {
        let size = message.size_bytes();
        if !own.try_enter(size) {
            return Admission::Refused {
                opened_another: false,
            };
        }
        let admission = self.try_enter_shared(message, lease);
        if let Admission::Refused { .. } = admission {
            // Nobody else waits for room in there, and this one is polled for the other gate.
            let _ = own.leave(size);
        }
        admission
    }

    fn try_enter_shared(&self, message: &Message, lease: &mut Lease) -> Admission {
        let size = match &self.window {
            None => 0,
            Some(window) => {
                let size = message.size_bytes();
                if !lease.try_enter(window, size) {
                    return Admission::Refused {
                        opened_another: false,
                    };
                }
                size
            }
        };
        match &self.channel_prefetch {
            Some(channel) if !self.no_ack && !channel.try_enter(1) => {
                let opened_another = self
                    .window
                    .as_ref()
                    .is_some_and(|window| lease.give_back(window, size));
                Admission::Refused { opened_another }
            }
            _ => Admission::Entered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageParts;

    #[test]
    fn who_has_gone_leaves_no_slot_behind() {
        let message = Message::new(&MessageParts::default(), &mut Vec::new());
        let mut effects = Vec::new();
        let mut consumers = Consumers::new(false);
        for unacked in 0..3 {
            let id = consumers
                .register(ConsumerOptions::default())
                .expect("nobody is there");
            for _ in 0..unacked {
                assert_eq!(consumers.admit(&message, &mut effects), Some(id.slot));
            }
            assert!(consumers.cancel(id));
            for _ in 0..unacked {
                assert_eq!(consumers.slots.len(), 1);
                consumers.count_settled(id.slot, &mut effects);
            }
            assert_eq!((consumers.slots.len(), consumers.lines.len()), (0, 0));
        }
    }
}
