//! Making a queue of what was found on disk.

use std::num::NonZeroU64;

use super::Queue;
use super::chunk::Waiting;
use super::paged::Paged;
use crate::{PageId, PagedMessage, QueueOptions, Time};

/// A part of what was found on disk of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rebuilt {
    /// A message, to be kept in memory.
    Message(PagedMessage),
    /// A page, to be left where it is until it is [wanted](Queue::wanted_page).
    Page {
        /// Which page.
        page: PageId,
        /// The priority of any message in it.
        priority: u8,
        /// How many of its messages are alive. A page of none is passed over.
        len: u32,
        /// Their body bytes.
        body_bytes: u64,
        /// How many of them expire.
        timed: u32,
    },
}

impl Queue {
    /// The queue as it was, of what was found on disk in ascending order of the numbers; a page
    /// stands where the first of its living messages would. `next_number` is higher than all
    /// numbers that were ever [stored](crate::Effect::Store).
    ///
    /// A message that has come back, or was delivered before the restart, is where it was when it
    /// was published and is redelivered. Nobody consumes and nothing is unacknowledged; the lease
    /// begins now. What is overdue or too much is still there until the first call: ask for
    /// [`wanted_page`](Self::wanted_page) and [`next_deadline`](Self::next_deadline), or
    /// [`poll`](Self::poll) at once.
    #[must_use]
    pub fn rebuild(
        options: QueueOptions,
        now: Time,
        next_number: NonZeroU64,
        items: impl IntoIterator<Item = Rebuilt>,
    ) -> Self {
        let mut queue = Self::new(options, now);
        queue.fill(next_number, items);
        queue
    }

    /// Fills an empty queue with what was found on disk.
    pub(crate) fn fill(
        &mut self,
        next_number: NonZeroU64,
        items: impl IntoIterator<Item = Rebuilt>,
    ) {
        self.next_number = next_number;
        for item in items {
            match item {
                Rebuilt::Message(message) => {
                    if let Some(stored) = &message.stored {
                        let next = stored.number.saturating_add(1);
                        self.next_number = self.next_number.max(next);
                    }
                    let level = message.message.priority().min(self.options.max_priority);
                    self.ready
                        .push(level, Waiting::from(message), self.chunk_len);
                }
                Rebuilt::Page { len: 0, .. } => {}
                Rebuilt::Page {
                    page,
                    priority,
                    len,
                    body_bytes,
                    timed,
                } => {
                    let paged = Paged {
                        len,
                        timed,
                        body_bytes,
                        size_bytes: body_bytes,
                        first_deadline: match timed {
                            0 => Time::MAX,
                            // It will be looked at at once.
                            _ => Time::default(),
                        },
                        ..Paged::none(page)
                    };
                    let level = priority.min(self.options.max_priority);
                    self.ready.push_page(level, paged);
                }
            }
        }
    }
}
