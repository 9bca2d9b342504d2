//! What the records of a log amount to.

use std::collections::{HashMap, HashSet};
use std::num::{NonZeroU32, NonZeroU64};

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::block::{BLOCK_HEAD_LEN, Position};
use super::loose::{LogPlace, Loose, LooseMessage};
use super::origin::Origin;
use super::page::PageKind;
use super::page_table::{Aftermath, PageTable};
use super::record::{QueueKey, Range, Record, StoreRecord, Subject};
use super::wire::{Malformed, Reader};
use crate::{PageId, PageSlot};

/// The state that a log leads to, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) queues: HashMap<QueueKey, ReplayedQueue, RandomState>,
    pub(super) pages: PageTable,
    /// The oldest file of the log that is needed, as far as the records say.
    pub(super) oldest: u32,
    /// Something in the log could not be read, so that not everything that is said fits.
    pub(super) is_damaged: bool,
    aftermath: Aftermath,
    /// Where the messages of the block that is read stand in it.
    in_block: Vec<usize>,
}

/// What a log says of a queue.
#[derive(Debug, Default)]
pub(super) struct ReplayedQueue {
    /// At least one more than the largest number that was stored.
    pub(super) next_number: u64,
    pub(super) loose: Loose,
    /// Messages that are not there any more, or may not be: those of pages that cannot be read, and
    /// numbers that are missing behind damage.
    pub(super) lost: u64,
}

impl Replay {
    /// Reads the records of the block at this position. Stops at the first that makes no sense; those
    /// before count.
    pub(super) fn apply_block(&mut self, records: &[u8], at: Position) -> Result<(), Malformed> {
        self.in_block.clear();
        let mut reader = Reader::new(records);
        while !reader.is_empty() {
            let record = Record::take(&mut reader)?;
            self.apply(record, at)?;
        }
        self.in_block.clear();
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>, block: Position) -> Result<(), Malformed> {
        match record {
            Record::Store(store) => return self.store(&store, block),
            Record::Handed(range) => self.handed(range),
            Record::Gone(range) => self.gone(range),
            Record::Returned {
                subject,
                delivery_count,
            } => self.returned(subject, delivery_count),
            Record::Paged(making) => {
                let made = self.pages.make(making, PageKind::Durable, Bytes::new());
                return self.expect(made.is_some());
            }
            Record::PageSafe(page) => {
                self.pages.page_is_safe(page, &mut self.aftermath);
            }
            Record::PageMoved { page, place } => {
                self.pages.page_moved(page, place);
            }
            Record::PageGone(page) => self.pages.page_gone(page, &mut self.aftermath),
            Record::QueueGone(queue) => {
                self.queues.remove(&queue);
                self.pages.queue_gone(queue, &mut self.aftermath);
            }
            Record::LogFreed { oldest } => self.oldest = self.oldest.max(oldest),
            Record::Queue {
                key,
                next_number,
                in_log,
            } => {
                let queue = self.queues.entry(key).or_default();
                if self.is_damaged {
                    // What was stored since the last that could be read.
                    let missing = next_number.saturating_sub(queue.next_number.max(in_log));
                    queue.lost = queue.lost.saturating_add(missing);
                }
                queue.next_number = queue.next_number.max(next_number);
            }
            Record::Restarted => self.finish(),
            Record::Page(summary) => {
                let is_new = self.pages.add_safe(summary);
                return self.expect(is_new);
            }
        }
        self.settle();
        Ok(())
    }

    /// What has to be the case, unless something before could not be read.
    fn expect(&self, is_so: bool) -> Result<(), Malformed> {
        if is_so || self.is_damaged {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn store(&mut self, store: &StoreRecord<'_>, block: Position) -> Result<(), Malformed> {
        if store.message.is_some() {
            self.in_block.push(store.message_at);
        } else if self.in_block.binary_search(&store.message_at).is_err() {
            return Err(Malformed);
        }
        let in_block = u32::try_from(BLOCK_HEAD_LEN + store.message_at).map_err(|_| Malformed)?;
        let offset = block.offset.checked_add(in_block).and_then(NonZeroU32::new);
        let place = LogPlace {
            file: block.file,
            offset: offset.ok_or(Malformed)?,
        };
        let queue = self.queues.entry(store.queue).or_default();
        let pushed = queue.loose.push(LooseMessage {
            number: store.number,
            deadline: store.deadline,
            delivery_count: 0,
            place: Some(place),
        });
        if !pushed {
            return self.expect(false);
        }
        let number = store.number.get();
        if self.is_damaged && queue.next_number > 0 {
            let missing = number.saturating_sub(queue.next_number);
            queue.lost = queue.lost.saturating_add(missing);
        }
        queue.next_number = queue.next_number.max(number.saturating_add(1));
        Ok(())
    }

    fn handed(&mut self, range: Range) {
        match range.first {
            Subject::Number(queue, first) => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.loose.update(first, range.len, |message| {
                        message.delivery_count = message.delivery_count.max(1);
                    });
                }
            }
            Subject::Slot(page, first) => {
                for index in slots(first, range.len) {
                    self.pages.slot_handed(PageSlot { page, index });
                }
            }
        }
    }

    fn returned(&mut self, subject: Subject, delivery_count: u32) {
        match subject {
            Subject::Number(queue, number) => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.loose.update(number, 1, |message| {
                        message.delivery_count = delivery_count;
                    });
                }
            }
            Subject::Slot(page, index) => {
                let slot = PageSlot { page, index };
                self.pages.slot_returned(slot, delivery_count);
            }
        }
    }

    fn gone(&mut self, range: Range) {
        match range.first {
            Subject::Number(queue, first) => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.loose.remove(first, range.len);
                }
            }
            Subject::Slot(page, first) => {
                for index in slots(first, range.len) {
                    let slot = PageSlot { page, index };
                    self.pages.slot_gone(slot, &mut self.aftermath);
                }
            }
        }
    }

    /// Carries out what followed from a change of a page.
    fn settle(&mut self) {
        for released in self.aftermath.released.drain(..) {
            if let Some(queue) = self.queues.get_mut(&released.queue) {
                queue.loose.remove(released.first, released.len.into());
            }
        }
        self.aftermath.freed.clear();
    }

    /// The broker ended here. Pages that are not safe will not be: their messages are where they were.
    pub(super) fn finish(&mut self) {
        // The last one first: it may be made of messages of an earlier one.
        for id in self.pages.makings().into_iter().rev() {
            let Some(page) = self.pages.unmake(id) else {
                continue;
            };
            let origins = page
                .making()
                .into_iter()
                .flat_map(|making| making.origins.iter());
            for (index, origin) in (0..).zip(origins) {
                let subject = match origin {
                    Origin::Nowhere => continue,
                    Origin::Log(number) => Subject::Number(page.queue, number),
                    Origin::Page(slot, _) => Subject::Slot(slot.page, slot.index),
                };
                let range = Range {
                    first: subject,
                    len: 1,
                };
                if page.is_gone(index) {
                    self.gone(range);
                    self.settle();
                } else if let Some(delivery_count) = page.returned(index) {
                    self.returned(subject, delivery_count);
                } else if page.is_handed(index) {
                    self.handed(range);
                }
            }
        }
        for page in self
            .pages
            .iter()
            .map(|(_, page)| page.queue)
            .collect::<Vec<_>>()
        {
            self.queues.entry(page).or_default();
        }
        self.pages.set_recovered();
    }

    /// Forgets a page that cannot be read.
    pub(super) fn lose_page(&mut self, page: PageId) {
        if let Some(found) = self.pages.get(page) {
            let queue = self.queues.entry(found.queue).or_default();
            queue.lost += u64::from(found.live);
        }
        self.pages.page_gone(page, &mut self.aftermath);
        self.settle();
    }

    /// Makes one message of those that are found twice, since what says which of them is the later
    /// could not be read: the first page that has it keeps it.
    pub(super) fn keep_once(
        &mut self,
        slot: PageSlot,
        number: NonZeroU64,
        seen: &mut HashSet<(QueueKey, NonZeroU64)>,
    ) {
        let Some(page) = self.pages.get(slot.page) else {
            return;
        };
        let queue = page.queue;
        if seen.insert((queue, number)) {
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.loose.remove(number, 1);
            }
        } else {
            self.pages.slot_gone(slot, &mut self.aftermath);
            self.settle();
        }
    }

    pub(super) fn next_number(queue: &ReplayedQueue) -> NonZeroU64 {
        NonZeroU64::new(queue.next_number).unwrap_or(NonZeroU64::MIN)
    }
}

/// The places of a range in a page. Its length was checked when it was read.
fn slots(first: u16, len: u64) -> impl Iterator<Item = u16> {
    let len = usize::try_from(len).unwrap_or(0);
    (first..=u16::MAX).take(len)
}
