//! Pages that are read before they are needed: they come from memory then, and there are not too many.

use std::sync::Arc;

use leveret_queue_store::{
    Effect, FaultyStorage, Journal, JournalOptions, Message, MessageParts, PageId, PagedOut, Queue,
    QueueKey, QueueLog, QueueOptions, ReadError, Storage, TakeMode, Time,
};

const NOW: Time = Time::from_millis(1);

/// How many messages a page has.
const PAGE: usize = 512;

fn open(storage: &FaultyStorage) -> Journal {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let (journal, _) = Journal::open(storage, JournalOptions::default()).unwrap();
    journal
}

fn message(body: &[u8]) -> Message {
    let parts = MessageParts {
        body,
        persistent: true,
        ..MessageParts::default()
    };
    Message::new(&parts, &mut Vec::new())
}

/// A queue all of which is in pages that are written.
fn paged_out(journal: &Journal, bodies: impl Iterator<Item = Vec<u8>>) -> (Queue, QueueLog) {
    let log = journal.queue(QueueKey(1));
    let options = QueueOptions {
        durable: true,
        ..QueueOptions::default()
    };
    let mut queue = Queue::new(options, NOW);
    let mut effects = Vec::new();
    for body in bodies {
        let published = queue.publish(NOW, message(&body), &mut effects);
        assert!(published.is_accepted());
    }
    record(journal, log, &mut effects);
    loop {
        let page = journal.new_page();
        let Some(PagedOut::New(messages)) = queue.page_out_any(page, 0) else {
            journal.release_page(page);
            break;
        };
        journal.write_page(log, page, Some(0), &messages);
    }
    journal.sync(NOW).unwrap();
    (queue, log)
}

fn record(journal: &Journal, log: QueueLog, effects: &mut Vec<Effect>) {
    let mut appender = journal.append();
    for effect in effects.drain(..) {
        match effect {
            Effect::Store {
                number,
                message,
                deadline,
            } => appender.store(log, number, deadline, &message),
            Effect::Gone { stored } => appender.gone(log, stored),
            Effect::PageGone { page } => appender.page_gone(page),
            other => panic!("not expected: {other:?}"),
        }
    }
}

fn numbered(messages: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..messages).map(|at| at.to_string().into_bytes())
}

fn expect_next(journal: &Journal, queue: &Queue) -> Vec<PageId> {
    let pages: Vec<_> = queue.pages_to_come().take(2).collect();
    journal.expect_pages(&pages);
    while journal.read_ahead() {}
    pages
}

/// Changes what is in all files of pages.
fn spoil(storage: &FaultyStorage) {
    let names = storage.list().unwrap();
    for name in names.iter().filter(|name| name.starts_with("pages-")) {
        let offsets = (0..).step_by(100);
        let spoilt = offsets.take_while(|at| storage.corrupt(name, *at)).count();
        assert!(spoilt > 0);
    }
}

#[test]
fn what_was_read_ahead_is_not_read_again() {
    let storage = FaultyStorage::new(1);
    let journal = open(&storage);
    let (queue, _) = paged_out(&journal, numbered(4 * PAGE));
    let all: Vec<_> = queue.pages_to_come().collect();
    assert_eq!(all.len(), 4);
    assert_eq!(expect_next(&journal, &queue), all[..2]);
    assert_eq!(journal.stats().pages_ahead, 2);
    spoil(&storage);
    for (at, page) in all[..2].iter().enumerate() {
        let messages = journal.read_page(*page).unwrap();
        let bodies: Vec<_> = messages
            .iter()
            .map(|(_, it)| it.message.body().to_vec())
            .collect();
        let want: Vec<_> = numbered(4 * PAGE).skip(at * PAGE).take(PAGE).collect();
        assert_eq!(bodies, want);
    }
    let third = journal.read_page(all[2]);
    assert!(matches!(third, Err(ReadError::Damaged(_))), "{third:?}");
    let stats = journal.stats();
    assert_eq!((stats.pages_ahead, stats.page_bytes_ahead), (0, 0));
}

#[test]
fn what_cannot_be_read_ahead_is_reported_to_who_needs_it() {
    let storage = FaultyStorage::new(1);
    let journal = open(&storage);
    let (queue, _) = paged_out(&journal, numbered(2 * PAGE));
    spoil(&storage);
    let pages = expect_next(&journal, &queue);
    let read = journal.read_page(pages[0]);
    assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
}

#[test]
fn the_pages_of_a_queue_are_expected_in_the_order_in_which_they_are_wanted() {
    let storage = FaultyStorage::new(1);
    let journal = open(&storage);
    let (mut queue, log) = paged_out(&journal, numbered(5 * PAGE));
    let mut effects = Vec::new();
    let (mut taken, mut from_memory) = (0, 0);
    while queue.ready_len() > 0 {
        match queue.take(NOW, TakeMode::NoAck, &mut effects) {
            Some(delivery) => {
                assert_eq!(delivery.message.body(), taken.to_string().as_bytes());
                taken += 1;
            }
            None => {
                let page = queue.wanted_page().unwrap();
                let before = journal.stats().pages_ahead;
                let messages = journal.read_page(page).unwrap();
                from_memory += before - journal.stats().pages_ahead;
                assert!(queue.restore(NOW, page, messages, &mut effects));
                expect_next(&journal, &queue);
            }
        }
        record(&journal, log, &mut effects);
    }
    assert_eq!((taken, from_memory), (5 * PAGE, 4));
    assert_eq!(journal.stats().pages_ahead, 0);
    assert_eq!(queue.pages_to_come().count(), 0);
}

#[test]
fn what_is_purged_is_not_kept() {
    let storage = FaultyStorage::new(1);
    let journal = open(&storage);
    let (mut queue, log) = paged_out(&journal, numbered(3 * PAGE));
    expect_next(&journal, &queue);
    assert_eq!(journal.stats().pages_ahead, 2);
    let mut effects = Vec::new();
    queue.purge(&mut effects);
    record(&journal, log, &mut effects);
    assert_eq!(journal.stats().pages_ahead, 0);
    assert!(!journal.read_ahead());
}

#[test]
fn a_page_that_is_in_memory_anyway_is_not_read() {
    let storage = FaultyStorage::new(1);
    let journal = open(&storage);
    let (queue, log) = paged_out(&journal, numbered(PAGE));
    let page = journal.new_page();
    let written = journal.read_page(queue.pages_to_come().next().unwrap());
    let messages: Vec<_> = written.unwrap().into_iter().map(|(_, it)| it).collect();
    journal.write_page(log, page, Some(0), &messages);
    journal.expect_pages(&[page]);
    assert!(!journal.read_ahead());
}

#[test]
fn there_are_never_more_than_four_mebibytes() {
    let storage = FaultyStorage::new(1);
    let journal = open(&storage);
    // Each of these fills a page by itself.
    let large = (0..8).map(|_| vec![7; 1 << 20]);
    let (queue, _) = paged_out(&journal, large);
    let pages: Vec<_> = queue.pages_to_come().collect();
    assert!(pages.len() >= 4, "{}", pages.len());
    for page in &pages {
        journal.expect_pages(&[*page]);
        while journal.read_ahead() {}
    }
    let stats = journal.stats();
    assert!(stats.pages_ahead >= 1);
    assert!(stats.page_bytes_ahead <= 4 << 20);
}
