//! What is said of a queue that is gone changes nothing of the queues that there are.

use std::num::NonZeroU64;
use std::sync::Arc;

use leveret_queue_store::{
    Journal, JournalOptions, MemoryStorage, Message, MessageParts, PageSlot, PagedMessage,
    QueueKey, Storage, Stored, Time,
};

fn paged() -> PagedMessage {
    let parts = MessageParts {
        body: b"kept",
        persistent: true,
        ..MessageParts::default()
    };
    PagedMessage {
        message: Message::new(&parts, &mut Vec::new()),
        stored: Some(Stored {
            number: NonZeroU64::MIN,
            home: None,
        }),
        deadline: Time::MAX,
        delivery_count: 0,
    }
}

#[test]
fn a_message_that_went_with_its_queue_takes_none_of_the_next_page_with_its_id() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (journal, _) = Journal::open(storage, JournalOptions::default()).unwrap();
    let (gone, kept) = (journal.queue(QueueKey(1)), journal.queue(QueueKey(2)));
    let store = |queue| {
        let mut appender = journal.append();
        let PagedMessage { message, .. } = paged();
        appender.store(queue, NonZeroU64::MIN, Time::MAX, &message);
        drop(appender);
        let page = journal.new_page();
        journal.write_page(queue, page, Some(0), &[paged()]);
        page
    };
    let first = store(gone);
    let old = Stored {
        number: NonZeroU64::MIN,
        home: Some(PageSlot {
            page: first,
            index: 0,
        }),
    };
    journal.append().queue_gone(gone);
    let second = store(kept);
    assert_eq!(second, first, "the id is free again");

    let mut appender = journal.append();
    appender.handed(gone, old);
    appender.returned(gone, old, 3);
    appender.gone(gone, old);
    drop(appender);
    let messages = journal.read_page(second).unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].1.delivery_count, 0);
}

#[test]
fn a_page_of_a_queue_that_is_gone_is_not_written() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (journal, _) = Journal::open(Arc::clone(&storage), JournalOptions::default()).unwrap();
    let now = Time::from_millis(1);
    let queue = journal.queue(QueueKey(1));
    let mut appender = journal.append();
    appender.store(queue, NonZeroU64::MIN, Time::MAX, &paged().message);
    appender.queue_gone(queue);
    drop(appender);
    let page = journal.new_page();
    journal.write_page(queue, page, Some(0), &[paged()]);
    assert_eq!(journal.stats().pages, 0);
    journal.sync(now).unwrap();
    drop(journal);
    let (_, recovered) = Journal::open(storage, JournalOptions::default()).unwrap();
    assert!(recovered.queues.is_empty());
}
