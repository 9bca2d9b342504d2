//! Where messages go that come back, and how often they may.

mod support;

use leveret_queue_store::{
    DeathReason, Effect, QueueOptions, RequeueOrder, Settlement, UnknownDelivery,
};
use support::{Subject, message, no_ack, prefetch};

fn quorum(delivery_limit: Option<u32>) -> QueueOptions {
    QueueOptions {
        requeue: RequeueOrder::Returns,
        delivery_limit,
        ..QueueOptions::default()
    }
}

/// Publishes 0 to 4, takes three and puts them back in the order 1, 0, 2.
fn put_back_three(options: QueueOptions, how: Settlement) -> Subject {
    let mut subject = Subject::new(options);
    subject.publish_all(&["0", "1", "2", "3", "4"]);
    let ids = [(); 3].map(|()| subject.take_id());
    for index in [1, 0, 2] {
        subject.settle(ids[index], how);
    }
    subject
}

#[test]
fn requeued_message_keeps_its_place() {
    let mut subject = put_back_three(QueueOptions::default(), Settlement::Requeue);
    assert_eq!(subject.take_all(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn returned_messages_go_first_in_the_order_of_return() {
    let mut subject = put_back_three(quorum(Some(20)), Settlement::Requeue);
    assert_eq!(subject.take_all(), ["1", "0", "2", "3", "4"]);
}

#[test]
fn without_a_delivery_limit_returned_messages_go_to_the_back() {
    let mut subject = put_back_three(quorum(None), Settlement::Requeue);
    assert_eq!(subject.take_all(), ["3", "4", "1", "0", "2"]);
}

#[test]
fn what_is_abandoned_goes_first_with_a_delivery_limit_or_without() {
    for options in [quorum(None), quorum(Some(20))] {
        let mut subject = put_back_three(options, Settlement::Abandon);
        assert_eq!(subject.take_all(), ["1", "0", "2", "3", "4"]);
    }
    let mut subject = put_back_three(QueueOptions::default(), Settlement::Abandon);
    assert_eq!(subject.take_all(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn what_a_withdrawn_consumer_had_comes_before_what_waited_behind_it() {
    for requeue in [RequeueOrder::OldPlace, RequeueOrder::Returns] {
        let mut subject = Subject::new(QueueOptions {
            single_active_consumer: true,
            requeue,
            ..QueueOptions::default()
        });
        let (active, next) = (subject.consume(prefetch(2)), subject.consume(no_ack()));
        subject.publish_all(&["0", "1", "2"]);
        let ids: Vec<_> = subject
            .deliveries()
            .into_iter()
            .filter_map(|(_, delivery)| delivery.id)
            .collect();
        assert!(subject.withdraw(active));
        assert_eq!(subject.effects(), []);
        subject.settle_many(&ids, Settlement::Abandon);
        let expected = ["0", "1", "2"].map(|body| (next, body.to_owned()));
        assert_eq!(subject.delivered(), expected);
    }
}

#[test]
fn messages_put_back_together_are_delivered_in_their_old_order() {
    let mut subject = Subject::new(QueueOptions::default());
    let first = subject.consume(prefetch(3));
    subject.publish_all(&["0", "1", "2"]);
    let ids: Vec<_> = subject
        .deliveries()
        .into_iter()
        .filter_map(|(_, d)| d.id)
        .collect();
    assert!(subject.cancel(first));
    let second = subject.consume(no_ack());
    assert_eq!(
        subject.settle_many(&[ids[2], ids[0], ids[1]], Settlement::Requeue),
        3
    );
    let expected = ["0", "1", "2"].map(|body| (second, body.to_owned()));
    assert_eq!(subject.delivered(), expected);
}

#[test]
fn redelivery_is_marked_and_counted() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish("a");
    for count in 0..3 {
        let delivery = subject.take().expect("it is there");
        assert_eq!(
            (delivery.redelivered, delivery.delivery_count),
            (count > 0, count)
        );
        subject.settle(
            delivery.id.expect("it has to be settled"),
            Settlement::Requeue,
        );
    }
    let browsed = subject.browsed().next().expect("it is there");
    assert_eq!((browsed.redelivered, browsed.delivery_count), (true, 3));
}

#[test]
fn a_message_dies_when_it_has_come_back_more_often_than_the_limit() {
    let mut subject = Subject::new(quorum(Some(2)));
    subject.publish("a");
    for _ in 0..2 {
        let id = subject.take_id();
        subject.settle(id, Settlement::Requeue);
        assert_eq!(subject.effects(), []);
    }
    let id = subject.take_id();
    subject.settle(id, Settlement::Requeue);
    let reason = DeathReason::DeliveryLimit;
    let dead = Effect::Dead {
        message: message("a"),
        reason,
        delivery_count: 3,
        stored: None,
    };
    assert_eq!(subject.effects(), [dead]);
    assert_eq!(
        (subject.queue.ready_len(), subject.queue.unacked_len()),
        (0, 0)
    );
}

#[test]
fn discarded_messages_die_in_the_order_given() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1"]);
    let ids = [(); 2].map(|()| subject.take_id());
    assert_eq!(subject.settle_many(&ids, Settlement::Discard), 2);
    let rejected = |body: &str| (body.to_owned(), DeathReason::Rejected);
    assert_eq!(subject.dead(), [rejected("0"), rejected("1")]);
}

#[test]
fn a_delivery_is_settled_once() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1"]);
    let first = subject.take_id();
    subject.settle(first, Settlement::Requeue);
    // The same message in the same slot is another delivery.
    let second = subject.take_id();
    assert_ne!(first, second);
    let now = subject.now();
    for how in [Settlement::Ack, Settlement::Requeue, Settlement::Discard] {
        let settled = subject.queue.settle(now, first, how, &mut Vec::new());
        assert_eq!(settled, Err(UnknownDelivery));
    }
    assert_eq!(
        subject.settle_many(&[first, second, second], Settlement::Ack),
        1
    );
    assert_eq!(subject.take_all(), ["1"]);
}

#[test]
fn order_holds_over_many_chunks_with_some_coming_back() {
    const MESSAGES: usize = 5_000;
    let mut subject = Subject::new(QueueOptions::default());
    let bodies: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    bodies.iter().for_each(|body| subject.publish(body));
    let ids: Vec<_> = (0..2_000).map(|_| subject.take_id()).collect();
    let (odd, even): (Vec<_>, Vec<_>) = ids
        .iter()
        .partition(|id| **id > ids[0] && id < &&ids[1_500]);
    assert_eq!(subject.settle_many(&odd, Settlement::Requeue), 1_499);
    assert_eq!(subject.settle_many(&even, Settlement::Requeue), 501);
    assert_eq!(subject.queue.ready_len(), MESSAGES);
    assert_eq!(subject.take_all(), bodies);
}

#[test]
fn purge_takes_what_is_ready_and_nothing_else() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1", "2"]);
    let id = subject.take_id();
    assert_eq!(subject.purge(), 2);
    assert_eq!(subject.purge(), 0);
    assert_eq!(
        (subject.queue.ready_bytes(), subject.queue.unacked_bytes()),
        (0, 1)
    );
    subject.publish("3");
    subject.settle(id, Settlement::Requeue);
    assert_eq!(subject.effects(), []);
    assert_eq!(subject.take_all(), ["0", "3"]);
}
