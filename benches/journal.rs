//! What does it cost to append to the journal, how many messages a second reach the disk, and how long
//! does a million of them take to be found again?

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use leveret_queue_store::{
    FileStorage, Journal, JournalOptions, MemoryStorage, Message, MessageParts, QueueKey, QueueLog,
    Storage, Stored, Time,
};

/// Messages appended in one iteration.
const MESSAGES: u64 = 1_000;

/// Messages that are alive when the broker starts.
const BACKLOG: u64 = 1_000_000;

/// Queues that share one message.
const QUEUES: u64 = 200;

const NOW: Time = Time::from_millis(1_700_000_000_000);

/// A message of a hundred bytes: names, properties and body.
fn message() -> Message {
    let parts = MessageParts {
        exchange: "room",
        routing_key: "room.4711.message",
        properties: &[7; 19],
        body: &[42; 60],
        persistent: true,
        ..MessageParts::default()
    };
    Message::new(&parts, &mut Vec::new())
}

fn open(storage: &Arc<dyn Storage>) -> Journal {
    match Journal::open(Arc::clone(storage), JournalOptions::default()) {
        Ok((journal, _)) => journal,
        Err(error) => panic!("{error}"),
    }
}

fn in_memory() -> Journal {
    open(&(Arc::new(MemoryStorage::new()) as Arc<dyn Storage>))
}

/// Numbers of one queue, one after the other.
struct Numbers {
    queue: QueueLog,
    last: u64,
}

impl Numbers {
    fn new(journal: &Journal, key: u64) -> Self {
        Self {
            queue: journal.queue(QueueKey(key)),
            last: 0,
        }
    }

    fn next(&mut self) -> NonZeroU64 {
        self.last += 1;
        NonZeroU64::MIN.saturating_add(self.last - 1)
    }
}

fn stored(number: NonZeroU64) -> Stored {
    Stored { number, home: None }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal/append");
    group.throughput(Throughput::Elements(MESSAGES));

    let journal = in_memory();
    let mut numbers = Numbers::new(&journal, 1);
    let messages: Vec<_> = (0..MESSAGES).map(|_| message()).collect();
    group.bench_function("different messages", |b| {
        b.iter_batched(
            || drop(journal.sync(NOW)),
            |()| {
                let mut appender = journal.append();
                for message in &messages {
                    appender.store(numbers.queue, numbers.next(), Time::MAX, message);
                }
                appender.finish()
            },
            BatchSize::PerIteration,
        );
    });

    let shared = message();
    let mut queues: Vec<_> = (0..QUEUES)
        .map(|key| Numbers::new(&journal, key + 2))
        .collect();
    group.throughput(Throughput::Elements(QUEUES));
    group.bench_function("one message to 200 queues", |b| {
        b.iter_batched(
            || drop(journal.sync(NOW)),
            |()| {
                for queue in &mut queues {
                    let number = queue.next();
                    journal
                        .append()
                        .store(queue.queue, number, Time::MAX, &shared);
                }
            },
            BatchSize::PerIteration,
        );
    });

    let journal = in_memory();
    let mut numbers = Numbers::new(&journal, 1);
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("acknowledgements", |b| {
        b.iter_batched(
            || {
                let mut appender = journal.append();
                let stored = messages.iter().map(|message| {
                    let number = numbers.next();
                    appender.store(numbers.queue, number, Time::MAX, message);
                    number
                });
                let stored: Vec<_> = stored.collect();
                drop(appender);
                drop(journal.sync(NOW));
                (numbers.queue, stored)
            },
            |(queue, numbers)| {
                let mut appender = journal.append();
                for number in numbers {
                    appender.gone(queue, stored(number));
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("leveret-bench-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn storage(&self) -> Arc<dyn Storage> {
        match FileStorage::open(&self.0) {
            Ok(storage) => Arc::new(storage),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// So many messages are appended, and confirmed by one sync.
fn confirm(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal/confirm");
    let directory = Directory::new("confirm");
    let journal = open(&directory.storage());
    let mut numbers = Numbers::new(&journal, 1);
    let message = message();
    for batch in [1, 100, 10_000] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("{batch} a sync"), |b| {
            b.iter(|| {
                let mut appender = journal.append();
                let queue = numbers.queue;
                let numbers: Vec<_> = (0..batch).map(|_| numbers.next()).collect();
                for number in &numbers {
                    appender.store(queue, *number, Time::MAX, &message);
                }
                let lsn = appender.finish();
                assert!(!journal.when_safe(lsn, Waker::noop()));
                journal.work(NOW);
                assert!(journal.safe() >= lsn);
                let mut appender = journal.append();
                for number in numbers {
                    appender.gone(queue, stored(number));
                }
            });
        });
    }
    group.finish();
}

fn recover(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal/recover");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BACKLOG));
    let directory = Directory::new("recover");
    let journal = open(&directory.storage());
    let mut numbers = Numbers::new(&journal, 1);
    for _ in 0..BACKLOG / MESSAGES {
        let mut appender = journal.append();
        for _ in 0..MESSAGES {
            let number = numbers.next();
            appender.store(numbers.queue, number, Time::MAX, &message());
        }
        drop(appender);
        journal.work(NOW);
    }
    assert!(journal.sync(NOW).is_ok());
    drop(journal);
    group.bench_function("a million from the log", |b| {
        b.iter(|| {
            let opened = Journal::open(directory.storage(), JournalOptions::default());
            let Ok((journal, recovered)) = opened else {
                panic!("it was left intact")
            };
            let items = recovered
                .queues
                .into_iter()
                .next()
                .map(|it| it.into_items(&journal, 0));
            let Some(Ok(items)) = items else {
                panic!("it was left intact")
            };
            assert_eq!(items.len() as u64, BACKLOG);
        });
    });
    group.finish();
}

criterion_group!(benches, append, confirm, recover);
criterion_main!(benches);
