//! What the journal knows of a page without reading it.

use bytes::Bytes;

use super::bits::Bits;
use super::origin::Origins;
use super::record::{QueueKey, below_end, kind, take_page_id, take_queue_key};
use super::wire::{Malformed, Reader, put_varint};
use crate::{PageId, PagedMessage, Time};

/// How many messages a page may have: what can be counted where a place is counted in 16 bits.
pub(super) const MAX_PAGE_LEN: usize = u16::MAX as usize;

/// A page that exists. Without `changes`, which only pages have that somebody is using, this is all
/// that is kept of its messages in memory.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) queue: QueueKey,
    pub(super) place: PagePlace,
    pub(super) contents: PageContents,
    /// How many of its messages that survive a restart are alive.
    pub(super) live: u16,
    pub(super) kind: PageKind,
    /// Whether the broker that wrote it has ended since, and with it the messages that do not
    /// survive that.
    pub(super) recovered: bool,
    pub(super) changes: Option<Box<PageChanges>>,
}

/// Whether a page survives a restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PageKind {
    Durable,
    Swap,
}

/// Where a page lies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PagePlace {
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// What was put into a page. Never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PageContents {
    /// How many messages it has.
    pub(super) len: u16,
    /// The level of the queue that all of them waited at; `None` when they are from several.
    pub(super) level: Option<u8>,
    /// The smallest and the largest number in it; zero when it has none.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Of the messages that survive a restart: the bytes of their bodies, and how many expire.
    pub(super) body_bytes: u64,
    pub(super) timed: u16,
}

/// What has become of the messages of a page since it was put together.
#[derive(Debug, Default)]
pub(super) struct PageChanges {
    pub(super) gone: Bits,
    pub(super) handed: Bits,
    /// How often messages had come back, in no particular order.
    pub(super) returned: Vec<(u16, u32)>,
    /// There until the page is safe.
    pub(super) making: Option<Making>,
}

/// A page that is not yet safe.
#[derive(Debug)]
pub(super) struct Making {
    /// Where its messages are meanwhile.
    pub(super) origins: Origins,
    /// What has to be written. Empty while a log is read.
    pub(super) bytes: Bytes,
    /// Counts pages as they are made, so that a page that has the id of an earlier one is not taken
    /// for it.
    pub(super) serial: u64,
}

/// A page that is about to be written.
#[derive(Debug)]
pub(super) struct PageMaking {
    pub(super) page: PageId,
    pub(super) queue: QueueKey,
    pub(super) place: PagePlace,
    pub(super) contents: PageContents,
    pub(super) origins: Origins,
}

/// A page that is safe.
#[derive(Debug)]
pub(super) struct PageSummary {
    pub(super) page: PageId,
    pub(super) queue: QueueKey,
    pub(super) place: PagePlace,
    pub(super) contents: PageContents,
    /// How many of its messages survive a restart, gone ones included.
    pub(super) stored: u16,
    pub(super) changes: PageChanges,
}

impl PageContents {
    /// What is in these messages. Those beyond [`MAX_PAGE_LEN`] do not count.
    pub(super) fn of(level: Option<u8>, messages: &[PagedMessage]) -> Self {
        let mut priorities = messages.iter().map(|it| it.message.priority());
        let first = priorities.next();
        let common = first.filter(|first| priorities.all(|priority| priority == *first));
        let mut contents = Self {
            len: u16::try_from(messages.len()).unwrap_or(u16::MAX),
            // A queue puts messages of one priority on one level.
            level: level.or(common),
            first: 0,
            last: 0,
            body_bytes: 0,
            timed: 0,
        };
        for message in messages.iter().take(MAX_PAGE_LEN) {
            let Some(stored) = message.stored else {
                continue;
            };
            let number = stored.number.get();
            if contents.first == 0 || number < contents.first {
                contents.first = number;
            }
            contents.last = contents.last.max(number);
            contents.body_bytes += message.message.body_len() as u64;
            contents.timed += u16::from(message.deadline != Time::MAX);
        }
        contents
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len.into());
        put_varint(out, self.level.map_or(0, |level| u64::from(level) + 1));
        put_varint(out, self.body_bytes);
        put_varint(out, self.timed.into());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = reader.number()?;
        let level = match reader.number::<u16>()?.checked_sub(1) {
            None => None,
            Some(level) => Some(u8::try_from(level).map_err(|_| Malformed)?),
        };
        Ok(Self {
            len,
            level,
            first: 0,
            last: 0,
            body_bytes: reader.varint()?,
            timed: reader.number()?,
        })
    }
}

impl PagePlace {
    pub(super) fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.file.into());
        put_varint(out, self.offset);
        put_varint(out, self.len);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let place = Self {
            file: reader.number()?,
            offset: reader.varint()?,
            len: reader.varint()?,
        };
        match place.offset.checked_add(place.len) {
            Some(_) => Ok(place),
            None => Err(Malformed),
        }
    }

    pub(super) const fn end(self) -> u64 {
        self.offset + self.len
    }
}

impl PageMaking {
    pub(super) fn put(
        out: &mut Vec<u8>,
        page: PageId,
        queue: QueueKey,
        place: PagePlace,
        contents: &PageContents,
        origins: &Origins,
    ) {
        out.push(kind::PAGED);
        put_varint(out, page.0.get().into());
        put_varint(out, queue.0);
        place.put(out);
        contents.put(out);
        origins.put(out);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let page = take_page_id(reader)?;
        let queue = take_queue_key(reader)?;
        let place = PagePlace::take(reader)?;
        let mut contents = PageContents::take(reader)?;
        let origins = Origins::take(reader, contents.len)?;
        (contents.first, contents.last) = origins.numbers();
        Ok(Self {
            page,
            queue,
            place,
            contents,
            origins,
        })
    }
}

impl PageSummary {
    pub(super) fn put(out: &mut Vec<u8>, id: PageId, page: &Page) {
        let unchanged = PageChanges::default();
        let changes = page.changes.as_deref().unwrap_or(&unchanged);
        out.push(kind::PAGE);
        put_varint(out, id.0.get().into());
        put_varint(out, page.queue.0);
        page.place.put(out);
        page.contents.put(out);
        put_varint(out, page.contents.first);
        put_varint(out, page.contents.last - page.contents.first);
        put_varint(out, u64::from(page.live) + u64::from(changes.gone.len()));
        changes.gone.put(out, page.contents.len);
        changes.handed.put(out, page.contents.len);
        put_varint(out, changes.returned.len() as u64);
        for (index, delivery_count) in &changes.returned {
            put_varint(out, u64::from(*index));
            put_varint(out, u64::from(*delivery_count));
        }
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let page = take_page_id(reader)?;
        let queue = take_queue_key(reader)?;
        let place = PagePlace::take(reader)?;
        let mut contents = PageContents::take(reader)?;
        contents.first = reader.varint()?;
        let last = contents.first.checked_add(reader.varint()?);
        contents.last = below_end(last.ok_or(Malformed)?)?;
        let stored: u16 = reader.number()?;
        let gone = Bits::take(reader, contents.len)?;
        let handed = Bits::take(reader, contents.len)?;
        let mut returned = Vec::new();
        for _ in 0..reader.number::<u16>()? {
            let index: u16 = reader.number()?;
            returned.push((index, reader.number()?));
            if index >= contents.len {
                return Err(Malformed);
            }
        }
        if stored > contents.len || gone.len() > u32::from(stored) {
            return Err(Malformed);
        }
        Ok(Self {
            page,
            queue,
            place,
            contents,
            stored,
            changes: PageChanges {
                gone,
                handed,
                returned,
                making: None,
            },
        })
    }
}

impl Page {
    /// Whether it has to be written before it can be read back.
    pub(super) fn making(&self) -> Option<&Making> {
        self.changes.as_ref()?.making.as_ref()
    }

    pub(super) fn is_gone(&self, index: u16) -> bool {
        let changes = self.changes.as_ref();
        changes.is_some_and(|changes| changes.gone.contains(index))
    }

    /// Whether a message was delivered since the page was put together.
    pub(super) fn is_handed(&self, index: u16) -> bool {
        let changes = self.changes.as_ref();
        changes.is_some_and(|changes| changes.handed.contains(index))
    }

    /// How often a message has come back, if it did since the page was put together.
    pub(super) fn returned(&self, index: u16) -> Option<u32> {
        let returned = &self.changes.as_ref()?.returned;
        let (_, count) = returned.iter().find(|(at, _)| *at == index)?;
        Some(*count)
    }

    /// How often a message has come back that had come back `before` when the page was put
    /// together. One that was with a consumer comes back when the broker starts again.
    pub(super) fn delivery_count(&self, index: u16, before: u32) -> u32 {
        let count = self.returned(index).unwrap_or(before);
        count.max(u32::from(self.is_handed(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_nobody_uses_costs_little() {
        // 10 million messages are 20,000 pages.
        assert!(size_of::<Page>() <= 96, "{}", size_of::<Page>());
    }
}
