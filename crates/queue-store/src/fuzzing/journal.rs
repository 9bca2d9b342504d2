//! Bytes that may be anything, as the files of a journal.

use std::sync::Arc;

use crate::journal::fuzzing::{log_file, page_file};
use crate::{
    Journal, JournalOptions, MemoryStorage, OpenMode, RecoveredItem, Storage, Time, check, repair,
};

/// Opens, checks and repairs a directory whose files hold these bytes: as they are, or as the records
/// of a log and a page with right checksums, which random bytes would never have.
///
/// # Panics
///
/// When what was repaired cannot be opened, or is not intact.
pub fn journal(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    let cut = usize::from(*mode >> 2) * rest.len() / 64;
    let (log, pages) = rest.split_at(cut);
    let storage = MemoryStorage::new();
    let log = if mode & 1 == 0 {
        log_file(log)
    } else {
        log.to_vec()
    };
    let pages = if mode & 2 == 0 {
        page_file(pages)
    } else {
        pages.to_vec()
    };
    for (name, contents) in [("log-00000001", log), ("pages-00000001", pages)] {
        let file = storage.open(name, OpenMode::Create);
        let written = file.and_then(|file| file.write_all_at(&contents, 0));
        assert!(written.is_ok(), "memory takes everything");
    }
    let as_found = copy(&storage);
    use_it(&as_found);
    if repair(&storage).is_ok() {
        let report = check(&storage);
        assert!(
            report.is_ok_and(|report| report.is_intact()),
            "repaired, and damaged"
        );
        assert!(use_it(&storage), "repaired, and cannot be opened");
    }
}

fn copy(storage: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    for name in storage.list().unwrap_or_default() {
        let (Ok(from), Ok(to)) = (
            storage.open(&name, OpenMode::Existing),
            copy.open(&name, OpenMode::Create),
        ) else {
            continue;
        };
        let len = usize::try_from(from.len().unwrap_or(0)).unwrap_or(0);
        let mut contents = vec![0; len];
        let copied = from
            .read_exact_at(&mut contents, 0)
            .and_then(|()| to.write_all_at(&contents, 0));
        assert!(copied.is_ok(), "it was just written");
    }
    copy
}

/// Does what a broker does when it starts. Says whether the journal could be opened.
fn use_it(storage: &MemoryStorage) -> bool {
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let Ok((journal, recovered)) = Journal::open(shared, JournalOptions::default()) else {
        return false;
    };
    for queue in recovered.queues {
        let (key, next_number, len) = (queue.key(), queue.next_number(), queue.len());
        let Ok(items) = queue.into_items(&journal, 3) else {
            continue;
        };
        let log = journal.queue(key);
        let mut found = 0;
        for item in items {
            match item {
                RecoveredItem::Message(message) => {
                    found += 1;
                    if let Some(stored) = message.stored {
                        assert!(stored.number < next_number, "a number would be used twice");
                        journal.append().gone(log, stored);
                    }
                }
                RecoveredItem::Page { page, len, .. } => {
                    found += u64::from(len);
                    journal.append().page_gone(page);
                }
            }
        }
        assert!(found <= len, "more than there was");
    }
    drop(journal.sync(Time::from_millis(0)));
    true
}
