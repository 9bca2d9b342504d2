//! What a journal does when something is wrong with its files, or with the disk they are on.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;

use leveret_queue_store::{
    FaultyStorage, FileStorage, Journal, JournalOptions, JournalState, MemoryStorage, Message,
    MessageParts, OpenError, OpenMode, PageSlot, PagedMessage, QueueKey, ReadError, RecoveredItem,
    Storage, Stored, SyncPolicy, Time, check, repair,
};

const NOW: Time = Time::from_millis(1);
const QUEUE: QueueKey = QueueKey(7);

/// Small files, so that there are several.
fn options() -> JournalOptions {
    JournalOptions {
        log_file_size: 4096,
        page_file_size: 1024,
        ..JournalOptions::default()
    }
}

fn open(storage: &impl IntoStorage) -> Result<Vec<PagedMessage>, String> {
    let opened = Journal::open(storage.shared(), options());
    let (journal, recovered) = opened.map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for queue in recovered.queues {
        let items = queue.into_items(&journal, 0);
        for item in items.map_err(|error| error.to_string())? {
            match item {
                RecoveredItem::Message(message) => found.push(message),
                RecoveredItem::Page { page, .. } => {
                    let read = journal.read_page(page).map_err(|error| error.to_string())?;
                    found.extend(read.into_iter().map(|(_, message)| message));
                }
            }
        }
    }
    Ok(found)
}

trait IntoStorage {
    fn shared(&self) -> Arc<dyn Storage>;
}

impl<S: Storage + Clone + 'static> IntoStorage for S {
    fn shared(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

fn message(at: u64) -> Message {
    let body = at.to_string().repeat(20);
    let parts = MessageParts {
        routing_key: "k",
        body: body.as_bytes(),
        persistent: true,
        ..MessageParts::default()
    };
    Message::new(&parts, &mut Vec::new())
}

/// Messages 1 to 300, of which every third is gone, the first hundred in pages, over several files.
fn fill(storage: Arc<dyn Storage>) {
    let (journal, _) = Journal::open(storage, options()).unwrap();
    let queue = journal.queue(QUEUE);
    for at in 1..=300 {
        journal
            .append()
            .store(queue, number(at), Time::MAX, &message(at));
        if at % 5 == 0 {
            journal.work(NOW);
        }
    }
    let mut homes = BTreeMap::new();
    for first in (1..100).step_by(20) {
        let page = journal.new_page();
        let of_page = first..first + 20;
        let messages = of_page.clone().map(|at| PagedMessage {
            message: message(at),
            stored: Some(Stored {
                number: number(at),
                home: None,
            }),
            deadline: Time::MAX,
            delivery_count: 0,
        });
        journal.write_page(queue, page, Some(0), &messages.collect::<Vec<_>>());
        homes.extend(of_page.zip((0..).map(|index| PageSlot { page, index })));
        journal.work(NOW);
    }
    for at in (3..=300).step_by(3) {
        let home = homes.get(&at).copied();
        let number = number(at);
        journal.append().gone(queue, Stored { number, home });
    }
    journal.sync(NOW).unwrap();
}

fn filled() -> FaultyStorage {
    let storage = FaultyStorage::new(1);
    fill(storage.shared());
    storage
}

fn numbers(found: &[PagedMessage]) -> BTreeSet<u64> {
    let numbers = found.iter().map(|it| it.stored.unwrap().number.get());
    numbers.collect()
}

fn len(storage: &impl Storage, name: &str) -> u64 {
    storage
        .open(name, OpenMode::Existing)
        .unwrap()
        .len()
        .unwrap()
}

#[test]
fn a_changed_bit_is_found_wherever_it_is_or_does_not_matter() {
    let intact = MemoryStorage::new();
    fill(intact.shared());
    let want = open(&copy(&intact)).unwrap();
    assert_eq!(want.len(), 200);
    let (mut stopped, mut harmless) = (0, 0);
    for name in intact.list().unwrap() {
        for offset in (0..len(&intact, &name)).step_by(139) {
            let storage = copy(&intact);
            change_bit(&storage, &name, offset);
            let report = check(&storage).unwrap();
            match open(&storage) {
                Ok(found) => {
                    assert_eq!(found, want, "{name} at {offset}");
                    assert!(report.is_intact(), "{name} at {offset}: {report:?}");
                    harmless += 1;
                    continue;
                }
                Err(error) => assert!(
                    error.contains(&name) || error.contains("format"),
                    "{name} at {offset}: {error}"
                ),
            }
            stopped += 1;
            let repaired = repair(&storage);
            let Ok(repaired) = repaired else {
                // The version has changed, so that nothing in here is known any more.
                assert_eq!(offset / 16, 0);
                continue;
            };
            assert!(!repaired.is_intact());
            assert_eq!(repaired, report);
            let found =
                open(&storage).unwrap_or_else(|error| panic!("{name} at {offset}: {error}"));
            let mut lost = repaired.queues[0].lost;
            if Some(&name) == newest_log(&intact).as_ref() {
                // Nothing is behind it that could tell what was there.
                lost += 60;
            }
            check_repaired(&want, &found, lost, &name);
            assert!(check(&storage).unwrap().is_intact());
        }
    }
    assert!(stopped > 50 && harmless > 5, "{stopped} {harmless}");
}

fn copy(storage: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    for name in storage.list().unwrap() {
        let mut bytes = vec![0; usize::try_from(len(storage, &name)).unwrap()];
        let from = storage.open(&name, OpenMode::Existing).unwrap();
        from.read_exact_at(&mut bytes, 0).unwrap();
        let to = copy.open(&name, OpenMode::Create).unwrap();
        to.write_all_at(&bytes, 0).unwrap();
    }
    copy
}

fn change_bit(storage: &MemoryStorage, name: &str, offset: u64) {
    let file = storage.open(name, OpenMode::Existing).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << (offset % 8)], offset)
        .unwrap();
}

fn newest_log(storage: &impl Storage) -> Option<String> {
    let names = storage.list().unwrap().into_iter();
    names.filter(|name| name.starts_with("log")).max()
}

/// Nothing is missing beyond what the repair said, and nothing is found that was never stored, or
/// twice, or in another order.
fn check_repaired(want: &[PagedMessage], found: &[PagedMessage], lost: u64, name: &str) {
    let missing = numbers(want).difference(&numbers(found)).count();
    assert!(
        missing as u64 <= lost,
        "{name}: {missing} are missing, {lost} were said to be"
    );
    assert!(found.is_sorted_by_key(|it| it.stored.unwrap().number));
    assert_eq!(numbers(found).len(), found.len());
    for found in found {
        assert_eq!(found.message, message(found.stored.unwrap().number.get()));
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in filled().list().unwrap() {
        let storage = filled();
        if Some(&name) == newest_log(&storage).as_ref() || name.starts_with("spare") {
            continue;
        }
        storage.remove(&name).unwrap();
        let error = open(&storage).unwrap_err();
        assert!(
            error.contains(&name) && error.contains("missing"),
            "{name}: {error}"
        );
        assert!(error.contains("leveret store repair"), "{error}");
        assert!(!repair(&storage).unwrap().is_intact());
        let found = open(&storage).unwrap();
        assert!(
            !found.is_empty() && found.len() <= 300,
            "{name}: {}",
            found.len()
        );
    }
}

#[test]
fn what_is_behind_a_damaged_head_is_repaired() {
    let intact = MemoryStorage::new();
    fill(intact.shared());
    let logs = intact.list().unwrap().into_iter();
    let logs: Vec<_> = logs.filter(|name| name.starts_with("log")).collect();
    assert!(logs.len() > 2);
    let want = open(&copy(&intact)).unwrap();
    let damaged = [logs.clone(), logs[1..].to_vec(), logs];
    for damaged in damaged.iter().flat_map(|logs| [&logs[..1], &logs[..]]) {
        let storage = copy(&intact);
        for name in damaged {
            change_bit(&storage, name, 20);
        }
        let report = repair(&storage).unwrap();
        let files: Vec<_> = report.damages.iter().map(|it| it.file.clone()).collect();
        assert_eq!(files, damaged);
        assert_eq!(report.queues[0].lost, 0);
        assert_eq!(open(&storage).unwrap(), want, "{damaged:?}");
    }
}

#[test]
fn pages_are_found_behind_the_damaged_head_of_the_only_log() {
    let storage = MemoryStorage::new();
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    let queue = journal.queue(QUEUE);
    let mut appender = journal.append();
    appender.store(queue, number(1), Time::MAX, &message(1));
    drop(appender);
    let page = journal.new_page();
    let messages = [PagedMessage {
        message: message(1),
        stored: Some(Stored {
            number: number(1),
            home: None,
        }),
        deadline: Time::MAX,
        delivery_count: 0,
    }];
    journal.write_page(queue, page, Some(0), &messages);
    journal.close(NOW).unwrap();
    change_bit(&storage, "log-00000001", 20);
    assert!(open(&storage).is_err());
    assert!(!repair(&storage).unwrap().is_intact());
    assert_eq!(numbers(&open(&storage).unwrap()), BTreeSet::from([1]));
}

#[test]
fn damage_behind_a_clean_end_is_found_whatever_is_synced() {
    for sync in [
        SyncPolicy::EveryConfirm,
        SyncPolicy::IntervalMs(1000),
        SyncPolicy::Os,
    ] {
        let storage = FaultyStorage::new(1);
        let options = JournalOptions { sync, ..options() };
        let (journal, _) = Journal::open(storage.shared(), options).unwrap();
        let queue = journal.queue(QUEUE);
        for at in 1..=2 {
            let mut appender = journal.append();
            appender.store(queue, number(at), Time::MAX, &message(at));
            drop(appender);
            journal.work(NOW);
        }
        journal.close(NOW).unwrap();
        let log = storage.open("log-00000001", OpenMode::Existing).unwrap();
        let mut bytes = vec![0; usize::try_from(log.len().unwrap()).unwrap()];
        log.read_exact_at(&mut bytes, 0).unwrap();
        let second = bytes.windows(4).rposition(|bytes| bytes == b"2222");
        assert!(storage.corrupt("log-00000001", second.unwrap() as u64));
        let opened = Journal::open(storage.shared(), options).map(drop);
        assert!(
            matches!(opened, Err(OpenError::Damaged(_))),
            "{sync:?}: {opened:?}"
        );
    }
}

#[test]
fn an_intact_directory_is_not_changed_by_a_repair() {
    let storage = filled();
    let before = storage.writes();
    let report = repair(&storage).unwrap();
    assert!(report.is_intact());
    assert_eq!((report.queues[0].messages, report.queues[0].lost), (200, 0));
    assert_eq!(storage.writes(), before);
}

#[test]
fn a_later_format_is_refused() {
    let storage = MemoryStorage::new();
    fill(storage.shared());
    for name in storage.list().unwrap() {
        if name.starts_with("log") {
            let file = storage.open(&name, OpenMode::Existing).unwrap();
            file.write_all_at(&2_u32.to_le_bytes(), 8).unwrap();
        }
    }
    let error = Journal::open(storage.shared(), options()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(check(&storage).is_err() && repair(&storage).is_err());
}

#[test]
fn two_journals_do_not_share_a_directory() {
    let directory = std::env::temp_dir().join(format!("leveret-locked-{}", std::process::id()));
    let storage = || Arc::new(FileStorage::open(&directory).unwrap()) as Arc<dyn Storage>;
    let first = Journal::open(storage(), options()).unwrap();
    let second = Journal::open(storage(), options());
    assert!(matches!(second, Err(OpenError::InUse)));
    assert!(matches!(check(&*storage()), Err(OpenError::InUse)));
    drop(first);
    assert!(Journal::open(storage(), options()).is_ok());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn files_on_disk_hold_what_was_put_there() {
    let directory = std::env::temp_dir().join(format!("leveret-files-{}", std::process::id()));
    let storage = || Arc::new(FileStorage::open(&directory).unwrap()) as Arc<dyn Storage>;
    fill(storage());
    let report = check(&*storage()).unwrap();
    assert!(report.is_intact());
    let (journal, recovered) = Journal::open(storage(), options()).unwrap();
    assert_eq!(recovered.queues[0].len(), 200);
    assert_eq!(recovered.queues[0].next_number(), number(301));
    drop(journal);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn small_blocks_are_written_where_room_was_made() {
    let storage = FaultyStorage::new(3);
    let options = JournalOptions::default();
    let (journal, _) = Journal::open(storage.shared(), options).unwrap();
    let queue = journal.queue(QUEUE);
    let log = newest_log(&storage).unwrap();
    let mut lens = BTreeSet::new();
    for at in 1..=100 {
        journal
            .append()
            .store(queue, number(at), Time::MAX, &message(at));
        journal.work(NOW);
        lens.insert(len(&storage, &log));
    }
    // With what it begins with a file has one length, and with room for much more another.
    assert_eq!(lens.len(), 2, "it was made longer again: {lens:?}");
    assert!(!journal.when_safe(journal.append().finish(), Waker::noop()));
    journal.work(NOW);
    storage.crash();
    let (_, recovered) = Journal::open(storage.shared(), options).unwrap();
    assert_eq!(recovered.queues[0].len(), 100);
    assert_eq!(recovered.notes, [""; 0], "nothing was cut off");
}

#[test]
fn a_full_disk_confirms_nothing_and_recovers_by_itself() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    let queue = journal.queue(QUEUE);
    storage.leave_room(Some(100));
    // More than there was room made for.
    for at in 1..=200 {
        journal
            .append()
            .store(queue, number(at), Time::MAX, &message(at));
    }
    let lsn = journal.append().finish();
    assert!(!journal.when_safe(lsn, Waker::noop()));
    for _ in 0..3 {
        journal.work(NOW);
        assert_eq!(journal.state(), JournalState::Full);
        assert!(journal.safe() < lsn);
        assert!(journal.sync(NOW).is_err());
    }
    storage.leave_room(None);
    journal.work(NOW);
    assert_eq!(journal.state(), JournalState::Ready);
    assert!(journal.safe() >= lsn);
    storage.crash();
    assert_eq!(open(&storage).unwrap().len(), 200);
}

#[test]
fn files_are_given_up_on_a_full_disk_too() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    let queue = journal.queue(QUEUE);
    for at in 1..=200 {
        journal
            .append()
            .store(queue, number(at), Time::MAX, &message(at));
        journal.work(NOW);
    }
    storage.leave_room(Some(0));
    let files = storage.list().unwrap().len();
    assert!(files > 3);
    for at in 1..=200 {
        let stored = Stored {
            number: number(at),
            home: None,
        };
        journal.append().gone(queue, stored);
    }
    // What consumers take makes room for what says so.
    for _ in 0..5 {
        journal.work(NOW);
    }
    journal.sync(NOW).unwrap();
    assert!(storage.list().unwrap().len() < files);
    assert_eq!(open_after(&storage, journal), []);
}

fn open_after(storage: &FaultyStorage, journal: Journal) -> Vec<PagedMessage> {
    drop(journal);
    open(storage).unwrap()
}

#[test]
fn after_a_failed_sync_nothing_is_confirmed_until_reopened() {
    let storage = FaultyStorage::new(5);
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    let queue = journal.queue(QUEUE);
    journal
        .append()
        .store(queue, number(1), Time::MAX, &message(1));
    let lsn = journal.append().finish();
    assert!(!journal.when_safe(lsn, Waker::noop()));
    storage.fail_syncs(1);
    journal.work(NOW);
    assert!(matches!(journal.state(), JournalState::Failed(_)));
    assert!(
        journal.when_safe(lsn, Waker::noop()),
        "there is nothing to wait for"
    );
    assert!(journal.safe() < lsn);
    let mut appender = journal.append();
    appender.store(queue, number(2), Time::MAX, &message(2));
    let later = appender.finish();
    journal.work(NOW);
    assert!(journal.sync(NOW).is_err());
    assert!(journal.safe() < later);
    drop(journal);
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    assert_eq!(journal.state(), JournalState::Ready);
}

#[test]
fn a_page_that_is_damaged_or_not_there_is_an_error() {
    let storage = FaultyStorage::new(1);
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    let page = journal.new_page();
    assert!(matches!(
        journal.read_page(page),
        Err(ReadError::NoSuchPage)
    ));
    let messages = vec![PagedMessage {
        message: message(1),
        stored: Some(Stored {
            number: number(1),
            home: None,
        }),
        deadline: Time::MAX,
        delivery_count: 0,
    }];
    journal.write_page(journal.queue(QUEUE), page, Some(0), &messages);
    journal.sync(NOW).unwrap();
    assert!(journal.read_page(page).is_ok());
    assert!(storage.corrupt("pages-00000001", 40));
    let Err(ReadError::Damaged(damage)) = journal.read_page(page) else {
        panic!("a bit was changed");
    };
    assert_eq!(
        (damage.file.as_str(), damage.offset),
        ("pages-00000001", 16)
    );
}

#[test]
fn a_journal_is_congested_until_what_waited_is_written() {
    let options = JournalOptions {
        pending_max: 1000,
        ..options()
    };
    let opened = Journal::open(MemoryStorage::new().shared(), options);
    let (journal, _) = opened.unwrap();
    let queue = journal.queue(QUEUE);
    for at in 1..=100 {
        journal
            .append()
            .store(queue, number(at), Time::MAX, &message(at));
    }
    assert!(journal.is_congested());
    while journal.work(NOW).more {}
    assert!(!journal.is_congested(), "though nothing was appended since");
}

#[test]
fn a_page_that_is_made_when_the_journal_has_failed_stays_in_memory() {
    let storage = FaultyStorage::new(1);
    let (journal, _) = Journal::open(storage.shared(), options()).unwrap();
    let queue = journal.queue(QUEUE);
    let stored = |at| Stored {
        number: number(at),
        home: None,
    };
    let paged = |at, stored| PagedMessage {
        message: message(at),
        stored,
        deadline: Time::MAX,
        delivery_count: 0,
    };
    journal
        .append()
        .store(queue, number(1), Time::MAX, &message(1));
    // Whoever makes the pages has asked before, when all was well.
    journal.give_up("the disk is gone");
    let (durable, swap) = (journal.new_page(), journal.new_page());
    journal.write_page(queue, durable, Some(0), &[paged(1, Some(stored(1)))]);
    journal.write_swap_page(swap, &[paged(2, None)]);
    journal.work(NOW);
    for (page, at) in [(durable, 1), (swap, 2)] {
        let found = journal.read_page(page).unwrap();
        assert_eq!(found[0].1.message, message(at));
        journal.append().page_gone(page);
        assert!(journal.read_page(page).is_err());
    }
    assert_eq!(journal.stats().unwritten_page_bytes, 0);
    assert_eq!(
        journal.stats().unwritten_bytes,
        24,
        "what a block's head takes"
    );
}
