//! What waits behind the front of a level, in memory and out of it.

use std::collections::VecDeque;

use super::chunk::{Chunk, Waiting};
use crate::{Message, PageId, PagedMessage, Time};

/// The blocks behind the front, in order; never none.
///
/// Each is a chunk in memory or a page on disk. The last is where new messages join, unless it is a
/// page.
#[derive(Debug, Default)]
pub(super) struct Rest {
    blocks: VecDeque<Block>,
    /// How many blocks have gone from the beginning: what the first is counted as.
    gone: u64,
    /// Which chunks can be taken out of memory, ascending: those that are full and not last. What
    /// is farthest from being delivered is found at the end, in the same time however many there
    /// are.
    evictable: VecDeque<u64>,
}

#[derive(Debug)]
pub(super) enum Block {
    Chunk(Chunk),
    Paged(Paged),
}

/// Messages that are out of memory: where they are, and what counting them needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paged {
    pub(super) page: PageId,
    pub(super) len: u32,
    /// How many of them expire.
    pub(super) timed: u32,
    pub(super) body_bytes: u64,
}

impl Rest {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The first block if it is out of memory.
    pub(super) fn first_page(&self) -> Option<PageId> {
        match self.blocks.front()? {
            Block::Paged(paged) => Some(paged.page),
            Block::Chunk(_) => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        self.blocks.iter_mut()
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, waiting: Waiting<Message>, chunk_len: u16) {
        if let Some(Block::Chunk(last)) = self.blocks.back_mut()
            && !last.is_full(chunk_len)
        {
            return last.push(waiting);
        }
        let mut next = Chunk::with_capacity(chunk_len);
        next.push(waiting);
        self.push_block(Block::Chunk(next), chunk_len);
    }

    /// Adds a page at the end.
    pub(super) fn push_page(&mut self, paged: Paged, chunk_len: u16) {
        self.push_block(Block::Paged(paged), chunk_len);
    }

    fn push_block(&mut self, block: Block, chunk_len: u16) {
        if let Some(Block::Chunk(last)) = self.blocks.back()
            && last.is_full(chunk_len)
        {
            self.evictable
                .push_back(self.gone + self.blocks.len() as u64 - 1);
        }
        self.blocks.push_back(block);
    }

    /// Takes the first block if it is in memory.
    pub(super) fn pop_chunk(&mut self) -> Option<Chunk> {
        let Some(Block::Chunk(first)) = self.blocks.front_mut() else {
            return None;
        };
        let chunk = std::mem::take(first);
        self.drop_first();
        Some(chunk)
    }

    /// Takes the first block if it is out of memory.
    pub(super) fn pop_page(&mut self) -> Option<Paged> {
        let Some(Block::Paged(first)) = self.blocks.front() else {
            return None;
        };
        let paged = *first;
        self.drop_first();
        Some(paged)
    }

    fn drop_first(&mut self) {
        self.blocks.pop_front();
        self.evictable.pop_front_if(|first| *first == self.gone);
        self.gone += 1;
    }

    /// Takes the last chunk out of memory that can be, and puts a page in its place.
    pub(super) fn page_out(&mut self, page: PageId) -> Option<(Paged, Vec<PagedMessage>)> {
        let index = usize::try_from(self.evictable.pop_back()? - self.gone).ok()?;
        let block = self.blocks.get_mut(index)?;
        let Block::Chunk(chunk) = block else {
            return None;
        };
        let messages: Vec<PagedMessage> = chunk.drain().map(PagedMessage::from).collect();
        let paged = Paged::of(page, &messages);
        *block = Block::Paged(paged);
        Some((paged, messages))
    }
}

impl Paged {
    fn of(page: PageId, messages: &[PagedMessage]) -> Self {
        let mut paged = Self {
            page,
            len: 0,
            timed: 0,
            body_bytes: 0,
        };
        for PagedMessage {
            message, deadline, ..
        } in messages
        {
            paged.len += 1;
            paged.timed += u32::from(*deadline != Time::MAX);
            paged.body_bytes += message.body_len() as u64;
        }
        paged
    }
}
