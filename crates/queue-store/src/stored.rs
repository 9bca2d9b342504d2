//! Messages that are also kept on disk: how the queue and the journal speak of them.

use std::num::{NonZeroU32, NonZeroU64};

use crate::{Message, Time};

/// Names a block of messages of one queue that was written to disk together.
///
/// The journal gives these out. While a page exists no other has its id.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PageId(pub NonZeroU32);

/// One message's place among those of a page.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PageSlot {
    /// The page.
    pub page: PageId,
    /// How many messages stand before it in the page.
    pub index: u16,
}

/// What a message of a durable queue is called on disk.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Stored {
    /// Its number in its queue: numbers ascend as messages arrive and are never used again.
    pub number: NonZeroU64,
    /// The page it is in; `None` while it is nowhere but in the log.
    pub home: Option<PageSlot>,
}

/// A message with everything that a queue knows of it: what goes into a page, and comes back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PagedMessage {
    /// The message.
    pub message: Message,
    /// What it is called on disk. `None` for one that need not survive a restart, and is here only to
    /// save memory.
    pub stored: Option<Stored>,
    /// When it expires; [`Time::MAX`] for never.
    pub deadline: Time,
    /// How often it had come back.
    pub delivery_count: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_is_called_takes_16_bytes() {
        assert_eq!(size_of::<Stored>(), 16);
        assert_eq!(size_of::<Option<Stored>>(), 16);
    }
}
