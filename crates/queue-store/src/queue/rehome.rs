//! Giving homes on disk to messages that stay in memory.

use std::num::NonZeroU64;

use super::chunk::{CHUNK_BYTES, Waiting};
use super::ready::Taken;
use super::unacked::Outstanding;
use crate::{Message, PageId, PageSlot, PagedMessage, Stored, Time};

/// How many messages get a home in one call at most: so many that finding them among a million takes no
/// time worth counting, and the queue is locked for some hundredths of a second.
pub(super) const CALL_LEN: usize = 16 * 1024;

/// How much memory the messages of one call take at most, which is then copied.
const CALL_BYTES: usize = 4 << 20;

/// Pages in the making.
///
/// Messages are offered in ascending order of their numbers, all that are stored of one priority;
/// those that need a home join. A page ends before the first that is in another page: no number
/// in there lies between two of this one, so that after a restart whole pages can be put in order
/// without reading them.
pub(super) struct Rehome<'a> {
    below: NonZeroU64,
    page_len: usize,
    new_page: &'a mut dyn FnMut() -> PageId,
    pages: Vec<Rehomed>,
    /// Whether the last page takes no more.
    is_ended: bool,
    /// How much the messages in the last page take, and in all pages how many there are and what
    /// they take.
    page_bytes: usize,
    len: usize,
    bytes: usize,
}

/// A page, and what is to be in it.
type Rehomed = (PageId, Vec<PagedMessage>);

impl<'a> Rehome<'a> {
    /// For messages with a number lower than `below`, so many to a page.
    pub(super) fn new(
        below: NonZeroU64,
        page_len: usize,
        new_page: &'a mut dyn FnMut() -> PageId,
    ) -> Self {
        Self {
            below,
            page_len: page_len.min(u16::MAX.into()),
            new_page,
            pages: Vec::new(),
            is_ended: true,
            page_bytes: 0,
            len: 0,
            bytes: 0,
        }
    }

    /// Whether nothing more can join.
    pub(super) fn is_full(&self) -> bool {
        self.page_len == 0 || self.len >= CALL_LEN || self.bytes >= CALL_BYTES
    }

    /// Whether a message with that number could join if it had no home.
    pub(super) fn concerns(&self, number: u64) -> bool {
        !self.is_full() && number < self.below.get()
    }

    /// Lets the message join if it needs a home, and tells it its home then.
    pub(super) fn offer(&mut self, stored: &mut Stored, copy: impl FnOnce(Stored) -> PagedMessage) {
        if stored.home.is_some() {
            return self.pass_over();
        }
        if !self.concerns(stored.number.get()) {
            return;
        }
        if std::mem::take(&mut self.is_ended) {
            self.pages.push(((self.new_page)(), Vec::new()));
            self.page_bytes = 0;
        }
        let Some((page, messages)) = self.pages.last_mut() else {
            return;
        };
        let Ok(index) = u16::try_from(messages.len()) else {
            return;
        };
        let copy = copy(*stored);
        let size = copy.message.size_bytes();
        messages.push(copy);
        stored.home = Some(PageSlot { page: *page, index });
        self.len += 1;
        self.bytes += size;
        self.page_bytes += size;
        self.is_ended = messages.len() >= self.page_len || self.page_bytes >= CHUNK_BYTES as usize;
    }

    /// Like [`offer`](Self::offer). Returns the number of a message that is left without a home.
    pub(super) fn offer_away(&mut self, away: Away<'_>) -> Option<NonZeroU64> {
        let Away {
            stored,
            message,
            deadline,
            delivery_count,
        } = away;
        self.offer(stored, |stored| PagedMessage {
            message: message.clone(),
            stored: Some(stored),
            deadline,
            delivery_count,
        });
        stored.home.is_none().then_some(stored.number)
    }

    /// Here are messages that are in other pages, or of another priority.
    pub(super) fn pass_over(&mut self) {
        self.is_ended = true;
    }

    /// The pages, each with those that have joined, in the order of their places.
    pub(super) fn into_pages(self) -> Vec<Rehomed> {
        self.pages
    }
}

/// A stored message that is in no chunk, and where it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Far {
    pub(super) level: u8,
    pub(super) number: NonZeroU64,
    pub(super) place: FarPlace,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum FarPlace {
    /// Among the unacknowledged, in this slot.
    Delivered(u32),
    /// Among those of its level that have come back, with this rank.
    Returned(u64),
}

/// A stored message that is in no chunk.
#[derive(Debug)]
pub(super) struct Away<'a> {
    stored: &'a mut Stored,
    message: &'a Message,
    deadline: Time,
    delivery_count: u32,
}

impl<'a> Away<'a> {
    /// One that has come back.
    pub(super) fn returned(waiting: &'a mut Waiting<Message>) -> Option<Self> {
        Some(Self {
            stored: waiting.stored.as_mut()?,
            message: &waiting.message,
            deadline: waiting.deadline,
            delivery_count: waiting.delivery_count,
        })
    }

    /// One that is unacknowledged. After a restart it has come back.
    pub(super) fn delivered(outstanding: &'a mut Outstanding) -> Option<Self> {
        let Taken {
            message,
            deadline,
            delivery_count,
            stored,
            ..
        } = &mut outstanding.taken;
        Some(Self {
            stored: stored.as_mut()?,
            message,
            deadline: *deadline,
            delivery_count: (*delivery_count).max(1),
        })
    }
}
