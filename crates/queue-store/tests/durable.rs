//! What a durable queue says about the messages that are to be kept on disk, and what it is like
//! after a restart.

mod support;

use std::num::NonZeroU64;

use leveret_queue_store::{
    DeathReason, Effect, Message, MessageParts, PagedMessage, Queue, QueueOptions, Rebuilt,
    Settlement, Stored, TakeMode, Time,
};
use support::{Subject, body, no_ack, parts, prefetch};

fn durable() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

fn persistent(body: &str) -> Message {
    let parts = MessageParts {
        persistent: true,
        ..parts(body)
    };
    Message::new(&parts, &mut Vec::new())
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("numbers begin at one")
}

fn stored(this: u64) -> Stored {
    Stored {
        number: number(this),
        home: None,
    }
}

fn store(this: u64, body: &str) -> Effect {
    Effect::Store {
        number: number(this),
        message: persistent(body),
        deadline: Time::MAX,
    }
}

/// Publishes persistent messages, which must be accepted.
#[track_caller]
fn publish(subject: &mut Subject, bodies: &[&str]) {
    for body in bodies {
        let parts = MessageParts {
            persistent: true,
            ..parts(body)
        };
        assert!(subject.offer(&parts).is_accepted());
    }
}

#[test]
fn a_message_is_stored_handed_out_and_gone() {
    let mut subject = Subject::new(durable());
    publish(&mut subject, &["a"]);
    assert_eq!(subject.effects(), [store(1, "a")]);
    let id = subject.take_id();
    assert_eq!(subject.effects(), [Effect::Handed { stored: stored(1) }]);
    subject.settle(id, Settlement::Ack);
    assert_eq!(subject.effects(), [Effect::Gone { stored: stored(1) }]);
}

#[test]
fn a_message_that_comes_back_is_handed_out_once() {
    let mut subject = Subject::new(durable());
    publish(&mut subject, &["a"]);
    for count in 1..=2 {
        subject.effects();
        let id = subject.take_id();
        let handed = Effect::Handed { stored: stored(1) };
        assert_eq!(subject.effects().contains(&handed), count == 1);
        subject.settle(id, Settlement::Requeue);
        let returned = Effect::Returned {
            stored: stored(1),
            delivery_count: count,
        };
        assert_eq!(subject.effects(), [returned]);
    }
}

#[test]
fn who_waits_gets_the_message_after_it_is_stored() {
    let mut subject = Subject::new(durable());
    subject.consume(prefetch(1));
    publish(&mut subject, &["a"]);
    let effects = subject.effects();
    assert_eq!(
        effects[..2],
        [store(1, "a"), Effect::Handed { stored: stored(1) }]
    );
    assert!(matches!(&effects[2..], [Effect::Deliver { .. }]));
}

#[test]
fn a_message_that_is_done_with_at_once_never_reaches_the_disk() {
    let mut subject = Subject::new(durable());
    subject.consume(no_ack());
    publish(&mut subject, &["a"]);
    assert!(matches!(subject.effects()[..], [Effect::Deliver { .. }]));
}

#[test]
fn a_message_that_waited_for_somebody_who_does_not_settle_is_gone() {
    let mut subject = Subject::new(durable());
    publish(&mut subject, &["a"]);
    subject.effects();
    subject.consume(no_ack());
    let effects = subject.effects();
    assert_eq!(effects[0], Effect::Gone { stored: stored(1) });
    assert!(matches!(&effects[1..], [Effect::Deliver { .. }]));
}

#[test]
fn nothing_is_said_about_what_need_not_survive() {
    let mut subject = Subject::new(durable());
    subject.publish("transient");
    let id = subject.take_id();
    subject.settle(id, Settlement::Requeue);
    assert_eq!(subject.purge(), 1);
    assert_eq!(subject.effects(), []);

    let mut subject = Subject::new(QueueOptions::default());
    publish(&mut subject, &["persistent"]);
    let id = subject.take_id();
    subject.settle(id, Settlement::Ack);
    assert_eq!(subject.effects(), []);
}

#[test]
fn numbers_are_those_of_the_messages_that_are_stored() {
    let mut subject = Subject::new(durable());
    publish(&mut subject, &["a"]);
    subject.publish("transient");
    publish(&mut subject, &["b"]);
    assert_eq!(subject.effects(), [store(1, "a"), store(2, "b")]);
}

#[test]
fn a_death_says_what_the_message_was_called() {
    let options = QueueOptions {
        max_length: Some(1),
        ..durable()
    };
    let mut subject = Subject::new(options);
    publish(&mut subject, &["a", "b"]);
    let dead = Effect::Dead {
        message: persistent("a"),
        reason: DeathReason::MaxLength,
        delivery_count: 0,
        stored: Some(stored(1)),
    };
    assert_eq!(subject.effects(), [store(1, "a"), store(2, "b"), dead]);
}

#[test]
fn each_purged_message_is_gone_and_what_somebody_has_is_not() {
    let mut subject = Subject::new(durable());
    publish(&mut subject, &["kept", "back", "ready"]);
    let (_kept, back) = (subject.take_id(), subject.take_id());
    subject.settle(back, Settlement::Requeue);
    subject.effects();
    assert_eq!(subject.purge(), 2);
    let gone = [2, 3].map(|this| Effect::Gone {
        stored: stored(this),
    });
    assert_eq!(subject.effects(), gone);
}

#[test]
fn what_is_kept_does_not_change_with_the_options() {
    let mut subject = Subject::new(durable());
    subject.set_options(QueueOptions::default());
    publish(&mut subject, &["a"]);
    assert_eq!(subject.effects(), [store(1, "a")]);
}

fn found(this: u64, body: &str, deadline: Time, delivery_count: u32) -> Rebuilt {
    Rebuilt::Message(PagedMessage {
        message: persistent(body),
        stored: Some(stored(this)),
        deadline,
        delivery_count,
    })
}

#[test]
fn a_queue_is_rebuilt_in_order_with_what_was_delivered_before() {
    let now = Time::from_millis(1_000);
    let items = [
        found(3, "3", Time::MAX, 0),
        found(5, "5", Time::MAX, 2),
        found(9, "9", Time::MAX, 0),
    ];
    let mut queue = Queue::rebuild(durable(), now, number(12), items);
    let mut effects = Vec::new();
    for (text, delivery_count) in [("3", 0), ("5", 2), ("9", 0)] {
        let delivery = queue
            .take(now, TakeMode::NoAck, &mut effects)
            .expect("it was found");
        assert_eq!(body(&delivery.message), text);
        assert_eq!(delivery.redelivered, delivery_count > 0);
        assert_eq!(delivery.delivery_count, delivery_count);
    }
    let gone = [3, 5, 9].map(|this| Effect::Gone {
        stored: stored(this),
    });
    assert_eq!(effects, gone);

    effects.clear();
    assert!(
        queue
            .publish(now, persistent("new"), &mut effects)
            .is_accepted()
    );
    assert_eq!(effects, [store(12, "new")]);
}

#[test]
fn a_number_that_was_found_is_not_used_again_whatever_the_next_is_said_to_be() {
    let now = Time::from_millis(1_000);
    let mut queue = Queue::rebuild(durable(), now, number(1), [found(7, "7", Time::MAX, 0)]);
    let mut effects = Vec::new();
    assert!(
        queue
            .publish(now, persistent("new"), &mut effects)
            .is_accepted()
    );
    assert_eq!(effects, [store(8, "new")]);
}

#[test]
fn what_is_overdue_or_too_much_after_a_restart_dies_when_the_queue_is_polled() {
    let options = QueueOptions {
        max_length: Some(1),
        ..durable()
    };
    let now = Time::from_millis(1_000);
    let items = [
        found(1, "overdue", now, 0),
        found(2, "one too many", Time::MAX, 0),
        found(3, "last", Time::MAX, 0),
    ];
    let mut queue = Queue::rebuild(options, now, number(4), items);
    assert_eq!(queue.next_deadline(), Some(now));
    assert_eq!(queue.ready_len(), 3);
    let mut effects = Vec::new();
    queue.poll(now, &mut effects);
    let died = effects.iter().map(|effect| match effect {
        Effect::Dead { reason, stored, .. } => (*reason, stored.map(|stored| stored.number.get())),
        other => panic!("not a death: {other:?}"),
    });
    let expected = [
        (DeathReason::Expired, Some(1)),
        (DeathReason::MaxLength, Some(2)),
    ];
    assert_eq!(died.collect::<Vec<_>>(), expected);
}
