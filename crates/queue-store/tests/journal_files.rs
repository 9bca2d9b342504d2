//! What a journal reads: files of every released format, and anything else that may be in a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret_queue_store::{
    Journal, JournalOptions, MemoryStorage, Message, MessageParts, OpenMode, PagedMessage,
    QueueKey, RecoveredItem, Storage, Stored, Time, check, fuzzing, repair,
};
use proptest::prelude::*;

const NOW: Time = Time::from_millis(1);

fn number(number: u64) -> std::num::NonZeroU64 {
    std::num::NonZeroU64::new(number).unwrap()
}

fn message(at: u64) -> Message {
    let body = format!("message {at}");
    let parts = MessageParts {
        exchange: "exchange",
        routing_key: "routing.key",
        properties: &[0x10, 0, 2],
        body: body.as_bytes(),
        persistent: true,
        priority: u8::try_from(at % 3).unwrap(),
        expiration_ms: at.is_multiple_of(2).then_some(60_000),
    };
    Message::new(&parts, &mut Vec::new())
}

fn stored(at: u64) -> Stored {
    Stored {
        number: number(at),
        home: None,
    }
}

/// Every kind of record but those of a full disk: a queue of twelve messages that is told of in the
/// test below, another that is gone, and a third that shares a message with the first.
fn write(storage: &MemoryStorage) {
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let options = JournalOptions {
        log_file_size: 4096,
        ..JournalOptions::default()
    };
    let (journal, _) = Journal::open(shared, options).unwrap();
    let (first, second, third) = (QueueKey(1), QueueKey(200), QueueKey(3));
    let (first, second, third) = (
        journal.queue(first),
        journal.queue(second),
        journal.queue(third),
    );
    let mut appender = journal.append();
    for at in 1..=12 {
        let deadline = match at % 2 {
            0 => Time::from_millis(1_700_000_000_000 + at),
            _ => Time::MAX,
        };
        let message = message(at);
        appender.store(first, number(at), deadline, &message);
        if at == 12 {
            appender.store(third, number(1), Time::MAX, &message);
        }
    }
    appender.store(second, number(1), Time::MAX, &message(1));
    appender.handed(first, stored(1));
    appender.handed(first, stored(2));
    appender.returned(first, stored(2), 2);
    appender.gone(first, stored(3));
    appender.queue_gone(second);
    drop(appender);
    journal.work(NOW);
    let page = journal.new_page();
    let paged = [5, 6, 7, 8].map(|at| PagedMessage {
        message: message(at),
        stored: Some(stored(at)),
        deadline: Time::MAX,
        delivery_count: u32::from(at == 8),
    });
    journal.write_page(first, page, Some(0), &paged);
    let in_page = |at: u64| Stored {
        number: number(at),
        home: Some(leveret_queue_store::PageSlot {
            page,
            index: u16::try_from(at - 5).unwrap(),
        }),
    };
    let mut appender = journal.append();
    appender.handed(first, in_page(5));
    appender.returned(first, in_page(6), 3);
    appender.gone(first, in_page(7));
    drop(appender);
    journal.sync(NOW).unwrap();
}

/// The numbers of a queue's messages, and how often each came back.
fn found(storage: &MemoryStorage) -> BTreeMap<u64, BTreeMap<u64, u32>> {
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let (journal, recovered) = Journal::open(shared, JournalOptions::default()).unwrap();
    let queues = recovered.queues.into_iter().map(|queue| {
        let key = queue.key().0;
        let items = queue.into_items(&journal, 0).unwrap();
        let messages = items.into_iter().flat_map(|item| match item {
            RecoveredItem::Message(message) => vec![message],
            RecoveredItem::Page { page, .. } => {
                let read = journal.read_page(page).unwrap();
                read.into_iter().map(|(_, message)| message).collect()
            }
        });
        let counts = messages.map(|it| {
            let at = it.stored.unwrap().number.get();
            let of = if key == 3 { 12 } else { at };
            assert_eq!(it.message, message(of));
            (at, it.delivery_count)
        });
        (key, counts.collect())
    });
    queues.collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1")
}

fn load(folder: &Path) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = storage.open(name, OpenMode::Create).unwrap();
        file.write_all_at(&std::fs::read(&path).unwrap(), 0)
            .unwrap();
    }
    storage
}

/// Writes the files anew that the test below reads, if the environment says so. Those of a format that
/// was released are never written again.
#[test]
fn what_is_written_now_is_read_now() {
    let storage = MemoryStorage::new();
    write(&storage);
    if std::env::var_os("JOURNAL_WRITE_FIXTURE").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for name in storage.list().unwrap() {
            let file = storage.open(&name, OpenMode::Existing).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            std::fs::write(folder().join(name), bytes).unwrap();
        }
    }
    check_contents(&storage);
}

#[test]
fn version_1_is_read() {
    check_contents(&load(&folder()));
}

#[track_caller]
fn check_contents(storage: &MemoryStorage) {
    assert!(check(storage).unwrap().is_intact());
    let first = [
        (1, 1),
        (2, 2),
        (4, 0),
        (5, 1),
        (6, 3),
        (8, 1),
        (9, 0),
        (10, 0),
        (11, 0),
        (12, 0),
    ];
    let want = BTreeMap::from([(1, BTreeMap::from(first)), (3, BTreeMap::from([(1, 0)]))]);
    assert_eq!(found(storage), want);
}

#[test]
fn the_corpus_is_read_without_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/journal");
    let mut count = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        fuzzing::journal(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0);
}

/// Bytes that are records more often than chance would have it.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![4 => 0_u8..6, 1 => any::<u8>()];
    let record = (0_u8..18, prop::collection::vec(small, 0..16));
    let records = prop::collection::vec(record, 0..20).prop_map(|records| {
        let bytes = records.into_iter().flat_map(|(kind, mut fields)| {
            fields.insert(0, kind);
            fields
        });
        bytes.collect::<Vec<_>>()
    });
    (any::<u8>(), records).prop_map(|(mode, mut bytes)| {
        bytes.insert(0, mode);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::journal(&bytes);
    }

    #[test]
    fn any_records_are_read_without_harm(bytes in records()) {
        fuzzing::journal(&bytes);
    }
}

#[test]
fn what_is_left_in_the_log_is_found_wherever_it_stands() {
    let storage = MemoryStorage::new();
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let (journal, _) = Journal::open(shared, JournalOptions::default()).unwrap();
    let queues = [1, 2, 3].map(|key| journal.queue(QueueKey(key)));
    // Some are larger than what is read at once, and most are gone.
    let lens = [10, 700_000, 20, 0, 300_000, 30];
    let body = |at: u64| {
        let len = lens[at as usize % lens.len()];
        vec![b'a' + (at % 26) as u8; len]
    };
    let mut made = Vec::new();
    for at in 0..60 {
        let parts = MessageParts {
            routing_key: "näh",
            body: &body(at),
            persistent: true,
            ..MessageParts::default()
        };
        made.push(Message::new(&parts, &mut Vec::new()));
    }
    // Each queue has them in an order of its own.
    let in_queue = |queue: u64, at: u64| (at * 7 + queue * 11) % 60;
    let mut appender = journal.append();
    for at in 0..60 {
        for (queue, log) in (0..).zip(queues) {
            let number = number(at + 1);
            let message = &made[in_queue(queue, at) as usize];
            appender.store(log, number, Time::MAX, message);
        }
    }
    for at in (0..60).filter(|at| at % 5 != 0) {
        let number = number(at + 1);
        let stored = Stored { number, home: None };
        appender.gone(queues[1], stored);
    }
    appender.finish();
    journal.sync(NOW).unwrap();
    drop(journal);

    let shared: Arc<dyn Storage> = Arc::new(storage);
    let (_, recovered) = Journal::open(shared, JournalOptions::default()).unwrap();
    assert_eq!(recovered.queues.len(), 3);
    for (queue, found) in (0..).zip(recovered.queues) {
        let (messages, pages) = found.into_parts();
        assert!(pages.is_empty());
        let left: Vec<_> = (0..60).filter(|at| queue != 1 || at % 5 == 0).collect();
        assert_eq!(messages.len(), left.len());
        for (paged, at) in messages.iter().zip(left) {
            assert_eq!(paged.message, made[in_queue(queue, at) as usize]);
            let number = number(at + 1);
            assert_eq!(paged.stored, Some(Stored { number, home: None }));
        }
    }
}

#[test]
fn a_queue_may_have_got_to_the_last_number() {
    let storage = MemoryStorage::new();
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let (journal, _) = Journal::open(Arc::clone(&shared), JournalOptions::default()).unwrap();
    let queue = journal.queue(QueueKey(1));
    let last = number((1 << 63) - 1);
    let mut appender = journal.append();
    appender.store(queue, number(1), Time::MAX, &message(1));
    appender.store(queue, last, Time::MAX, &message(2));
    drop(appender);
    let paged = PagedMessage {
        message: message(1),
        stored: Some(stored(1)),
        deadline: Time::MAX,
        delivery_count: 0,
    };
    journal.write_page(queue, journal.new_page(), Some(0), &[paged]);
    journal.sync(NOW).unwrap();
    drop(journal);
    // So the log is written anew: it begins with where the numbers have got to.
    storage.remove("pages-00000001").unwrap();
    assert!(!repair(&storage).unwrap().is_intact());
    assert!(check(&storage).unwrap().is_intact());
    let (_journal, recovered) = Journal::open(shared, JournalOptions::default()).unwrap();
    assert_eq!(recovered.queues[0].next_number(), number(1 << 63));
    assert_eq!(recovered.queues[0].len(), 1);
}
