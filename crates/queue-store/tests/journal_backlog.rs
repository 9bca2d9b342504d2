//! What a start reads of a backlog that is in pages.

mod support;

use std::sync::Arc;

use leveret_queue_store::{FaultyStorage, Journal, JournalOptions, QueueKey, RecoveredItem, Time};
use support::paged;

const NOW: Time = Time::from_millis(1);
const QUEUE: QueueKey = QueueKey(7);

/// Writes pages of messages with these numbers and starts again. Checks which numbers are in memory then, which pages
/// are not, by their first numbers, and how many reads it took beside those of the log.
#[track_caller]
fn check(pages: &[&[u64]], in_memory: &[u64], in_pages: &[u64], reads: u64) {
    let storage = FaultyStorage::new(1);
    let open = || Journal::open(Arc::new(storage.clone()), JournalOptions::default()).unwrap();
    let (journal, _) = open();
    let queue = journal.queue(QUEUE);
    let mut numbers: Vec<u64> = pages.concat();
    numbers.sort_unstable();
    for at in &numbers {
        let message = paged(*at, b"a message");
        let number = message.stored.unwrap().number;
        journal
            .append()
            .store(queue, number, Time::MAX, &message.message);
    }
    for numbers in pages {
        let messages: Vec<_> = numbers.iter().map(|at| paged(*at, b"a message")).collect();
        journal.write_page(queue, journal.new_page(), Some(0), &messages);
    }
    journal.sync(NOW).unwrap();
    drop(journal);

    let (journal, recovered) = open();
    let reads_before = storage.reads();
    let queue = recovered.queues.into_iter().next().unwrap();
    let items = queue.into_items(&journal, 0).unwrap();
    assert_eq!(storage.reads() - reads_before, reads);
    let firsts: Vec<_> = items.iter().map(|item| item.first_number().get()).collect();
    assert!(firsts.is_sorted(), "{firsts:?}");
    let (memory, paged): (Vec<_>, Vec<_>) = items
        .iter()
        .partition(|item| matches!(item, RecoveredItem::Message(_)));
    let of = |items: &[&RecoveredItem]| -> Vec<_> {
        items.iter().map(|item| item.first_number().get()).collect()
    };
    assert_eq!(of(&memory), in_memory);
    assert_eq!(of(&paged), in_pages);
}

#[test]
fn pages_that_follow_one_another_are_not_read() {
    check(&[&[1, 2, 3], &[4, 5], &[6]], &[], &[1, 4, 6], 0);
}

#[test]
fn a_message_that_came_back_to_the_end_has_its_page_read_and_not_all_before_it() {
    let pages: &[&[u64]] = &[&[2, 3], &[4, 5], &[6, 7], &[8, 9], &[1, 10, 11], &[12, 13]];
    check(pages, &[1, 10, 11], &[2, 4, 6, 8, 12], 1);
}

#[test]
fn a_message_that_came_back_from_among_others_has_their_page_read_as_well() {
    let pages: &[&[u64]] = &[&[1, 2], &[3, 5], &[6, 7], &[8, 9], &[4, 10, 11]];
    check(pages, &[3, 4, 5, 10, 11], &[1, 6, 8], 2);
}

#[test]
fn several_pages_that_span_others_are_read_and_no_more() {
    let pages: &[&[u64]] = &[&[3, 4], &[5, 6], &[2, 7], &[8, 9], &[1, 10]];
    check(pages, &[1, 2, 7, 10], &[3, 5, 8], 2);
}
