//! Ten thousand queues that nobody uses cost next to nothing.
#![cfg(target_os = "linux")]

#[path = "support/resident.rs"]
mod resident;

use leveret_queue_store::{
    ConsumerOptions, Effect, Message, MessageParts, Queue, QueueOptions, Settlement, Time,
};
use resident::resident_bytes;

const QUEUES: usize = 10_000;

/// What a queue with one consumer may cost while nothing is in it: the queue itself, the place of
/// its consumer, and the few places for messages it keeps once it was used.
const IDLE_MAX: usize = 552;

#[test]
fn an_idle_queue_with_a_consumer_costs_little() {
    let now = Time::default();
    let (mut effects, mut scratch) = (Vec::new(), Vec::new());
    let mut queues = Vec::with_capacity(QUEUES);
    let before = resident_bytes();
    for _ in 0..QUEUES {
        let mut queue = Queue::new(QueueOptions::default(), now);
        queue
            .consume(now, ConsumerOptions::default(), &mut effects)
            .expect("the first");
        queues.push(queue);
    }
    let each = (resident_bytes() - before) / QUEUES;
    assert!(each <= IDLE_MAX, "{each} bytes for each new queue");

    let message = Message::new(&MessageParts::default(), &mut scratch);
    for queue in &mut queues {
        for _ in 0..100 {
            assert!(
                queue
                    .publish(now, message.clone(), &mut effects)
                    .is_accepted()
            );
        }
        let ids = effects.drain(..).map(|effect| match effect {
            Effect::Deliver { delivery, .. } => delivery.id.expect("to be settled"),
            other => panic!("not a delivery: {other:?}"),
        });
        assert_eq!(
            queue.settle_many(now, ids, Settlement::Ack, &mut Vec::new()),
            100
        );
    }
    let each = (resident_bytes() - before) / QUEUES;
    assert!(
        each <= IDLE_MAX,
        "{each} bytes for each queue that was used"
    );
}
