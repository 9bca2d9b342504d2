//! A million waiting messages cost little more than what they say.
#![cfg(target_os = "linux")]

#[path = "support/resident.rs"]
mod resident;

use leveret_queue_store::{Message, MessageParts, Queue, QueueOptions, TakeMode, Time};
use resident::resident_bytes;

const MESSAGES: usize = 1_000_000;

/// What a message may cost beyond its names, properties and body: the counters of the reference,
/// the prefix, the handle in the queue, and what the allocator adds and rounds up.
const OVERHEAD_MAX: usize = 64;

#[test]
fn a_waiting_message_costs_at_most_64_bytes_beyond_what_it_says() {
    let parts = MessageParts {
        exchange: "room",
        routing_key: "room.4711.message",
        properties: &[7; 19],
        body: &[42; 60],
        ..MessageParts::default()
    };
    let said =
        parts.exchange.len() + parts.routing_key.len() + parts.properties.len() + parts.body.len();
    assert_eq!(said, 100);

    let (now, mut effects, mut scratch) = (Time::default(), Vec::new(), Vec::new());
    let mut queue = Queue::new(QueueOptions::default(), now);
    let before = resident_bytes();
    for _ in 0..MESSAGES {
        assert!(
            queue
                .publish(now, Message::new(&parts, &mut scratch), &mut effects)
                .is_accepted()
        );
    }
    let each = (resident_bytes() - before) / MESSAGES;
    assert_eq!(queue.ready_len(), MESSAGES);
    assert!(
        (said..=said + OVERHEAD_MAX).contains(&each),
        "{each} bytes for each message"
    );

    // What passes a message that somebody keeps leaves nothing behind.
    let kept = queue
        .take(now, TakeMode::Ack, &mut effects)
        .expect("a million are there");
    let before = resident_bytes();
    for _ in 0..MESSAGES {
        assert!(
            queue
                .publish(now, Message::new(&parts, &mut scratch), &mut effects)
                .is_accepted()
        );
        assert!(queue.take(now, TakeMode::NoAck, &mut effects).is_some());
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < 1 << 20,
        "{grown} bytes more after a million messages came and went"
    );
    assert_eq!((queue.unacked_len(), kept.message.body_len()), (1, 60));
}
