//! What a journal does while the process has as many files open as it may.

use std::num::NonZeroU64;
use std::sync::Arc;

use leveret_queue_store::{
    FaultyStorage, Journal, JournalOptions, JournalState, Message, MessageParts, PagedMessage,
    QueueKey, Stored, Time,
};

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

fn paged(at: u64, body_len: usize) -> PagedMessage {
    let parts = MessageParts {
        body: &vec![b'x'; body_len],
        persistent: true,
        ..MessageParts::default()
    };
    PagedMessage {
        message: Message::new(&parts, &mut Vec::new()),
        stored: Some(Stored {
            number: NonZeroU64::new(at).unwrap(),
            home: None,
        }),
        deadline: Time::MAX,
        delivery_count: 0,
    }
}

fn store(journal: &Journal, at: u64, body_len: usize) {
    let queue = journal.queue(QUEUE);
    let paged = paged(at, body_len);
    let number = paged.stored.unwrap().number;
    let mut appender = journal.append();
    appender.store(queue, number, Time::MAX, &paged.message);
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
    let queue = journal.queue(QUEUE);
    store(&journal, 1, 20);
    let page = journal.new_page();
    journal.write_page(queue, page, Some(0), &[paged(1, 20)]);
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
    let queue = journal.queue(QUEUE);
    store(&journal, 1, 20);
    let page = journal.new_page();
    journal.write_page(queue, page, Some(0), &[paged(1, 20)]);
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
    let queue = journal.queue(QUEUE);
    let pages = [1, 2].map(|at| {
        store(&journal, at, 2000);
        let page = journal.new_page();
        journal.write_page(queue, page, Some(0), &[paged(at, 2000)]);
        page
    });
    journal.sync(NOW).unwrap();
    assert_eq!(journal.stats().page_files, 2);
    journal.read_page(pages[0]).unwrap();
    storage.fail_opens(1);
    journal.read_page(pages[1]).unwrap();
}
