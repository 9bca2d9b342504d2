//! Queues that are bound with a position while others publish: no message is missing, none comes twice, and all come in
//! the order of their positions. Real threads, as they happen to run.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use leveret_amqp_codec::method::basic;
use leveret_broker::{
    Broker, Client, ConsumeOptions, Delivery, ExchangeOptions, ExchangeType, Properties, Publish,
    QueueOptions, ResumeFrom,
};
use support::seeds::Random;
use support::{Wire, short, start};

const PUBLISHERS: usize = 3;
const MESSAGES: usize = 1500;
const ROOMS: usize = 4;

/// Bound to each other, so that every message passes two histories. Readers listen to the first.
const EXCHANGES: [&str; 2] = ["x", "y"];

async fn broker() -> Broker {
    let broker = start(Broker::builder()).await;
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        history_length: Some(1_000_000),
        ..ExchangeOptions::default()
    };
    for exchange in EXCHANGES {
        let declared = client.declare_exchange(exchange, ExchangeType::Topic, options.clone());
        declared.await.unwrap();
    }
    client.bind_exchange("x", "y", "#").await.unwrap();
    client.bind_exchange("y", "x", "#").await.unwrap();
    broker
}

/// Whoever hears a message knows who said it, where, and what was said there before.
fn message(publisher: usize, n: usize) -> (String, String) {
    (format!("room.{}", n % ROOMS), format!("{publisher} {n}"))
}

async fn publish(client: Client, publisher: usize) {
    for n in 0..MESSAGES {
        let (room, text) = message(publisher, n);
        let message = Publish::to_exchange(EXCHANGES[publisher % 2], &room, text.as_bytes());
        client.publish(message).await.unwrap();
    }
}

async fn publish_in_bursts(mut wire: Wire, publisher: usize) {
    let mut burst = Vec::new();
    for n in 0..MESSAGES {
        let (room, text) = message(publisher, n);
        let publish = basic::Publish {
            exchange: short(EXCHANGES[publisher % 2]),
            routing_key: short(&room),
            ..basic::Publish::default()
        };
        burst.extend(wire.publish_bytes(&publish, &Properties::default(), text.as_bytes()));
        if n % 40 == 0 || n + 1 == MESSAGES {
            wire.send_bytes(&burst).await;
            burst.clear();
            tokio::task::yield_now().await;
        }
    }
    wire.quiet().await;
}

fn number(delivery: &Delivery) -> u64 {
    let position = delivery.position().expect("it has passed a history");
    let text = position.to_string();
    text.split_once('-').unwrap().1.parse().unwrap()
}

/// What one reader has, over all the times it came back.
#[derive(Default)]
struct Reader {
    last: Option<Delivery>,
    /// The next message of each publisher in each of its rooms.
    next: HashMap<(usize, usize), usize>,
    heard: usize,
}

impl Reader {
    fn hear(&mut self, delivery: Delivery, rooms: &[usize]) {
        assert!(delivery.gap().is_none(), "everything is kept");
        if let Some(last) = &self.last {
            assert!(number(last) < number(&delivery), "positions grow");
        }
        let text = std::str::from_utf8(delivery.body()).unwrap();
        let (publisher, n) = text.split_once(' ').unwrap();
        let (publisher, n): (usize, usize) = (publisher.parse().unwrap(), n.parse().unwrap());
        let room = n % ROOMS;
        assert!(rooms.contains(&room), "{text} is from another room");
        let next = self.next.entry((publisher, room)).or_insert(room);
        assert_eq!(*next, n, "the next of publisher {publisher} in room {room}");
        *next += ROOMS;
        self.heard += 1;
        self.last = Some(delivery);
    }
}

/// Comes back again and again, each time with a new queue and several bindings, some of which lead to the same messages.
async fn read(client: Client, seed: u64, rooms: &[usize], done: &AtomicBool) -> usize {
    let mut random = Random(seed);
    let mut reader = Reader::default();
    loop {
        let was_done = done.load(Ordering::Acquire);
        let resume_from = reader.last.as_ref().and_then(Delivery::position);
        let options = QueueOptions {
            auto_delete: true,
            resume_from: Some(resume_from.map_or(ResumeFrom::First, ResumeFrom::After)),
            ..QueueOptions::default()
        };
        let queue = client.declare_queue("", options).await.unwrap().name;
        // With several bindings what came live by the first stands before what is kept for the second, so a reader of
        // several rooms, which wants positions to grow, asks for all of them at once.
        let patterns: &[&str] = match rooms {
            [0] => &["room.0", "room.0.#", "*.0"],
            [1] => &["room.1"],
            _ => &["room.*"],
        };
        for pattern in patterns {
            client.bind_queue(&queue, "x", pattern).await.unwrap();
        }
        let options = ConsumeOptions {
            no_ack: true,
            ..ConsumeOptions::default()
        };
        let mut consumer = client.consume(&queue, options).await.unwrap();
        if was_done {
            while let Some(delivery) = consumer.try_recv() {
                reader.hear(delivery, rooms);
            }
            return reader.heard;
        }
        for _ in 0..random.below(200) {
            match consumer.try_recv() {
                Some(delivery) => reader.hear(delivery, rooms),
                None => thread::yield_now(),
            }
        }
    }
}

/// Stays with one queue, whose binding it takes away and makes again.
async fn read_with_pauses(client: Client, seed: u64, done: &AtomicBool) -> usize {
    let mut random = Random(seed);
    let mut reader = Reader::default();
    let options = QueueOptions {
        auto_delete: true,
        resume_from: Some(ResumeFrom::First),
        ..QueueOptions::default()
    };
    let queue = client.declare_queue("", options).await.unwrap().name;
    let options = ConsumeOptions {
        no_ack: true,
        ..ConsumeOptions::default()
    };
    let mut consumer = client.consume(&queue, options).await.unwrap();
    loop {
        let was_done = done.load(Ordering::Acquire);
        client.bind_queue(&queue, "x", "room.0").await.unwrap();
        for _ in 0..random.below(50) {
            thread::yield_now();
        }
        client.unbind_queue(&queue, "x", "room.0").await.unwrap();
        while let Some(delivery) = consumer.try_recv() {
            reader.hear(delivery, &[0]);
        }
        if was_done {
            return reader.heard;
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers").block_on(future)
}

/// Lets readers come and go while `publish` runs, each on a thread of its own. How much each heard: of the first room, of
/// the second, of all, of all, and of the first with pauses.
fn read_while(broker: &Broker, publish: impl FnOnce()) -> Vec<usize> {
    let done = AtomicBool::new(false);
    let all: Vec<_> = (0..ROOMS).collect();
    let readers = [vec![0], vec![1], all.clone(), all];
    thread::scope(|scope| {
        let readers: Vec<_> = readers
            .into_iter()
            .zip(1..)
            .map(|(rooms, seed)| {
                let client = broker.client().unwrap();
                let done = &done;
                scope.spawn(move || block_on(read(client, seed, &rooms, done)))
            })
            .collect();
        let client = broker.client().unwrap();
        let with_pauses = scope.spawn(|| block_on(read_with_pauses(client, 9, &done)));
        publish();
        done.store(true, Ordering::Release);
        let readers = readers.into_iter().chain([with_pauses]);
        readers.map(|reader| reader.join().unwrap()).collect()
    })
}

const ALL: usize = PUBLISHERS * MESSAGES;
const ROOM: usize = ALL / ROOMS;

#[test]
fn whoever_comes_back_at_any_moment_misses_nothing_and_has_nothing_twice() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(broker());
    let heard = read_while(&broker, || {
        thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let client = broker.client().unwrap();
                scope.spawn(move || block_on(publish(client, publisher)));
            }
        });
    });
    assert_eq!(heard, [ROOM, ROOM, ALL, ALL, ROOM]);
    runtime.block_on(broker.shutdown());
}

/// What comes in one read is handed over together, by ways that were found before.
#[test]
fn the_same_holds_for_what_sockets_bring_in_bursts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(broker());
    let heard = read_while(&broker, || {
        thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let (runtime, broker) = (&runtime, &broker);
                scope.spawn(move || {
                    runtime.block_on(async {
                        let wire = Wire::open(broker).await;
                        publish_in_bursts(wire, publisher).await;
                    });
                });
            }
        });
    });
    assert_eq!(heard, [ROOM, ROOM, ALL, ALL, ROOM]);
    runtime.block_on(broker.shutdown());
}
