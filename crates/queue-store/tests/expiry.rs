//! Messages that wait too long, and queues that nobody uses.

mod support;

use leveret_queue_store::{DeathReason, Effect, MessageParts, QueueOptions, Settlement};
use support::{Subject, no_ack, parts, prefetch};

fn with_ttl(message_ttl_ms: u64) -> QueueOptions {
    QueueOptions {
        message_ttl_ms: Some(message_ttl_ms),
        ..QueueOptions::default()
    }
}

fn with_lease(expires_ms: u64) -> QueueOptions {
    QueueOptions {
        expires_ms: Some(expires_ms),
        ..QueueOptions::default()
    }
}

fn expiring(body: &str, expiration_ms: u64) -> MessageParts<'_> {
    MessageParts {
        expiration_ms: Some(expiration_ms),
        ..parts(body)
    }
}

fn expired(body: &str) -> (String, DeathReason) {
    (body.to_owned(), DeathReason::Expired)
}

#[test]
fn a_message_expires_at_its_deadline_and_not_before() {
    let mut subject = Subject::new(with_ttl(10));
    subject.publish("a");
    assert_eq!(subject.due_in(), Some(10));
    subject.pass(9);
    subject.poll();
    assert_eq!(subject.dead(), []);
    subject.pass(1);
    subject.poll();
    assert_eq!(subject.dead(), [expired("a")]);
    assert_eq!(subject.due_in(), None);
}

#[test]
fn the_smaller_time_to_live_counts() {
    let mut subject = Subject::new(with_ttl(10));
    assert!(subject.offer(&expiring("long", 50)).is_accepted());
    assert_eq!(subject.due_in(), Some(10));
    assert_eq!(subject.take_all(), ["long"]);
    assert!(subject.offer(&expiring("short", 5)).is_accepted());
    assert_eq!(subject.due_in(), Some(5));
}

#[test]
fn an_overdue_message_behind_another_waits_for_its_turn_but_is_not_delivered() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish("head");
    assert!(subject.offer(&expiring("overdue", 5)).is_accepted());
    subject.publish("next");
    assert_eq!(subject.due_in(), None);
    subject.pass(100);
    subject.poll();
    assert_eq!(subject.queue.ready_len(), 3);
    assert_eq!(subject.take_all(), ["head", "next"]);
    assert_eq!(subject.dead(), [expired("overdue")]);
}

#[test]
fn every_call_removes_what_is_overdue() {
    let calls: [fn(&mut Subject); 6] = [
        |subject| subject.publish("new"),
        |subject| drop(subject.take()),
        |subject| subject.poll(),
        |subject| {
            subject.consume(prefetch(1));
        },
        |subject| {
            let options = subject.queue.options().clone();
            subject.set_options(options);
        },
        |subject| assert_eq!(subject.settle_many(&[], Settlement::Ack), 0),
    ];
    for call in calls {
        let mut subject = Subject::new(with_ttl(10));
        subject.publish("old");
        subject.pass(10);
        call(&mut subject);
        assert_eq!(subject.dead(), [expired("old")]);
    }
}

#[test]
fn with_no_time_to_live_only_who_waits_gets_the_message() {
    let mut subject = Subject::new(with_ttl(0));
    subject.publish("nobody");
    assert_eq!(subject.dead(), [expired("nobody")]);
    let consumer = subject.consume(prefetch(1));
    subject.publish_all(&["waiting", "full"]);
    let effects = subject.effects();
    assert!(matches!(&effects[0], Effect::Deliver { consumer: to, .. } if *to == consumer));
    let reason = DeathReason::Expired;
    assert_eq!(
        effects[1..],
        [Effect::Dead {
            message: support::message("full"),
            reason,
            delivery_count: 0,
            stored: None,
        }]
    );
}

#[test]
fn who_has_a_message_may_keep_it_but_not_put_it_back_overdue() {
    let mut subject = Subject::new(with_ttl(10));
    subject.publish_all(&["kept", "returned"]);
    let (kept, returned) = (subject.take_id(), subject.take_id());
    assert_eq!(subject.due_in(), None);
    subject.pass(9);
    subject.settle(returned, Settlement::Requeue);
    assert_eq!(subject.due_in(), Some(1));
    let returned = subject.take_id();
    subject.pass(1);
    subject.settle(returned, Settlement::Requeue);
    assert_eq!(subject.dead(), [expired("returned")]);
    subject.settle(kept, Settlement::Ack);
    assert_eq!(subject.effects(), []);
}

#[test]
fn an_overdue_message_that_returns_behind_others_expires_at_its_turn() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish("head");
    assert!(subject.offer(&expiring("overdue", 5)).is_accepted());
    let (head, overdue) = (subject.take_id(), subject.take_id());
    subject.settle(head, Settlement::Requeue);
    subject.pass(5);
    subject.settle(overdue, Settlement::Requeue);
    assert_eq!(subject.queue.ready_len(), 2);
    assert_eq!(subject.take_all(), ["head"]);
    assert_eq!(subject.dead(), [expired("overdue")]);
}

#[test]
fn a_changed_time_to_live_leaves_what_is_there_alone() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish("before");
    subject.set_options(with_ttl(10));
    subject.publish("after");
    subject.pass(10);
    subject.poll();
    assert_eq!(subject.queue.ready_len(), 2);
    assert_eq!(subject.take_all(), ["before"]);
    assert_eq!(subject.dead(), [expired("after")]);
}

#[test]
fn an_overdue_message_behind_one_of_a_higher_priority_waits_for_its_turn() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 9,
        ..QueueOptions::default()
    });
    for (body, priority, expiration_ms) in [
        ("low", 1, Some(5)),
        ("lower", 0, Some(5)),
        ("high", 9, None),
        ("at once", 1, Some(0)),
    ] {
        let parts = MessageParts {
            priority,
            expiration_ms,
            ..parts(body)
        };
        assert!(subject.offer(&parts).is_accepted());
    }
    assert_eq!(subject.due_in(), None, "the first has no deadline");
    subject.pass(5);
    subject.poll();
    assert_eq!(subject.queue.ready_len(), 4);
    assert_eq!(subject.take_all(), ["high"]);
    assert_eq!(subject.dead(), ["low", "at once", "lower"].map(expired));
}

#[test]
fn a_message_of_a_higher_priority_expires_before_those_that_waited() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 9,
        ..QueueOptions::default()
    });
    subject.publish("low");
    let high = MessageParts {
        priority: 9,
        ..expiring("high", 5)
    };
    assert!(subject.offer(&high).is_accepted());
    assert_eq!(subject.due_in(), Some(5));
    subject.pass(5);
    subject.poll();
    assert_eq!(subject.dead(), [expired("high")]);
    assert_eq!(subject.take_all(), ["low"]);
}

#[test]
fn an_unused_queue_says_once_that_its_lease_is_over() {
    let mut subject = Subject::new(with_lease(10));
    assert_eq!(subject.due_in(), Some(10));
    subject.pass(10);
    subject.poll();
    assert_eq!(subject.effects(), [Effect::Expired]);
    assert_eq!(subject.due_in(), None);
    subject.poll();
    assert_eq!(subject.effects(), []);
    let now = subject.now();
    subject.queue.touch(now);
    assert_eq!(subject.due_in(), Some(10));
}

#[test]
fn publishing_does_not_renew_the_lease_and_taking_does() {
    let mut subject = Subject::new(with_lease(10));
    subject.pass(4);
    subject.publish("a");
    assert_eq!(subject.due_in(), Some(6));
    assert!(subject.take().is_some());
    assert_eq!(subject.due_in(), Some(10));
    subject.pass(4);
    assert!(subject.take().is_none());
    assert_eq!(subject.due_in(), Some(10));
}

#[test]
fn the_lease_begins_when_the_last_consumer_goes() {
    let mut subject = Subject::new(with_lease(10));
    let consumers = [subject.consume(no_ack()), subject.consume(no_ack())];
    assert!(subject.cancel(consumers[0]));
    subject.pass(1_000);
    assert_eq!(subject.due_in(), None);
    assert!(subject.cancel(consumers[1]));
    assert_eq!(subject.due_in(), Some(10));
}

#[test]
fn a_changed_lease_begins_at_the_change() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.pass(1_000);
    subject.set_options(with_lease(10));
    assert_eq!(subject.due_in(), Some(10));
    subject.pass(5);
    subject.set_options(with_lease(10));
    assert_eq!(subject.due_in(), Some(5));
}
