//! Putting pages on disk, and moving them when most of a file is not needed.

use std::sync::Arc;

use bytes::Bytes;

use super::handles::read_place;
use super::journal::Journal;
use super::names::FileName;
use super::page::{PageKind, PagePlace};
use super::page_format::{is_intact_page, page_file_head};
use super::state::State;
use super::writer::WriteError;
use crate::storage::is_out_of_files;
use crate::{OpenMode, PageId, StorageFile, Time};

/// How many bytes of pages are written, or moved, before the log gets its turn again: some hundredths
/// of a second.
const TURN_BYTES: u64 = 4 << 20;

/// So many bytes of pages wait for no more to come. For the processor a sync costs about as much as writing some hundred
/// kilobytes, and the log waits meanwhile; what waits is in memory.
const TOGETHER_BYTES: usize = 1 << 20;

/// How long fewer wait, in milliseconds, from when they were first seen. Only memory waits for them.
const WAIT_MS: u64 = 100;

/// A page to be written.
struct PageWrite {
    page: PageId,
    kind: PageKind,
    place: PagePlace,
    bytes: Bytes,
    then: Then,
}

/// What is the case once a page is written.
#[derive(Clone, Copy)]
enum Then {
    /// It is safe; so far it was called this.
    IsSafe(u64),
    /// It is not needed where it was.
    HasMoved(PagePlace),
}

impl PageWrite {
    fn file(&self) -> FileName {
        FileName::of_page(self.kind, self.place)
    }

    fn is_made(&self, state: &State) -> bool {
        match self.kind {
            PageKind::Durable => state.page_files.is_made(self.place.file),
            PageKind::Swap => state.swap_files.is_made(self.place.file),
        }
    }
}

impl State {
    /// Whether pages that wait are to be written now: there are enough of them, they have waited long enough, or the log
    /// has more files than it should, which cannot go before.
    pub(super) fn pages_are_due(&mut self, now: Time, log_files_max: usize) -> bool {
        if self.unwritten_pages.is_empty() {
            return false;
        }
        let until = self
            .pages_until
            .get_or_insert_with(|| now.saturating_add(WAIT_MS));
        *until <= now
            || self.unwritten_page_bytes >= TOGETHER_BYTES
            || self.queues.files().len() > log_files_max.max(1)
    }

    /// Whether pages wait of which the worker does not know yet, or that are enough.
    pub(super) fn has_new_pages(&self) -> bool {
        !self.unwritten_pages.is_empty()
            && (self.pages_until.is_none() || self.unwritten_page_bytes >= TOGETHER_BYTES)
    }
}

impl Journal {
    /// Writes pages that were put together.
    pub(super) fn write_pages(&self) -> Result<(), WriteError> {
        let writes = self.take_unwritten();
        let outcome = self.write_and_sync(&writes);
        let mut state = self.state.lock();
        if outcome.is_err() {
            // They are as due as before.
            for write in writes.iter().rev() {
                if let Then::IsSafe(serial) = write.then {
                    state.unwritten_pages.push_front((write.page, serial));
                }
            }
        } else if state.unwritten_pages.is_empty() {
            state.pages_until = None;
        }
        outcome
    }

    fn take_unwritten(&self) -> Vec<PageWrite> {
        let mut state = self.state.lock();
        let mut writes = Vec::new();
        let mut bytes = 0;
        while bytes < TURN_BYTES
            && let Some((page, serial)) = state.unwritten_pages.pop_front()
        {
            // It may be gone, and its id another's.
            let Some(found) = state.pages.get(page) else {
                continue;
            };
            if let Some(making) = found.making().filter(|making| making.serial == serial) {
                bytes += found.place.len;
                writes.push(PageWrite {
                    page,
                    kind: found.kind,
                    place: found.place,
                    bytes: making.bytes.clone(),
                    then: Then::IsSafe(serial),
                });
            }
        }
        writes
    }

    /// Moves pages out of a file that is mostly empty.
    pub(super) fn move_pages(&self) -> Result<(), WriteError> {
        let writes = self.take_moves();
        let outcome = self.write_and_sync(&writes);
        if outcome.is_err() {
            let mut state = self.state.lock();
            let block = state.block;
            for write in writes {
                state.page_files.freed(write.place, block);
            }
        }
        outcome
    }

    /// Some of what is left in the emptiest file, with places elsewhere.
    fn take_moves(&self) -> Vec<PageWrite> {
        let (number, pages) = {
            let state = self.state.lock();
            let Some(number) = state.page_files.to_empty() else {
                return Vec::new();
            };
            (number, pages_in(&state, number))
        };
        let from = FileName::Pages(number);
        let mut writes = Vec::new();
        for (page, place) in pages {
            let file = match self.handle(from) {
                // It can be moved some other time.
                Err(error) if is_out_of_files(&error) => return writes,
                opened => opened,
            };
            let read = file.and_then(|file| read_place(&*file, place));
            let Some(bytes) = read.ok().filter(|bytes| is_intact_page(bytes)) else {
                // Whoever needs the page will be told. Until then it stays as it is.
                self.state.lock().page_files.keep(number);
                return writes;
            };
            writes.push(PageWrite {
                page,
                kind: PageKind::Durable,
                place: self.state.lock().page_files.place(place.len),
                bytes: Bytes::from(bytes),
                then: Then::HasMoved(place),
            });
        }
        writes
    }

    /// Writes pages, makes those safe that are durable, and says so to everybody.
    fn write_and_sync(&self, writes: &[PageWrite]) -> Result<(), WriteError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut files: Vec<(FileName, Arc<dyn StorageFile>)> = Vec::new();
        let mut has_new_name = false;
        for write in writes {
            let name = write.file();
            if files.last().is_none_or(|(last, _)| *last != name) {
                let is_made = write.is_made(&self.state.lock());
                has_new_name |= !is_made;
                files.push((name, self.page_file(name, is_made)?));
            }
            if let Some((_, file)) = files.last() {
                let put = file.write_all_at(&write.bytes, write.place.offset);
                put.map_err(|error| WriteError::new(&name.to_string(), &error))?;
            }
        }
        for (name, file) in &files {
            if matches!(name, FileName::Pages(_)) {
                file.sync_data().map_err(|error| {
                    WriteError::Failed(format!("{name} could not be synced: {error}"))
                })?;
            }
        }
        if has_new_name {
            self.storage.sync_directory().map_err(|error| {
                WriteError::Failed(format!("the data directory could not be synced: {error}"))
            })?;
        }
        let mut state = self.state.lock();
        for write in writes {
            match write.kind {
                PageKind::Durable => state.page_files.set_made(write.place.file),
                PageKind::Swap => state.swap_files.set_made(write.place.file),
            }
            match write.then {
                Then::IsSafe(serial) => state.page_written(write.page, serial),
                Then::HasMoved(from) => state.page_moved(write.page, from, write.place),
            }
        }
        Ok(())
    }

    /// A file of pages to write to. Until it is made it gets its head each time.
    fn page_file(&self, name: FileName, is_made: bool) -> Result<Arc<dyn StorageFile>, WriteError> {
        let opened = match is_made {
            true => self.handle(name),
            false => self.storage.open(&name.to_string(), OpenMode::Create),
        };
        let file = opened.map_err(|error| WriteError::of_open(&name.to_string(), &error))?;
        if !is_made {
            let put = file.write_all_at(&page_file_head(), 0);
            put.map_err(|error| WriteError::new(&name.to_string(), &error))?;
        }
        Ok(file)
    }
}

/// Some pages of a file, as many as are moved at once.
fn pages_in(state: &State, number: u32) -> Vec<(PageId, PagePlace)> {
    let mut pages = Vec::new();
    let mut bytes = 0;
    for (id, page) in state.pages.in_order() {
        let is_here = page.kind == PageKind::Durable && page.place.file == number;
        // One that is not safe yet would be moved before it is there.
        if is_here && page.making().is_none() && bytes < TURN_BYTES {
            bytes += page.place.len;
            pages.push((id, page.place));
        }
    }
    pages
}
