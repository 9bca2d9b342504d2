//! What a journal does while the process has as many files open as it may.

mod support;

use std::sync::Arc;

use leveret_queue_store::{
    FaultyStorage, Journal, JournalOptions, JournalState, PageId, PagedMessage, QueueKey, Time,
};
use support::paged;

const NOW: Time = Time::from_millis(1);
const QUEUE: QueueKey = QueueKey(7);

fn open(storage: &FaultyStorage) -> (Journal, u64) {
    let options = JournalOptions {
        log_file_size: 4096,
        page_file_size: 1024,
        ..JournalOptions::default()
    };
    let (journal, recovered) = Journal::open(Arc::new(storage.clone()), options).unwrap();
    let found = recovered.queues.iter().map(|queue| queue.len()).sum();
    (journal, found)
}

/// A message with a body of so many bytes.
fn message(at: u64, body_len: usize) -> PagedMessage {
    paged(at, &vec![b'x'; body_len])
}

fn store(journal: &Journal, at: u64, body_len: usize) {
    let queue = journal.queue(QUEUE);
    let message = message(at, body_len);
    let number = message.stored.unwrap().number;
    let mut appender = journal.append();
    appender.store(queue, number, Time::MAX, &message.message);
}

/// Stores a message, and puts it into a page.
fn store_in_page(journal: &Journal, at: u64, body_len: usize) -> PageId {
    store(journal, at, body_len);
    let page = journal.new_page();
    let messages = [message(at, body_len)];
    journal.write_page(journal.queue(QUEUE), page, Some(0), &messages);
    page
}

#[test]
fn a_log_that_cannot_open_its_next_file_goes_on_when_it_can() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    store(&journal, 1, 5000);
    storage.fail_opens(2);
    for _ in 0..2 {
        journal.work(NOW);
        assert_eq!(journal.state(), JournalState::OutOfFiles);
        assert!(journal.state().is_waiting());
    }
    store(&journal, 2, 20);
    let lsn = journal.append().finish();
    journal.sync(NOW).unwrap();
    assert_eq!(journal.state(), JournalState::Ready);
    assert!(journal.safe() >= lsn);
    storage.crash();
    drop(journal);
    assert_eq!(open(&storage).1, 2);
}

#[test]
fn a_sync_that_cannot_open_a_file_says_so() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    store(&journal, 1, 5000);
    storage.fail_opens(100);
    let error = journal.sync(NOW).unwrap_err().to_string();
    assert!(error.contains("no file can be opened"), "{error}");
}

#[test]
fn a_page_waits_in_memory_until_its_file_can_be_opened() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    store_in_page(&journal, 1, 20);
    storage.fail_opens(1);
    assert!(journal.sync(NOW).is_err());
    assert_eq!(journal.state(), JournalState::OutOfFiles);
    assert!(journal.stats().unwritten_page_bytes > 0);
    journal.sync(NOW).unwrap();
    assert_eq!(journal.stats().unwritten_page_bytes, 0);
    storage.crash();
    drop(journal);
    assert_eq!(open(&storage).1, 1);
}

#[test]
fn a_page_whose_file_cannot_be_opened_is_read_later() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    let page = store_in_page(&journal, 1, 20);
    journal.sync(NOW).unwrap();
    storage.fail_opens(1);
    let error = journal.read_page(page).unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert_eq!(journal.read_page(page).unwrap().len(), 1);
}

#[test]
fn a_file_is_opened_in_the_place_of_one_that_is_open_already() {
    let storage = FaultyStorage::new(3);
    let (journal, _) = open(&storage);
    let pages = [1, 2].map(|at| store_in_page(&journal, at, 2000));
    journal.sync(NOW).unwrap();
    assert_eq!(journal.stats().page_files, 2);
    journal.read_page(pages[0]).unwrap();
    storage.fail_opens(1);
    journal.read_page(pages[1]).unwrap();
}
