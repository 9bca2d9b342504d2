//! Consumers that do not want everything to wait for them.

mod support;

use std::sync::Arc;

use leveret_queue_store::{
    ConsumerOptions, DeathReason, Effect, Gate, Queue, QueueOptions, Settlement, SlowAction,
    SlowConsumer, TakeMode, Time,
};
use support::message;

fn slow(action: SlowAction, limit: u64) -> Box<SlowConsumer> {
    Box::new(SlowConsumer {
        action,
        limit,
        limit_bytes: u64::MAX,
        own_window: None,
    })
}

/// A consumer that takes one message at a time.
fn one_at_a_time(slow: Option<Box<SlowConsumer>>) -> ConsumerOptions {
    ConsumerOptions {
        prefetch: 1,
        slow,
        ..ConsumerOptions::default()
    }
}

/// What a queue said, in short: `n` for a delivery, `-n` for a death, `(n)` for what was left out.
fn said(effects: &mut Vec<Effect>) -> String {
    let words = effects.drain(..).map(|effect| match effect {
        Effect::Deliver { delivery, .. } => {
            String::from_utf8(delivery.message.body().to_vec()).expect("text")
        }
        Effect::Dead {
            message, reason, ..
        } => {
            assert_eq!(reason, DeathReason::MaxLength);
            format!("-{}", String::from_utf8_lossy(message.body()))
        }
        Effect::LeftOut { count, .. } => format!("({count})"),
        Effect::TooSlow { .. } => "slow".to_owned(),
        other => panic!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

struct Subject {
    queue: Queue,
    effects: Vec<Effect>,
}

impl Subject {
    fn new() -> Self {
        Self {
            queue: Queue::new(QueueOptions::default(), Time::default()),
            effects: Vec::new(),
        }
    }

    fn consume(&mut self, options: ConsumerOptions) -> leveret_queue_store::ConsumerId {
        self.queue
            .consume(Time::default(), options, &mut self.effects)
            .expect("nobody is alone")
    }

    fn publish(&mut self, bodies: &[&str]) {
        for body in bodies {
            assert!(
                self.queue
                    .publish(Time::default(), message(body), &mut self.effects)
                    .is_accepted()
            );
        }
    }

    /// Settles the delivery that is outstanding.
    fn settle(&mut self, how: Settlement) {
        let id = self.queue.unacked().next().expect("a delivery").id;
        self.queue
            .settle(Time::default(), id, how, &mut self.effects)
            .expect("it is known");
    }

    #[track_caller]
    fn says(&mut self, what: &str) {
        assert_eq!(said(&mut self.effects), what);
    }
}

#[test]
fn the_oldest_that_waits_goes_and_the_next_delivery_says_how_many() {
    let mut subject = Subject::new();
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 2))));
    subject.publish(&["1", "2", "3", "4", "5"]);
    subject.says("1 -2 -3");
    subject.settle(Settlement::Ack);
    subject.says("(2) 4");
    subject.settle(Settlement::Ack);
    subject.says("5");
}

#[test]
fn what_comes_back_is_the_oldest_and_is_not_told_of() {
    let mut subject = Subject::new();
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 2))));
    subject.publish(&["1", "2", "3", "4"]);
    subject.says("1 -2");
    subject.settle(Settlement::Requeue);
    // It is served again before anything is too much, and the gap is still before what was never delivered.
    subject.says("1");
    subject.settle(Settlement::Ack);
    subject.says("(1) 3");
}

#[test]
fn bytes_count_but_the_newest_always_stays() {
    let mut subject = Subject::new();
    subject.consume(one_at_a_time(Some(Box::new(SlowConsumer {
        limit_bytes: 3,
        ..*slow(SlowAction::DropOldest, 100)
    }))));
    subject.publish(&["1", "22", "3", "4", "a long one"]);
    subject.says("1 -22 -3 -4");
}

#[test]
fn nothing_goes_while_somebody_else_waits_for_it() {
    let mut subject = Subject::new();
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 1))));
    let patient = subject.consume(one_at_a_time(None));
    subject.publish(&["1", "2", "3", "4", "5"]);
    subject.says("1 2");
    subject
        .queue
        .cancel(Time::default(), patient, &mut subject.effects);
    subject.says("-3 -4");
}

#[test]
fn the_largest_limit_counts_for_all() {
    let mut subject = Subject::new();
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 1))));
    let larger = subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 3))));
    subject.publish(&["1", "2", "3", "4", "5", "6"]);
    subject.says("1 2 -3");
    subject
        .queue
        .cancel(Time::default(), larger, &mut subject.effects);
    subject.says("-4 -5");
}

#[test]
fn without_consumers_everything_waits_and_the_gap_is_remembered() {
    let mut subject = Subject::new();
    let first = subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 1))));
    subject.publish(&["1", "2", "3"]);
    subject.says("1 -2");
    subject
        .queue
        .cancel(Time::default(), first, &mut subject.effects);
    subject.publish(&["4", "5"]);
    subject.says("");
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 2))));
    subject.says("(1) 3");
}

#[test]
fn what_the_queue_itself_drops_counts_too() {
    let mut subject = Subject::new();
    let options = QueueOptions {
        max_length: Some(1),
        ..QueueOptions::default()
    };
    subject.queue = Queue::new(options, Time::default());
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 9))));
    subject.publish(&["1", "2", "3"]);
    subject.says("1 -2");
    subject.settle(Settlement::Ack);
    subject.says("(1) 3");
}

#[test]
fn what_is_taken_without_consuming_is_not_told_of() {
    let mut subject = Subject::new();
    subject.consume(one_at_a_time(Some(slow(SlowAction::DropOldest, 2))));
    subject.publish(&["1", "2", "3", "4"]);
    subject.says("1 -2");
    let taken = subject
        .queue
        .take(Time::default(), TakeMode::NoAck, &mut subject.effects)
        .expect("it waits");
    assert_eq!(taken.message.body(), b"3");
    subject.settle(Settlement::Ack);
    subject.says("(1) 4");
}

#[test]
fn who_wants_to_be_closed_is_when_too_much_waits() {
    let mut subject = Subject::new();
    let consumer = subject.consume(one_at_a_time(Some(slow(SlowAction::Close, 2))));
    subject.publish(&["1", "2", "3"]);
    subject.says("1");
    assert!(subject.queue.is_active(consumer));
    subject.publish(&["4"]);
    subject.says("slow");
    assert!(!subject.queue.is_active(consumer));
    assert_eq!(
        (subject.queue.ready_len(), subject.queue.unacked_len()),
        (3, 1)
    );
    subject.settle(Settlement::Requeue);
    assert_eq!(subject.queue.ready_len(), 4);
    assert_eq!(subject.queue.consumer_len(), 0);
}

#[test]
fn others_get_what_waited_for_who_was_closed() {
    let mut subject = Subject::new();
    let options = QueueOptions {
        single_active_consumer: true,
        ..QueueOptions::default()
    };
    subject.queue = Queue::new(options, Time::default());
    subject.consume(one_at_a_time(Some(slow(SlowAction::Close, 1))));
    subject.consume(ConsumerOptions {
        slow: Some(slow(SlowAction::Close, 0)),
        ..ConsumerOptions::default()
    });
    subject.publish(&["1", "2"]);
    subject.says("1");
    subject.publish(&["3"]);
    subject.says("slow 2 3");
    assert_eq!(subject.queue.consumer_len(), 1);
}

#[test]
fn a_window_of_its_own_is_entered_beside_the_other() {
    let size = message("1").size_bytes();
    let (shared, own) = (Arc::new(Gate::new(2 * size)), Arc::new(Gate::new(1)));
    let mut subject = Subject::new();
    subject.consume(ConsumerOptions {
        no_ack: true,
        window: Some(Arc::clone(&shared)),
        slow: Some(Box::new(SlowConsumer {
            own_window: Some(Arc::clone(&own)),
            ..*slow(SlowAction::DropOldest, 1)
        })),
        ..ConsumerOptions::default()
    });
    subject.publish(&["1", "2", "3"]);
    subject.says("1 -2");
    assert_eq!((shared.used(), own.used()), (size, size));
    // Room in its own is not enough.
    assert!(shared.try_enter(size));
    assert!(own.leave(size));
    subject.queue.poll(Time::default(), &mut subject.effects);
    subject.says("");
    assert_eq!(own.used(), 0);
    assert!(shared.leave(size));
    subject.queue.poll(Time::default(), &mut subject.effects);
    subject.says("(1) 3");
}
