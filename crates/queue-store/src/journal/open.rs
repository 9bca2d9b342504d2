//! Opening a data directory.

use std::io;
use std::sync::Arc;

use super::block::{BLOCK_HEAD_LEN, Position};
use super::error::OpenError;
use super::fetch::fetch;
use super::handles::read_place;
use super::journal::{Journal, OUT_OF_FILES};
use super::load::{Loaded, OnDamage, io_error, load};
use super::log_end::{Filling, LogEnd, NewFile};
use super::names::FileName;
use super::options::JournalOptions;
use super::page::PagePlace;
use super::record::{QueueKey, kind};
use super::recovered::{Recovered, RecoveredQueue};
use super::replay::Replay;
use super::state::State;
use super::writer::{WriteError, Writer};
use crate::{DirectoryLock, OpenMode, Storage};

/// How much of the log is written once more at a time.
const REWRITE_LEN: u64 = 1 << 20;

impl Journal {
    /// Opens the journal in a directory, which is empty or one that a journal has left: cleanly or
    /// not makes no difference. Gives back what the queues hold.
    ///
    /// Reads the log, which is as long as [`JournalOptions`] allow whatever is in the pages; begins
    /// a new file of it; and removes files that nothing is in. Those go first that the log as it is does not need, which
    /// may be what makes room for the new file.
    ///
    /// # Errors
    ///
    /// When the directory is in use, of a later version, damaged, or cannot be used.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: JournalOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        let lock = lock(storage.as_ref())?;
        let loaded = load(storage.as_ref(), OnDamage::Stop)?;
        make_safe(storage.as_ref(), loaded.end, loaded.unsafe_from)?;
        let mut state = State::new(&options);
        let (names, end, notes) = (loaded.names.clone(), loaded.end, loaded.notes.clone());
        let chain = loaded.log_files.clone();
        let logs = names.iter().filter_map(FileName::log_number);
        let number = logs.max().unwrap_or(0).saturating_add(1);
        let queues = take_over(storage.as_ref(), &mut state, loaded)?;
        let names = remove_worthless(storage.as_ref(), &state, names, &chain)?;
        let (log, spares) = begin_log(
            storage.as_ref(),
            &options,
            &mut state,
            (&names, number),
            end,
        )?;
        remove_unneeded(storage.as_ref(), &state, &names)?;
        let writer = Writer::new(log, state.last_block(), spares);
        let journal = Self::new(options, storage, Some(lock), state, writer);
        Ok((journal, Recovered { queues, notes }))
    }
}

/// Keeps others out.
pub(super) fn lock(storage: &dyn Storage) -> Result<Box<dyn DirectoryLock>, OpenError> {
    storage.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse,
        _ => OpenError::Io {
            file: "the data directory cannot be locked".to_owned(),
            error,
        },
    })
}

/// Makes the end of the log safe, which so far the system has and perhaps not the disk.
///
/// A sync would not be enough: after one that failed the system takes for written what is not. So
/// the bytes are written once more, as they were read.
fn make_safe(storage: &dyn Storage, end: Position, from: u64) -> Result<(), OpenError> {
    if end == Position::default() {
        return Ok(());
    }
    let name = FileName::Log(end.file);
    let rewrite = || {
        let file = storage.open(&name.to_string(), OpenMode::Existing)?;
        // The end of the last block is rounded up; the file may not be.
        let end = u64::from(end.offset).min(file.len()?);
        let mut offset = from;
        while offset < end {
            let len = REWRITE_LEN.min(end - offset);
            let place = PagePlace {
                file: 0,
                offset,
                len,
            };
            file.write_all_at(&read_place(&*file, place)?, offset)?;
            offset += len;
        }
        file.sync_data()
    };
    rewrite().map_err(io_error(name))
}

/// Makes what was found the state of the journal. What queues have to know goes to them.
///
/// # Errors
///
/// When messages cannot be read.
pub(super) fn take_over(
    storage: &dyn Storage,
    state: &mut State,
    loaded: Loaded,
) -> Result<Vec<RecoveredQueue>, OpenError> {
    for number in &loaded.log_files {
        state.queues.begin_file(*number);
    }
    let Replay { queues, pages, .. } = loaded.replay;
    let mut pages_of: std::collections::HashMap<QueueKey, Vec<_>> =
        std::collections::HashMap::new();
    for (id, page) in pages.in_order() {
        state.page_files.found(page.place);
        pages_of.entry(page.queue).or_default().push(id);
    }
    let page_files = loaded.names.iter().filter_map(|name| match name {
        FileName::Pages(number) => Some(*number),
        _ => None,
    });
    state.page_files.go_on_after(page_files.max().unwrap_or(0));
    state.pages = pages;
    // By their keys, so that one log always leads to the same state.
    let mut queues: Vec<_> = queues.into_iter().collect();
    queues.sort_unstable_by_key(|(key, _)| *key);
    let loose: Vec<_> = queues.iter().map(|(_, queue)| &queue.loose).collect();
    let messages = fetch(storage, &loose)?;
    let mut recovered = Vec::new();
    for ((key, queue), messages) in queues.into_iter().zip(messages) {
        let log = state.queues.open(key);
        let pages = pages_of.remove(&key).unwrap_or_default();
        let largest = pages
            .iter()
            .filter_map(|id| Some(state.pages.get(*id)?.contents.last));
        let largest = largest.max().unwrap_or(0);
        let next_number = Replay::next_number(&queue).max(above(largest));
        state.queues.set_next_number(log, next_number.get());
        for message in queue.loose.iter() {
            if let Some(place) = message.place {
                state.queues.found(log, message.number, place.file);
            }
        }
        recovered.push(RecoveredQueue {
            key,
            next_number,
            paged: pages
                .iter()
                .filter_map(|id| Some(u64::from(state.pages.get(*id)?.live)))
                .sum(),
            messages,
            pages,
        });
    }
    Ok(recovered)
}

fn above(number: u64) -> std::num::NonZeroU64 {
    std::num::NonZeroU64::MIN.saturating_add(number)
}

/// Begins a file of the log behind all that there are, and those that there were a moment ago: their names may come back
/// with a power cut.
fn begin_log(
    storage: &dyn Storage,
    options: &JournalOptions,
    state: &mut State,
    (names, number): (&[FileName], u32),
    end: Position,
) -> Result<(LogEnd, Vec<u32>), OpenError> {
    state.queues.begin_file(number);
    let oldest = state.queues.files().front();
    let mut new = NewFile {
        number,
        oldest: oldest.map_or(number, |file| file.number),
        blocks: vec![state.checkpoint(), restarted()],
    };
    let mut spares: Vec<_> = names
        .iter()
        .filter_map(|name| match name {
            FileName::Spare(number) => Some(*number),
            _ => None,
        })
        .collect();
    let begun = LogEnd::begin(storage, &mut new, end, spares.pop(), Filling::new(options));
    let log = begun.map_err(|error| {
        let name = FileName::Log(number);
        // Every attempt would leave another one, on a disk that may be full. What was before it is all there.
        let _ = storage.remove(&name.to_string());
        write_error(name, error)
    })?;
    Ok((log, spares))
}

pub(super) fn write_error(file: FileName, error: WriteError) -> OpenError {
    OpenError::Io {
        file: file.to_string(),
        error: match error {
            WriteError::Full => io::Error::from(io::ErrorKind::StorageFull),
            WriteError::OutOfFiles => io::Error::other(OUT_OF_FILES),
            WriteError::Failed(error) => io::Error::other(error),
        },
    }
}

/// A block without its head that says that the broker was started again.
fn restarted() -> Vec<u8> {
    let mut block = vec![0; BLOCK_HEAD_LEN];
    block.push(kind::RESTARTED);
    block
}

/// Removes files without which the log as it is would be read just the same: what does not survive a restart, pages that
/// are no more, and files of the log that were being begun and never belonged to it, behind `chain` or among it. Returns the
/// names of the others.
///
/// Files of the log before the chain stay for now: an empty one there is all that says that it is not needed.
fn remove_worthless(
    storage: &dyn Storage,
    state: &State,
    names: Vec<FileName>,
    chain: &[u32],
) -> Result<Vec<FileName>, OpenError> {
    let first = chain.first().copied().unwrap_or(0);
    let (worthless, kept): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| match *name {
        FileName::Log(number) => number > first && !chain.contains(&number),
        FileName::Pages(number) => !state.page_files.contains(number),
        FileName::Spare(_) => false,
        FileName::Swap(_) => true,
    });
    remove(storage, &worthless)?;
    Ok(kept)
}

/// Removes files that nothing is in.
fn remove_unneeded(
    storage: &dyn Storage,
    state: &State,
    names: &[FileName],
) -> Result<(), OpenError> {
    let needed = |name: &FileName| match *name {
        FileName::Log(number) => state
            .queues
            .files()
            .iter()
            .any(|file| file.number == number),
        FileName::Pages(number) => state.page_files.contains(number),
        FileName::Spare(_) => true,
        FileName::Swap(_) => false,
    };
    let unneeded: Vec<_> = names.iter().filter(|name| !needed(name)).copied().collect();
    remove(storage, &unneeded)
}

fn remove(storage: &dyn Storage, names: &[FileName]) -> Result<(), OpenError> {
    for name in names {
        let removed = storage.remove(&name.to_string());
        removed.map_err(io_error(*name))?;
    }
    Ok(())
}
