//! A run of waiting messages.

use std::collections::VecDeque;

use crate::{Message, Time};

/// How many messages share a chunk: 8 KiB of handles, so that a deep queue allocates once in 512
/// messages and the half-used chunks at both ends of a queue stay small beside the messages in
/// them.
pub(super) const CHUNK_LEN: usize = 512;

/// How many places an empty chunk may keep for next time. A queue through which single messages
/// pass does not allocate for each, and thousands of idle ones cost nothing worth counting: 64
/// bytes is the least a `VecDeque` takes for handles anyway.
const KEPT_LEN: usize = 4;

/// What is kept of a waiting message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting<M> {
    pub(super) message: M,
    /// When it expires; [`Time::MAX`] for never.
    pub(super) deadline: Time,
    /// How often it came back.
    pub(super) delivery_count: u32,
}

/// Up to [`CHUNK_LEN`] messages in the order in which they came. It starts small and doubles.
///
/// Most messages neither expire nor have come back, so only the handles are always there; the rest
/// stands beside them, in columns that come into being with the first message that needs one.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    messages: VecDeque<Message>,
    beside: Option<Box<Beside>>,
}

/// The columns beside the messages.
#[derive(Debug, Default)]
struct Beside {
    deadlines: Column<Time>,
    delivery_counts: Column<u32>,
}

/// A value for each message, or nothing at all while every message has the usual one.
#[derive(Debug, Default)]
struct Column<T>(VecDeque<T>);

impl<T: Copy + Eq> Column<T> {
    /// Adds the value of a message that comes behind `ahead` others.
    fn push(&mut self, value: T, usual: T, ahead: usize) {
        if self.0.is_empty() {
            if value == usual {
                return;
            }
            self.0.resize(ahead, usual);
        }
        self.0.push_back(value);
    }

    fn pop(&mut self, usual: T) -> T {
        self.0.pop_front().unwrap_or(usual)
    }

    fn get(&self, index: usize, usual: T) -> T {
        self.0.get(index).copied().unwrap_or(usual)
    }
}

const NEVER: Time = Time::MAX;
const NOT_YET: u32 = 0;

impl Chunk {
    /// A chunk with room for [`CHUNK_LEN`] messages from the start.
    pub(super) fn at_full_size() -> Self {
        Self {
            messages: VecDeque::with_capacity(CHUNK_LEN),
            beside: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= CHUNK_LEN
    }

    pub(super) fn push(&mut self, waiting: Waiting<Message>) {
        let Waiting {
            message,
            deadline,
            delivery_count,
        } = waiting;
        if deadline != NEVER || delivery_count != NOT_YET || self.beside.is_some() {
            let ahead = self.messages.len();
            let beside = self.beside.get_or_insert_default();
            beside.deadlines.push(deadline, NEVER, ahead);
            beside.delivery_counts.push(delivery_count, NOT_YET, ahead);
        }
        self.messages.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<Waiting<Message>> {
        let message = self.messages.pop_front()?;
        let (deadline, delivery_count) = match &mut self.beside {
            None => (NEVER, NOT_YET),
            Some(beside) => (
                beside.deadlines.pop(NEVER),
                beside.delivery_counts.pop(NOT_YET),
            ),
        };
        Some(Waiting {
            message,
            deadline,
            delivery_count,
        })
    }

    /// The message at `index`, counted from the oldest.
    pub(super) fn get(&self, index: usize) -> Option<Waiting<&Message>> {
        let message = self.messages.get(index)?;
        let (deadline, delivery_count) = match &self.beside {
            None => (NEVER, NOT_YET),
            Some(beside) => (
                beside.deadlines.get(index, NEVER),
                beside.delivery_counts.get(index, NOT_YET),
            ),
        };
        Some(Waiting {
            message,
            deadline,
            delivery_count,
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Waiting<&Message>> {
        (0..self.messages.len()).map_while(|index| self.get(index))
    }

    /// Gives back the memory of an empty chunk, unless it is little.
    pub(super) fn trim(&mut self) {
        debug_assert!(self.is_empty());
        if self.messages.capacity() > KEPT_LEN {
            *self = Self::default();
        }
    }
}
