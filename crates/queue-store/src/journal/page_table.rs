//! All pages that exist, and what follows when something in one changes.
//!
//! The same changes are made while the broker runs and while a log is read, so that the two cannot
//! differ.

use std::collections::{BTreeSet, HashMap};
use std::num::{NonZeroU32, NonZeroU64};

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::origin::{Origin, Origins};
use super::page::{Making, Page, PageChanges, PageKind, PageMaking, PagePlace, PageSummary};
use super::record::QueueKey;
use crate::{PageId, PageSlot};

/// The pages of all queues.
#[derive(Debug, Default)]
pub(super) struct PageTable {
    pages: HashMap<PageId, Page, RandomState>,
    /// The same pages by their queues, of which thousands may be deleted together.
    by_queue: BTreeSet<(QueueKey, PageId)>,
    /// Ids that were given back. The last one is the next to be used.
    unused: Vec<PageId>,
    /// The largest id ever given out.
    last_id: u32,
    /// How many pages were put together.
    serial: u64,
}

/// What else changes with a page.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// Messages that are not in the log any more as far as anybody cares.
    pub(super) released: Vec<Released>,
    /// Pages that are no more.
    pub(super) freed: Vec<Page>,
}

/// Messages of a queue that follow one another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Released {
    pub(super) queue: QueueKey,
    pub(super) first: NonZeroU64,
    pub(super) len: u16,
}

impl Aftermath {
    pub(super) fn is_empty(&self) -> bool {
        self.released.is_empty() && self.freed.is_empty()
    }
}

impl PageTable {
    pub(super) fn get(&self, page: PageId) -> Option<&Page> {
        self.pages.get(&page)
    }

    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// All pages, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PageId, &Page)> {
        self.pages.iter().map(|(id, page)| (*id, page))
    }

    /// All pages by their ids, for what is written: the same table is to lead to the same bytes.
    pub(super) fn in_order(&self) -> Vec<(PageId, &Page)> {
        let mut pages: Vec<_> = self.iter().collect();
        pages.sort_unstable_by_key(|(id, _)| *id);
        pages
    }

    /// An id that no page has.
    pub(super) fn reserve(&mut self) -> Option<PageId> {
        if let Some(page) = self.unused.pop() {
            return Some(page);
        }
        let id = PageId(NonZeroU32::new(self.last_id.checked_add(1)?)?);
        self.last_id = id.0.get();
        Some(id)
    }

    /// Gives back an id that was reserved and not used.
    pub(super) fn give_back(&mut self, page: PageId) {
        if !self.pages.contains_key(&page) {
            self.unused.push(page);
        }
    }

    /// Adds a page that is not yet safe. Says what it is called until then; `None`, and nothing
    /// changes, when there is one with its id.
    pub(super) fn make(&mut self, making: PageMaking, kind: PageKind, bytes: Bytes) -> Option<u64> {
        if self.pages.contains_key(&making.page) {
            return None;
        }
        self.serial += 1;
        let page = Page {
            queue: making.queue,
            place: making.place,
            contents: making.contents,
            live: making.origins.stored(),
            kind,
            recovered: false,
            changes: Some(Box::new(PageChanges {
                making: Some(Making {
                    origins: making.origins,
                    bytes,
                    serial: self.serial,
                }),
                ..PageChanges::default()
            })),
        };
        self.insert(making.page, page);
        Some(self.serial)
    }

    /// Adds a page that was safe when the log was begun. Says whether there was none with its id.
    pub(super) fn add_safe(&mut self, summary: PageSummary) -> bool {
        if self.pages.contains_key(&summary.page) {
            return false;
        }
        let gone = u16::try_from(summary.changes.gone.len()).unwrap_or(u16::MAX);
        let changed =
            gone > 0 || summary.changes.handed.len() > 0 || !summary.changes.returned.is_empty();
        let page = Page {
            queue: summary.queue,
            place: summary.place,
            contents: summary.contents,
            live: summary.stored.saturating_sub(gone),
            kind: PageKind::Durable,
            recovered: true,
            changes: changed.then(|| Box::new(summary.changes)),
        };
        self.insert(summary.page, page);
        true
    }

    fn insert(&mut self, id: PageId, page: Page) {
        self.last_id = self.last_id.max(id.0.get());
        self.by_queue.insert((page.queue, id));
        self.pages.insert(id, page);
    }

    fn remove(&mut self, id: PageId) -> Option<Page> {
        let page = self.pages.remove(&id)?;
        self.by_queue.remove(&(page.queue, id));
        self.unused.push(id);
        Some(page)
    }

    /// The page with everything in it is safe: its messages are here now and nowhere else. Says
    /// whether there is such a page that was not safe.
    pub(super) fn page_is_safe(&mut self, id: PageId, aftermath: &mut Aftermath) -> bool {
        let Some(page) = self.pages.get_mut(&id) else {
            return false;
        };
        let Some(making) = page.changes.as_mut().and_then(|it| it.making.take()) else {
            return false;
        };
        page.drop_empty_changes();
        let queue = page.queue;
        self.release(queue, making.origins, aftermath);
        true
    }

    /// A message of a page was delivered.
    pub(super) fn slot_handed(&mut self, slot: PageSlot) {
        if let Some(page) = self.live_page(slot) {
            page.changes().handed.insert(slot.index);
        }
    }

    /// A message of a page came back.
    pub(super) fn slot_returned(&mut self, slot: PageSlot, delivery_count: u32) {
        if let Some(page) = self.live_page(slot) {
            let returned = &mut page.changes().returned;
            match returned.iter_mut().find(|(at, _)| *at == slot.index) {
                Some((_, count)) => *count = delivery_count,
                None => returned.push((slot.index, delivery_count)),
            }
        }
    }

    /// The page, if the message in it is alive.
    fn live_page(&mut self, slot: PageSlot) -> Option<&mut Page> {
        let page = self.pages.get_mut(&slot.page)?;
        (slot.index < page.contents.len && !page.is_gone(slot.index)).then_some(page)
    }

    /// A message of a page is gone. With the last one that survives a restart the page goes.
    pub(super) fn slot_gone(&mut self, slot: PageSlot, aftermath: &mut Aftermath) {
        if let Some((queue, origins)) = self.forget_slot(slot, aftermath) {
            self.release(queue, origins, aftermath);
        }
    }

    /// Everything in a page is gone.
    pub(super) fn page_gone(&mut self, id: PageId, aftermath: &mut Aftermath) {
        if let Some((queue, origins)) = self.forget_page(id, aftermath) {
            self.release(queue, origins, aftermath);
        }
    }

    /// Everything in all pages of a queue is gone.
    pub(super) fn queue_gone(&mut self, queue: QueueKey, aftermath: &mut Aftermath) {
        for page in self.pages_of(queue) {
            self.page_gone(page, aftermath);
        }
    }

    /// The pages of a queue, by their ids.
    pub(super) fn pages_of(&self, queue: QueueKey) -> Vec<PageId> {
        let of_queue = (queue, PageId(NonZeroU32::MIN))..=(queue, PageId(NonZeroU32::MAX));
        self.by_queue.range(of_queue).map(|(_, id)| *id).collect()
    }

    /// The page lies elsewhere now. Gives what it was before.
    pub(super) fn page_moved(&mut self, id: PageId, place: PagePlace) -> Option<PagePlace> {
        let page = self.pages.get_mut(&id)?;
        Some(std::mem::replace(&mut page.place, place))
    }

    /// Takes a page that is not safe out again, when the broker ended before it was. The messages
    /// are where they were, and what happened to them in the page happened to them there: the
    /// caller hears of it for each.
    pub(super) fn unmake(&mut self, id: PageId) -> Option<Page> {
        self.pages.get(&id)?.making()?;
        self.remove(id)
    }

    /// What is not safe, in the order in which it was made.
    pub(super) fn makings(&self) -> Vec<PageId> {
        let mut makings: Vec<_> = self
            .iter()
            .filter_map(|(id, page)| Some((page.making()?.serial, id)))
            .collect();
        makings.sort_unstable();
        makings.into_iter().map(|(_, id)| id).collect()
    }

    /// The log has been read: the broker that wrote the pages has ended, and every id without a page
    /// can be used.
    pub(super) fn set_recovered(&mut self) {
        // While a log is read, ids are taken without being asked for, so the list is of no use.
        self.unused.clear();
        self.last_id = self.pages.keys().map(|id| id.0.get()).max().unwrap_or(0);
        for page in self.pages.values_mut() {
            page.recovered = true;
        }
    }

    /// Messages have left where they were for a page that is now safe, or are gone. Pages in which
    /// nothing is left go, and with those that were not safe the places of their messages in turn:
    /// a list, since a page may be made of one that is made of another.
    fn release(&mut self, queue: QueueKey, origins: Origins, aftermath: &mut Aftermath) {
        let mut lists = vec![origins];
        while let Some(origins) = lists.pop() {
            for run in origins.runs() {
                if let Origin::Log(first) = run.first {
                    let len = run.len;
                    aftermath.released.push(Released { queue, first, len });
                    continue;
                }
                // The queue is the same: no message moves from one to another.
                for origin in run.iter() {
                    if let Origin::Page(slot, _) = origin
                        && let Some((_, origins)) = self.forget_slot(slot, aftermath)
                    {
                        lists.push(origins);
                    }
                }
            }
        }
    }

    /// Forgets one message, and its page if it was the last in it. Gives what is to be released.
    fn forget_slot(
        &mut self,
        slot: PageSlot,
        aftermath: &mut Aftermath,
    ) -> Option<(QueueKey, Origins)> {
        let page = self.live_page(slot)?;
        page.changes().gone.insert(slot.index);
        page.live = page.live.saturating_sub(1);
        if page.live > 0 {
            return None;
        }
        self.forget_page(slot.page, aftermath)
    }

    fn forget_page(
        &mut self,
        id: PageId,
        aftermath: &mut Aftermath,
    ) -> Option<(QueueKey, Origins)> {
        let mut page = self.remove(id)?;
        let making = page.changes.as_mut().and_then(|it| it.making.as_mut());
        let origins = making.map(|making| std::mem::take(&mut making.origins));
        let queue = page.queue;
        aftermath.freed.push(page);
        Some((queue, origins.unwrap_or_default()))
    }
}

impl Page {
    fn changes(&mut self) -> &mut PageChanges {
        self.changes.get_or_insert_default()
    }

    /// Gives back the memory for changes if there are none.
    fn drop_empty_changes(&mut self) {
        let is_empty = |changes: &PageChanges| {
            changes.gone.len() == 0
                && changes.handed.len() == 0
                && changes.returned.is_empty()
                && changes.making.is_none()
        };
        if self.changes.as_deref().is_some_and(is_empty) {
            self.changes = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::PageContents;
    use super::*;

    #[test]
    fn the_pages_of_a_queue_are_those_that_are_left() {
        let mut table = PageTable::default();
        let ids: Vec<_> = (0..30).filter_map(|_| table.reserve()).collect();
        let queue_of = |nth: usize| QueueKey(nth as u64 % 3);
        for (nth, page) in ids.iter().enumerate() {
            let making = PageMaking {
                page: *page,
                queue: queue_of(nth),
                place: PagePlace::default(),
                contents: PageContents::of(None, &[]),
                origins: Origins::default(),
            };
            table.make(making, PageKind::Durable, Bytes::new()).unwrap();
        }
        let mut aftermath = Aftermath::default();
        table.page_gone(ids[4], &mut aftermath);
        table.unmake(ids[7]).unwrap();
        table.queue_gone(QueueKey(2), &mut aftermath);
        for key in 0..3 {
            let queue = QueueKey(key);
            let mut left: Vec<_> = table
                .iter()
                .filter(|(_, page)| page.queue == queue)
                .collect();
            left.sort_unstable_by_key(|(id, _)| *id);
            let left: Vec<_> = left.into_iter().map(|(id, _)| id).collect();
            assert_eq!(table.pages_of(queue), left);
            assert_eq!(left.len(), [10, 8, 0][usize::try_from(key).unwrap()]);
        }
        assert_eq!(aftermath.freed.len(), 11);
    }
}
