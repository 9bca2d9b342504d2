//! What queues held when the broker ended.

use std::num::NonZeroU64;

use super::error::ReadError;
use super::journal::Journal;
use super::record::QueueKey;
use crate::{PageId, PagedMessage, Time};

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// Every queue of which the journal knows something, in ascending order of keys.
    pub queues: Vec<RecoveredQueue>,
    /// What an operator should hear of: what was cut off, say.
    pub notes: Vec<String>,
}

/// What a queue held.
#[derive(Debug)]
pub struct RecoveredQueue {
    pub(super) key: QueueKey,
    pub(super) next_number: NonZeroU64,
    /// Those that are in no page, in ascending order of numbers.
    pub(super) messages: Vec<PagedMessage>,
    pub(super) pages: Vec<PageId>,
    pub(super) paged: u64,
}

/// A part of what a queue held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecoveredItem {
    /// One message. `stored` is always there. One that was with a consumer has a delivery count of
    /// at least one.
    Message(PagedMessage),
    /// A page whose messages all waited at one level, with no other message of that level among
    /// them. It has not been read.
    Page {
        /// The page.
        page: PageId,
        /// The level.
        level: u8,
        /// How many messages are alive in it.
        len: u32,
        /// The bytes of their bodies.
        body_bytes: u64,
        /// How many of them expire.
        timed: u32,
        /// The smallest number in it.
        first_number: NonZeroU64,
    },
}

impl RecoveredItem {
    /// The number of the message, or the smallest in the page.
    #[must_use]
    pub fn first_number(&self) -> NonZeroU64 {
        match self {
            Self::Message(message) => message
                .stored
                .map_or(NonZeroU64::MIN, |stored| stored.number),
            Self::Page { first_number, .. } => *first_number,
        }
    }
}

impl RecoveredQueue {
    /// Which queue.
    #[must_use]
    pub const fn key(&self) -> QueueKey {
        self.key
    }

    /// The number that the next message may have at least.
    #[must_use]
    pub const fn next_number(&self) -> NonZeroU64 {
        self.next_number
    }

    /// How many messages it held.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.messages.len() as u64 + self.paged
    }

    /// Whether it held none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it held, for whoever keeps messages in an order of its own: those that are in no page, in ascending order of
    /// numbers, and the pages, which have not been read.
    #[must_use]
    pub fn into_parts(self) -> (Vec<PagedMessage>, Vec<PageId>) {
        (self.messages, self.pages)
    }

    /// What it held, in ascending order of numbers, if its highest priority is `max_priority`.
    ///
    /// A page whose messages lie among others of their level, or at several, is taken apart; so is
    /// one of which some messages are gone looked at. The others are not read, nor are those between
    /// the first and the last message of a page that is taken apart.
    ///
    /// # Errors
    ///
    /// When a page cannot be read.
    pub fn into_items(
        self,
        journal: &Journal,
        max_priority: u8,
    ) -> Result<Vec<RecoveredItem>, ReadError> {
        let mut messages = self.messages;
        let mut whole = Vec::new();
        for page in self.pages {
            match journal.summarize(page, max_priority)? {
                Summary::Gone => {}
                Summary::Mixed(found) => messages.extend(found),
                Summary::Whole(page) => whole.push(page),
            }
        }
        let (items, spanning) = apart(whole);
        for page in spanning {
            messages.extend(journal.read_stored(page.page)?);
        }
        let mut numbers: Vec<_> = messages
            .iter()
            .filter_map(|it| {
                Some((
                    it.message.priority().min(max_priority),
                    it.stored?.number.get(),
                ))
            })
            .collect();
        numbers.sort_unstable();
        let mut found = Vec::new();
        for page in items {
            let start = numbers.partition_point(|it| *it < (page.level, page.first));
            let next = numbers.get(start);
            if next.is_some_and(|it| *it < (page.level, page.last)) {
                messages.extend(journal.read_stored(page.page)?);
            } else {
                found.push(page.item());
            }
        }
        found.extend(messages.into_iter().map(RecoveredItem::Message));
        found.sort_by_key(RecoveredItem::first_number);
        Ok(found)
    }
}

/// What is alive in a page.
enum Summary {
    Gone,
    /// Messages of several levels.
    Mixed(Vec<PagedMessage>),
    Whole(WholePage),
}

/// A page of messages of one level.
struct WholePage {
    page: PageId,
    level: u8,
    first: u64,
    last: u64,
    len: u32,
    body_bytes: u64,
    timed: u32,
}

impl WholePage {
    fn item(&self) -> RecoveredItem {
        RecoveredItem::Page {
            page: self.page,
            level: self.level,
            len: self.len,
            body_bytes: self.body_bytes,
            timed: self.timed,
            first_number: NonZeroU64::new(self.first).unwrap_or(NonZeroU64::MIN),
        }
    }
}

/// Pages that do not meet others of their level, as many as there can be, and the rest.
///
/// A message that came back to the end of its queue with its old number makes a page that spans all between: that one is
/// to be taken apart, and not all that it spans. So of pages that meet the one stays that ends first.
fn apart(mut pages: Vec<WholePage>) -> (Vec<WholePage>, Vec<WholePage>) {
    pages.sort_unstable_by_key(|page| (page.level, page.last));
    let mut last_end = None;
    pages.into_iter().partition(|page| {
        let meets = last_end.is_some_and(|(level, end)| level == page.level && end > page.first);
        if !meets {
            last_end = Some((page.level, page.last));
        }
        !meets
    })
}

impl Journal {
    /// What is alive in a page that was found when the journal was opened.
    fn summarize(&self, page: PageId, max_priority: u8) -> Result<Summary, ReadError> {
        let (contents, live, is_changed) = {
            let state = self.state.lock();
            let Some(found) = state.pages.get(page) else {
                return Ok(Summary::Gone);
            };
            let gone = found.changes.as_ref().map_or(0, |it| it.gone.len());
            (found.contents, found.live, gone > 0)
        };
        let level = contents.level.map(|level| level.min(max_priority));
        if let Some(level) = level
            && !is_changed
        {
            return Ok(Summary::Whole(WholePage {
                page,
                level,
                first: contents.first,
                last: contents.last,
                len: live.into(),
                body_bytes: contents.body_bytes,
                timed: contents.timed.into(),
            }));
        }
        let messages = self.read_stored(page)?;
        let level = level.or_else(|| common_level(&messages, max_priority));
        let Some(level) = level else {
            return Ok(Summary::Mixed(messages));
        };
        let numbers = messages
            .iter()
            .filter_map(|it| Some(it.stored?.number.get()));
        let (Some(first), Some(last)) = (numbers.clone().min(), numbers.max()) else {
            return Ok(Summary::Gone);
        };
        let body_bytes = messages.iter().map(|it| it.message.body_len() as u64).sum();
        let timed = messages
            .iter()
            .filter(|it| it.deadline != Time::MAX)
            .count();
        Ok(Summary::Whole(WholePage {
            page,
            level,
            first,
            last,
            len: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            body_bytes,
            timed: u32::try_from(timed).unwrap_or(u32::MAX),
        }))
    }

    /// The messages of a page that survived.
    fn read_stored(&self, page: PageId) -> Result<Vec<PagedMessage>, ReadError> {
        let messages = self.read_page(page)?.into_iter();
        let stored = messages.filter(|(_, message)| message.stored.is_some());
        Ok(stored.map(|(_, message)| message).collect())
    }
}

/// The level that all these messages belong to.
fn common_level(messages: &[PagedMessage], max_priority: u8) -> Option<u8> {
    let mut levels = messages
        .iter()
        .map(|it| it.message.priority().min(max_priority));
    let first = levels.next()?;
    levels.all(|level| level == first).then_some(first)
}
