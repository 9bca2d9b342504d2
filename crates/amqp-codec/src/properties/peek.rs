//! What a broker wants to know of a message's properties.

use super::walk::{Walk, flag};
use crate::read::Truncated;
use crate::{RawTable, ShortStr};

/// The properties that decide what a broker does with a message, found in one walk; see
/// [`RawProperties::peek`](crate::RawProperties::peek).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Peek<'a> {
    /// Named values for headers exchanges, and for brokers (`CC`, `BCC`, `x-delay` and so on).
    pub headers: Option<RawTable<'a>>,
    /// 2 for messages to be kept on disk.
    pub delivery_mode: Option<u8>,
    /// The priority, for queues that have priorities.
    pub priority: Option<u8>,
    /// The queue for replies.
    pub reply_to: Option<ShortStr<'a>>,
    /// The time to live in milliseconds, as a decimal text that nobody has parsed yet.
    pub expiration: Option<ShortStr<'a>>,
    /// Who claims to have sent the message.
    pub user_id: Option<ShortStr<'a>>,
}

impl<'a> Peek<'a> {
    #[inline]
    pub(super) fn fill(&mut self, walk: &mut Walk<'a>) -> Result<(), Truncated> {
        walk.short(flag::CONTENT_TYPE)?;
        walk.short(flag::CONTENT_ENCODING)?;
        self.headers = walk.table(flag::HEADERS)?;
        self.delivery_mode = walk.octet(flag::DELIVERY_MODE)?;
        self.priority = walk.octet(flag::PRIORITY)?;
        if !walk.has(flag::REPLY_TO | flag::EXPIRATION | flag::USER_ID) {
            return Ok(());
        }
        walk.short(flag::CORRELATION_ID)?;
        self.reply_to = walk.short(flag::REPLY_TO)?.and_then(ShortStr::from_utf8);
        self.expiration = walk.short(flag::EXPIRATION)?.and_then(ShortStr::from_utf8);
        if walk.has(flag::USER_ID) {
            walk.short(flag::MESSAGE_ID)?;
            walk.timestamp()?;
            walk.short(flag::KIND)?;
            self.user_id = walk.short(flag::USER_ID)?.and_then(ShortStr::from_utf8);
        }
        Ok(())
    }
}
