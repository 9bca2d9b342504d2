//! The queue by itself: through it, and one message to very many of them.

use leveret_queue_store::{
    ConsumerOptions, Delivery, Effect, Message, MessageParts, Queue, QueueOptions, Settlement, Time,
};

use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("queue/make a message", make),
    Case::new("queue/publish and deliver, no ack", || through(true)),
    Case::new("queue/publish, deliver, ack", || through(false)),
    Case::new("queue/fan-out, each queue", fan_out),
];

const MESSAGES: usize = 1_000;

/// A chat room with as many members.
const QUEUES: usize = 200;

const NOW: Time = Time::from_millis(1_700_000_000_000);

const PARTS: MessageParts<'static> = MessageParts {
    exchange: "room",
    routing_key: "room.4711.message",
    properties: &[7; 19],
    body: &[42; 60],
    persistent: false,
    priority: 0,
    expiration_ms: None,
};

fn queue(no_ack: bool) -> Queue {
    let options = ConsumerOptions {
        no_ack,
        ..ConsumerOptions::default()
    };
    let mut queue = Queue::new(QueueOptions::default(), NOW);
    let consumer = queue.consume(NOW, options, &mut Vec::new());
    assert!(consumer.is_ok(), "nobody is there before");
    queue
}

fn make() -> usize {
    let mut scratch = Vec::with_capacity(1_024);
    measured(|| {
        for _ in 0..MESSAGES {
            drop(std::hint::black_box(Message::new(&PARTS, &mut scratch)));
        }
    });
    MESSAGES
}

fn delivered(effects: &mut Vec<Effect>) -> Delivery {
    match effects.pop() {
        Some(Effect::Deliver { delivery, .. }) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

fn through(no_ack: bool) -> usize {
    let message = Message::new(&PARTS, &mut Vec::new());
    let mut queue = queue(no_ack);
    let mut effects = Vec::with_capacity(8);
    let mut pass = || {
        assert!(
            queue
                .publish(NOW, message.clone(), &mut effects)
                .is_accepted()
        );
        if let Some(id) = delivered(&mut effects).id {
            assert!(queue.settle(NOW, id, Settlement::Ack, &mut effects).is_ok());
        }
    };
    // The first makes room for the list of what is outstanding.
    pass();
    measured(|| (0..MESSAGES).for_each(|_| pass()));
    assert_eq!((queue.ready_len(), queue.unacked_len()), (0, 0));
    MESSAGES
}

fn fan_out() -> usize {
    let mut queues: Vec<_> = (0..QUEUES).map(|_| queue(true)).collect();
    let mut effects = Vec::with_capacity(QUEUES);
    let mut scratch = Vec::with_capacity(1_024);
    measured(|| {
        let message = Message::new(&PARTS, &mut scratch);
        for queue in &mut queues {
            assert!(
                queue
                    .publish(NOW, message.clone(), &mut effects)
                    .is_accepted()
            );
        }
        drop(message);
        assert_eq!(effects.drain(..).count(), QUEUES);
    });
    QUEUES
}
