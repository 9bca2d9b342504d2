//! What a journal gives up and what it keeps while its disk is full.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use leveret_queue_store::{
    FaultyStorage, Journal, JournalOptions, JournalState, Message, MessageParts, OpenMode,
    PagedMessage, QueueKey, RecoveredItem, Storage, Stored, Time,
};

const NOW: Time = Time::from_millis(1);
const QUEUE: QueueKey = QueueKey(7);

fn open(storage: &FaultyStorage) -> (Journal, BTreeSet<(QueueKey, u64)>) {
    let options = JournalOptions {
        log_file_size: 4096,
        ..JournalOptions::default()
    };
    let (journal, recovered) = Journal::open(Arc::new(storage.clone()), options).unwrap();
    let mut found = BTreeSet::new();
    for queue in recovered.queues {
        let key = queue.key();
        for item in queue.into_items(&journal, 0).unwrap() {
            match item {
                RecoveredItem::Message(message) => {
                    found.insert((key, message.stored.unwrap().number.get()));
                }
                RecoveredItem::Page { page, .. } => {
                    let messages = journal.read_page(page).unwrap().into_iter();
                    found.extend(messages.map(|(_, it)| (key, it.stored.unwrap().number.get())));
                }
            }
        }
    }
    (journal, found)
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

fn stored(at: u64) -> Stored {
    Stored {
        number: number(at),
        home: None,
    }
}

fn message(body_len: usize) -> Message {
    let parts = MessageParts {
        body: &vec![b'x'; body_len],
        persistent: true,
        ..MessageParts::default()
    };
    Message::new(&parts, &mut Vec::new())
}

fn paged(at: u64, message: Message) -> PagedMessage {
    PagedMessage {
        message,
        stored: Some(stored(at)),
        deadline: Time::MAX,
        delivery_count: 0,
    }
}

/// What does not survive a restart.
fn unstored(body_len: usize) -> PagedMessage {
    PagedMessage {
        stored: None,
        ..paged(1, message(body_len))
    }
}

fn store(journal: &Journal, key: QueueKey, at: u64, body_len: usize) {
    let queue = journal.queue(key);
    let mut appender = journal.append();
    appender.store(queue, number(at), Time::MAX, &message(body_len));
}

fn gone(journal: &Journal, at: u64) {
    let queue = journal.queue(QUEUE);
    journal.append().gone(queue, stored(at));
}

fn moved(journal: &Journal, at: u64) {
    let queue = journal.queue(QUEUE);
    journal.append().moved(queue, stored(at));
}

fn work_on_full_disk(journal: &Journal) {
    journal.work(NOW);
    assert_eq!(journal.state(), JournalState::Full);
}

/// One message in a page, and one more that the file of the log has no room for, nor the disk for the next file, which is
/// acknowledged.
fn with_a_log_that_cannot_go_on(storage: &FaultyStorage) -> Journal {
    let (journal, _) = open(storage);
    let queue = journal.queue(QUEUE);
    store(&journal, QUEUE, 1, 20);
    let page = journal.new_page();
    journal.write_page(queue, page, Some(0), &[paged(1, message(20))]);
    journal.sync(NOW).unwrap();
    storage.leave_room(Some(0));
    store(&journal, QUEUE, 2, 5000);
    work_on_full_disk(&journal);
    gone(&journal, 2);
    work_on_full_disk(&journal);
    journal
}

#[test]
fn the_file_that_is_written_to_stays_though_nothing_in_it_is_alive() {
    let storage = FaultyStorage::new(3);
    let journal = with_a_log_that_cannot_go_on(&storage);
    storage.kill();
    drop(journal);
    let (_, found) = open(&storage);
    assert!(found.contains(&(QUEUE, 1)), "{found:?}");
}

#[test]
fn a_journal_that_is_closed_on_a_full_disk_can_be_opened() {
    let storage = FaultyStorage::new(3);
    let journal = with_a_log_that_cannot_go_on(&storage);
    assert!(journal.close(NOW).is_err());
    storage.leave_room(None);
    let (_, found) = open(&storage);
    assert!(found.contains(&(QUEUE, 1)), "{found:?}");
}

#[test]
fn a_full_log_goes_on_when_there_is_room_again_whenever_the_power_goes() {
    for changes in 0..12 {
        let storage = FaultyStorage::new(changes);
        let journal = with_a_log_that_cannot_go_on(&storage);
        storage.leave_room(None);
        storage.cut_power_after(changes);
        journal.work(NOW);
        storage.crash();
        drop(journal);
        let (_, found) = open(&storage);
        assert!(found.contains(&(QUEUE, 1)), "{changes}: {found:?}");
    }
}

const OTHER_QUEUE: QueueKey = QueueKey(8);

/// One message that alone is alive in the oldest file of the log, on a disk that is full from now on.
fn with_one_in_an_old_file(storage: &FaultyStorage) -> Journal {
    let (journal, _) = open(storage);
    store(&journal, QUEUE, 1, 20);
    store(&journal, QUEUE, 2, 5000);
    journal.sync(NOW).unwrap();
    store(&journal, QUEUE, 3, 20);
    gone(&journal, 2);
    journal.sync(NOW).unwrap();
    assert_eq!(journal.stats().log_files, 2);
    storage.leave_room(Some(0));
    journal
}

#[test]
fn what_moves_to_another_queue_on_a_full_disk_is_in_one_of_them() {
    let storage = FaultyStorage::new(3);
    let journal = with_one_in_an_old_file(&storage);
    store(&journal, OTHER_QUEUE, 1, 9000);
    moved(&journal, 1);
    work_on_full_disk(&journal);
    work_on_full_disk(&journal);
    storage.kill();
    drop(journal);
    let (_, found) = open(&storage);
    assert_eq!(found, BTreeSet::from([(QUEUE, 1), (QUEUE, 3)]));
}

#[test]
fn what_has_moved_leaves_its_file_when_there_is_room_again() {
    let storage = FaultyStorage::new(3);
    let journal = with_one_in_an_old_file(&storage);
    store(&journal, OTHER_QUEUE, 1, 9000);
    moved(&journal, 1);
    work_on_full_disk(&journal);
    storage.leave_room(None);
    journal.sync(NOW).unwrap();
    assert!(!storage.list().unwrap().contains(&"log-00000001".to_owned()));
    storage.crash();
    drop(journal);
    let (_, found) = open(&storage);
    assert_eq!(found, BTreeSet::from([(QUEUE, 3), (OTHER_QUEUE, 1)]));
}

#[test]
fn what_is_acknowledged_on_a_full_disk_makes_room() {
    let storage = FaultyStorage::new(3);
    let journal = with_one_in_an_old_file(&storage);
    store(&journal, OTHER_QUEUE, 1, 9000);
    gone(&journal, 1);
    work_on_full_disk(&journal);
    let log = storage.open("log-00000001", OpenMode::Existing).unwrap();
    assert!(log.is_empty().unwrap());
}

#[test]
fn a_page_that_waits_for_room_leaves_the_thread_that_writes_at_rest() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    let queue = journal.queue(QUEUE);
    store(&journal, QUEUE, 1, 20);
    journal.sync(NOW).unwrap();
    storage.leave_room(Some(0));
    let page = journal.new_page();
    let messages = [paged(1, message(20)), unstored(2 << 20)];
    journal.write_page(queue, page, Some(0), &messages);
    // The log has room for saying that the page is begun.
    for _ in 0..3 {
        work_on_full_disk(&journal);
    }
    let is_there_work = journal.wait_for_work(Duration::from_millis(50));
    assert!(!is_there_work, "only the caller knows when to try again");

    store(&journal, QUEUE, 2, 20);
    assert!(
        journal.wait_for_work(Duration::from_secs(600)),
        "the log may have room"
    );
    storage.leave_room(None);
    journal.sync(NOW).unwrap();
    assert_eq!(journal.stats().unwritten_page_bytes, 0);
}

#[test]
fn a_journal_without_room_for_its_last_word_goes_on() {
    let storage = FaultyStorage::new(3);
    let options = JournalOptions {
        log_file_size: 8192,
        ..JournalOptions::default()
    };
    let (journal, _) = Journal::open(Arc::new(storage.clone()), options).unwrap();
    storage.leave_room(Some(0));
    // With what the file begins with this fills its first sector to the last place for a block.
    store(&journal, QUEUE, 1, 3830);
    let lsn = journal.append().finish();
    assert!(journal.sync(NOW).is_err());
    assert_eq!(journal.state(), JournalState::Ready);
    assert!(journal.safe() >= lsn, "all that was appended is safe");
    storage.leave_room(None);
    store(&journal, QUEUE, 2, 20);
    journal.sync(NOW).unwrap();
    storage.crash();
    drop(journal);
    let (_, found) = open(&storage);
    assert_eq!(found, BTreeSet::from([(QUEUE, 1), (QUEUE, 2)]));
}

/// Makes a file of so many bytes that nothing is in.
fn worthless(storage: &FaultyStorage, name: &str, len: usize) {
    let file = storage.open(name, OpenMode::Create).unwrap();
    file.write_all_at(&vec![0; len], 0).unwrap();
    file.sync_data().unwrap();
    storage.sync_directory().unwrap();
}

/// A directory with one message, that nobody has open.
fn with_one() -> FaultyStorage {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    store(&journal, QUEUE, 1, 20);
    journal.sync(NOW).unwrap();
    storage.kill();
    storage
}

#[test]
fn a_journal_is_opened_on_a_disk_that_is_full_of_what_does_not_survive() {
    for name in ["swap-00000001", "log-00000009", "pages-00000009"] {
        let storage = with_one();
        worthless(&storage, name, 100_000);
        storage.leave_room(Some(0));
        let (journal, found) = open(&storage);
        assert_eq!(found, BTreeSet::from([(QUEUE, 1)]), "{name}");
        store(&journal, QUEUE, 2, 20);
        journal.sync(NOW).unwrap();
        storage.crash();
        drop(journal);
        assert_eq!(open(&storage).1.len(), 2, "{name}");
    }
}

#[test]
fn a_journal_that_has_no_room_to_be_opened_leaves_nothing_behind() {
    let storage = with_one();
    let before = storage.list().unwrap();
    for room in [0, 0, 10] {
        storage.leave_room(Some(room));
        let opened = Journal::open(Arc::new(storage.clone()), JournalOptions::default());
        assert!(opened.is_err());
        assert_eq!(storage.list().unwrap(), before);
    }
    storage.leave_room(None);
    assert_eq!(open(&storage).1.len(), 1);
}

#[test]
fn a_start_that_the_power_cuts_short_on_a_full_disk_loses_nothing() {
    for changes in 0..12 {
        let storage = with_one();
        worthless(&storage, "swap-00000001", 5000);
        worthless(&storage, "log-00000009", 5000);
        storage.leave_room(Some(0));
        storage.cut_power_after(changes);
        let _ = Journal::open(Arc::new(storage.clone()), JournalOptions::default());
        storage.crash();
        let (_, found) = open(&storage);
        assert_eq!(found, BTreeSet::from([(QUEUE, 1)]), "{changes}");
    }
}
