//! What there can be in a simulated broker.

use std::time::Duration;

use crate::client::{Overflow, QueueOptions, QueueType};

/// A message, for as long as it exists in whatever queue.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) number: u64,
    /// The queue in which it died first, if it is a dead letter.
    pub(super) died_in: Option<usize>,
}

/// A queue that is declared and deleted again and again, always with the same properties.
pub(super) struct QueuePlan {
    pub(super) name: &'static str,
    pub(super) durable: bool,
    pub(super) ttl_ms: Option<u64>,
    /// Beyond so many the oldest ones go; or, of a quorum queue, new ones are refused.
    pub(super) max_length: Option<u64>,
    pub(super) max_priority: Option<u8>,
    pub(super) dead_letters: DeadLetters,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DeadLetters {
    Forgotten,
    /// To the queue of this number, if it is there.
    To(usize),
    /// To the queue of this number by way of the exchange [`LATE`], and kept until they have arrived.
    Kept(usize),
}

/// A durable fanout exchange, and a topic exchange where each queue has a key of its own.
pub(super) const FAN: &str = "fan";
pub(super) const TOPIC: &str = "topic";
/// A fanout exchange that is often not there, to which the letters of a quorum queue go.
pub(super) const LATE: &str = "late";
pub(super) const EXCHANGES: [&str; 3] = [FAN, TOPIC, LATE];

/// The queue to which dead letters go in the end.
pub(super) const LETTERS: usize = 0;

const PLAIN: QueuePlan = QueuePlan {
    name: "",
    durable: true,
    ttl_ms: None,
    max_length: None,
    max_priority: None,
    dead_letters: DeadLetters::Forgotten,
};

pub(super) const QUEUES: [QueuePlan; 8] = [
    QueuePlan {
        name: "letters",
        ..PLAIN
    },
    QueuePlan {
        name: "plain",
        ..PLAIN
    },
    QueuePlan {
        name: "rejecting",
        dead_letters: DeadLetters::To(LETTERS),
        ..PLAIN
    },
    QueuePlan {
        name: "priorities",
        max_priority: Some(3),
        ..PLAIN
    },
    QueuePlan {
        name: "short",
        max_length: Some(4),
        // Whence they can die again.
        dead_letters: DeadLetters::To(2),
        ..PLAIN
    },
    QueuePlan {
        name: "fading",
        ttl_ms: Some(40),
        dead_letters: DeadLetters::To(LETTERS),
        ..PLAIN
    },
    QueuePlan {
        name: "transient",
        durable: false,
        ..PLAIN
    },
    QueuePlan {
        name: "kept",
        max_length: Some(20),
        dead_letters: DeadLetters::Kept(LETTERS),
        ..PLAIN
    },
];

impl QueuePlan {
    pub(super) fn is_quorum(&self) -> bool {
        matches!(self.dead_letters, DeadLetters::Kept(_))
    }

    /// Where letters go from here.
    pub(super) fn target(&self) -> Option<usize> {
        match self.dead_letters {
            DeadLetters::Forgotten => None,
            DeadLetters::To(queue) | DeadLetters::Kept(queue) => Some(queue),
        }
    }

    pub(super) fn options(&self) -> QueueOptions {
        let mut options = QueueOptions {
            durable: self.durable,
            message_ttl: self.ttl_ms.map(Duration::from_millis),
            max_length: self.max_length,
            max_priority: self.max_priority,
            ..QueueOptions::default()
        };
        match self.dead_letters {
            DeadLetters::Forgotten => {}
            DeadLetters::To(queue) => {
                options.dead_letter_exchange = Some(String::new());
                options.dead_letter_routing_key = Some(QUEUES[queue].name.to_owned());
            }
            DeadLetters::Kept(_) => {
                options.dead_letter_exchange = Some(LATE.to_owned());
                options.queue_type = QueueType::Quorum;
                options.overflow = Overflow::RejectPublish;
                options.dead_letter_at_least_once = true;
            }
        }
        options
    }
}

/// The key under which a queue is bound to [`TOPIC`]: the pattern, and what a message is published with.
pub(super) fn topic_keys(queue: usize) -> (String, String) {
    let word = QUEUES[queue].name;
    (format!("{word}.*"), format!("{word}.x"))
}
