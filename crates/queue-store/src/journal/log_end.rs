//! The end of the log, where blocks are added.

use std::io;
use std::sync::Arc;

use super::block::{BLOCK_HEAD_LEN, BlockHead, LOG_HEAD_LEN, LogHead, Position};
use super::names::FileName;
use super::options::{JournalOptions, SyncPolicy};
use super::sectors::SectorWriter;
use super::writer::WriteError;
use crate::storage::is_full;
use crate::{OpenMode, Storage, StorageFile};

/// How far ahead of small blocks a file of the log is filled with zeros. A sync of bytes within a file takes less than
/// half of one that has to make the file longer, too.
const AHEAD_LEN: u64 = 256 << 10;

/// Blocks from this length on are not worth it: writing them takes longer than making the file longer.
const LARGE_BLOCK_LEN: usize = 64 << 10;

/// No file is added to from here on, whatever it begins with: places in it are counted in 32 bits.
const FULL_LEN_MAX: u64 = 2 << 30;

/// How files of the log are filled, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    /// How long one becomes at least before the next is begun.
    full_len: u64,
    /// Whether they are written past the system's cache.
    mode: OpenMode,
}

impl Filling {
    /// One file that is not added to.
    pub(super) const ONCE: Self = Self {
        full_len: 0,
        mode: OpenMode::Create,
    };

    pub(super) fn new(options: &JournalOptions) -> Self {
        Self {
            full_len: options.log_file_len(),
            mode: match options.sync {
                // The disk is waited for in any case. Without the cache in between that takes a third less of the
                // processor, and a tenth to a half less time.
                SyncPolicy::EveryConfirm => OpenMode::CreateDirect,
                SyncPolicy::IntervalMs(_) | SyncPolicy::Os => OpenMode::Create,
            },
        }
    }
}

/// A file of the log that is to be begun.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) number: u32,
    pub(super) oldest: u32,
    /// The checkpoint, and what else is to be there from the start: blocks without their heads.
    pub(super) blocks: Vec<Vec<u8>>,
}

/// The file of the log that is written to.
#[derive(Debug)]
pub(super) struct LogEnd {
    number: u32,
    file: Arc<dyn StorageFile>,
    /// Knows where the next block comes.
    sectors: SectorWriter,
    /// How long the file is: behind the last block there are zeros, or what it was before.
    len: u64,
    filling: Filling,
    /// How long it becomes at least before the next is begun.
    full_len: u64,
}

impl LogEnd {
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn filling(&self) -> Filling {
        self.filling
    }

    /// Where the next block comes.
    pub(super) fn position(&self) -> Position {
        Position {
            file: self.number,
            // Files are begun anew long before this is too small; see `is_full_with`.
            offset: u32::try_from(self.sectors.end()).unwrap_or(u32::MAX),
        }
    }

    /// Whether the next file is to be begun once this many more bytes are in here.
    pub(super) fn is_full_with(&self, len: usize) -> bool {
        self.sectors.end() + len as u64 >= self.full_len
    }

    /// Makes a file of the log, over a spare one if there is any, and makes it safe with its name.
    pub(super) fn begin(
        storage: &dyn Storage,
        new: &mut NewFile,
        previous_end: Position,
        spare: Option<u32>,
        filling: Filling,
    ) -> Result<Self, WriteError> {
        let name = FileName::Log(new.number).to_string();
        let failed = |error: io::Error| WriteError::new(&name, &error);
        if let Some(spare) = spare {
            let spare = FileName::Spare(spare).to_string();
            match storage.rename(&spare, &name) {
                // It was renamed already when the disk was found full, or no file could be opened.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(failed)?,
            }
            // Not under its old name may a power cut leave what will be written: it was a part of
            // the log, perhaps of one that is still read.
            storage
                .sync_directory()
                .map_err(|error| WriteError::Failed(format!("{name}: {error}")))?;
        }
        let opened = storage.open(&name, filling.mode);
        let file = opened.map_err(|error| WriteError::of_open(&name, &error))?;
        let head = LogHead {
            number: new.number,
            previous_end,
            oldest: new.oldest,
        };
        let len = file.len().map_err(failed)?;
        let mut log = Self {
            number: new.number,
            file,
            sectors: SectorWriter::behind(LOG_HEAD_LEN),
            len,
            filling,
            full_len: filling.full_len,
        };
        // The file is made longer for more when there is more to write: a server that starts may have nothing for hours.
        for block in &mut new.blocks {
            log.append(block, previous_end)?;
        }
        // With very many queues and pages what a file begins with is longer than files are to be. Were it full then, every
        // block would begin the next, and all of that be written with each.
        let twice = log.sectors.end().saturating_mul(2).min(FULL_LEN_MAX);
        log.full_len = filling.full_len.max(twice);
        // The head comes last, and by itself: without it the file is as good as not there, and with
        // it what the file begins with has to be whole. A power cut that left the head and tore the
        // first block would look like damage.
        let unsafe_now = |error: io::Error| WriteError::Failed(format!("{name}: {error}"));
        log.file.sync_data().map_err(unsafe_now)?;
        log.sectors
            .write_start(&*log.file, &head.to_bytes())
            .map_err(failed)?;
        let synced = log.file.sync_data().and_then(|()| storage.sync_directory());
        synced.map_err(unsafe_now)?;
        Ok(log)
    }

    /// Writes a block behind the last, and makes the file longer for those to come.
    pub(super) fn write(&mut self, block: &mut [u8], safe: Position) -> Result<(), WriteError> {
        let len = self.len;
        self.append(block, safe)?;
        if self.len > len && block.len() < LARGE_BLOCK_LEN {
            self.fill_ahead()?;
        }
        Ok(())
    }

    /// Writes a block behind the last.
    fn append(&mut self, block: &mut [u8], safe: Position) -> Result<(), WriteError> {
        let name = FileName::Log(self.number);
        let records = block.len().saturating_sub(BLOCK_HEAD_LEN);
        if u32::try_from(records).is_err() || u32::try_from(self.sectors.end()).is_err() {
            let what = format!("{name}: {records} bytes are too many for one block");
            return Err(WriteError::Failed(what));
        }
        BlockHead::seal(block, self.position(), safe);
        let written = self.sectors.append(&*self.file, block);
        written.map_err(|error| WriteError::new(&name.to_string(), &error))?;
        self.len = self.len.max(self.sectors.written());
        Ok(())
    }

    /// Makes everything safe that was written.
    ///
    /// # Errors
    ///
    /// Never [`WriteError::Full`]. Whatever the reason, even a full disk: what is safe is not known any more.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        self.file.sync_data().map_err(|error| {
            let name = FileName::Log(self.number);
            WriteError::Failed(format!("{name} could not be synced: {error}"))
        })
    }

    /// Makes the file longer for blocks to come. Not on a full disk: whether they can be written shows when they are.
    fn fill_ahead(&mut self) -> Result<(), WriteError> {
        let len = AHEAD_LEN.min(self.full_len.saturating_sub(self.len));
        match self.sectors.write_zeros(&*self.file, self.len, len) {
            Ok(len) => self.len = len,
            Err(error) if is_full(&error) => {}
            Err(error) => {
                let name = FileName::Log(self.number).to_string();
                return Err(WriteError::new(&name, &error));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;
    use crate::journal::sectors::SECTOR_LEN;

    #[test]
    fn a_file_is_made_longer_when_something_comes_after_its_start() {
        let storage = MemoryStorage::new();
        let mut new = NewFile {
            number: 1,
            oldest: 1,
            blocks: vec![vec![0; BLOCK_HEAD_LEN]],
        };
        let begin = Position { file: 1, offset: 0 };
        let filling = Filling {
            full_len: 1 << 20,
            mode: OpenMode::Create,
        };
        let mut log = LogEnd::begin(&storage, &mut new, begin, None, filling).unwrap();
        assert_eq!(log.file.len().unwrap(), SECTOR_LEN as u64);
        log.write(&mut vec![0; SECTOR_LEN], begin).unwrap();
        assert_eq!(log.file.len().unwrap(), 2 * SECTOR_LEN as u64 + AHEAD_LEN);
    }

    #[test]
    fn a_file_takes_as_much_again_as_it_begins_with() {
        let storage = MemoryStorage::new();
        let full_after = |begins_with: usize, number| {
            let mut new = NewFile {
                number,
                oldest: 1,
                blocks: vec![vec![0; begins_with]],
            };
            let begin = Position { file: 1, offset: 0 };
            let filling = Filling {
                full_len: 10_000,
                mode: OpenMode::Create,
            };
            let log = LogEnd::begin(&storage, &mut new, begin, None, filling).unwrap();
            (0..100_000).find(|len| log.is_full_with(*len))
        };
        // A head, and gaps up to where blocks begin.
        assert_eq!(full_after(1_000, 1), Some(10_000 - 64 - 1_024));
        assert_eq!(full_after(20_000, 2), Some(64 + 20_032));
    }
}
