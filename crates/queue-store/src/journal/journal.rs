//! The journal as its users see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::appender::{Appender, Lsn};
use super::error::{Damage, JournalState, NotSafe, ReadError};
use super::handles::{Handles, read_place_into};
use super::names::FileName;
use super::options::JournalOptions;
use super::origin::Origins;
use super::page::{MAX_PAGE_LEN, Page, PageContents, PageKind};
use super::page_format::{decode_page, encode_page};
use super::queues::QueueLog;
use super::read_ahead::ReadAhead;
use super::record::QueueKey;
use super::state::State;
use super::waiters::Waiters;
use super::writer::{WriteError, Writer};
use crate::{DirectoryLock, PageId, PagedMessage, Storage, Time};

/// What the pages of queues belong to that are not durable themselves.
const NO_QUEUE: QueueKey = QueueKey(u64::MAX);

const DISK_FULL: &str = "the disk is full";

pub(super) const OUT_OF_FILES: &str =
    "no file can be opened: the process, or the system, has as many open as it may";

/// How much of the buffer for reading pages is kept: more than most pages have.
const KEPT_READ_LEN: usize = 128 << 10;

/// Keeps what durable queues hold on disk, for all queues in one log.
///
/// Whoever owns a queue [appends](Self::append) what happens in it. Nothing of that waits for the
/// disk: a thread of the caller's calls [`work`](Self::work), which writes what has gathered, syncs
/// it if somebody wants to know that it is safe, and wakes those. When memory is short, messages are
/// [written to pages](Self::write_page) and [read](Self::read_page) when they are needed again.
///
/// The log is read when the journal is opened, and never otherwise. A message that is alive is in
/// the memory of its queue or in a page, so that files of the log can be removed, the oldest first,
/// once nothing alive is in them and in no page; [`to_move`](Self::to_move) says what stands in the
/// way of that.
///
/// ```
/// use std::num::NonZeroU64;
/// use std::sync::Arc;
///
/// use leveret_queue_store::{
///     Journal, JournalOptions, MemoryStorage, Message, MessageParts, QueueKey, RecoveredItem,
///     Storage, Stored, Time,
/// };
///
/// let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
/// let (journal, recovered) = Journal::open(Arc::clone(&storage), JournalOptions::default())?;
/// assert!(recovered.queues.is_empty());
///
/// let mut scratch = Vec::new();
/// let queue = journal.queue(QueueKey(1));
/// let mut appender = journal.append();
/// for (number, body) in (1..).zip(["first", "second"]) {
///     let Some(number) = NonZeroU64::new(number) else { continue };
///     let parts = MessageParts { body: body.as_bytes(), persistent: true, ..Default::default() };
///     appender.store(queue, number, Time::MAX, &Message::new(&parts, &mut scratch));
/// }
/// appender.gone(queue, Stored { number: NonZeroU64::MIN, home: None });
/// let lsn = appender.finish();
///
/// assert!(journal.safe() < lsn, "nothing was written yet");
/// journal.sync(Time::from_millis(0))?;
/// assert!(journal.safe() >= lsn);
/// drop(journal);
///
/// let (journal, recovered) = Journal::open(storage, JournalOptions::default())?;
/// let Some(queue) = recovered.queues.into_iter().next() else { panic!("it was safe") };
/// let items = queue.into_items(&journal, 0)?;
/// let [RecoveredItem::Message(second)] = items.as_slice() else { panic!("one is left") };
/// assert_eq!(second.message.body(), b"second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # At the edges
///
/// - A journal that is dropped loses what was not written; [`sync`](Self::sync) before.
/// - On a full disk everything goes on in memory, and nothing becomes safe:
///   [`JournalState::Full`]. It goes on by itself when there is room. So it does where a file cannot be opened because too
///   many are: [`JournalState::OutOfFiles`].
/// - After a write or a sync that failed nothing becomes safe any more until the journal is opened
///   again: [`JournalState::Failed`].
/// - Nobody who appends waits for the disk; whoever holds [`append`](Self::append)'s lock holds it up for all others.
///   [`work`](Self::work), [`sync`](Self::sync) and [`close`](Self::close) wait for one another while the disk works, and
///   readers of pages for one another while a file is opened.
#[derive(Debug)]
pub struct Journal {
    pub(super) options: JournalOptions,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) state: Mutex<State>,
    /// Something was appended, or is wanted.
    pub(super) work: Condvar,
    /// A page is expected to be needed.
    pub(super) reads: Condvar,
    /// What the page that was read last was read into.
    read_buffer: Mutex<Vec<u8>>,
    pub(super) writer: Mutex<Writer>,
    /// Locked inside of `state`, never the other way round.
    waiters: Mutex<Waiters>,
    /// Locked inside of `state` as well, and nothing inside of it.
    condition: Mutex<JournalState>,
    pub(super) handles: Mutex<Handles>,
    safe: AtomicU64,
    /// Nothing becomes safe any more.
    has_failed: AtomicBool,
    /// Bytes of the log that wait to be written.
    pub(super) unwritten_bytes: AtomicUsize,
    /// What was gathered and not yet taken to be written.
    pending_bytes: AtomicUsize,
    /// Keeps others out of the directory until the journal is closed.
    lock: Mutex<Option<Box<dyn DirectoryLock>>>,
}

/// Messages that hold back the oldest file of the log; see [`Journal::to_move`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ToMove {
    /// Whose messages they are.
    pub queue: QueueKey,
    /// Their numbers are below this one.
    pub below: std::num::NonZeroU64,
}

/// What the journal has on disk and in memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct JournalStats {
    /// Files of the log.
    pub log_files: usize,
    /// Messages that are alive and nowhere but in the log.
    pub log_messages: u64,
    /// Bytes appended that wait to be written.
    pub unwritten_bytes: usize,
    /// Pages, durable or not.
    pub pages: usize,
    /// Bytes of pages that wait to be written.
    pub unwritten_page_bytes: usize,
    /// Files of durable pages.
    pub page_files: usize,
    /// Their length together.
    pub page_file_bytes: u64,
    /// How much of it is durable pages that exist.
    pub page_bytes: u64,
    /// Pages that were read before they are needed, and are in memory.
    pub pages_ahead: usize,
    /// Their bytes.
    pub page_bytes_ahead: u64,
}

impl Journal {
    pub(super) fn new(
        options: JournalOptions,
        storage: Arc<dyn Storage>,
        lock: Option<Box<dyn DirectoryLock>>,
        state: State,
        writer: Writer,
    ) -> Self {
        let safe = state.last_block();
        Self {
            options,
            storage,
            state: Mutex::new(state),
            work: Condvar::new(),
            reads: Condvar::new(),
            read_buffer: Mutex::default(),
            writer: Mutex::new(writer),
            waiters: Mutex::default(),
            condition: Mutex::default(),
            handles: Mutex::default(),
            safe: AtomicU64::new(safe),
            has_failed: AtomicBool::new(false),
            unwritten_bytes: AtomicUsize::new(0),
            pending_bytes: AtomicUsize::new(0),
            lock: Mutex::new(lock),
        }
    }

    /// The place of a queue in the journal. Made the first time that a key is named; the same key
    /// gives the same place until the queue is gone. `QueueKey(u64::MAX)` is the journal's own.
    #[must_use]
    pub fn queue(&self, key: QueueKey) -> QueueLog {
        self.state.lock().queues.open(key)
    }

    /// Lets the caller append, and nobody else until it is done. Call nothing else of the journal
    /// meanwhile: most would wait for themselves.
    pub fn append(&self) -> Appender<'_> {
        Appender::new(self, self.state.lock())
    }

    /// To be called whenever the records that wait have become more or fewer, since [`is_congested`](Self::is_congested)
    /// asks without the lock.
    pub(super) fn note_pending(&self, state: &State) {
        self.pending_bytes
            .store(state.pending_len(), Ordering::Relaxed);
    }

    /// An id for a page that is about to be written. Give it back with
    /// [`release_page`](Self::release_page) if it is not needed after all.
    ///
    /// # Panics
    ///
    /// When there are 2³² − 1 pages, which is some terabytes of them.
    #[must_use]
    pub fn new_page(&self) -> PageId {
        let page = self.state.lock().pages.reserve();
        page.expect("a disk does not hold as many pages as can be numbered")
    }

    /// Gives back an id under which nothing was written.
    pub fn release_page(&self, page: PageId) {
        self.state.lock().pages.give_back(page);
    }

    /// Puts messages of a queue into a page. They are in memory until [`work`](Self::work) has
    /// written them: when a mebibyte waits, a tenth of a second after it has seen them, or as soon as
    /// the log has too many files. The page can be read and used at once.
    ///
    /// `level` is where in the queue all of them wait, if the caller knows: what the queue makes of
    /// the priority of any of them. Where the messages are until the page is safe stands in them. A message that is with a consumer has to have a delivery count of at
    /// least one: that it was handed over is not looked up in the log.
    ///
    /// Of messages none of which is stored the page does not survive a restart, and the log does not
    /// say that it exists. Of a queue that is [gone](Appender::queue_gone) no page is made.
    ///
    /// # Panics
    ///
    /// When there are more messages than [`u16::MAX`].
    pub fn write_page(
        &self,
        queue: QueueLog,
        page: PageId,
        level: Option<u8>,
        messages: &[PagedMessage],
    ) {
        self.write_page_of(Some(queue), page, level, messages);
    }

    /// Puts messages of a queue into a page of which nothing survives a restart: for a queue that
    /// is not durable and has no place in the journal.
    ///
    /// # Panics
    ///
    /// When there are more messages than [`u16::MAX`].
    pub fn write_swap_page(&self, page: PageId, messages: &[PagedMessage]) {
        self.write_page_of(None, page, None, messages);
    }

    fn write_page_of(
        &self,
        queue: Option<QueueLog>,
        page: PageId,
        level: Option<u8>,
        messages: &[PagedMessage],
    ) {
        assert!(messages.len() <= MAX_PAGE_LEN, "too many for a page");
        let key = queue.map_or(NO_QUEUE, |queue| queue.key);
        let bytes = Bytes::from(encode_page(page, key, messages));
        let contents = PageContents::of(level, messages);
        let origins = Origins::of(messages);
        let mut state = self.state.lock();
        // Nobody would ever say that the page is gone.
        if queue.is_none_or(|queue| state.queues.is_open(queue)) {
            state.make_page(page, key, contents, origins, bytes);
            self.appended(&mut state);
        }
    }

    /// What is alive in a page, in order, each with its place. A message's home is this page.
    ///
    /// The caller keeps the queue's messages from changing meanwhile.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not what was written.
    pub fn read_page(&self, page: PageId) -> Result<Vec<(u16, PagedMessage)>, ReadError> {
        loop {
            let found = {
                let mut state = self.state.lock();
                let State { pages, ahead, .. } = &mut *state;
                FoundPage::of(pages.get(page).ok_or(ReadError::NoSuchPage)?, ahead)
            };
            match self.read_found(page, &found) {
                // It was moved to another file meanwhile, and this one removed.
                Err(ReadError::Io { .. }) if self.has_moved(page, &found) => {}
                Err(error) => return Err(error),
                Ok(mut messages) => {
                    let state = self.state.lock();
                    let page = state.pages.get(page).ok_or(ReadError::NoSuchPage)?;
                    if page.is_as_it_was() {
                        return Ok(messages);
                    }
                    messages.retain_mut(|(index, message)| page.apply_changes(*index, message));
                    return Ok(messages);
                }
            }
        }
    }

    /// The file, opened for reading and writing.
    pub(super) fn handle(&self, file: FileName) -> std::io::Result<Arc<dyn crate::StorageFile>> {
        self.handles.lock().get(self.storage.as_ref(), file)
    }

    fn has_moved(&self, page: PageId, found: &FoundPage) -> bool {
        let state = self.state.lock();
        let now = state.pages.get(page).map(|page| page.place);
        now.is_some_and(|place| place != found.place)
    }

    fn read_found(
        &self,
        page: PageId,
        found: &FoundPage,
    ) -> Result<Vec<(u16, PagedMessage)>, ReadError> {
        let place = found.place;
        let file = FileName::of_page(found.kind, place);
        let decoded = match &found.bytes {
            Some(bytes) => decode_page(bytes, page, found.queue),
            None => {
                let mut buffer = std::mem::take(&mut *self.read_buffer.lock());
                let read = self
                    .handle(file)
                    .and_then(|handle| read_place_into(&*handle, place, &mut buffer));
                let decoded = read.map(|()| decode_page(&buffer, page, found.queue));
                buffer.truncate(KEPT_READ_LEN);
                buffer.shrink_to(KEPT_READ_LEN);
                *self.read_buffer.lock() = buffer;
                decoded.map_err(|error| ReadError::Io {
                    file: file.to_string(),
                    error,
                })?
            }
        };
        decoded.map_err(|_| {
            ReadError::Damaged(Damage {
                file: file.to_string(),
                offset: place.offset,
                what: "a page of messages does not have its checksum".to_owned(),
            })
        })
    }

    /// How many bytes of pages are in memory because they have not been written yet. When it is
    /// large, put no more into pages.
    #[must_use]
    pub fn pages_pending_bytes(&self) -> usize {
        self.state.lock().unwritten_page_bytes
    }

    /// Whose messages have to be put into pages, so that the oldest file of the log is free: empty
    /// while there are no more files than [`JournalOptions::log_files_max`], and while pages wait to
    /// be written.
    #[must_use]
    pub fn to_move(&self) -> Vec<ToMove> {
        let state = self.state.lock();
        let files = state.queues.files();
        let Some(oldest) = files.front() else {
            return Vec::new();
        };
        if files.len() <= self.options.log_files_max.max(1) || !state.unwritten_pages.is_empty() {
            return Vec::new();
        }
        let queues = state.queues.in_file(oldest.number);
        queues
            .map(|(queue, below)| ToMove { queue, below })
            .collect()
    }

    /// Up to where what was appended is safe, as [`SyncPolicy`](crate::SyncPolicy) has it.
    #[must_use]
    pub fn safe(&self) -> Lsn {
        Lsn(self.safe.load(Ordering::Acquire))
    }

    /// Wakes somebody once, when `lsn` is safe or the journal fails. If there is nothing to wait for
    /// any more it says so instead, and does not keep the waker; ask [`safe`](Self::safe) which of
    /// the two it is.
    ///
    /// With [`SyncPolicy::EveryConfirm`](crate::SyncPolicy::EveryConfirm) this is what makes the
    /// journal sync at once.
    #[must_use]
    pub fn when_safe(&self, lsn: Lsn, waker: &Waker) -> bool {
        {
            let mut waiters = self.waiters.lock();
            if self.safe() >= lsn || self.has_failed.load(Ordering::Acquire) {
                return true;
            }
            waiters.push(lsn, waker);
        }
        self.wake_worker();
        false
    }

    /// Says that somebody who waits for less already will wait for `lsn` as well. The journal then goes on to
    /// it at once, instead of letting more come together until it is asked. Nobody is woken for it.
    /// What is safe already, and a journal that has failed, are not changed by it.
    pub fn want(&self, lsn: Lsn) {
        let is_first = {
            let mut waiters = self.waiters.lock();
            let (safe, wanted) = (self.safe(), waiters.wanted());
            waiters.want(lsn);
            wanted <= safe && safe < lsn
        };
        // Whoever was first has woken it, and it looks again before it rests.
        if is_first {
            self.wake_worker();
        }
    }

    /// How the journal is doing.
    #[must_use]
    pub fn state(&self) -> JournalState {
        self.condition.lock().clone()
    }

    /// Whether so much waits to be written that publishers should. Nothing is refused because of it. Once the journal has
    /// failed nothing waits any more.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        if self.has_failed() {
            return false;
        }
        let unwritten = self.unwritten_bytes.load(Ordering::Relaxed);
        unwritten + self.pending_bytes.load(Ordering::Relaxed) > self.options.pending_max
    }

    /// Figures for an operator.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let state = self.state.lock();
        let (page_file_bytes, page_bytes) = state.page_files.bytes();
        let (pages_ahead, page_bytes_ahead) = state.ahead.read();
        JournalStats {
            log_files: state.queues.files().len(),
            log_messages: state.queues.files().iter().map(|file| file.live).sum(),
            unwritten_bytes: self.unwritten_bytes.load(Ordering::Relaxed) + state.pending_len(),
            pages: state.pages.len(),
            unwritten_page_bytes: state.unwritten_page_bytes,
            page_files: state.page_files.iter().count(),
            page_file_bytes,
            page_bytes,
            pages_ahead,
            page_bytes_ahead,
        }
    }

    /// Writes and syncs everything that was appended, whatever the policy: before a clean end.
    ///
    /// # Errors
    ///
    /// When it cannot, for want of room or because the journal has failed.
    pub fn sync(&self, now: Time) -> Result<(), NotSafe> {
        loop {
            let more = self.turn(now, true, || Ok(())).more;
            match self.state() {
                JournalState::Ready if more => {}
                JournalState::Ready => return self.mark_end(),
                JournalState::Full => return Err(not_safe(DISK_FULL)),
                JournalState::OutOfFiles => return Err(not_safe(OUT_OF_FILES)),
                JournalState::Failed(error) => return Err(NotSafe(error)),
            }
        }
    }

    /// [Syncs](Self::sync) everything, takes nothing more, and lets others into the directory. From
    /// then on it is as if the journal had failed: what is appended is thrown away, and those who
    /// wait are told.
    ///
    /// # Errors
    ///
    /// As for [`sync`](Self::sync). It is closed all the same.
    pub fn close(&self, now: Time) -> Result<(), NotSafe> {
        let synced = self.sync(now);
        self.fail("the journal is closed");
        *self.lock.lock() = None;
        synced
    }

    /// The thread that calls [`work`](Self::work) ends before its time, and says why: from now on nothing becomes safe, as
    /// after a failed write, and those who wait are told.
    pub fn give_up(&self, reason: &str) {
        self.fail(reason);
    }

    /// Says in the log that everything before is safe, so that damage there is not taken for the end
    /// of what could be written.
    fn mark_end(&self) -> Result<(), NotSafe> {
        let marked = self.writer.lock().mark_end();
        marked.map_err(|error| match error {
            WriteError::Full => not_safe(DISK_FULL),
            WriteError::OutOfFiles => not_safe(OUT_OF_FILES),
            WriteError::Failed(error) => {
                self.fail(&error);
                NotSafe(Arc::from(error))
            }
        })
    }

    /// The most that anybody waits for, or will.
    pub(super) fn wanted(&self) -> Lsn {
        self.waiters.lock().wanted()
    }

    /// Makes known what is safe, and wakes those who wait for it.
    pub(super) fn set_safe(&self, safe: Lsn) {
        let woken = {
            let mut waiters = self.waiters.lock();
            self.safe.fetch_max(safe.0, Ordering::Release);
            waiters.take_up_to(safe)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    pub(super) fn set_condition(&self, condition: JournalState) {
        *self.condition.lock() = condition;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// From now on nothing becomes safe any more.
    pub(super) fn fail(&self, error: &str) {
        self.set_condition(JournalState::Failed(Arc::from(error)));
        {
            let mut state = self.state.lock();
            state.failed = true;
            state.discard_if_failed();
            // Nobody is to wait for what is never written.
            self.note_pending(&state);
            self.unwritten_bytes.store(0, Ordering::Relaxed);
        }
        let woken = {
            let mut waiters = self.waiters.lock();
            self.has_failed.store(true, Ordering::Release);
            waiters.take_up_to(Lsn(u64::MAX))
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

fn not_safe(why: &str) -> NotSafe {
    NotSafe(Arc::from(why))
}

/// What has to be known of a page to read it.
struct FoundPage {
    queue: QueueKey,
    place: super::page::PagePlace,
    kind: PageKind,
    /// The page, if it waits to be written or was read ahead.
    bytes: Option<Bytes>,
}

impl FoundPage {
    fn of(page: &Page, ahead: &mut ReadAhead) -> Self {
        let making = page.making().map(|making| making.bytes.clone());
        Self {
            queue: page.queue,
            place: page.place,
            kind: page.kind,
            bytes: making.or_else(|| ahead.take(page.kind, page.place)),
        }
    }
}

impl Page {
    /// Whether nothing has happened to its messages since it was put together.
    fn is_as_it_was(&self) -> bool {
        self.changes.is_none() && !self.recovered
    }

    /// Brings a message up to date that was just read. Says whether it is alive.
    pub(super) fn apply_changes(&self, index: u16, message: &mut PagedMessage) -> bool {
        message.delivery_count = self.delivery_count(index, message.delivery_count);
        !self.is_gone(index) && (message.stored.is_some() || !self.recovered)
    }
}
