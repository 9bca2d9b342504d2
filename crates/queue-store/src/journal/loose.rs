//! Messages of a queue that are nowhere but in the log, while the log is read.

use std::num::NonZeroU64;

use crate::{Message, Time};

/// A message found in the log.
#[derive(Debug)]
pub(super) struct LooseMessage {
    pub(super) number: NonZeroU64,
    pub(super) deadline: Time,
    pub(super) delivery_count: u32,
    /// The file of the log that it is in.
    pub(super) file: u32,
    /// `None` once it is gone, until its place is needed.
    pub(super) message: Option<Message>,
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
            if message.message.is_some() {
                change(message);
            }
        }
    }

    /// The messages in this range are gone, or elsewhere.
    pub(super) fn remove(&mut self, first: NonZeroU64, len: u64) {
        let mut removed = 0;
        self.update(first, len, |message| {
            message.message = None;
            removed += 1;
        });
        self.dead += removed;
        // Each place that is given back was taken once, so this takes no longer than that did.
        if self.dead > DEAD_MIN.max(self.messages.len() / 2) {
            self.messages.retain(|message| message.message.is_some());
            self.dead = 0;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len() - self.dead
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LooseMessage> {
        self.messages.iter().filter(|it| it.message.is_some())
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = LooseMessage> {
        self.messages.into_iter().filter(|it| it.message.is_some())
    }
}
