//! Giving homes on disk to messages that stay in memory.

use std::num::NonZeroU64;

use super::chunk::Waiting;
use super::ready::Taken;
use super::unacked::Outstanding;
use crate::{Message, PageId, PageSlot, PagedMessage, Stored, Time};

/// A page in the making.
///
/// Messages are offered in ascending order of their numbers, all that are stored of one priority;
/// those that need a home join. The page ends before the first that is in another page: no number
/// in there lies between two of this one, so that after a restart whole pages can be put in order
/// without reading them.
#[derive(Debug)]
pub(super) struct Rehome {
    page: PageId,
    below: NonZeroU64,
    limit: usize,
    joined: Vec<PagedMessage>,
    ended: bool,
}

impl Rehome {
    /// A page for messages with a number lower than `below`, and for no more than `limit`.
    pub(super) fn new(page: PageId, below: NonZeroU64, limit: usize) -> Self {
        let limit = limit.min(u16::MAX.into());
        Self {
            page,
            below,
            limit,
            joined: Vec::new(),
            ended: limit == 0,
        }
    }

    /// Whether nothing more can join.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether a message with that number could join if it had no home.
    pub(super) fn concerns(&self, number: u64) -> bool {
        !self.ended && number < self.below.get()
    }

    /// Lets the message join if it needs a home, and tells it its home then.
    pub(super) fn offer(&mut self, stored: &mut Stored, copy: impl FnOnce(Stored) -> PagedMessage) {
        if self.ended {
            return;
        }
        if stored.home.is_some() {
            return self.pass_over();
        }
        if stored.number >= self.below {
            return;
        }
        let Ok(index) = u16::try_from(self.joined.len()) else {
            return;
        };
        self.joined.push(copy(*stored));
        stored.home = Some(PageSlot {
            page: self.page,
            index,
        });
        self.ended = self.joined.len() == self.limit;
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
        self.ended |= !self.joined.is_empty();
    }

    /// Those that have joined, in the order of their places in the page.
    pub(super) fn into_messages(self) -> Vec<PagedMessage> {
        self.joined
    }
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
    pub(super) fn number(&self) -> NonZeroU64 {
        self.stored.number
    }

    /// One that has come back.
    pub(super) fn returned(waiting: &'a mut Waiting<Message>) -> Option<Self> {
        Some(Self {
            stored: waiting.stored.as_mut()?,
            message: &waiting.message,
            deadline: waiting.deadline,
            delivery_count: waiting.delivery_count,
        })
    }

    /// One that is unacknowledged, and its priority. After a restart it has come back.
    pub(super) fn delivered(outstanding: &'a mut Outstanding) -> Option<(u8, Self)> {
        let Taken {
            message,
            deadline,
            delivery_count,
            level,
            stored,
            ..
        } = &mut outstanding.taken;
        let away = Self {
            stored: stored.as_mut()?,
            message,
            deadline: *deadline,
            delivery_count: (*delivery_count).max(1),
        };
        Some((*level, away))
    }
}
