//! What happens when a queue is full, and what with priorities.

mod support;

use leveret_queue_store::{
    DeathReason, MessageParts, Overflow, Published, QueueOptions, Settlement,
};
use support::{Subject, message, no_ack, parts, prefetch};

fn with_length(max_length: u64) -> QueueOptions {
    QueueOptions {
        max_length: Some(max_length),
        ..QueueOptions::default()
    }
}

fn dropped(body: &str) -> (String, DeathReason) {
    (body.to_owned(), DeathReason::MaxLength)
}

#[track_caller]
fn publish_priorities(subject: &mut Subject, priorities: &[u8]) {
    for priority in priorities {
        let body = priority.to_string();
        let parts = MessageParts {
            priority: *priority,
            ..parts(&body)
        };
        assert!(subject.offer(&parts).is_accepted());
    }
}

#[test]
fn the_oldest_is_dropped_for_the_newest() {
    let mut subject = Subject::new(with_length(2));
    subject.publish_all(&["0", "1", "2", "3"]);
    assert_eq!(subject.dead(), [dropped("0"), dropped("1")]);
    assert_eq!(subject.take_all(), ["2", "3"]);
}

#[test]
fn bytes_of_bodies_count() {
    let options = QueueOptions {
        max_length_bytes: Some(5),
        ..QueueOptions::default()
    };
    let mut subject = Subject::new(options);
    let parts = MessageParts {
        exchange: "not counted",
        ..parts("12345")
    };
    assert!(subject.offer(&parts).is_accepted());
    assert_eq!(subject.dead(), []);
    subject.publish("6");
    assert_eq!(subject.dead(), [dropped("12345")]);
    subject.publish("too long");
    assert_eq!(subject.dead(), [dropped("6"), dropped("too long")]);
}

#[test]
fn only_what_is_ready_counts() {
    let mut subject = Subject::new(with_length(1));
    subject.publish("0");
    subject.take_id();
    subject.publish("1");
    assert_eq!(subject.effects(), []);
}

#[test]
fn at_length_zero_only_who_waits_gets_the_message() {
    let mut subject = Subject::new(with_length(0));
    subject.publish("nobody");
    assert_eq!(subject.dead(), [dropped("nobody")]);
    let consumer = subject.consume(no_ack());
    subject.publish("waiting");
    assert_eq!(subject.delivered(), [(consumer, "waiting".to_owned())]);
}

#[test]
fn a_refused_message_comes_back_to_its_publisher() {
    let options = QueueOptions {
        overflow: Overflow::RejectPublish,
        ..with_length(1)
    };
    let mut subject = Subject::new(options);
    subject.publish("0");
    assert_eq!(
        subject.offer(&parts("1")),
        Published::Rejected(message("1"))
    );
    assert_eq!(subject.effects(), []);
    assert_eq!(subject.take_all(), ["0"]);
    subject.publish("2");
}

#[test]
fn a_refused_message_may_die_as_well() {
    let options = QueueOptions {
        overflow: Overflow::RejectPublishDlx,
        ..with_length(1)
    };
    let mut subject = Subject::new(options);
    subject.publish("0");
    assert_eq!(
        subject.offer(&parts("1")),
        Published::Rejected(message("1"))
    );
    assert_eq!(subject.dead(), [dropped("1")]);
}

#[test]
fn a_queue_that_refuses_does_so_whoever_is_waiting() {
    let options = QueueOptions {
        overflow: Overflow::RejectPublish,
        ..with_length(0)
    };
    let mut subject = Subject::new(options);
    subject.consume(no_ack());
    assert_eq!(
        subject.offer(&parts("a")),
        Published::Rejected(message("a"))
    );
}

#[test]
fn a_message_that_comes_back_may_be_the_one_dropped() {
    let mut subject = Subject::new(with_length(1));
    subject.publish("0");
    let id = subject.take_id();
    subject.publish("1");
    subject.settle(id, Settlement::Requeue);
    assert_eq!(subject.dead(), [dropped("0")]);
    assert_eq!(subject.take_all(), ["1"]);
}

#[test]
fn a_queue_that_refuses_takes_back_more_than_its_limit() {
    let options = QueueOptions {
        overflow: Overflow::RejectPublish,
        ..with_length(1)
    };
    let mut subject = Subject::new(options);
    subject.publish("0");
    let id = subject.take_id();
    subject.publish("1");
    subject.settle(id, Settlement::Requeue);
    assert_eq!(subject.effects(), []);
    assert_eq!(subject.take_all(), ["0", "1"]);
}

#[test]
fn a_queue_that_refuses_beyond_its_limit_goes_beyond_it_once() {
    let options = QueueOptions {
        overflow: Overflow::RejectPublishBeyond,
        max_length_bytes: Some(5),
        ..QueueOptions::default()
    };
    for (options, bodies) in [
        (
            QueueOptions {
                overflow: Overflow::RejectPublishBeyond,
                ..with_length(1)
            },
            ["a", "b"],
        ),
        (options, ["1234", "56"]),
    ] {
        let mut subject = Subject::new(options);
        subject.publish_all(&bodies);
        assert!(!subject.offer(&parts("")).is_accepted());
        assert_eq!(subject.effects(), []);
        let _ = subject.take_id();
        subject.publish("next");
    }
}

#[test]
fn a_lowered_limit_drops_at_once() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1", "2"]);
    subject.set_options(with_length(1));
    assert_eq!(subject.dead(), [dropped("0"), dropped("1")]);
}

#[test]
fn what_is_overdue_does_not_cost_another_its_place() {
    let options = QueueOptions {
        message_ttl_ms: Some(10),
        ..with_length(2)
    };
    let mut subject = Subject::new(options);
    subject.publish("old");
    subject.pass(5);
    subject.publish("young");
    subject.pass(5);
    subject.publish("new");
    assert_eq!(subject.dead(), [("old".to_owned(), DeathReason::Expired)]);
    assert_eq!(subject.take_all(), ["young", "new"]);
}

#[test]
fn priorities_come_highest_first_and_in_order_within() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 5,
        ..QueueOptions::default()
    });
    publish_priorities(&mut subject, &[0, 1, 9, 3, 0, 5]);
    // 9 counts as 5 and came first.
    assert_eq!(subject.take_all(), ["9", "5", "3", "1", "0", "0"]);
}

#[test]
fn without_priorities_they_make_no_difference() {
    let mut subject = Subject::new(QueueOptions::default());
    publish_priorities(&mut subject, &[0, 9, 3]);
    assert_eq!(subject.take_all(), ["0", "9", "3"]);
}

#[test]
fn with_priorities_the_most_important_are_dropped() {
    let options = QueueOptions {
        max_priority: 5,
        ..with_length(3)
    };
    let mut subject = Subject::new(options);
    publish_priorities(&mut subject, &[1, 5, 3, 1, 5, 0, 2]);
    assert_eq!(subject.dead(), ["5", "5", "3", "2"].map(dropped));
    assert_eq!(subject.take_all(), ["1", "1", "0"]);
}

#[test]
fn a_message_keeps_its_place_within_its_priority_when_it_comes_back() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 255,
        ..QueueOptions::default()
    });
    publish_priorities(&mut subject, &[200, 7, 255]);
    let ids = [subject.take_id(), subject.take_id()];
    publish_priorities(&mut subject, &[200, 255]);
    assert_eq!(subject.settle_many(&ids, Settlement::Requeue), 2);
    let counts: Vec<_> = subject
        .browsed()
        .map(|browsed| browsed.delivery_count)
        .collect();
    assert_eq!(counts, [1, 0, 1, 0, 0]);
    assert_eq!(subject.take_all(), ["255", "255", "200", "200", "7"]);
}

#[test]
fn a_full_consumer_hides_no_priority_from_the_next_message() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 9,
        ..QueueOptions::default()
    });
    subject.consume(prefetch(1));
    publish_priorities(&mut subject, &[0, 1, 9]);
    let first = subject.deliveries().remove(0).1.id.expect("to be settled");
    subject.settle(first, Settlement::Ack);
    let next: Vec<_> = subject
        .delivered()
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    assert_eq!(next, ["9"]);
}

#[test]
fn what_a_queue_is_made_with_stays() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 5,
        ..QueueOptions::default()
    });
    subject.set_options(QueueOptions {
        max_priority: 0,
        ..with_length(7)
    });
    let expected = QueueOptions {
        max_priority: 5,
        ..with_length(7)
    };
    assert_eq!(subject.queue.options(), &expected);
}
