//! Messages of a queue that are nowhere but in the log, while the log is read.

use std::num::{NonZeroU32, NonZeroU64};

use crate::Time;

/// A message found in the log.
#[derive(Debug)]
pub(super) struct LooseMessage {
    pub(super) number: NonZeroU64,
    pub(super) deadline: Time,
    pub(super) delivery_count: u32,
    /// The file of the log that it is in, and where in there the message begins. `None` once it is
    /// gone, until its place is needed.
    pub(super) place: Option<LogPlace>,
}

/// Where a message stands in the log.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct LogPlace {
    pub(super) file: u32,
    /// Behind the heads of the file and of a block, and therefore never zero.
    pub(super) offset: NonZeroU32,
}

/// How many places of messages that are gone are kept at least before they are given back.
const DEAD_MIN: usize = 16;

/// Messages in ascending order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Loose {
    messages: Vec<LooseMessage>,
    dead: usize,
}

impl Loose {
    /// Adds a message behind all others. Says whether its number allows that.
    pub(super) fn push(&mut self, message: LooseMessage) -> bool {
        let last = self.messages.last();
        if last.is_some_and(|last| last.number >= message.number) {
            return false;
        }
        self.messages.push(message);
        true
    }

    /// Changes the messages whose numbers are in the range and that are alive.
    pub(super) fn update(
        &mut self,
        first: NonZeroU64,
        len: u64,
        mut change: impl FnMut(&mut LooseMessage),
    ) {
        let end = first.get().saturating_add(len);
        let start = self.messages.partition_point(|it| it.number < first);
        for message in self.messages.iter_mut().skip(start) {
            if message.number.get() >= end {
                break;
            }
            if message.place.is_some() {
                change(message);
            }
        }
    }

    /// The messages in this range are gone, or elsewhere.
    pub(super) fn remove(&mut self, first: NonZeroU64, len: u64) {
        let mut removed = 0;
        self.update(first, len, |message| {
            message.place = None;
            removed += 1;
        });
        self.dead += removed;
        // Each place that is given back was taken once, so this takes no longer than that did.
        if self.dead > DEAD_MIN.max(self.messages.len() / 2) {
            self.messages.retain(|message| message.place.is_some());
            self.dead = 0;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len() - self.dead
    }

    /// The message with this number, if it is alive.
    pub(super) fn get(&self, number: NonZeroU64) -> Option<&LooseMessage> {
        let at = self.messages.partition_point(|it| it.number < number);
        let found = self.messages.get(at);
        found.filter(|it| it.number == number && it.place.is_some())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LooseMessage> {
        self.messages.iter().filter(|it| it.place.is_some())
    }
}
