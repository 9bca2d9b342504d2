//! What appending changes: the bytes that wait to be written, and what is known of queues and pages.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use bytes::Bytes;

use super::block::BLOCK_HEAD_LEN;
use super::message_format::put_message;
use super::options::JournalOptions;
use super::origin::Origins;
use super::page::{PageContents, PageKind, PageMaking, PagePlace, PageSummary};
use super::page_files::PageFiles;
use super::page_table::{Aftermath, PageTable};
use super::queues::{QueueLog, Queues};
use super::read_ahead::ReadAhead;
use super::record::{self, QueueKey, Range, Subject, kind};
use super::repeats::Repeats;
use super::rest::Sleep;
use crate::{Message, PageId, PageSlot, Stored, Time};

/// Beyond this the buffer of a block is given back once it has been written: what a busy broker
/// gathers during one sync is kept.
const KEPT_BUFFER_LEN: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct State {
    /// Records that wait to be written, behind the place for a block's head.
    pending: Vec<u8>,
    /// Messages that were handed over and those that are gone, while more that follow them may be
    /// added to the same record. Written later than other records that were appended after them, but
    /// those of a message never change places with one that matters to it.
    handed: Option<Range>,
    gone: Option<Range>,
    /// What waits is going to be the block with this number.
    pub(super) block: u64,
    /// How long the block before it was.
    last_block_len: usize,
    repeats: Repeats,
    pub(super) queues: Queues,
    pub(super) pages: PageTable,
    pub(super) page_files: PageFiles,
    pub(super) swap_files: PageFiles,
    /// Pages that wait to be written, by the serial number of their making.
    pub(super) unwritten_pages: VecDeque<(PageId, u64)>,
    pub(super) unwritten_page_bytes: usize,
    /// When these are written at the latest, if the worker knows of any.
    pub(super) pages_until: Option<Time>,
    /// Pages that are expected to be needed.
    pub(super) ahead: ReadAhead,
    aftermath: Aftermath,
    /// Nothing is written any more, so nothing is kept for that.
    pub(super) failed: bool,
    /// What the thread that writes waits for.
    pub(super) sleep: Sleep,
    /// Something happened that is not in `pending`.
    pub(super) poked: bool,
}

impl State {
    pub(super) fn new(options: &JournalOptions) -> Self {
        Self {
            pending: vec![0; BLOCK_HEAD_LEN],
            handed: None,
            gone: None,
            block: 1,
            last_block_len: 0,
            repeats: Repeats::new(),
            queues: Queues::default(),
            pages: PageTable::default(),
            page_files: PageFiles::new(options.page_file_size),
            swap_files: PageFiles::new(options.page_file_size),
            unwritten_pages: VecDeque::new(),
            unwritten_page_bytes: 0,
            pages_until: None,
            ahead: ReadAhead::default(),
            aftermath: Aftermath::default(),
            failed: false,
            sleep: Sleep::Awake,
            poked: false,
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        self.pending.len() > BLOCK_HEAD_LEN || self.handed.is_some() || self.gone.is_some()
    }

    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The length of the block that was taken last.
    pub(super) fn last_block_len(&self) -> usize {
        self.last_block_len
    }

    /// The block that what was appended last is in: one that never comes, once the journal has
    /// failed.
    pub(super) fn last_block(&self) -> u64 {
        if self.failed {
            u64::MAX
        } else if self.has_pending() {
            self.block
        } else {
            self.block - 1
        }
    }

    /// Takes what waits, as a block without its head. `spare` is where the next one is gathered.
    pub(super) fn take_block(&mut self, mut spare: Vec<u8>) -> Option<Vec<u8>> {
        if !self.has_pending() {
            return None;
        }
        self.end_runs();
        self.repeats.clear();
        self.block += 1;
        self.last_block_len = self.pending.len();
        spare.clear();
        spare.shrink_to(KEPT_BUFFER_LEN);
        spare.resize(BLOCK_HEAD_LEN, 0);
        Some(std::mem::replace(&mut self.pending, spare))
    }

    /// Throws away what was gathered after the journal has failed.
    pub(super) fn discard_if_failed(&mut self) {
        if self.failed {
            self.handed = None;
            self.gone = None;
            self.repeats.clear();
            self.pending.truncate(BLOCK_HEAD_LEN);
            self.unwritten_pages.clear();
        }
    }

    fn end_runs(&mut self) {
        if let Some(handed) = self.handed.take() {
            handed.put(&mut self.pending, kind::HANDED, kind::PAGE_HANDED);
        }
        if let Some(gone) = self.gone.take() {
            gone.put(&mut self.pending, kind::GONE, kind::PAGE_SLOTS_GONE);
        }
    }

    /// A buffer to append records to that may not come before what was appended so far.
    pub(super) fn records(&mut self) -> &mut Vec<u8> {
        self.end_runs();
        &mut self.pending
    }

    pub(super) fn store(
        &mut self,
        queue: QueueLog,
        number: NonZeroU64,
        deadline: Time,
        message: &Message,
    ) {
        if !self.queues.stored(queue, number) {
            return;
        }
        let start = self.pending.len();
        let may_repeat = !message.is_of_one_queue();
        let earlier = may_repeat.then(|| self.repeats.find(message)).flatten();
        let mut head = record::store_head(earlier.is_some(), queue.key, number, deadline);
        if let Some(at) = earlier {
            head.varint((start - at) as u64);
            self.pending.extend_from_slice(head.as_bytes());
            return;
        }
        if may_repeat {
            let at = start + head.as_bytes().len();
            self.repeats.remember(message, at);
        }
        put_message(&mut self.pending, head, message);
    }

    pub(super) fn handed(&mut self, queue: QueueLog, stored: Stored) {
        if self.is_of_the_past(queue, stored) {
            return;
        }
        let subject = subject(queue, stored);
        if let Subject::Slot(page, index) = subject {
            self.pages.slot_handed(PageSlot { page, index });
        }
        match &mut self.handed {
            Some(run) if run.is_followed_by(subject) => run.len += 1,
            run => {
                if let Some(run) = run {
                    run.put(&mut self.pending, kind::HANDED, kind::PAGE_HANDED);
                }
                *run = Some(Range {
                    first: subject,
                    len: 1,
                });
            }
        }
    }

    pub(super) fn returned(&mut self, queue: QueueLog, stored: Stored, delivery_count: u32) {
        if self.is_of_the_past(queue, stored) {
            return;
        }
        let subject = subject(queue, stored);
        if let Subject::Slot(page, index) = subject {
            let slot = PageSlot { page, index };
            self.pages.slot_returned(slot, delivery_count);
        }
        record::put_returned(self.records(), subject, delivery_count);
    }

    /// Whether a message went with its queue: its page may be another queue's by now.
    fn is_of_the_past(&self, queue: QueueLog, stored: Stored) -> bool {
        stored.home.is_some() && !self.queues.is_open(queue)
    }

    pub(super) fn gone(&mut self, queue: QueueLog, stored: Stored) {
        self.leave(queue, stored, 0);
    }

    /// A message is gone whose next place was stored before.
    pub(super) fn moved(&mut self, queue: QueueLog, stored: Stored) {
        self.leave(queue, stored, self.block);
    }

    /// A message is gone. If it was nowhere but in a file of the log, that is needed until block `needed_until` is safe.
    fn leave(&mut self, queue: QueueLog, stored: Stored, needed_until: u64) {
        if self.is_of_the_past(queue, stored) {
            return;
        }
        let subject = subject(queue, stored);
        match &mut self.gone {
            Some(run) if run.is_followed_by(subject) => run.len += 1,
            run => {
                if let Some(run) = run {
                    run.put(&mut self.pending, kind::GONE, kind::PAGE_SLOTS_GONE);
                }
                *run = Some(Range {
                    first: subject,
                    len: 1,
                });
            }
        }
        match subject {
            Subject::Number(_, number) => self.queues.gone(queue, number, needed_until),
            Subject::Slot(page, index) => {
                let slot = PageSlot { page, index };
                self.pages.slot_gone(slot, &mut self.aftermath);
                self.settle();
            }
        }
    }

    pub(super) fn page_gone(&mut self, page: PageId) {
        match self.pages.get(page) {
            None => return,
            Some(found) if found.kind == PageKind::Durable => {
                record::put_page_record(self.records(), kind::PAGE_GONE, page);
            }
            Some(_) => {}
        }
        self.pages.page_gone(page, &mut self.aftermath);
        self.settle();
    }

    pub(super) fn slots_gone(&mut self, page: PageId, first: u16, last: u16) {
        if self.pages.get(page).is_none() || first > last {
            return;
        }
        let gone = Range {
            first: Subject::Slot(page, first),
            len: u64::from(last - first) + 1,
        };
        gone.put(self.records(), kind::GONE, kind::PAGE_SLOTS_GONE);
        for index in first..=last {
            let slot = PageSlot { page, index };
            self.pages.slot_gone(slot, &mut self.aftermath);
        }
        self.settle();
    }

    pub(super) fn queue_gone(&mut self, queue: QueueLog) {
        if !self.queues.is_open(queue) {
            return;
        }
        record::put_queue_gone(self.records(), queue.key);
        self.pages.queue_gone(queue.key, &mut self.aftermath);
        self.queues.remove(queue);
        self.settle();
    }

    /// Takes a page that was put together. Says how it is called until it is safe; `None` when there
    /// is a page with its id.
    pub(super) fn make_page(
        &mut self,
        page: PageId,
        queue: QueueKey,
        contents: PageContents,
        origins: Origins,
        bytes: Bytes,
    ) {
        // Of a journal that has failed as well: the queue has given its messages up, and nobody else has them.
        if self.pages.get(page).is_some() {
            return;
        }
        let is_durable = origins.stored() > 0;
        let len = bytes.len();
        let (kind, place) = if is_durable {
            let place = self.page_files.place(len as u64);
            PageMaking::put(self.records(), page, queue, place, &contents, &origins);
            (PageKind::Durable, place)
        } else {
            (PageKind::Swap, self.swap_files.place(len as u64))
        };
        let making = PageMaking {
            page,
            queue,
            place,
            contents,
            origins,
        };
        if let Some(serial) = self.pages.make(making, kind, bytes) {
            self.unwritten_pages.push_back((page, serial));
            self.unwritten_page_bytes += len;
        }
    }

    /// A page has been written, safely if it is durable.
    pub(super) fn page_written(&mut self, page: PageId, serial: u64) {
        let Some((kind, len)) = self.making(page, serial) else {
            return;
        };
        self.unwritten_page_bytes = self.unwritten_page_bytes.saturating_sub(len);
        self.pages.page_is_safe(page, &mut self.aftermath);
        if kind == PageKind::Durable {
            record::put_page_record(self.records(), kind::PAGE_SAFE, page);
        }
        self.settle();
    }

    /// The kind and the length of a page that waits to be written, if it still does.
    fn making(&self, page: PageId, serial: u64) -> Option<(PageKind, usize)> {
        let found = self.pages.get(page)?;
        let making = found.making().filter(|making| making.serial == serial)?;
        Some((found.kind, making.bytes.len()))
    }

    /// A page was copied to another place, safely. Nothing changes if it is not where it was.
    pub(super) fn page_moved(&mut self, page: PageId, from: PagePlace, to: PagePlace) {
        let found = self.pages.get(page);
        if found.is_some_and(|found| found.place == from && found.kind == PageKind::Durable) {
            record::put_page_moved(self.records(), page, to);
            self.pages.page_moved(page, to);
            drop(self.ahead.take(PageKind::Durable, from));
            self.page_files.freed(from, self.block);
        } else {
            self.page_files.freed(to, self.block);
        }
    }

    /// Carries out what followed from a change of a page.
    fn settle(&mut self) {
        if self.aftermath.is_empty() {
            return;
        }
        let block = self.block;
        self.queues.released(&self.aftermath.released, block);
        self.aftermath.released.clear();
        for page in self.aftermath.freed.drain(..) {
            if let Some(making) = page.making() {
                self.unwritten_page_bytes =
                    self.unwritten_page_bytes.saturating_sub(making.bytes.len());
            }
            drop(self.ahead.take(page.kind, page.place));
            match page.kind {
                PageKind::Durable => self.page_files.freed(page.place, block),
                PageKind::Swap => self.swap_files.freed(page.place, 0),
            }
        }
    }

    /// Everything that a log that begins here has to know of what was before, as a block without its
    /// head. Nothing may wait to be written.
    pub(super) fn checkpoint(&self) -> Vec<u8> {
        debug_assert!(!self.has_pending());
        let mut out = vec![0; BLOCK_HEAD_LEN];
        for (key, next_number, in_log) in self.queues.numbers() {
            if next_number > 1 {
                record::put_queue(&mut out, key, next_number, in_log);
            }
        }
        for (id, page) in self.pages.in_order() {
            if page.making().is_none() && page.kind == PageKind::Durable {
                PageSummary::put(&mut out, id, page);
            }
        }
        for id in self.pages.makings() {
            self.put_making(&mut out, id);
        }
        out
    }

    /// Appends what the log says of a page that is not yet safe.
    fn put_making(&self, out: &mut Vec<u8>, id: PageId) {
        let Some(page) = self.pages.get(id).filter(|it| it.kind == PageKind::Durable) else {
            return;
        };
        let (Some(making), Some(changes)) = (page.making(), &page.changes) else {
            return;
        };
        let (queue, contents) = (page.queue, &page.contents);
        PageMaking::put(out, id, queue, page.place, contents, &making.origins);
        for index in 0..page.contents.len {
            let one = Range {
                first: Subject::Slot(id, index),
                len: 1,
            };
            if changes.handed.contains(index) {
                one.put(out, kind::HANDED, kind::PAGE_HANDED);
            }
            if changes.gone.contains(index) {
                one.put(out, kind::GONE, kind::PAGE_SLOTS_GONE);
            }
        }
        for (index, delivery_count) in &changes.returned {
            record::put_returned(out, Subject::Slot(id, *index), *delivery_count);
        }
    }
}

/// What the log calls a message.
#[inline]
fn subject(queue: QueueLog, stored: Stored) -> Subject {
    match stored.home {
        None => Subject::Number(queue.key, stored.number),
        Some(PageSlot { page, index }) => Subject::Slot(page, index),
    }
}
