//! Reading what a data directory holds.

use std::io;

use super::block::{HeadError, LOG_HEAD_LEN, LogHead, Position, VERSION};
use super::error::{Damage, OpenError};
use super::log_file::LogFileReader;
use super::names::FileName;
use super::page_table::PageTable;
use super::replay::Replay;
use crate::Storage;

/// What becomes of damage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnDamage {
    /// Nothing is read of what is damaged, and nothing is changed.
    Stop,
    /// What is damaged is passed over, and told of.
    GoOn,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) replay: Replay,
    /// The files of the log that are needed, the oldest first.
    pub(super) log_files: Vec<u32>,
    /// Where the log ends.
    pub(super) end: Position,
    /// Where in its last file begins what may not be safe.
    pub(super) unsafe_from: u64,
    /// All files of the journal.
    pub(super) names: Vec<FileName>,
    /// What an operator should hear of.
    pub(super) notes: Vec<String>,
    /// What was passed over.
    pub(super) damages: Vec<Damage>,
}

/// Reads the log. Changes nothing on disk.
pub(super) fn load(storage: &dyn Storage, on_damage: OnDamage) -> Result<Loaded, OpenError> {
    let listed = storage.list().map_err(|error| OpenError::Io {
        file: "the data directory cannot be listed".to_owned(),
        error,
    })?;
    let mut names: Vec<_> = listed
        .iter()
        .filter_map(|name| FileName::parse(name))
        .collect();
    names.sort_unstable();
    let mut loader = Loader {
        storage,
        on_damage,
        loaded: Loaded {
            replay: Replay::default(),
            log_files: Vec::new(),
            end: Position::default(),
            unsafe_from: 0,
            names,
            notes: Vec::new(),
            damages: Vec::new(),
        },
    };
    loader.read_log()?;
    loader.loaded.replay.finish();
    loader.check_page_files()?;
    Ok(loader.loaded)
}

const BROKEN_HEAD: &str = "the head of this file of the log is not intact";

struct Loader<'a> {
    storage: &'a dyn Storage,
    on_damage: OnDamage,
    loaded: Loaded,
}

/// A file of the log that is read.
struct LogFile {
    reader: LogFileReader,
    /// Where the log before it ended; `None` when its head does not say so any more.
    previous_end: Option<Position>,
    /// The oldest file that was needed when this one was begun, as far as its head says.
    oldest: u32,
}

impl LogFile {
    fn new(reader: LogFileReader, head: LogHead) -> Self {
        Self {
            reader,
            previous_end: Some(head.previous_end),
            oldest: head.oldest,
        }
    }

    /// A file whose head is not intact. Each of its blocks says itself where it stands and what is in it.
    fn without_head(reader: LogFileReader) -> Self {
        Self {
            reader,
            previous_end: None,
            oldest: 0,
        }
    }

    /// Which file was before it, if it is known.
    fn follows(&self) -> Option<u32> {
        self.previous_end.map(|end| end.file)
    }
}

impl Loader<'_> {
    fn damaged(&mut self, file: FileName, offset: u64, what: &str) -> Result<(), OpenError> {
        let damage = Damage {
            file: file.to_string(),
            offset,
            what: what.to_owned(),
        };
        match self.on_damage {
            OnDamage::Stop => Err(OpenError::Damaged(damage)),
            OnDamage::GoOn => {
                self.loaded.replay.is_damaged = true;
                self.loaded.damages.push(damage);
                Ok(())
            }
        }
    }

    fn note(&mut self, note: String) {
        self.loaded.notes.push(note);
    }

    fn read_log(&mut self) -> Result<(), OpenError> {
        let (files, broken) = self.open_log_files()?;
        let Some(newest) = files.last() else {
            if let Some(name) = broken.first() {
                return self.damaged(*name, 0, BROKEN_HEAD);
            }
            let has_pages = self
                .loaded
                .names
                .iter()
                .find(|it| matches!(it, FileName::Pages(_)));
            if let Some(pages) = has_pages.copied() {
                self.damaged(pages, 0, "there are pages, but no log that tells of them")?;
            }
            return Ok(());
        };
        let needed = newest.oldest;
        let oldest_follows = files.first().and_then(LogFile::follows);
        let ends = files.iter().skip(1).map(|next| next.previous_end);
        let ends: Vec<_> = ends.chain([None]).collect();
        let mut is_first = true;
        let mut last = None;
        for (file, end) in files.iter().zip(ends) {
            if let (Some(last), Some(follows)) = (last, file.follows())
                && last != follows
            {
                let missing = FileName::Log(follows);
                self.damaged(missing, 0, "this file of the log is missing")?;
            }
            last = Some(file.reader.number);
            if file.reader.number >= needed || self.on_damage == OnDamage::GoOn {
                // Whether the log before it was read to its end, nothing says.
                self.loaded.replay.is_damaged |= file.previous_end.is_none() && !is_first;
                self.read_file(file, end, is_first)?;
                is_first = false;
                self.loaded.log_files.push(file.reader.number);
            }
        }
        let first = self.loaded.log_files.first().copied().unwrap_or(0);
        let oldest = self.loaded.replay.oldest.max(needed);
        self.loaded.log_files.retain(|number| *number >= oldest);
        for name in &broken {
            if name.log_number().is_some_and(|number| number >= oldest) {
                self.damaged(*name, 0, BROKEN_HEAD)?;
            }
        }
        if first > oldest {
            let missing = FileName::Log(oldest_follows.unwrap_or(oldest));
            self.damaged(missing, 0, "this file of the log is missing")?;
        }
        Ok(())
    }

    /// The files of the log that follow one another up to the newest, and the names of those whose heads are not intact:
    /// one that should come before them, or several that are among them.
    fn open_log_files(&mut self) -> Result<(Vec<LogFile>, Vec<FileName>), OpenError> {
        let numbers = self.loaded.names.iter().filter_map(|name| match name {
            FileName::Log(number) => Some(*number),
            _ => None,
        });
        let numbers: Vec<_> = numbers.collect();
        let mut files: Vec<LogFile> = Vec::new();
        let mut broken = Vec::new();
        for number in numbers.into_iter().rev() {
            // Left behind by a start that a crash ended before the file was part of the log; another
            // start went on without it.
            if files
                .last()
                .and_then(LogFile::follows)
                .is_some_and(|follows| follows < number)
            {
                continue;
            }
            let name = FileName::Log(number);
            let failed = io_error(name);
            let reader = LogFileReader::open(self.storage, number).map_err(failed)?;
            match reader.head().map_err(failed)? {
                Ok(head) => {
                    let is_newest = files.is_empty();
                    if is_newest && self.is_unfinished(&reader)? {
                        continue;
                    }
                    let is_followed = files.last().is_none_or(|next| {
                        next.follows() == Some(number) || self.on_damage == OnDamage::GoOn
                    });
                    if !is_followed {
                        break;
                    }
                    files.push(LogFile::new(reader, head));
                }
                Err(HeadError::Newer(found)) => {
                    return Err(OpenError::Newer {
                        file: name.to_string(),
                        found,
                        known: VERSION,
                    });
                }
                // It was emptied since it is not needed, when there was no room to say so.
                Err(HeadError::Damaged) if reader.len == 0 && !files.is_empty() => {
                    let oldest = files.last().map_or(0, |next| next.reader.number);
                    self.loaded.replay.oldest = oldest;
                    break;
                }
                Err(HeadError::Damaged) if files.is_empty() && self.is_unfinished(&reader)? => {}
                Err(HeadError::Damaged) => {
                    broken.insert(0, name);
                    if self.on_damage == OnDamage::Stop {
                        break;
                    }
                    // Perhaps it is not needed. If it is, this is told of later.
                    files.push(LogFile::without_head(reader));
                }
            }
        }
        files.reverse();
        Ok((files, broken))
    }

    /// Whether a file was being begun when the broker ended: nothing in it was ever relied upon.
    fn is_unfinished(&mut self, reader: &LogFileReader) -> Result<bool, OpenError> {
        let failed = io_error(reader.name);
        let first = LOG_HEAD_LEN as u64;
        let head = reader.head().map_err(failed)?;
        if head.is_ok() && reader.block(first).map_err(failed)?.is_some() {
            return Ok(false);
        }
        // Once a file is begun, blocks say that its first is safe.
        let later = reader.find_block(first, |head| {
            head.safe.file == reader.number && u64::from(head.safe.offset) > first
        });
        let is_unfinished = later.map_err(failed)?.is_none();
        if is_unfinished {
            let name = reader.name;
            self.note(format!(
                "{name} was being begun when the broker ended, and is not needed"
            ));
        }
        Ok(is_unfinished)
    }

    /// Reads the blocks of a file. `end` is where it ended according to the one behind it.
    fn read_file(
        &mut self,
        file: &LogFile,
        end: Option<Position>,
        is_first: bool,
    ) -> Result<(), OpenError> {
        let LogFile { reader, .. } = file;
        let end = end.filter(|end| end.file == reader.number);
        let known_end = end.map(|end| u64::from(end.offset));
        let mut offset = LOG_HEAD_LEN as u64;
        let mut is_checkpoint = true;
        while known_end.is_none_or(|end| offset < end) {
            let block = reader.block(offset).map_err(io_error(reader.name))?;
            let Some((head, records)) = block else {
                match self.behind_damage(reader, offset, known_end.is_some())? {
                    Some(next) => offset = next,
                    None => break,
                }
                is_checkpoint = false;
                continue;
            };
            // What a checkpoint says has been read already, unless the file is the first.
            let is_known = is_checkpoint && !is_first;
            if is_checkpoint && self.loaded.replay.is_damaged {
                // It knows better which pages there are.
                self.loaded.replay.pages = PageTable::default();
            }
            if !is_known || self.loaded.replay.is_damaged {
                let applied = self.loaded.replay.apply_block(&records, head.position);
                if applied.is_err() && !is_known {
                    let what = "a record in the log makes no sense, though its checksum is right";
                    self.damaged(reader.name, offset, what)?;
                }
            }
            is_checkpoint = false;
            self.loaded.unsafe_from = match head.safe.file == reader.number {
                true => head.safe.offset.into(),
                false => 0,
            };
            offset = head.end();
        }
        self.loaded.end = Position {
            file: reader.number,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        };
        Ok(())
    }

    /// No block is at `offset`: says where to go on, or that the log ends there.
    fn behind_damage(
        &mut self,
        reader: &LogFileReader,
        offset: u64,
        has_known_end: bool,
    ) -> Result<Option<u64>, OpenError> {
        let failed = io_error(reader.name);
        let says_safe = reader.find_block(offset, |head| {
            head.safe.file == reader.number && u64::from(head.safe.offset) > offset
        });
        if has_known_end || says_safe.map_err(failed)?.is_some() {
            let what = "a block of the log is not intact, and others behind it are";
            self.damaged(reader.name, offset, what)?;
            return reader.find_block(offset, |_| true).map_err(failed);
        }
        // Nothing here was safe. What was written of it may be anywhere behind.
        let cut = reader.find_block(offset, |_| true).map_err(failed)?;
        if cut.is_some() || self.has_bytes_of_block(reader, offset)? {
            let name = reader.name;
            self.note(format!(
                "{name} was cut at byte {offset}: what was being written there when the broker \
                 ended was not complete, and nobody had been told that it was safe"
            ));
        }
        Ok(None)
    }

    /// Whether somebody began to write a block here.
    fn has_bytes_of_block(&self, reader: &LogFileReader, offset: u64) -> Result<bool, OpenError> {
        reader.begins_block(offset).map_err(io_error(reader.name))
    }

    /// Sees whether the pages that there are have a place. They are read when they are needed.
    fn check_page_files(&mut self) -> Result<(), OpenError> {
        let pages = self.loaded.replay.pages.iter();
        let mut ends: Vec<_> = pages
            .map(|(id, page)| (page.place.file, page.place.end(), id))
            .collect();
        ends.sort_unstable();
        let mut opened: Option<(u32, u64)> = None;
        let mut lost = Vec::new();
        for (number, end, page) in ends {
            let name = FileName::Pages(number);
            let len = match opened {
                Some((open, len)) if open == number => len,
                _ => {
                    let file = self
                        .storage
                        .open(&name.to_string(), crate::OpenMode::Existing);
                    let len = match file.and_then(|file| file.len()) {
                        Ok(len) => len,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                        Err(error) => return Err(io_error(name)(error)),
                    };
                    opened = Some((number, len));
                    len
                }
            };
            if end > len {
                let what = if len == 0 {
                    "this file of pages is missing or empty"
                } else {
                    "this file of pages is too short for what is in it"
                };
                self.damaged(name, len, what)?;
                lost.push(page);
            }
        }
        for page in lost {
            self.loaded.replay.lose_page(page);
        }
        Ok(())
    }
}

/// Says which file an error is about.
pub(super) fn io_error(file: FileName) -> impl Fn(io::Error) -> OpenError + Copy {
    move |error| OpenError::Io {
        file: file.to_string(),
        error,
    }
}
