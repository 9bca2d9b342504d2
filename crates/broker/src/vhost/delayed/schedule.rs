//! The messages of a delayed exchange, in memory and on disk.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;

use leveret_queue_store::{
    Lsn, Message, PageId, PageSlot, PagedMessage, QueueKey, QueueLog, ReadError, Stored, Time,
};

use super::Scheduled;
use crate::memory::MemoryGauge;
use crate::store::Store;

/// How many messages a page takes at most. All of them come back together when the first is due.
const PAGE_LEN_MAX: usize = 512;

/// With how many bytes of messages a page takes no more of them, so that what comes back together stays small beside the
/// memory that all durable queues have.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;

/// How long a page is let alone, in milliseconds, whose file could not be opened because too many are.
const RETRY_MS: u64 = 1000;

/// Messages by their time, then by their number, which follows the order in which they were published.
///
/// Beyond a budget the later half of what is in memory goes to disk at once, cut into pages: each is sorted, and those
/// made together do not overlap. So however the times lie, only a few pages have something due at any moment, and of all
/// others nothing but a line is in memory.
#[derive(Debug)]
pub(super) struct Schedule {
    waiting: BTreeMap<(Time, NonZeroU64), Waiting>,
    /// The memory that those hold.
    bytes: u64,
    /// What is on disk, by when the first message of the page is due; [`Time::MAX`] for pages that could not be read.
    pages: BTreeMap<(Time, PageId), RangeInclusive<NonZeroU64>>,
    next_number: NonZeroU64,
    /// None where messages go with the broker.
    disk: Option<Disk>,
    deleted: bool,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    /// The page on disk that it came from, or was copied to.
    home: Option<PageSlot>,
}

#[derive(Clone, Debug)]
struct Disk {
    store: Arc<Store>,
    log: QueueLog,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            bytes: 0,
            pages: BTreeMap::new(),
            next_number: NonZeroU64::MIN,
            disk: None,
            deleted: false,
        }
    }
}

impl Schedule {
    /// What the journal held under this key when the broker started, and nothing later on.
    pub(super) fn recover(store: &Arc<Store>, key: QueueKey) -> Self {
        let journal = store.journal();
        let mut schedule = Self {
            disk: Some(Disk {
                store: Arc::clone(store),
                log: journal.queue(key),
            }),
            ..Self::default()
        };
        let Some(recovered) = store.take_recovered(key) else {
            return schedule;
        };
        schedule.next_number = recovered.next_number();
        let (messages, pages) = recovered.into_parts();
        schedule.absorb(messages);
        for page in pages {
            match journal.read_page(page) {
                Ok(messages) => {
                    let messages: Vec<_> = messages.into_iter().map(|(_, paged)| paged).collect();
                    schedule.note_page(page, &messages);
                }
                // Everything in it was gone.
                Err(ReadError::NoSuchPage) => {}
                Err(damage) => store.note_damage(damage),
            }
        }
        store.account(0, schedule.held());
        schedule
    }

    /// What its messages in memory count for.
    pub(super) fn held(&self) -> usize {
        MemoryGauge::cost(self.waiting.len(), self.bytes)
    }

    /// When the next message is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        let waiting = self.waiting.first_key_value().map(|((due, _), _)| *due);
        let next = waiting
            .into_iter()
            .chain(self.first_page().map(|(due, _)| due));
        next.min()
    }

    /// Adds a message. Tells up to where the journal must be safe before the message is, if it is kept on disk.
    pub(super) fn add(&mut self, due: Time, message: Message) -> Option<Lsn> {
        if self.deleted {
            return None;
        }
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        let safe_at = self.disk.as_ref().map(|disk| {
            let mut appender = disk.store.journal().append();
            appender.store(disk.log, number, due, &message);
            let safe_at = appender.finish();
            disk.store.hold_up_if_congested();
            safe_at
        });
        self.changing(|schedule| schedule.insert((due, number), message, None));
        safe_at
    }

    /// Takes what is due, in order, `limit` messages at most, and no more once they are as large as a page.
    pub(super) fn take_due(&mut self, now: Time, limit: usize) -> Vec<(Stored, Message)> {
        self.changing(|schedule| {
            let (mut due, mut bytes) = (Vec::new(), 0);
            while due.len() < limit && bytes < PAGE_BYTES_MAX {
                schedule.bring_in_next(now);
                let Some(entry) = schedule.waiting.first_entry() else {
                    break;
                };
                let key = *entry.key();
                if key.0 > now {
                    break;
                }
                let before = schedule.bytes;
                due.extend(schedule.take(key));
                bytes += before - schedule.bytes;
            }
            due
        })
    }

    /// Messages that were taken are where they go: they need not be on disk any more as soon as they are safe there.
    pub(super) fn forget(&self, taken: impl Iterator<Item = Stored>) {
        let Some(disk) = self.disk.as_ref().filter(|_| !self.deleted) else {
            return;
        };
        let mut taken = taken.peekable();
        if taken.peek().is_some() {
            let mut appender = disk.store.journal().append();
            taken.for_each(|stored| appender.moved(disk.log, stored));
            appender.finish();
        }
    }

    /// Takes out the message of this number, which is gone then.
    pub(super) fn cancel(&mut self, number: NonZeroU64) -> Result<Option<Message>, ReadError> {
        if let Some(page) = self.find_page(number)? {
            self.changing(|schedule| schedule.bring_in(page))?;
        }
        let mut keys = self.waiting.keys();
        let Some(key) = keys.find(|(_, found)| *found == number).copied() else {
            return Ok(None);
        };
        let taken = self.changing(|schedule| schedule.take(key));
        Ok(taken.map(|(stored, message)| {
            if let Some(disk) = self.disk.as_ref().filter(|_| !self.deleted) {
                disk.store.journal().append().gone(disk.log, stored);
            }
            message
        }))
    }

    /// Everything, in the order in which it is due.
    pub(super) fn list(&self) -> Result<Vec<Scheduled>, ReadError> {
        let waiting = self.waiting.iter();
        let mut found: Vec<_> = waiting
            .map(|(&(due, number), waiting)| Scheduled {
                id: number.get(),
                due,
                message: waiting.message.clone(),
            })
            .collect();
        for &(_, page) in self.pages.keys() {
            let messages = self.read(page)?.into_iter();
            found.extend(messages.filter_map(|paged| {
                Some(Scheduled {
                    id: paged.stored?.number.get(),
                    due: paged.deadline,
                    message: paged.message,
                })
            }));
        }
        found.sort_unstable_by_key(|scheduled| (scheduled.due, scheduled.id));
        Ok(found)
    }

    /// Drops everything, on disk too, for good.
    pub(super) fn delete(&mut self) {
        if std::mem::replace(&mut self.deleted, true) {
            return;
        }
        self.release();
        if let Some(disk) = &self.disk {
            let mut appender = disk.store.journal().append();
            appender.queue_gone(disk.log);
            appender.finish();
        }
    }

    /// Drops what is in memory and tells how much that was.
    pub(super) fn release(&mut self) -> usize {
        let held = self.held();
        self.changing(|schedule| {
            schedule.waiting.clear();
            schedule.pages.clear();
            schedule.bytes = 0;
        });
        held
    }

    /// Moves the later half of what is in memory to disk if that is too much and the disk keeps up: if durable queues hold
    /// too much altogether, or all queues hold `memory_excess` bytes too much.
    pub(super) fn page_out(&mut self, memory_excess: usize) {
        let Some(Disk { store, .. }) = self.disk.clone() else {
            return;
        };
        let fills_a_page = self.waiting.len() >= PAGE_LEN_MAX || self.bytes >= PAGE_BYTES_MAX;
        if !fills_a_page || !(store.is_over_budget() || memory_excess > 0) {
            return;
        }
        let kept = self.held() / 2;
        while self.held() > kept && store.takes_pages() {
            self.changing(Self::page_out_last);
        }
    }

    /// Copies what is nowhere but in the log below this number to pages, so that the log need not be kept.
    pub(super) fn rehome(&mut self, below: NonZeroU64) {
        let Some(disk) = self.disk.clone().filter(|_| !self.deleted) else {
            return;
        };
        let journal = disk.store.journal();
        let is_homeless =
            |key: &(Time, NonZeroU64), waiting: &Waiting| waiting.home.is_none() && key.1 < below;
        let entries = self.waiting.iter_mut();
        let mut homeless = entries
            .filter(|(key, waiting)| is_homeless(key, waiting))
            .peekable();
        while homeless.peek().is_some() {
            let page = journal.new_page();
            let mut filling = Filling::default();
            while filling.has_room()
                && let Some((key, waiting)) = homeless.next()
            {
                let home = filling.add(*key, waiting.message.clone(), waiting.home, page);
                waiting.home = Some(home);
            }
            journal.write_page(disk.log, page, None, &filling.messages);
        }
    }

    fn page_out_last(&mut self) {
        let Some(disk) = self.disk.clone() else {
            return;
        };
        let journal = disk.store.journal();
        let page = journal.new_page();
        let mut filling = Filling::default();
        while filling.has_room()
            && let Some((key, waiting)) = self.waiting.pop_last()
        {
            self.bytes -= waiting.message.size_bytes() as u64;
            filling.add(key, waiting.message, waiting.home, page);
        }
        journal.write_page(disk.log, page, None, &filling.messages);
        self.note_page(page, &filling.messages);
    }

    /// Brings back pages that have something to be routed by `now` and before everything in memory. One that cannot be read
    /// is left alone until the broker is started anew, or for a moment if that may pass.
    fn bring_in_next(&mut self, now: Time) {
        while let Some((due, page)) = self.first_page()
            && due <= now
            && self
                .waiting
                .first_key_value()
                .is_none_or(|((first, _), _)| due <= *first)
        {
            if let Err(error) = self.bring_in((due, page)) {
                tracing::error!(%error, "delayed messages cannot be read from disk");
                let again_at = match error.may_pass() {
                    true => now.saturating_add(RETRY_MS),
                    false => Time::MAX,
                };
                if let Some(numbers) = self.pages.remove(&(due, page)) {
                    self.pages.insert((again_at, page), numbers);
                }
            }
        }
    }

    fn bring_in(&mut self, key: (Time, PageId)) -> Result<(), ReadError> {
        let messages = self.read(key.1)?;
        self.pages.remove(&key);
        self.absorb(messages);
        Ok(())
    }

    /// The page that comes back next, of those that can be read.
    fn first_page(&self) -> Option<(Time, PageId)> {
        let (&first, _) = self.pages.first_key_value()?;
        (first.0 != Time::MAX).then_some(first)
    }

    /// The page in which there is a message of this number.
    fn find_page(&self, number: NonZeroU64) -> Result<Option<(Time, PageId)>, ReadError> {
        for (&key, numbers) in &self.pages {
            if numbers.contains(&number) {
                let messages = self.read(key.1)?;
                let mut numbers = messages.iter().filter_map(|it| Some(it.stored?.number));
                if numbers.any(|found| found == number) {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    fn read(&self, page: PageId) -> Result<Vec<PagedMessage>, ReadError> {
        let Some(disk) = &self.disk else {
            return Ok(Vec::new());
        };
        let messages = disk.store.journal().read_page(page)?;
        Ok(messages.into_iter().map(|(_, paged)| paged).collect())
    }

    fn note_page(&mut self, page: PageId, messages: &[PagedMessage]) {
        let numbers = messages.iter().filter_map(|it| Some(it.stored?.number));
        let first_due = messages.iter().map(|it| it.deadline).min();
        if let (Some(due), Some(first), Some(last)) =
            (first_due, numbers.clone().min(), numbers.max())
        {
            self.pages.insert((due, page), first..=last);
        }
    }

    fn absorb(&mut self, messages: Vec<PagedMessage>) {
        for paged in messages {
            if let Some(Stored { number, home }) = paged.stored {
                self.insert((paged.deadline, number), paged.message, home);
            }
        }
    }

    fn insert(&mut self, key: (Time, NonZeroU64), message: Message, home: Option<PageSlot>) {
        self.bytes += message.size_bytes() as u64;
        self.waiting.insert(key, Waiting { message, home });
    }

    fn take(&mut self, key: (Time, NonZeroU64)) -> Option<(Stored, Message)> {
        let Waiting { message, home } = self.waiting.remove(&key)?;
        self.bytes -= message.size_bytes() as u64;
        let number = key.1;
        Some((Stored { number, home }, message))
    }

    /// Does something that changes what is in memory, and has the store count that.
    fn changing<R>(&mut self, change: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.held();
        let result = change(self);
        if let Some(disk) = &self.disk {
            disk.store.account(before, self.held());
        }
        result
    }
}

/// A page that is being put together.
#[derive(Debug, Default)]
struct Filling {
    messages: Vec<PagedMessage>,
    bytes: u64,
}

impl Filling {
    fn has_room(&self) -> bool {
        self.messages.len() < PAGE_LEN_MAX && self.bytes < PAGE_BYTES_MAX
    }

    /// Adds a message and tells its place in the page.
    fn add(
        &mut self,
        (due, number): (Time, NonZeroU64),
        message: Message,
        home: Option<PageSlot>,
        page: PageId,
    ) -> PageSlot {
        // There are no more than `PAGE_LEN_MAX`.
        let index = self.messages.len() as u16;
        self.bytes += message.size_bytes() as u64;
        self.messages.push(PagedMessage {
            message,
            stored: Some(Stored { number, home }),
            deadline: due,
            delivery_count: 0,
        });
        PageSlot { page, index }
    }
}

#[cfg(test)]
mod tests;
