//! A schedule on a journal whose files are small.

use leveret_queue_store::{
    Journal, JournalOptions, MemoryStorage, MessageParts, Storage as MessageStorage,
};

use super::*;

const KEY: QueueKey = QueueKey(7);
const NOW: Time = Time::from_millis(1);

fn open(storage: &MemoryStorage, resident_max: usize) -> Arc<Store> {
    let shared: Arc<dyn MessageStorage> = Arc::new(storage.clone());
    let options = JournalOptions {
        log_file_size: 4096,
        log_files_max: 1,
        ..JournalOptions::default()
    };
    let opened = Journal::open(shared, options).unwrap();
    Store::new(
        opened,
        resident_max,
        Arc::default(),
        Arc::default(),
        Arc::new(crate::metadata::Metadata::off()),
    )
}

fn message(number: u64) -> Message {
    let body = format!("message {number}, {}", "x".repeat(64));
    let parts = MessageParts {
        body: body.as_bytes(),
        ..MessageParts::default()
    };
    Message::new(&parts, &mut Vec::new())
}

/// Due in an order of its own.
fn due(number: u64) -> Time {
    Time::from_millis(10 + number * 7919 % 1000)
}

fn listed(schedule: &Schedule) -> Vec<(u64, Time, Message)> {
    let found = schedule.list().unwrap().into_iter();
    found.map(|it| (it.id, it.due, it.message)).collect()
}

#[test]
fn old_files_of_the_log_go_while_messages_wait() {
    let storage = MemoryStorage::new();
    let store = open(&storage, usize::MAX);
    let mut schedule = Schedule::recover(&store, KEY);
    for number in 1..=1000 {
        schedule.add(due(number), message(number));
        store.journal().sync(NOW).unwrap();
    }
    assert!(store.journal().stats().log_files > 5);
    loop {
        let to_move = store.journal().to_move();
        if to_move.is_empty() {
            break;
        }
        for messages in to_move {
            assert_eq!(messages.queue, KEY);
            schedule.rehome(messages.below);
        }
        store.journal().sync(NOW).unwrap();
        while store.journal().work(NOW).more {}
    }
    assert!(store.journal().stats().log_files <= 2);
    let before = listed(&schedule);
    assert_eq!(before.len(), 1000);
    // What has gone since then is told of its page.
    let taken = schedule.take_due(due(37), 3);
    schedule.forget(taken.iter().map(|(stored, _)| *stored));
    assert_eq!(taken.len(), 3);
    store.journal().sync(NOW).unwrap();
    drop((schedule, store));

    let store = open(&storage, usize::MAX);
    let schedule = Schedule::recover(&store, KEY);
    assert!(listed(&schedule) == before[3..]);
}

#[test]
fn what_comes_back_from_disk_counts_until_it_is_gone() {
    let storage = MemoryStorage::new();
    let store = open(&storage, 0);
    let mut schedule = Schedule::recover(&store, KEY);
    for number in 1..=5000 {
        schedule.add(due(number), message(number));
        schedule.page_out(0);
    }
    store.journal().sync(NOW).unwrap();
    assert!(schedule.waiting.len() < PAGE_LEN_MAX);
    assert!(schedule.pages.len() > 5);
    let before = listed(&schedule);
    let mut found = Vec::new();
    while let Some(next) = schedule.next_due() {
        let taken = schedule.take_due(next, 100);
        schedule.forget(taken.iter().map(|(stored, _)| *stored));
        found.extend(
            taken
                .into_iter()
                .map(|(stored, message)| (stored.number.get(), message)),
        );
    }
    let want: Vec<_> = before
        .into_iter()
        .map(|(id, _, message)| (id, message))
        .collect();
    assert!(found == want);
    assert_eq!(schedule.held(), 0);
    assert!(!store.is_over_budget());
    store.journal().sync(NOW).unwrap();
    assert_eq!(store.journal().stats().pages, 0);
}
