//! Messages that are out of memory, as the queue knows them.

use crate::{Effect, Message, PageId, PagedMessage, Time};

/// What [`Queue::page_out_any`](crate::Queue::page_out_any) took out of memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PagedOut {
    /// Messages to be kept as the page that was named. The index of each is that of its slot; the
    /// home it had before, which the list names, is no longer its home.
    New(Vec<PagedMessage>),
    /// Messages that lie in an older page already, from which they will be wanted. The page that was
    /// named is not used.
    Kept,
}

/// Messages that are out of memory: where they are, and what has to be known of them meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paged {
    pub(super) page: PageId,
    pub(super) len: u32,
    /// How many of them expire.
    pub(super) timed: u32,
    /// The first and the last slot they have in the page, if others may be in there that are in
    /// memory; else they are all there is in it.
    pub(super) slots: Option<(u16, u16)>,
    pub(super) body_bytes: u64,
    /// The memory that they held, [`Message::size_bytes`] of each. Of a page that was there before a restart nobody knows
    /// more than the bodies.
    pub(super) size_bytes: u64,
    /// When the first of them expires. After a restart it is not known if any of them does, and
    /// then this is long ago: who asks finds out by bringing the page back.
    pub(super) first_deadline: Time,
}

impl Paged {
    /// None yet.
    pub(super) const fn none(page: PageId) -> Self {
        Self {
            page,
            len: 0,
            timed: 0,
            slots: None,
            body_bytes: 0,
            size_bytes: 0,
            first_deadline: Time::MAX,
        }
    }

    /// All there is in a page.
    pub(super) fn of(page: PageId, messages: &[PagedMessage]) -> Self {
        let mut paged = Self::none(page);
        for message in messages {
            paged.count(&message.message, message.deadline);
        }
        paged
    }

    /// Counts a message that comes behind the others.
    pub(super) fn count(&mut self, message: &Message, deadline: Time) {
        if self.len == 0 {
            self.first_deadline = deadline;
        }
        self.len += 1;
        self.timed += u32::from(deadline != Time::MAX);
        let lens = message.lens();
        self.body_bytes += lens.body;
        self.size_bytes += lens.held;
    }

    /// Counts others as well.
    pub(super) fn add(&mut self, others: &Self) {
        self.len += others.len;
        self.timed += others.timed;
        self.body_bytes += others.body_bytes;
        self.size_bytes += others.size_bytes;
    }

    /// Whether it is one of these that has this slot in the page.
    pub(super) fn has(&self, index: u16) -> bool {
        self.slots
            .is_none_or(|(first, last)| (first..=last).contains(&index))
    }

    /// Says that they need not be kept any more.
    pub(super) fn gone(&self) -> Effect {
        let page = self.page;
        match self.slots {
            None => Effect::PageGone { page },
            Some((first, last)) => Effect::SlotsGone { page, first, last },
        }
    }
}
