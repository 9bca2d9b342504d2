//! The consumers of the twin: who there is, and whose turn it is.

use std::cmp::Reverse;

use super::{Done, Model, Slow};
use crate::Message;

#[derive(Debug)]
pub(in crate::fuzzing) struct Consumer {
    pub(in crate::fuzzing) no_ack: bool,
    pub(in crate::fuzzing) exclusive: bool,
    pub(in crate::fuzzing) priority: i64,
    pub(in crate::fuzzing) prefetch: u32,
    pub(in crate::fuzzing) window: Option<usize>,
    pub(in crate::fuzzing) channel: Option<usize>,
    pub(in crate::fuzzing) slow: Option<Slow>,
    pub(in crate::fuzzing) cancelled: bool,
    /// Whether a gate refused it since it was last in line.
    pub(in crate::fuzzing) held: bool,
    /// Whether it had enough at its turn and has settled nothing since.
    pub(in crate::fuzzing) full: bool,
    /// Where it stands in line, and when it was put aside: smaller is earlier.
    pub(in crate::fuzzing) ticket: u64,
}

impl Model {
    /// The number of the new consumer, or none.
    pub(in crate::fuzzing) fn consume(&mut self, consumer: Consumer) -> Option<usize> {
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

    pub(in crate::fuzzing) fn cancel(&mut self, number: usize) -> bool {
        self.expire();
        let found = self.take_out(number);
        if found {
            self.relieve();
        }
        found
    }

    pub(super) fn take_out(&mut self, number: usize) -> bool {
        let found = self.withdraw(number);
        if found {
            self.dispatch();
        }
        found
    }

    pub(in crate::fuzzing) fn withdraw(&mut self, number: usize) -> bool {
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
        true
    }

    pub(in crate::fuzzing) fn is_active(&self, number: usize) -> bool {
        !self.consumers[number].cancelled && self.active.is_none_or(|active| active == number)
    }

    pub(super) fn count_settled(&mut self, index: usize) {
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

    /// The first in line whose gates admit the message.
    pub(super) fn admit(&mut self, message: &Message) -> Option<usize> {
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
        if refused && window.is_some_and(|window| self.windows[window].give_back(size)) {
            self.done.push(Done::WindowOpened { consumer: number });
        }
        !refused
    }

    fn unacked_of(&self, number: usize) -> usize {
        self.unacked
            .iter()
            .filter(|out| out.consumer == Some(number))
            .count()
    }

    pub(super) fn release_held(&mut self) {
        let mut held: Vec<_> = (0..self.consumers.len())
            .filter(|number| self.consumers[*number].held)
            .collect();
        held.sort_by_key(|number| self.consumers[*number].ticket);
        for number in held {
            self.consumers[number].held = false;
            self.take_ticket(number);
        }
    }

    pub(super) fn take_ticket(&mut self, number: usize) {
        self.consumers[number].ticket = self.number_ticket();
    }

    fn number_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}
