//! The waiting messages of one priority.

use std::collections::BTreeMap;
use std::ops::Range;

use super::chunk::{CHUNK_BYTES, Chunk, Waiting};
use super::paged::{Paged, PagedOut};
use super::rehome::Rehome;
use super::rest::{Block, Rest};
use crate::{Effect, Message, PageId, Stored, Time};

/// Messages of one priority, in the order in which they are to be delivered.
///
/// ```text
///   returned (by rank)        front            rest
///  ┌───┬────┬────┐   ┌──────────────┐ ┌──────────────┐ ┌─────
///  │ 2 │ 17 │ 18 │   │ 40 41 … 511  │ │ 512 … 1023   │ │ 1024 …
///  └───┴────┴────┘   └──────────────┘ └──────────────┘ └─────
///   came back         never left: sequence numbers implied; any part
///                     may be out of memory, as a page in the rest
/// ```
///
/// Every message of a level has a sequence number, by arrival. Those that never left form an
/// unbroken run, of which only the first number is kept. What comes back is older than all of them,
/// and is held apart.
///
/// When a page is next, the level has nothing to give until it has been brought back: see
/// [`next_page`](Self::next_page).
#[derive(Debug, Default)]
pub(super) struct Level {
    /// What came back, by rank; it goes first. The ranks are sequence numbers or the order of
    /// return, never both in one queue.
    returned: BTreeMap<u64, Waiting<Message>>,
    /// The oldest of what never left. Empty when there is nothing behind it, or a page is next.
    front: Chunk,
    /// What is behind the front; boxed, since most queues are short.
    rest: Option<Box<Rest>>,
    /// The sequence number of the first message of `front`, or of the next to arrive when there is
    /// none.
    first_seq: u64,
}

impl Level {
    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.front.is_empty() && self.rest.is_none()
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, waiting: Waiting<Message>, chunk_len: u16) {
        if self.rest.is_none() && !self.front.is_full(chunk_len) {
            return self.front.push(waiting);
        }
        self.rest.get_or_insert_default().push(waiting, chunk_len);
    }

    /// Adds messages at the end that are out of memory.
    pub(super) fn push_page(&mut self, paged: Paged) {
        self.rest.get_or_insert_default().push_page(paged);
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

    /// Replaces the emptied front by what is next, if that is in memory.
    fn advance(&mut self) {
        match self.rest.as_mut().and_then(|rest| rest.pop_chunk()) {
            Some(next) => self.front = next,
            None => self.front.trim(),
        }
        self.drop_empty_rest();
    }

    fn drop_empty_rest(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
    }

    /// The page that has to be brought back before anything more can be taken.
    pub(super) fn next_page(&self) -> Option<&Paged> {
        if !self.returned.is_empty() || !self.front.is_empty() {
            return None;
        }
        self.rest.as_ref()?.first_page()
    }

    /// The pages behind the front, up to what is in memory.
    pub(super) fn pages_to_come(&self) -> impl Iterator<Item = &Paged> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        rest.map_while(Block::as_paged)
    }

    /// Brings back the next page, of which these messages are alive. What it was counted as is
    /// returned, and as what it is counted now.
    pub(super) fn restore(
        &mut self,
        messages: impl Iterator<Item = (u16, Waiting<Message>)>,
    ) -> Option<(Paged, Paged)> {
        self.next_page()?;
        let paged = self.rest.as_mut()?.pop_page()?;
        let mut found = Paged::none(paged.page);
        self.front.reserve(paged.len);
        for (index, waiting) in messages {
            if paged.has(index) {
                found.count(&waiting.message, waiting.deadline);
                self.front.push(waiting);
            }
        }
        if self.front.is_empty() {
            self.advance();
        } else {
            self.drop_empty_rest();
        }
        Some((paged, found))
    }

    /// Takes messages out of memory, those that are to be delivered last, if there are enough of
    /// them.
    pub(super) fn page_out(&mut self, page: PageId) -> Option<(Paged, PagedOut)> {
        self.rest.as_mut()?.page_out(page)
    }

    /// Takes messages out of memory, those that are to be delivered last, even if they are the next.
    /// What came back is among them only if it `may_be_returned`, and joins those that never left.
    /// What would have to be written stays if it takes less memory than `least`.
    pub(super) fn page_out_any(
        &mut self,
        page: PageId,
        least: usize,
        may_be_returned: bool,
        chunk_len: u16,
    ) -> Option<(Paged, PagedOut)> {
        let rest = self.rest.as_mut();
        if let Some(out) = rest.and_then(|rest| rest.page_out_any(page, least)) {
            return Some(out);
        }
        let (paged, out) = match self.front.page_out(page, least) {
            Some(out) => out,
            None if may_be_returned && self.front.is_empty() => {
                self.page_out_returned(page, least, chunk_len)?
            }
            None => return None,
        };
        self.rest.get_or_insert_default().push_page_first(paged);
        Some((paged, out))
    }

    /// Takes the last of what came back: as if it had never left. Only while nothing is delivered that
    /// could come back between these messages, and only where their ranks are sequence numbers.
    fn page_out_returned(
        &mut self,
        page: PageId,
        least: usize,
        chunk_len: u16,
    ) -> Option<(Paged, PagedOut)> {
        let (mut size, mut first) = (0, None);
        for (rank, waiting) in self.returned.iter().rev().take(chunk_len.into()) {
            size += waiting.message.size_bytes();
            first = Some(*rank);
            if size as u64 >= CHUNK_BYTES {
                break;
            }
        }
        let first = first.filter(|_| size >= least)?;
        let mut chunk = Chunk::default();
        for waiting in self.returned.split_off(&first).into_values() {
            chunk.push(waiting);
            self.first_seq -= 1;
        }
        chunk.page_out(page, 0)
    }

    /// The pages to make one of, if there are so many small ones at the end.
    pub(super) fn to_join(&self, at_least: usize, chunk_len: u16) -> Option<Range<usize>> {
        self.rest.as_ref()?.to_join(at_least, chunk_len)
    }

    /// The pages among these blocks of the rest.
    pub(super) fn pages(&self, blocks: Range<usize>) -> impl Iterator<Item = &Paged> {
        let rest = self.rest.iter();
        rest.flat_map(move |rest| rest.pages(blocks.clone()))
    }

    /// Puts one page, or nothing, in the place of some at the end.
    pub(super) fn replace_pages(&mut self, blocks: Range<usize>, paged: Option<Paged>) {
        if let Some(rest) = &mut self.rest {
            rest.replace(blocks, paged);
        }
        self.drop_empty_rest();
    }

    /// The message that [`pop`](Self::pop) would take.
    pub(super) fn first(&self) -> Option<Waiting<&Message>> {
        match self.returned.first_key_value() {
            None => self.front.get(0),
            Some((_, waiting)) => Some(waiting.as_ref()),
        }
    }

    /// When the first message expires, or [`Time::MAX`]. Of a page it may not be known: then it is
    /// long ago.
    pub(super) fn deadline(&self) -> Time {
        let next = self.next_page().map(|paged| paged.first_deadline);
        let first = self.first().map(|first| first.deadline);
        first.or(next).unwrap_or(Time::MAX)
    }

    /// What waits, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Waits<'_>> {
        let returned = self.returned.values().map(Waiting::as_ref);
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        returned
            .chain(self.front.iter())
            .map(Waits::InMemory)
            .chain(rest.flat_map(|block| {
                let (chunk, paged) = match block {
                    Block::Chunk(chunk) => (Some(chunk), None),
                    Block::Paged(paged) => (None, Some(Waits::Paged(*paged))),
                };
                let messages = chunk.into_iter().flat_map(Chunk::iter);
                messages.map(Waits::InMemory).chain(paged)
            }))
    }

    /// Drops all messages and their memory, and says which of them need no longer be kept on disk.
    /// Their sequence numbers are free again: what is delivered has lower ones.
    pub(super) fn clear(&mut self, effects: &mut Vec<Effect>) {
        let gone = |stored: Stored| Effect::Gone { stored };
        let returned = self.returned.values().filter_map(|waiting| waiting.stored);
        effects.extend(returned.chain(self.front.stored()).map(gone));
        for block in self.rest.iter().flat_map(|rest| rest.iter()) {
            match block {
                Block::Chunk(chunk) => effects.extend(chunk.stored().map(gone)),
                Block::Paged(paged) => effects.push(paged.gone()),
            }
        }
        *self = Self {
            first_seq: self.first_seq,
            ..Self::default()
        };
    }

    /// What those that came back are called which are stored, by rank.
    pub(super) fn returned_stored(&self) -> impl Iterator<Item = (u64, Stored)> {
        let returned = self.returned.iter();
        returned.filter_map(|(rank, waiting)| Some((*rank, waiting.stored?)))
    }

    /// One that came back, so that it can be given a home.
    pub(super) fn returned_mut(&mut self, rank: u64) -> Option<&mut Waiting<Message>> {
        self.returned.get_mut(&rank)
    }

    /// Gives homes to what never left.
    pub(super) fn rehome(&mut self, rehome: &mut Rehome<'_>) {
        self.front.rehome(rehome);
        for block in self.rest.iter_mut().flat_map(|rest| rest.iter_mut()) {
            if rehome.is_full() {
                return;
            }
            match block {
                Block::Chunk(chunk) => chunk.rehome(rehome),
                Block::Paged(_) => rehome.pass_over(),
            }
        }
    }
}

/// Something that waits.
pub(super) enum Waits<'a> {
    InMemory(Waiting<&'a Message>),
    Paged(Paged),
}

impl Waiting<Message> {
    fn as_ref(&self) -> Waiting<&Message> {
        let Self {
            message,
            deadline,
            delivery_count,
            stored,
        } = self;
        Waiting {
            message,
            deadline: *deadline,
            delivery_count: *delivery_count,
            stored: *stored,
        }
    }
}
