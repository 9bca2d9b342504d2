//! The waiting messages of one priority.

use std::collections::{BTreeMap, VecDeque};

use super::chunk::{Chunk, Waiting};
use crate::{Message, Time};

/// Messages of one priority, in the order in which they are to be delivered.
///
/// ```text
///   returned (by rank)        front            rest
///  ┌───┬────┬────┐   ┌──────────────┐ ┌──────────────┐ ┌─────
///  │ 2 │ 17 │ 18 │   │ 40 41 … 511  │ │ 512 … 1023   │ │ 1024 …
///  └───┴────┴────┘   └──────────────┘ └──────────────┘ └─────
///   came back         never delivered: sequence numbers implied
/// ```
///
/// Every message of a level has a sequence number, by arrival. Those that were never delivered form
/// an unbroken run, of which only the first number is kept. What comes back is older than all of
/// them, and is held apart.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// What came back, by rank; it goes first. The ranks are sequence numbers or the order of
    /// return, never both in one queue.
    returned: BTreeMap<u64, Waiting<Message>>,
    /// The oldest of what never left. Empty only when `rest` is too.
    front: Chunk,
    rest: VecDeque<Chunk>,
    /// The sequence number of the first message of `front`, or of the next to arrive when there is
    /// none.
    first_seq: u64,
}

impl Level {
    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.front.is_empty()
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, waiting: Waiting<Message>) {
        let last = self.rest.back_mut().unwrap_or(&mut self.front);
        if last.is_full() {
            let mut next = Chunk::at_full_size();
            next.push(waiting);
            self.rest.push_back(next);
        } else {
            last.push(waiting);
        }
    }

    /// Gives a sequence number to a message that never waits. Only for an empty level: the message
    /// would otherwise overtake.
    pub(super) fn pass(&mut self) -> u64 {
        debug_assert!(self.is_empty());
        let seq = self.first_seq;
        self.first_seq += 1;
        seq
    }

    /// Adds a message that came back.
    pub(super) fn insert_returned(&mut self, rank: u64, waiting: Waiting<Message>) {
        let other = self.returned.insert(rank, waiting);
        debug_assert!(other.is_none(), "two messages of rank {rank}");
    }

    /// Takes the first message, with its sequence number or rank.
    pub(super) fn pop(&mut self) -> Option<(u64, Waiting<Message>)> {
        if !self.returned.is_empty() {
            let first = self.returned.pop_first();
            if self.returned.is_empty() {
                // An emptied tree keeps a node.
                self.returned = BTreeMap::new();
            }
            return first;
        }
        let waiting = self.front.pop()?;
        let seq = self.first_seq;
        self.first_seq += 1;
        if self.front.is_empty() {
            self.advance();
        }
        Some((seq, waiting))
    }

    /// Replaces the emptied front.
    fn advance(&mut self) {
        match self.rest.pop_front() {
            Some(next) => {
                self.front = next;
                if self.rest.is_empty() {
                    self.rest = VecDeque::new();
                }
            }
            None => self.front.trim(),
        }
    }

    /// The message that [`pop`](Self::pop) would take.
    pub(super) fn first(&self) -> Option<Waiting<&Message>> {
        match self.returned.first_key_value() {
            None => self.front.get(0),
            Some((_, waiting)) => Some(waiting.as_ref()),
        }
    }

    /// When the first message expires, or [`Time::MAX`].
    pub(super) fn deadline(&self) -> Time {
        self.first().map_or(Time::MAX, |first| first.deadline)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Waiting<&Message>> {
        let returned = self.returned.values().map(Waiting::as_ref);
        returned
            .chain(self.front.iter())
            .chain(self.rest.iter().flat_map(Chunk::iter))
    }

    /// Drops all messages and their memory. Their numbers are free again: what is delivered has lower
    /// ones.
    pub(super) fn clear(&mut self) {
        *self = Self {
            first_seq: self.first_seq,
            ..Self::default()
        };
    }
}

impl Waiting<Message> {
    fn as_ref(&self) -> Waiting<&Message> {
        let Self {
            message,
            deadline,
            delivery_count,
        } = self;
        Waiting {
            message,
            deadline: *deadline,
            delivery_count: *delivery_count,
        }
    }
}
