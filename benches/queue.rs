//! How long does a message take through a queue: handed straight to a consumer, settled, waiting
//! behind others, coming back? And what does it cost to make one, and to give the same one to two
//! hundred queues?

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use leveret_queue_store::{
    ConsumerOptions, Delivery, DeliveryId, Effect, Gate, Message, MessageParts, Queue,
    QueueOptions, Settlement, TakeMode, Time,
};

/// Messages that go through a queue in one iteration.
const MESSAGES: usize = 1_000;

/// Messages that wait in a deep queue: more than the caches hold.
const BACKLOG: usize = 1_000_000;

/// Queues that share one message: a chat room with as many members.
const QUEUES: usize = 200;

const NOW: Time = Time::from_millis(1_700_000_000_000);

fn parts(body: &[u8]) -> MessageParts<'_> {
    MessageParts {
        exchange: "room",
        routing_key: "room.4711.message",
        properties: &[7; 19],
        body,
        ..MessageParts::default()
    }
}

/// A message of a hundred bytes: names, properties and body.
fn message() -> Message {
    Message::new(&parts(&[42; 60]), &mut Vec::new())
}

fn queue_with(consumers: usize, options: &ConsumerOptions) -> Queue {
    let mut queue = Queue::new(QueueOptions::default(), NOW);
    let mut effects = Vec::new();
    for _ in 0..consumers {
        assert!(queue.consume(NOW, options.clone(), &mut effects).is_ok());
    }
    queue
}

fn publish(queue: &mut Queue, message: &Message, effects: &mut Vec<Effect>) {
    assert!(queue.publish(NOW, message.clone(), effects).is_accepted());
}

/// The delivery that must be the only effect.
fn delivered(effects: &mut Vec<Effect>) -> Delivery {
    match effects.pop() {
        Some(Effect::Deliver { delivery, .. }) if effects.is_empty() => delivery,
        other => panic!("not the one delivery: {other:?}"),
    }
}

fn ids(effects: &mut Vec<Effect>) -> impl Iterator<Item = DeliveryId> {
    effects.drain(..).filter_map(|effect| match effect {
        Effect::Deliver { delivery, .. } => delivery.id,
        other => panic!("not a delivery: {other:?}"),
    })
}

fn make(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue/make");
    for body_len in [16, 1_024] {
        let body = vec![42; body_len];
        let mut scratch = Vec::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{body_len} bytes"), |b| {
            b.iter(|| Message::new(black_box(&parts(&body)), &mut scratch));
        });
        assert_eq!(Message::new(&parts(&body), &mut scratch).body(), body);
    }
    let message = message();
    group.bench_function("read every part", |b| {
        b.iter(|| {
            let message = black_box(&message);
            (
                message.exchange(),
                message.routing_key(),
                message.properties(),
                message.body(),
            )
        });
    });
    group.finish();
}

/// Publishes to consumers that wait, one message at a time.
fn through(c: &mut Criterion) {
    let no_ack = ConsumerOptions {
        no_ack: true,
        ..ConsumerOptions::default()
    };
    let window = Arc::new(Gate::new(usize::MAX));
    let gated = ConsumerOptions {
        window: Some(window),
        ..no_ack.clone()
    };
    let cases = [
        ("no ack", 1, no_ack.clone()),
        ("no ack, window", 1, gated),
        ("no ack, 1000 consumers", 1_000, no_ack),
    ];
    let mut group = c.benchmark_group("queue/publish and deliver");
    group.throughput(Throughput::Elements(1));
    let message = message();
    for (name, consumers, options) in cases {
        let mut queue = queue_with(consumers, &options);
        let mut effects = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                publish(&mut queue, &message, &mut effects);
                delivered(&mut effects)
            });
        });
        assert_eq!((queue.ready_len(), queue.unacked_len()), (0, 0));
    }

    for (name, prefetch) in [("ack", 0), ("ack, prefetch 1", 1)] {
        let mut queue = queue_with(
            1,
            &ConsumerOptions {
                prefetch,
                ..ConsumerOptions::default()
            },
        );
        let mut effects = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                publish(&mut queue, &message, &mut effects);
                let id = delivered(&mut effects).id.expect("it has to be settled");
                assert!(queue.settle(NOW, id, Settlement::Ack, &mut effects).is_ok());
            });
        });
        assert_eq!(
            (queue.ready_len(), queue.unacked_len(), effects.len()),
            (0, 0, 0)
        );
    }
    group.finish();
}

/// Publishes a batch, takes it and settles it together.
fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue/batch");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let message = message();
    for (name, how) in [
        ("publish, deliver, ack", Settlement::Ack),
        ("publish, deliver, discard", Settlement::Discard),
    ] {
        let mut queue = queue_with(1, &ConsumerOptions::default());
        let (mut effects, mut dead) = (Vec::new(), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..MESSAGES {
                    publish(&mut queue, &message, &mut effects);
                }
                assert_eq!(
                    queue.settle_many(NOW, ids(&mut effects), how, &mut dead),
                    MESSAGES
                );
                dead.clear();
            });
        });
        assert_eq!((queue.ready_len(), queue.unacked_len()), (0, 0));
    }

    // Everything goes back and is delivered again, in the old order.
    let mut queue = queue_with(1, &ConsumerOptions::default());
    let mut effects = Vec::new();
    for _ in 0..MESSAGES {
        publish(&mut queue, &message, &mut effects);
    }
    group.bench_function("requeue, deliver", |b| {
        b.iter(|| {
            let ids: Vec<_> = ids(&mut effects).collect();
            assert_eq!(
                queue.settle_many(NOW, ids, Settlement::Requeue, &mut effects),
                MESSAGES
            );
        });
    });
    assert_eq!((queue.ready_len(), queue.unacked_len()), (0, MESSAGES));
    group.finish();
}

/// Adds to and takes from a queue in which a million messages wait, and one whose messages expire.
fn backlog(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue/backlog");
    group.throughput(Throughput::Elements(1));
    let message = message();
    let hour = Some(3_600_000);
    for (name, message_ttl_ms) in [("publish and take", None), ("publish and take, ttl", hour)] {
        let mut queue = Queue::new(
            QueueOptions {
                message_ttl_ms,
                ..QueueOptions::default()
            },
            NOW,
        );
        let mut effects = Vec::new();
        for _ in 0..BACKLOG {
            publish(&mut queue, &message, &mut effects);
        }
        group.bench_function(name, |b| {
            b.iter(|| {
                publish(&mut queue, &message, &mut effects);
                queue.take(NOW, TakeMode::NoAck, &mut effects)
            });
        });
        assert_eq!((queue.ready_len(), effects.len()), (BACKLOG, 0));
    }
    group.finish();
}

/// Makes one message and publishes it to every queue of a fan-out.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue/fan-out");
    group.throughput(Throughput::Elements(QUEUES as u64));
    let no_ack = ConsumerOptions {
        no_ack: true,
        ..ConsumerOptions::default()
    };
    let mut queues: Vec<_> = (0..QUEUES).map(|_| queue_with(1, &no_ack)).collect();
    let (mut effects, mut scratch) = (Vec::new(), Vec::new());
    let body = [42; 60];
    group.bench_function("to 200 queues", |b| {
        b.iter_batched(
            || (),
            |()| {
                let message = Message::new(&parts(&body), &mut scratch);
                for queue in &mut queues {
                    publish(queue, &message, &mut effects);
                }
                assert_eq!(effects.len(), QUEUES);
                effects.clear();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, make, through, batches, backlog, fan_out);
criterion_main!(benches);
