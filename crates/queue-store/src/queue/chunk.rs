//! A run of waiting messages.

use std::collections::VecDeque;

use super::paged::{Paged, PagedOut};
use super::rehome::Rehome;
use crate::{Message, PageId, PageSlot, PagedMessage, Stored, Time};

/// How many messages share a chunk: 8 KiB of handles, so that a deep queue allocates once in 512
/// messages and the half-used chunks at both ends of a queue stay small beside the messages in
/// them.
pub(super) const CHUNK_LEN: u16 = 512;

/// How many bytes of messages a chunk takes in, all that they hold, before it counts as full. The ends of a queue stay in memory
/// whatever happens, and a page is read while the queue waits for it, so neither may be as large as
/// 512 large messages are. Messages below 2 KiB fill a chunk by their number.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;

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
    /// What it is called on disk, if it is there.
    pub(super) stored: Option<Stored>,
}

impl<M> Waiting<M> {
    /// One as most are: it does not expire, has not come back and is not stored.
    const fn usual(message: M) -> Self {
        Self {
            message,
            deadline: NEVER,
            delivery_count: NOT_YET,
            stored: NOT_STORED,
        }
    }

    fn is_usual(&self) -> bool {
        self.deadline == NEVER && self.delivery_count == NOT_YET && self.stored.is_none()
    }
}

impl From<Waiting<Message>> for PagedMessage {
    fn from(waiting: Waiting<Message>) -> Self {
        let Waiting {
            message,
            deadline,
            delivery_count,
            stored,
        } = waiting;
        Self {
            message,
            stored,
            deadline,
            delivery_count,
        }
    }
}

impl From<PagedMessage> for Waiting<Message> {
    fn from(paged: PagedMessage) -> Self {
        let PagedMessage {
            message,
            stored,
            deadline,
            delivery_count,
        } = paged;
        Self {
            message,
            deadline,
            delivery_count,
            stored,
        }
    }
}

/// Messages in the order in which they came: as many as the queue says or [`CHUNK_BYTES`] hold, or
/// more when they were brought back from a page together. A chunk starts small and doubles.
///
/// Most messages neither expire nor have come back, so only the handles are always there; the rest
/// stands beside them, in columns that come into being with the first message that needs one.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    messages: VecDeque<Message>,
    beside: Option<Box<Beside>>,
    /// How many bytes of messages have entered since it was last empty.
    entered_bytes: u64,
}

/// The columns beside the messages.
#[derive(Debug)]
struct Beside {
    deadlines: Column<Time>,
    delivery_counts: Column<u32>,
    stored: Column<Option<Stored>>,
    /// No message without a home has a lower number than this, so that a search for those passes
    /// over whole chunks. `u64::MAX` while there is none.
    homeless_from: u64,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            deadlines: Column::default(),
            delivery_counts: Column::default(),
            stored: Column::default(),
            homeless_from: u64::MAX,
        }
    }
}

/// A value for each message, or nothing at all while every message has the usual one.
#[derive(Debug)]
struct Column<T>(VecDeque<T>);

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

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
const NOT_STORED: Option<Stored> = None;

impl Beside {
    /// Adds what belongs to a message that comes behind `ahead` others.
    fn push(&mut self, waiting: &Waiting<Message>, ahead: usize) {
        self.deadlines.push(waiting.deadline, NEVER, ahead);
        self.delivery_counts
            .push(waiting.delivery_count, NOT_YET, ahead);
        self.stored.push(waiting.stored, NOT_STORED, ahead);
        if let Some(Stored { number, home: None }) = waiting.stored {
            self.homeless_from = self.homeless_from.min(number.get());
        }
    }

    fn pop(&mut self, message: Message) -> Waiting<Message> {
        Waiting {
            message,
            deadline: self.deadlines.pop(NEVER),
            delivery_count: self.delivery_counts.pop(NOT_YET),
            stored: self.stored.pop(NOT_STORED),
        }
    }

    fn get<M>(&self, index: usize, message: M) -> Waiting<M> {
        Waiting {
            message,
            deadline: self.deadlines.get(index, NEVER),
            delivery_count: self.delivery_counts.get(index, NOT_YET),
            stored: self.stored.get(index, NOT_STORED),
        }
    }
}

impl Chunk {
    /// A chunk with room for so many messages from the start.
    pub(super) fn with_capacity(len: u16) -> Self {
        Self {
            messages: VecDeque::with_capacity(len.into()),
            beside: None,
            entered_bytes: 0,
        }
    }

    /// Makes room for messages that are brought back together, but for no more than a chunk has: who says how many there
    /// are may be a file.
    pub(super) fn reserve(&mut self, len: u32) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.messages.reserve(len.min(CHUNK_LEN.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether it has taken in as much as a chunk of that length should.
    pub(super) fn is_full(&self, chunk_len: u16) -> bool {
        self.messages.len() >= chunk_len.into() || self.entered_bytes >= CHUNK_BYTES
    }

    #[inline]
    pub(super) fn push(&mut self, waiting: Waiting<Message>) {
        if self.beside.is_some() || !waiting.is_usual() {
            let beside = self.beside.get_or_insert_default();
            beside.push(&waiting, self.messages.len());
        }
        self.entered_bytes += waiting.message.size_bytes() as u64;
        self.messages.push_back(waiting.message);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Waiting<Message>> {
        let message = self.messages.pop_front()?;
        Some(match &mut self.beside {
            None => Waiting::usual(message),
            Some(beside) => beside.pop(message),
        })
    }

    /// The message at `index`, counted from the oldest.
    pub(super) fn get(&self, index: usize) -> Option<Waiting<&Message>> {
        let message = self.messages.get(index)?;
        Some(match &self.beside {
            None => Waiting::usual(message),
            Some(beside) => beside.get(index, message),
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Waiting<&Message>> {
        (0..self.messages.len()).map_while(|index| self.get(index))
    }

    /// Takes all messages out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waiting<Message>> {
        std::iter::from_fn(|| self.pop())
    }

    /// Takes everything out of memory: for `page`, unless all of it lies in a page already. None when
    /// there is nothing, or when it takes less memory than `least` and would have to be written.
    pub(super) fn page_out(&mut self, page: PageId, least: usize) -> Option<(Paged, PagedOut)> {
        if self.is_empty() {
            return None;
        }
        if let Some(paged) = self.as_paged() {
            *self = Self::default();
            return Some((paged, PagedOut::Kept));
        }
        if self.takes_less_than(least) {
            return None;
        }
        let messages: Vec<PagedMessage> = self.drain().map(PagedMessage::from).collect();
        *self = Self::default();
        Some((Paged::of(page, &messages), PagedOut::New(messages)))
    }

    /// All messages as what they are in a page, if they are all in one, side by side: what was
    /// brought back and has only lost messages at its beginning, or was given homes.
    fn as_paged(&self) -> Option<Paged> {
        let stored = &self.beside.as_ref()?.stored.0;
        let PageSlot { page, index: first } = (*stored.front()?)?.home?;
        let mut index = first;
        for (at, stored) in stored.iter().enumerate() {
            index = first.checked_add(u16::try_from(at).ok()?)?;
            if (*stored)?.home != Some(PageSlot { page, index }) {
                return None;
            }
        }
        let mut paged = Paged::none(page);
        paged.slots = Some((first, index));
        for waiting in self.iter() {
            paged.count(waiting.message, waiting.deadline);
        }
        Some(paged)
    }

    /// Whether the messages take so little memory that a page of their own would take as much.
    fn takes_less_than(&self, least: usize) -> bool {
        let mut taken = 0;
        let mut sizes = self.messages.iter().map(Message::size_bytes);
        !sizes.any(|size| {
            taken += size;
            taken >= least
        })
    }

    /// What those of the messages that are stored are called.
    pub(super) fn stored(&self) -> impl Iterator<Item = Stored> {
        let stored = self.beside.iter().flat_map(|beside| &beside.stored.0);
        stored.copied().flatten()
    }

    /// Gives homes to messages that have none; see [`Queue::rehome`](crate::Queue::rehome).
    pub(super) fn rehome(&mut self, rehome: &mut Rehome<'_>) {
        let Some(beside) = &mut self.beside else {
            return;
        };
        if !rehome.concerns(beside.homeless_from) {
            if beside.stored.0.iter().flatten().next().is_some() {
                rehome.pass_over();
            }
            return;
        }
        let Beside {
            deadlines,
            delivery_counts,
            stored,
            ..
        } = &mut **beside;
        let mut homeless_from = u64::MAX;
        for (index, (stored, message)) in stored.0.iter_mut().zip(&self.messages).enumerate() {
            let Some(stored) = stored else { continue };
            rehome.offer(stored, |stored| PagedMessage {
                message: message.clone(),
                stored: Some(stored),
                deadline: deadlines.get(index, NEVER),
                delivery_count: delivery_counts.get(index, NOT_YET),
            });
            if stored.home.is_none() {
                homeless_from = homeless_from.min(stored.number.get());
            }
        }
        beside.homeless_from = homeless_from;
    }

    /// Gives back the memory of an empty chunk, unless it is little.
    pub(super) fn trim(&mut self) {
        debug_assert!(self.is_empty());
        self.entered_bytes = 0;
        if self.messages.capacity() > KEPT_LEN {
            *self = Self::default();
        }
    }
}
