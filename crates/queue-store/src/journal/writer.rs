//! Putting on disk what was appended.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

use super::appender::Lsn;
use super::block::{BLOCK_HEAD_LEN, Position};
use super::error::{JournalState, NotPrepared};
use super::journal::Journal;
use super::log_end::{LogEnd, NewFile};
use super::names::FileName;
use super::options::SyncPolicy;
use crate::storage::{is_full, is_out_of_files};
use crate::{OpenMode, Storage, Time};

/// How many files of the log are kept to be written over, which costs less than making new ones.
/// One is needed while the log neither grows nor shrinks, the other while it breathes.
const SPARE_FILES: usize = 2;

/// What [`Journal::work`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Worked {
    /// There is more to do already.
    pub more: bool,
    /// When to call again at the latest, if nothing happens before.
    pub again_at: Option<Time>,
}

/// What only the journal's own thread uses.
#[derive(Debug)]
pub(super) struct Writer {
    log: LogEnd,
    /// What has to be written, in order. Empty unless the disk is full, or no file could be opened.
    unwritten: VecDeque<Job>,
    /// What `unwritten` needs on the disk is perhaps not there yet.
    unprepared: bool,
    /// A buffer of an earlier block.
    spare_buffer: Vec<u8>,
    /// The last block that was written, and the last that is safe whatever happens.
    written: u64,
    pub(super) synced: u64,
    /// Everything in the log before this is safe.
    safe_position: Position,
    /// A block that has to be safe soon, since files wait for it to be removed.
    pub(super) needed: u64,
    last_sync: Time,
    /// Files that can be written over.
    spares: Vec<u32>,
    /// Files of the log that are not needed once a block is safe that says so.
    freeing: VecDeque<(u32, u64)>,
    next_log_number: u32,
}

#[derive(Debug)]
enum Job {
    /// A block of the log, without its head; and its number.
    Block(Vec<u8>, u64),
    /// A new file of the log that begins with this block.
    NewFile(NewFile),
}

/// Why something could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    Full,
    /// A file could not be opened. What is on the disk is as certain as before.
    OutOfFiles,
    Failed(String),
}

impl WriteError {
    pub(super) fn new(what: &str, error: &io::Error) -> Self {
        if is_full(error) {
            Self::Full
        } else {
            Self::Failed(format!("{what}: {error}"))
        }
    }

    /// A file could not be opened.
    pub(super) fn of_open(what: &str, error: &io::Error) -> Self {
        if is_out_of_files(error) {
            Self::OutOfFiles
        } else {
            Self::new(what, error)
        }
    }
}

impl From<NotPrepared> for WriteError {
    fn from(reason: NotPrepared) -> Self {
        match reason {
            NotPrepared::Full => Self::Full,
            NotPrepared::Failed(error) => Self::Failed(error),
        }
    }
}

impl Writer {
    /// Goes on behind what the state has been made of.
    pub(super) fn new(log: LogEnd, block: u64, spares: Vec<u32>) -> Self {
        let next_log_number = log.number().saturating_add(1);
        let safe_position = log.position();
        Self {
            log,
            unwritten: VecDeque::new(),
            unprepared: false,
            spare_buffer: Vec::new(),
            written: block,
            synced: block,
            safe_position,
            needed: 0,
            last_sync: Time::default(),
            spares,
            freeing: VecDeque::new(),
            next_log_number,
        }
    }

    fn unwritten_bytes(&self) -> usize {
        let lens = self.unwritten.iter().map(|job| match job {
            Job::Block(block, _) => block.len(),
            Job::NewFile(file) => file.blocks.iter().map(Vec::len).sum(),
        });
        lens.sum()
    }

    /// Writes what there is, as far as there is room.
    fn write_jobs(&mut self, storage: &dyn Storage) -> Result<(), WriteError> {
        while let Some(job) = self.unwritten.front_mut() {
            match job {
                Job::Block(block, number) => {
                    self.log.write(block, self.safe_position)?;
                    self.written = *number;
                    self.spare_buffer = std::mem::take(block);
                }
                Job::NewFile(_) => self.begin_file(storage)?,
            }
            self.unwritten.pop_front();
        }
        Ok(())
    }

    fn begin_file(&mut self, storage: &dyn Storage) -> Result<(), WriteError> {
        // The next file says where this one ends, so from now on everything in here has to be there.
        self.sync()?;
        let Some(Job::NewFile(new)) = self.unwritten.front_mut() else {
            return Ok(());
        };
        let previous_end = self.log.position();
        let (spare, filling) = (self.spares.last().copied(), self.log.filling());
        self.log = LogEnd::begin(storage, new, previous_end, spare, filling)?;
        self.spares.pop();
        self.safe_position = self.log.position();
        Ok(())
    }

    /// Writes a block in which there is nothing but that all others are safe.
    pub(super) fn mark_end(&mut self) -> Result<(), WriteError> {
        let mut block = vec![0; BLOCK_HEAD_LEN];
        self.log.write(&mut block, self.safe_position)?;
        self.log.sync()?;
        self.safe_position = self.log.position();
        Ok(())
    }

    /// Makes everything safe that was written.
    fn sync(&mut self) -> Result<(), WriteError> {
        if self.synced == self.written {
            return Ok(());
        }
        self.log.sync()?;
        self.synced = self.written;
        self.safe_position = self.log.position();
        Ok(())
    }
}

impl Journal {
    /// Does what there is to do: writes what was appended, syncs it if the policy or somebody who
    /// waits asks for it, writes pages, and gives up files that nothing alive is in. One thread
    /// calls this, over and over, with [`wait_for_work`](Self::wait_for_work) in between. It waits
    /// for the disk, and holds up nobody else meanwhile.
    ///
    /// A call that finds nothing to write syncs what has been written, so with a timeout of a tenth
    /// of a second acknowledgements are safe that much later at most. A few pages wait for others, as
    /// [`write_page`](Self::write_page) says.
    pub fn work(&self, now: Time) -> Worked {
        self.work_after(now, || Ok(()))
    }

    /// As [`work`](Self::work), and calls `prepare` once it is settled what will be written, before
    /// any of it is: what it brings to the disk is there before the journal says anything that
    /// needs it. It may append, which then waits for the next call.
    ///
    /// An error of it is treated as one of the disk. On a full one nothing is written, and the next
    /// call prepares again, before anything else; after any other nothing becomes safe any more.
    pub fn work_after(
        &self,
        now: Time,
        prepare: impl FnOnce() -> Result<(), NotPrepared>,
    ) -> Worked {
        self.turn(now, false, prepare)
    }

    pub(super) fn turn(
        &self,
        now: Time,
        everything: bool,
        prepare: impl FnOnce() -> Result<(), NotPrepared>,
    ) -> Worked {
        let mut writer = self.writer.lock();
        let nothing = Worked {
            more: false,
            again_at: None,
        };
        if self.has_failed() {
            return nothing;
        }
        let outcome = self.try_turn(&mut writer, now, everything, prepare);
        self.unwritten_bytes
            .store(writer.unwritten_bytes(), Ordering::Relaxed);
        match outcome {
            Ok(()) => self.set_condition(JournalState::Ready),
            Err(WriteError::Full) => {
                self.set_condition(JournalState::Full);
                return nothing;
            }
            Err(WriteError::OutOfFiles) => {
                self.set_condition(JournalState::OutOfFiles);
                return nothing;
            }
            Err(WriteError::Failed(error)) => {
                self.fail(&error);
                return nothing;
            }
        }
        let sync_at = match self.options.sync {
            SyncPolicy::IntervalMs(ms) if writer.written > writer.synced => {
                Some(writer.last_sync.saturating_add(ms))
            }
            _ => None,
        };
        let mut state = self.state.lock();
        let pages_are_due = state.pages_are_due(now, self.options.log_files_max)
            || everything && !state.unwritten_pages.is_empty();
        Worked {
            more: state.has_pending() || pages_are_due || writer.needed > writer.synced,
            again_at: [sync_at, state.pages_until].into_iter().flatten().min(),
        }
    }

    fn try_turn(
        &self,
        writer: &mut Writer,
        now: Time,
        everything: bool,
        prepare: impl FnOnce() -> Result<(), NotPrepared>,
    ) -> Result<(), WriteError> {
        let was_written = writer.written;
        let mut outcome = Ok(());
        if !writer.unprepared {
            outcome = writer.write_jobs(self.storage.as_ref());
            if outcome.is_ok() {
                self.gather(writer);
                writer.unprepared = !writer.unwritten.is_empty();
            }
        }
        if writer.unprepared {
            outcome = prepare().map_err(WriteError::from);
            writer.unprepared = outcome.is_err();
            outcome = outcome.and_then(|()| writer.write_jobs(self.storage.as_ref()));
        }
        if matches!(outcome, Err(WriteError::Failed(_))) {
            return outcome;
        }
        // What could be written becomes safe even if there was no room for all.
        let is_idle = writer.written == was_written;
        self.sync_if_due(writer, now, everything, is_idle)?;
        let are_due = self
            .state
            .lock()
            .pages_are_due(now, self.options.log_files_max);
        // On a full disk it may take a page to have a file of the log go.
        let pages = match everything || outcome.is_err() || are_due {
            true => self.write_pages(),
            false => Ok(()),
        };
        if matches!(pages, Err(WriteError::Failed(_))) {
            return pages;
        }
        let is_full = [&outcome, &pages]
            .iter()
            .any(|it| matches!(it, Err(WriteError::Full)));
        self.free_files(writer, is_full)?;
        outcome?;
        pages?;
        self.move_pages()
    }

    /// Takes what was appended, and begins a new file of the log if this one is full.
    fn gather(&self, writer: &mut Writer) {
        let mut state = self.state.lock();
        let number = state.block;
        let spare_buffer = std::mem::take(&mut writer.spare_buffer);
        let Some(block) = state.take_block(spare_buffer) else {
            return;
        };
        self.note_pending(&state);
        let is_full = writer.log.is_full_with(block.len());
        writer.unwritten.push_back(Job::Block(block, number));
        if !is_full {
            return;
        }
        let log_number = writer.next_log_number;
        writer.next_log_number = log_number.saturating_add(1);
        state.queues.begin_file(log_number);
        let oldest = state.queues.files().front();
        writer.unwritten.push_back(Job::NewFile(NewFile {
            number: log_number,
            oldest: oldest.map_or(log_number, |file| file.number),
            blocks: vec![state.checkpoint()],
        }));
    }

    fn sync_if_due(
        &self,
        writer: &mut Writer,
        now: Time,
        everything: bool,
        is_idle: bool,
    ) -> Result<(), WriteError> {
        let is_due = match self.options.sync {
            SyncPolicy::EveryConfirm => is_idle || self.wanted().0 > writer.synced,
            SyncPolicy::IntervalMs(ms) => writer.last_sync.saturating_add(ms) <= now,
            SyncPolicy::Os => false,
        };
        if everything || is_due || writer.needed > writer.synced {
            writer.sync()?;
            writer.last_sync = now;
        }
        self.set_safe(Lsn(match self.options.sync {
            SyncPolicy::EveryConfirm => writer.synced,
            SyncPolicy::IntervalMs(_) | SyncPolicy::Os => writer.written,
        }));
        Ok(())
    }

    /// Gives up files that are not needed any more.
    fn free_files(&self, writer: &mut Writer, is_full: bool) -> Result<(), WriteError> {
        let (empty_pages, empty_swaps) = {
            let mut state = self.state.lock();
            // A block in which there is nothing does not have to be waited for.
            let last_block = state.last_block();
            // The file that is written to is not the last where the next one waits for room to be begun.
            while let Some(file) = state.queues.files().front()
                && file.number < writer.log.number()
                && file.live == 0
                && file.released_by.min(last_block) <= writer.synced
            {
                let number = file.number;
                state.queues.free_oldest_file();
                let oldest = state.queues.files().front().map_or(0, |file| file.number);
                super::record::put_log_freed(state.records(), oldest);
                writer.freeing.push_back((number, state.block));
                writer.needed = state.block;
            }
            let mut empty_pages = Vec::new();
            for (number, block) in state.page_files.empty() {
                let block = block.min(last_block);
                if block <= writer.synced {
                    empty_pages.push(number);
                } else {
                    writer.needed = writer.needed.max(block);
                }
            }
            // Files whose last messages were moved to pages a moment ago.
            let released_by = state.queues.files().front().map(|file| match file.live {
                0 => file.released_by.min(last_block),
                _ => 0,
            });
            writer.needed = writer.needed.max(released_by.unwrap_or(0));
            let empty_swaps: Vec<_> = state.swap_files.empty().map(|(number, _)| number).collect();
            for number in &empty_pages {
                state.page_files.remove(*number);
            }
            for number in &empty_swaps {
                state.swap_files.remove(*number);
            }
            (empty_pages, empty_swaps)
        };
        for number in empty_pages {
            self.remove_file(FileName::Pages(number))?;
        }
        for number in empty_swaps {
            self.remove_file(FileName::Swap(number))?;
        }
        while let Some((number, said_by)) = writer.freeing.front() {
            if *said_by > writer.synced {
                break;
            }
            self.reuse_or_remove(&mut writer.spares, *number)?;
            writer.freeing.pop_front();
        }
        if is_full {
            // The block that says that they are not needed cannot be written for want of room. An
            // empty file says so as well.
            for (number, _) in &writer.freeing {
                self.empty_file(FileName::Log(*number))?;
            }
        }
        Ok(())
    }

    fn reuse_or_remove(&self, spares: &mut Vec<u32>, number: u32) -> Result<(), WriteError> {
        let name = FileName::Log(number);
        let file = self.storage.open(&name.to_string(), OpenMode::Existing);
        let len = file.and_then(|file| file.len()).unwrap_or(0);
        // A short one was never filled, or emptied.
        if spares.len() >= SPARE_FILES || len < self.options.log_file_size {
            return self.remove_file(name);
        }
        let spare = FileName::Spare(number).to_string();
        let renamed = self.storage.rename(&name.to_string(), &spare);
        renamed.map_err(|error| WriteError::new(&spare, &error))?;
        spares.push(number);
        Ok(())
    }

    pub(super) fn remove_file(&self, file: FileName) -> Result<(), WriteError> {
        self.handles.lock().close(file);
        let name = file.to_string();
        match self.storage.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(WriteError::new(&name, &error))
            }
            _ => Ok(()),
        }
    }

    fn empty_file(&self, file: FileName) -> Result<(), WriteError> {
        let name = file.to_string();
        let opened = self.storage.open(&name, OpenMode::Existing);
        let file = opened.map_err(|error| WriteError::of_open(&name, &error))?;
        let emptied = file.set_len(0);
        emptied.map_err(|error| WriteError::new(&name, &error))
    }
}
