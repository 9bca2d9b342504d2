//! What the log says happened.

use std::num::{NonZeroU32, NonZeroU64};

use super::message_format::take_parts;
use super::page::{MAX_PAGE_LEN, PageMaking, PagePlace, PageSummary};
use super::wire::{Malformed, Numbers, Reader, put_varint};
use crate::{MessageParts, PageId, Time};

/// Names a queue of the journal: given out by the caller, and never used for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueueKey(pub u64);

/// The numbers of messages are below this, which no queue ever reaches: at a thousand million a second
/// it takes centuries. So there is a number behind each.
pub(super) const NUMBERS_END: u64 = 1 << 63;

/// The kinds of records. The number is the first byte of a record.
pub(super) mod kind {
    /// A message entered a queue.
    pub(in super::super) const STORE: u8 = 1;
    /// Messages of a queue were delivered and have to be settled.
    pub(in super::super) const HANDED: u8 = 2;
    /// Messages of a queue are gone.
    pub(in super::super) const GONE: u8 = 3;
    /// A message came back.
    pub(in super::super) const RETURNED: u8 = 4;
    /// As [`HANDED`], by their places in a page.
    pub(in super::super) const PAGE_HANDED: u8 = 5;
    /// As [`GONE`], by their places in a page.
    pub(in super::super) const PAGE_SLOTS_GONE: u8 = 6;
    /// As [`RETURNED`], by its place in a page.
    pub(in super::super) const PAGE_RETURNED: u8 = 7;
    /// A page is about to be written.
    pub(in super::super) const PAGED: u8 = 8;
    /// A page is safe.
    pub(in super::super) const PAGE_SAFE: u8 = 9;
    /// A page is in another file now, safely.
    pub(in super::super) const PAGE_MOVED: u8 = 10;
    /// Everything in a page is gone.
    pub(in super::super) const PAGE_GONE: u8 = 11;
    /// A queue was deleted, with everything in it.
    pub(in super::super) const QUEUE_GONE: u8 = 12;
    /// Log files before this one are not needed any more.
    pub(in super::super) const LOG_FREED: u8 = 13;
    /// Where the numbers of a queue have got to.
    pub(in super::super) const QUEUE: u8 = 14;
    /// A page that was safe when the log file was begun.
    pub(in super::super) const PAGE: u8 = 15;
    /// The broker was started again. Pages that were not safe are not there any more.
    pub(in super::super) const RESTARTED: u8 = 16;

    /// On a [`STORE`]: a deadline follows.
    pub(in super::super) const DEADLINE: u8 = 0x40;
    /// On a [`STORE`]: the message stands earlier in the block.
    pub(in super::super) const AGAIN: u8 = 0x80;
}

/// A record of the log.
#[derive(Debug)]
pub(super) enum Record<'a> {
    Store(StoreRecord<'a>),
    Handed(Range),
    Gone(Range),
    Returned {
        subject: Subject,
        delivery_count: u32,
    },
    Paged(PageMaking),
    PageSafe(PageId),
    PageMoved {
        page: PageId,
        place: PagePlace,
    },
    PageGone(PageId),
    QueueGone(QueueKey),
    LogFreed {
        oldest: u32,
    },
    Queue {
        key: QueueKey,
        next_number: u64,
        /// The numbers from this one on may be of messages that are nowhere but in the log.
        in_log: u64,
    },
    Page(PageSummary),
    Restarted,
}

/// A message that entered a queue.
#[derive(Debug)]
pub(super) struct StoreRecord<'a> {
    pub(super) queue: QueueKey,
    pub(super) number: NonZeroU64,
    pub(super) deadline: Time,
    /// Where in the block the message stands.
    pub(super) message_at: usize,
    /// The message, unless an earlier record has it.
    pub(super) message: Option<MessageParts<'a>>,
}

/// What a record speaks of: a number in a queue, or a place in a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    Number(QueueKey, NonZeroU64),
    Slot(PageId, u16),
}

/// Messages that follow one another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Range {
    pub(super) first: Subject,
    pub(super) len: u64,
}

impl Range {
    /// Whether `subject` is the one behind the last.
    #[inline]
    pub(super) fn is_followed_by(&self, subject: Subject) -> bool {
        match (self.first, subject) {
            (Subject::Number(queue, first), Subject::Number(other, number)) => {
                queue == other && first.get().checked_add(self.len) == Some(number.get())
            }
            (Subject::Slot(page, first), Subject::Slot(other, index)) => {
                page == other && u64::from(first) + self.len == u64::from(index)
            }
            _ => false,
        }
    }

    /// Appends the record that says that this happened to them.
    pub(super) fn put(self, out: &mut Vec<u8>, number_kind: u8, slot_kind: u8) {
        match self.first {
            Subject::Number(queue, first) => {
                out.push(number_kind);
                put_varint(out, queue.0);
                put_varint(out, first.get());
            }
            Subject::Slot(page, first) => {
                out.push(slot_kind);
                put_varint(out, page.0.get().into());
                put_varint(out, first.into());
            }
        }
        put_varint(out, self.len);
    }
}

pub(super) fn put_returned(out: &mut Vec<u8>, subject: Subject, delivery_count: u32) {
    match subject {
        Subject::Number(queue, number) => {
            out.push(kind::RETURNED);
            put_varint(out, queue.0);
            put_varint(out, number.get());
        }
        Subject::Slot(page, index) => {
            out.push(kind::PAGE_RETURNED);
            put_varint(out, page.0.get().into());
            put_varint(out, index.into());
        }
    }
    put_varint(out, delivery_count.into());
}

/// What stands before the message, or before the reference to it, in a store record.
#[inline]
pub(super) fn store_head(
    again: bool,
    queue: QueueKey,
    number: NonZeroU64,
    deadline: Time,
) -> Numbers {
    let has_deadline = deadline != Time::MAX;
    let deadline_flag = if has_deadline { kind::DEADLINE } else { 0 };
    let again_flag = if again { kind::AGAIN } else { 0 };
    let mut head = Numbers::new();
    head.push(kind::STORE | deadline_flag | again_flag);
    head.varint(queue.0);
    head.varint(number.get());
    if has_deadline {
        head.varint(deadline.as_millis());
    }
    head
}

pub(super) fn put_page_record(out: &mut Vec<u8>, kind: u8, page: PageId) {
    out.push(kind);
    put_varint(out, page.0.get().into());
}

pub(super) fn put_page_moved(out: &mut Vec<u8>, page: PageId, place: PagePlace) {
    put_page_record(out, kind::PAGE_MOVED, page);
    place.put(out);
}

pub(super) fn put_queue_gone(out: &mut Vec<u8>, queue: QueueKey) {
    out.push(kind::QUEUE_GONE);
    put_varint(out, queue.0);
}

pub(super) fn put_log_freed(out: &mut Vec<u8>, oldest: u32) {
    out.push(kind::LOG_FREED);
    put_varint(out, oldest.into());
}

pub(super) fn put_queue(out: &mut Vec<u8>, queue: QueueKey, next_number: u64, in_log: u64) {
    out.push(kind::QUEUE);
    put_varint(out, queue.0);
    put_varint(out, next_number);
    put_varint(out, in_log);
}

impl<'a> Record<'a> {
    /// Takes a record off the front. The reader has to have begun at the start of the block's
    /// records.
    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let start = reader.offset();
        let first = reader.u8()?;
        if first & !(kind::DEADLINE | kind::AGAIN) == kind::STORE {
            return Ok(Self::Store(StoreRecord::take(reader, start, first)?));
        }
        Ok(match first {
            kind::HANDED | kind::PAGE_HANDED => {
                Self::Handed(take_range(reader, first == kind::PAGE_HANDED)?)
            }
            kind::GONE | kind::PAGE_SLOTS_GONE => {
                Self::Gone(take_range(reader, first == kind::PAGE_SLOTS_GONE)?)
            }
            kind::RETURNED | kind::PAGE_RETURNED => Self::Returned {
                subject: take_subject(reader, first == kind::PAGE_RETURNED)?,
                delivery_count: reader.number()?,
            },
            kind::PAGED => Self::Paged(PageMaking::take(reader)?),
            kind::PAGE_SAFE => Self::PageSafe(take_page_id(reader)?),
            kind::PAGE_MOVED => Self::PageMoved {
                page: take_page_id(reader)?,
                place: PagePlace::take(reader)?,
            },
            kind::PAGE_GONE => Self::PageGone(take_page_id(reader)?),
            kind::QUEUE_GONE => Self::QueueGone(take_queue_key(reader)?),
            kind::LOG_FREED => Self::LogFreed {
                oldest: reader.number()?,
            },
            kind::QUEUE => Self::Queue {
                key: take_queue_key(reader)?,
                next_number: take_next_number(reader)?,
                in_log: reader.varint()?,
            },
            kind::PAGE => Self::Page(PageSummary::take(reader)?),
            kind::RESTARTED => Self::Restarted,
            _ => return Err(Malformed),
        })
    }
}

impl<'a> StoreRecord<'a> {
    fn take(reader: &mut Reader<'a>, start: usize, first: u8) -> Result<Self, Malformed> {
        let queue = take_queue_key(reader)?;
        let number = take_number(reader)?;
        let deadline = match first & kind::DEADLINE {
            0 => Time::MAX,
            _ => Time::from_millis(reader.varint()?),
        };
        let (message_at, message) = if first & kind::AGAIN == 0 {
            let message_at = reader.offset();
            (message_at, Some(take_parts(reader)?))
        } else {
            let back: usize = reader.number()?;
            (start.checked_sub(back).ok_or(Malformed)?, None)
        };
        Ok(Self {
            queue,
            number,
            deadline,
            message_at,
            message,
        })
    }
}

pub(super) fn take_queue_key(reader: &mut Reader<'_>) -> Result<QueueKey, Malformed> {
    Ok(QueueKey(reader.varint()?))
}

/// The number of a message.
pub(super) fn take_number(reader: &mut Reader<'_>) -> Result<NonZeroU64, Malformed> {
    NonZeroU64::new(below_end(reader.varint()?)?).ok_or(Malformed)
}

/// The number that comes next in a queue: behind the last there is none that a message could have.
fn take_next_number(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    match reader.varint()? {
        NUMBERS_END => Ok(NUMBERS_END),
        number => below_end(number),
    }
}

/// This number, if there may be a message of that number.
pub(super) fn below_end(number: u64) -> Result<u64, Malformed> {
    if number < NUMBERS_END {
        Ok(number)
    } else {
        Err(Malformed)
    }
}

pub(super) fn take_page_id(reader: &mut Reader<'_>) -> Result<PageId, Malformed> {
    let id = NonZeroU32::new(reader.number()?).ok_or(Malformed)?;
    Ok(PageId(id))
}

fn take_subject(reader: &mut Reader<'_>, in_page: bool) -> Result<Subject, Malformed> {
    if in_page {
        Ok(Subject::Slot(take_page_id(reader)?, reader.number()?))
    } else {
        Ok(Subject::Number(
            take_queue_key(reader)?,
            take_number(reader)?,
        ))
    }
}

fn take_range(reader: &mut Reader<'_>, in_page: bool) -> Result<Range, Malformed> {
    let range = Range {
        first: take_subject(reader, in_page)?,
        len: reader.varint()?,
    };
    let fits = match range.first {
        Subject::Number(_, first) => first.get().checked_add(range.len).is_some(),
        Subject::Slot(_, first) => {
            range.len <= MAX_PAGE_LEN as u64 && u64::from(first) + range.len <= MAX_PAGE_LEN as u64
        }
    };
    if fits && range.len > 0 {
        Ok(range)
    } else {
        Err(Malformed)
    }
}
