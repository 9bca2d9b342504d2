//! Looking at a data directory, and going on without what is damaged in it.

use std::collections::HashSet;
use std::num::NonZeroU64;

use super::block::{BLOCK_HEAD_LEN, Position};
use super::error::{Damage, OpenError};
use super::handles::read_place;
use super::load::{Loaded, OnDamage, io_error, load};
use super::log_end::{Filling, LogEnd, NewFile};
use super::message_format::put_message;
use super::names::FileName;
use super::open::{lock, take_over, write_error};
use super::options::JournalOptions;
use super::page_format::decode_page;
use super::record::{self, QueueKey, Subject};
use super::state::State;
use crate::{OpenMode, PageId, PageSlot, Storage, Stored};

/// How long a block gets that a repair writes, give or take a message: what fits well into memory.
const REPAIR_BLOCK_LEN: usize = 4 << 20;

/// What a data directory holds, and what of it is damaged.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoreReport {
    /// The queues, in ascending order of their keys.
    pub queues: Vec<QueueReport>,
    /// Everything that is damaged, in the order in which it was found.
    pub damages: Vec<Damage>,
    /// What is worth knowing and no damage: what was cut off, say.
    pub notes: Vec<String>,
}

/// What a data directory holds of a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueReport {
    /// Which queue.
    pub queue: QueueKey,
    /// How many messages can be read. Behind damage some of them may have been acknowledged: that
    /// they were could not be read.
    pub messages: u64,
    /// How many cannot, as far as what can be read tells: behind damage some of them may have been
    /// acknowledged. What was in a damaged end of the newest file of the log, nothing tells of.
    pub lost: u64,
}

impl StoreReport {
    /// Whether everything is as it was written.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Reads everything that a journal has in a directory, pages included, and changes nothing.
///
/// # Errors
///
/// When the directory is in use, of a later version, or cannot be read. Damage is no error here.
pub fn check(storage: &dyn Storage) -> Result<StoreReport, OpenError> {
    let _lock = lock(storage)?;
    let mut loaded = load(storage, OnDamage::GoOn)?;
    read_pages(storage, &mut loaded)?;
    Ok(report(&loaded))
}

/// Goes on without what is damaged in a directory, so that a journal can be opened there. The report
/// is what [`check`] would have said before.
///
/// Everything that can be read stays, in its order. Messages that were acknowledged behind damage may
/// come again. Nothing is changed if nothing is damaged. Otherwise the log is written anew, which takes as much room as
/// the messages that are in no page, and its old files are removed; a page that is damaged is forgotten, and its bytes go
/// with its file some time later. Copy the directory before.
///
/// # Errors
///
/// As for [`check`], and when the directory cannot be written to. It can be called again then; if the new log was written
/// already, the report says nothing of what was damaged.
pub fn repair(storage: &dyn Storage) -> Result<StoreReport, OpenError> {
    let _lock = lock(storage)?;
    let mut loaded = load(storage, OnDamage::GoOn)?;
    read_pages(storage, &mut loaded)?;
    let report = report(&loaded);
    if !report.is_intact() {
        write_anew(storage, loaded)?;
    }
    Ok(report)
}

fn report(loaded: &Loaded) -> StoreReport {
    let replay = &loaded.replay;
    let queues = replay.queues.iter().map(|(key, queue)| {
        let pages = replay.pages.pages_of(*key).into_iter();
        let paged = pages.filter_map(|page| Some(u64::from(replay.pages.get(page)?.live)));
        QueueReport {
            queue: *key,
            messages: queue.loose.len() as u64 + paged.sum::<u64>(),
            lost: queue.lost,
        }
    });
    let mut queues: Vec<_> = queues.collect();
    queues.sort_unstable_by_key(|queue| queue.queue);
    StoreReport {
        queues,
        damages: loaded.damages.clone(),
        notes: loaded.notes.clone(),
    }
}

/// Reads all pages, and forgets those that are damaged.
fn read_pages(storage: &dyn Storage, loaded: &mut Loaded) -> Result<(), OpenError> {
    let pages = loaded.replay.pages.iter();
    let mut pages: Vec<_> = pages
        .map(|(id, page)| (page.place.file, page.place.offset, id))
        .collect();
    pages.sort_unstable();
    let mut seen = HashSet::new();
    for (file, offset, page) in pages {
        let name = FileName::Pages(file);
        match read_numbers(storage, loaded, page) {
            Ok(Some(numbers)) if loaded.replay.is_damaged => {
                for (index, number) in numbers {
                    let slot = PageSlot { page, index };
                    loaded.replay.keep_once(slot, number, &mut seen);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                loaded.damages.push(Damage {
                    file: name.to_string(),
                    offset,
                    what: "a page of messages does not have its checksum".to_owned(),
                });
                loaded.replay.lose_page(page);
            }
            Err(error) => return Err(io_error(name)(error)),
        }
    }
    Ok(())
}

/// The numbers of what is alive in a page; `None` when it is damaged.
fn read_numbers(
    storage: &dyn Storage,
    loaded: &Loaded,
    id: PageId,
) -> std::io::Result<Option<Vec<(u16, NonZeroU64)>>> {
    let Some(page) = loaded.replay.pages.get(id) else {
        return Ok(Some(Vec::new()));
    };
    let name = FileName::Pages(page.place.file).to_string();
    let file = storage.open(&name, OpenMode::Existing)?;
    let bytes = read_place(&*file, page.place)?;
    let Ok(messages) = decode_page(&bytes, id, page.queue) else {
        return Ok(None);
    };
    let live = messages
        .into_iter()
        .filter(|(index, _)| !page.is_gone(*index));
    let numbers = live.filter_map(|(index, message)| Some((index, message.stored?.number)));
    Ok(Some(numbers.collect()))
}

/// Writes a log that has everything that was found, and removes the old one.
fn write_anew(storage: &dyn Storage, loaded: Loaded) -> Result<(), OpenError> {
    let names = loaded.names.clone();
    let number = names
        .iter()
        .filter_map(FileName::log_number)
        .max()
        .unwrap_or(0);
    let mut state = State::new(&JournalOptions::default());
    let queues = take_over(storage, &mut state, loaded)?;
    let mut blocks = vec![state.checkpoint()];
    let mut block = vec![0; BLOCK_HEAD_LEN];
    for queue in queues {
        for loose in queue.messages {
            let Some(Stored { number, .. }) = loose.stored else {
                continue;
            };
            let head = record::store_head(false, queue.key, number, loose.deadline);
            put_message(&mut block, head, &loose.message);
            if loose.delivery_count > 0 {
                let subject = Subject::Number(queue.key, number);
                record::put_returned(&mut block, subject, loose.delivery_count);
            }
            if block.len() > REPAIR_BLOCK_LEN {
                blocks.push(std::mem::replace(&mut block, vec![0; BLOCK_HEAD_LEN]));
            }
        }
    }
    blocks.push(block);
    let number = number.saturating_add(1);
    let mut new = NewFile {
        number,
        oldest: number,
        blocks,
    };
    let begun = LogEnd::begin(storage, &mut new, Position::default(), None, Filling::ONCE);
    begun.map_err(|error| write_error(FileName::Log(number), error))?;
    for name in names.iter().filter(|name| name.log_number().is_some()) {
        let removed = storage.remove(&name.to_string());
        removed.map_err(io_error(*name))?;
    }
    storage
        .sync_directory()
        .map_err(io_error(FileName::Log(number)))
}
