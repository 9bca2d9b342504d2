//! What has to be on the disk before the journal tells of a queue.

use std::num::NonZeroU64;
use std::sync::Arc;

use leveret_queue_store::{
    Journal, JournalOptions, MemoryStorage, Message, MessageParts, QueueKey, Storage, Time,
};

fn open(storage: &Arc<dyn Storage>) -> Journal {
    let opened = Journal::open(Arc::clone(storage), JournalOptions::default());
    opened.expect("nothing is wrong with it").0
}

fn store(journal: &Journal, queue: u64, number: u64) {
    let parts = MessageParts {
        persistent: true,
        ..MessageParts::default()
    };
    let message = Message::new(&parts, &mut Vec::new());
    let number = NonZeroU64::new(number).expect("they begin at one");
    let queue = journal.queue(QueueKey(queue));
    let mut appender = journal.append();
    appender.store(queue, number, Time::MAX, &message);
}

/// Writes what there is. Says whether something had to be prepared.
fn is_prepared(journal: &Journal) -> bool {
    let mut is_prepared = false;
    journal.work_after(Time::from_millis(1), || {
        is_prepared = true;
        Ok(())
    });
    is_prepared
}

#[test]
fn the_first_message_of_a_queue_is_prepared_for_and_no_other() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let journal = open(&storage);
    store(&journal, 1, 1);
    assert!(is_prepared(&journal));
    store(&journal, 1, 2);
    assert!(!is_prepared(&journal));
    // That there is a queue is nothing that is written.
    let _ = journal.queue(QueueKey(2));
    store(&journal, 1, 3);
    assert!(!is_prepared(&journal));
    store(&journal, 1, 4);
    store(&journal, 2, 1);
    assert!(is_prepared(&journal));
    assert!(!is_prepared(&journal));
    drop(journal);

    let journal = open(&storage);
    store(&journal, 1, 5);
    store(&journal, 2, 2);
    assert!(!is_prepared(&journal), "the log knows them");
}

#[test]
fn what_cannot_be_prepared_for_is_never_written() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let journal = open(&storage);
    store(&journal, 1, 1);
    journal.work_after(Time::from_millis(1), || Err("no definitions".to_owned()));
    store(&journal, 1, 2);
    journal.work(Time::from_millis(2));
    drop(journal);
    let (_, recovered) = Journal::open(storage, JournalOptions::default()).expect("as it was");
    assert!(recovered.queues.is_empty());
}
