//! What waits behind the front of a level, in memory and out of it.

use std::collections::VecDeque;
use std::ops::Range;

use super::chunk::{CHUNK_BYTES, Chunk, Waiting};
use super::paged::{Paged, PagedOut};
use crate::{Message, PageId};

/// The blocks behind the front, in order; never none.
///
/// Each is a chunk in memory or a page on disk. The last is where new messages join, unless it is a
/// page.
#[derive(Debug, Default)]
pub(super) struct Rest {
    blocks: VecDeque<Block>,
    /// How many blocks have gone from the beginning, less those that have come before it: what the
    /// first is counted as.
    gone: i64,
    /// Which chunks can be taken out of memory, ascending: those that are not last, and therefore
    /// full, but for what a restart left between two pages. What is farthest from being delivered is
    /// found at the end, in the same time however many there are.
    evictable: VecDeque<i64>,
}

#[derive(Debug)]
pub(super) enum Block {
    Chunk(Chunk),
    Paged(Paged),
}

impl Rest {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The first block if it is out of memory.
    pub(super) fn first_page(&self) -> Option<&Paged> {
        match self.blocks.front()? {
            Block::Paged(paged) => Some(paged),
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
        let mut next = match self.blocks.back_mut() {
            Some(Block::Chunk(last)) if !last.is_full(chunk_len) => return last.push(waiting),
            Some(Block::Chunk(_)) => Chunk::with_capacity(chunk_len),
            // Behind a page it may be one of very many queues that have their turn now and then.
            _ => Chunk::default(),
        };
        next.push(waiting);
        self.push_block(Block::Chunk(next));
    }

    /// Adds a page at the end.
    pub(super) fn push_page(&mut self, paged: Paged) {
        self.push_block(Block::Paged(paged));
    }

    fn push_block(&mut self, block: Block) {
        let last = self.gone + self.blocks.len() as i64 - 1;
        if let Some(Block::Chunk(_)) = self.blocks.back()
            && self.evictable.back() != Some(&last)
        {
            self.evictable.push_back(last);
        }
        self.blocks.push_back(block);
    }

    /// Adds a page before everything.
    pub(super) fn push_page_first(&mut self, paged: Paged) {
        self.gone -= 1;
        self.blocks.push_front(Block::Paged(paged));
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

    /// Takes the last chunk out of memory that has another block behind it, and puts a page in its
    /// place.
    pub(super) fn page_out(&mut self, page: PageId) -> Option<(Paged, PagedOut)> {
        let index = usize::try_from(self.evictable.pop_back()? - self.gone).ok()?;
        let block = self.blocks.get_mut(index)?;
        let Block::Chunk(chunk) = block else {
            return None;
        };
        let (paged, out) = chunk.page_out(page, 0)?;
        *block = Block::Paged(paged);
        Some((paged, out))
    }

    /// As [`page_out`](Self::page_out), and what came last is taken too, unless it takes less memory
    /// than `least`.
    pub(super) fn page_out_any(&mut self, page: PageId, least: usize) -> Option<(Paged, PagedOut)> {
        if let Some(block) = self.blocks.back_mut()
            && let Block::Chunk(last) = block
            && let Some((paged, out)) = last.page_out(page, least)
        {
            *block = Block::Paged(paged);
            return Some((paged, out));
        }
        self.page_out(page)
    }

    /// Which blocks to make one page of, if there are so many small pages at the end: the first of
    /// these, as many as fit.
    pub(super) fn to_join(&self, at_least: usize, chunk_len: u16) -> Option<Range<usize>> {
        // Any two small ones fit.
        let at_least = at_least.max(2);
        let is_small = |paged: &Paged| {
            paged.len <= u32::from(chunk_len) / 2 && paged.size_bytes <= CHUNK_BYTES / 2
        };
        let start = self.blocks.len().checked_sub(at_least)?;
        let small = self.blocks.range(start..).filter_map(Block::as_paged);
        if small.clone().filter(|paged| is_small(paged)).count() < at_least {
            return None;
        }
        let (mut len, mut size) = (0, 0);
        let fitting = small.take_while(|paged| {
            len += paged.len;
            size += paged.size_bytes;
            len <= chunk_len.into() && size <= CHUNK_BYTES
        });
        Some(start..start + fitting.count())
    }

    /// The pages among these blocks.
    pub(super) fn pages(&self, blocks: Range<usize>) -> impl Iterator<Item = &Paged> {
        self.blocks.range(blocks).filter_map(Block::as_paged)
    }

    /// Puts one page, or nothing, in the place of some at the end.
    pub(super) fn replace(&mut self, blocks: Range<usize>, paged: Option<Paged>) {
        let at = blocks.start;
        self.blocks.drain(blocks);
        if let Some(paged) = paged {
            self.blocks.insert(at, Block::Paged(paged));
        }
    }
}

impl Block {
    pub(super) fn as_paged(&self) -> Option<&Paged> {
        match self {
            Self::Paged(paged) => Some(paged),
            Self::Chunk(_) => None,
        }
    }
}
