//! Who gets the next message.

mod support;

use leveret_queue_store::{ConsumeError, ConsumerId, ConsumerOptions, QueueOptions, Settlement};
use support::{Subject, no_ack, prefetch};

fn single_active() -> QueueOptions {
    QueueOptions {
        single_active_consumer: true,
        ..QueueOptions::default()
    }
}

fn with_priority(priority: i64, options: ConsumerOptions) -> ConsumerOptions {
    ConsumerOptions {
        priority,
        ..options
    }
}

/// Publishes messages and says who got them.
#[track_caller]
fn receivers(subject: &mut Subject, messages: usize) -> Vec<ConsumerId> {
    (0..messages).for_each(|_| subject.publish("m"));
    subject
        .delivered()
        .into_iter()
        .map(|(consumer, _)| consumer)
        .collect()
}

#[test]
fn consumers_take_turns_in_the_order_in_which_they_came() {
    let mut subject = Subject::new(QueueOptions::default());
    let [a, b, c] = [(); 3].map(|()| subject.consume(no_ack()));
    assert_eq!(receivers(&mut subject, 5), [a, b, c, a, b]);
}

#[test]
fn what_was_there_first_is_shared_out_in_order() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1", "2", "3"]);
    let a = subject.consume(prefetch(2));
    let b = subject.consume(prefetch(1));
    let expected = [(a, "0"), (a, "1"), (b, "2")].map(|(to, body)| (to, body.to_owned()));
    assert_eq!(subject.delivered(), expected);
    assert_eq!(subject.queue.ready_len(), 1);
}

#[test]
fn a_consumer_whose_prefetch_is_used_up_is_passed_over_until_it_settles() {
    let mut subject = Subject::new(QueueOptions::default());
    let a = subject.consume(prefetch(1));
    let b = subject.consume(prefetch(2));
    subject.publish_all(&["0", "1", "2", "3"]);
    let deliveries = subject.deliveries();
    let to: Vec<_> = deliveries.iter().map(|(consumer, _)| *consumer).collect();
    assert_eq!(to, [a, b, b]);
    subject.settle(deliveries[0].1.id.expect("to be settled"), Settlement::Ack);
    assert_eq!(subject.delivered(), [(a, "3".to_owned())]);
}

#[test]
fn a_consumer_that_settles_before_its_turn_keeps_its_place() {
    let mut subject = Subject::new(QueueOptions::default());
    let [a, b, c] = [(); 3].map(|()| subject.consume(prefetch(1)));
    subject.publish_all(&["0", "1"]);
    let deliveries = subject.deliveries();
    let ids: Vec<_> = deliveries.iter().filter_map(|(_, got)| got.id).collect();
    // In the other order; had it left the line, b would come before a.
    subject.settle(ids[1], Settlement::Ack);
    subject.settle(ids[0], Settlement::Ack);
    assert_eq!(receivers(&mut subject, 3), [c, a, b]);
}

#[test]
fn a_consumer_that_has_enough_at_its_turn_comes_back_behind_the_others() {
    let mut subject = Subject::new(QueueOptions::default());
    let [a, b] = [(); 2].map(|()| subject.consume(prefetch(1)));
    subject.publish_all(&["0", "1", "2"]);
    let deliveries = subject.deliveries();
    let ids: Vec<_> = deliveries.iter().filter_map(|(_, got)| got.id).collect();
    subject.settle(ids[1], Settlement::Ack);
    assert_eq!(subject.delivered(), [(b, "2".to_owned())]);
    subject.settle(ids[0], Settlement::Ack);
    assert_eq!(receivers(&mut subject, 1), [a]);
}

#[test]
fn prefetch_does_not_limit_who_does_not_acknowledge_nor_who_takes() {
    let mut subject = Subject::new(QueueOptions::default());
    let a = subject.consume(ConsumerOptions {
        no_ack: true,
        ..prefetch(1)
    });
    assert_eq!(receivers(&mut subject, 3), [a, a, a]);
    assert_eq!(subject.queue.unacked_len(), 0);

    let mut subject = Subject::new(QueueOptions::default());
    subject.publish_all(&["0", "1"]);
    subject.take_id();
    subject.take_id();
    let b = subject.consume(prefetch(1));
    assert_eq!(receivers(&mut subject, 1), [b]);
}

#[test]
fn higher_priorities_get_everything_they_can_take() {
    let mut subject = Subject::new(QueueOptions::default());
    let low = subject.consume(with_priority(-1, no_ack()));
    let high = [(); 2].map(|()| subject.consume(with_priority(i64::MAX, prefetch(2))));
    let middle = subject.consume(prefetch(1));
    let expected = [high[0], high[1], high[0], high[1], middle, low, low];
    assert_eq!(receivers(&mut subject, 7), expected);
}

#[test]
fn a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has() {
    let mut subject = Subject::new(QueueOptions::default());
    let a = subject.consume(prefetch(0));
    subject.publish_all(&["0", "1"]);
    let ids: Vec<_> = subject
        .deliveries()
        .into_iter()
        .filter_map(|(_, d)| d.id)
        .collect();
    assert!(subject.cancel(a));
    assert!(!subject.cancel(a));
    assert!(!subject.queue.is_active(a));
    assert_eq!(subject.queue.consumer_len(), 0);
    subject.publish("2");
    assert_eq!(subject.delivered(), []);
    let has = |subject: &Subject| {
        subject
            .queue
            .unacked()
            .map(|held| held.consumer)
            .collect::<Vec<_>>()
    };
    assert_eq!(has(&subject), [Some(a), Some(a)]);
    subject.settle(ids[0], Settlement::Ack);
    assert_eq!(has(&subject), [Some(a)]);
    subject.settle(ids[1], Settlement::Requeue);
    assert_eq!(subject.take_all(), ["1", "2"]);
}

#[test]
fn the_id_of_a_consumer_that_went_does_not_name_the_next() {
    let mut subject = Subject::new(QueueOptions::default());
    let a = subject.consume(no_ack());
    assert!(subject.cancel(a));
    let b = subject.consume(no_ack());
    assert_ne!(a, b);
    assert_eq!(a.index(), b.index(), "its place in a table is used again");
    assert!(!subject.cancel(a));
    assert!(subject.queue.is_active(b));
}

#[test]
fn who_wants_to_be_alone_has_to_be() {
    let alone = || ConsumerOptions {
        exclusive: true,
        ..prefetch(1)
    };
    let refused = Err(ConsumeError::ExclusiveUse);
    let mut subject = Subject::new(QueueOptions::default());
    let now = subject.now();
    let a = subject.consume(prefetch(1));
    assert_eq!(
        subject.queue.consume(now, alone(), &mut Vec::new()),
        refused
    );
    assert!(subject.cancel(a));
    let b = subject.consume(alone());
    assert_eq!(
        subject.queue.consume(now, alone(), &mut Vec::new()),
        refused
    );
    assert_eq!(
        subject.queue.consume(now, no_ack(), &mut Vec::new()),
        refused
    );

    // What it leaves unsettled keeps nobody out.
    subject.publish("a");
    assert_eq!(subject.delivered(), [(b, "a".to_owned())]);
    assert!(subject.cancel(b));
    subject.consume(no_ack());

    let mut subject = Subject::new(single_active());
    assert_eq!(
        subject.queue.consume(now, alone(), &mut Vec::new()),
        refused
    );
}

#[test]
fn others_may_take_from_under_an_exclusive_consumer() {
    let mut subject = Subject::new(QueueOptions::default());
    subject.consume(ConsumerOptions {
        exclusive: true,
        ..prefetch(1)
    });
    subject.publish_all(&["0", "1"]);
    assert_eq!(subject.take_all(), ["1"]);
}

#[test]
fn the_single_active_consumer_gets_everything_until_it_goes() {
    let mut subject = Subject::new(single_active());
    let [a, b] = [(); 2].map(|()| subject.consume(prefetch(2)));
    let important = subject.consume(with_priority(1, no_ack()));
    let active = |subject: &Subject| [a, b, important].map(|id| subject.queue.is_active(id));
    assert_eq!(active(&subject), [true, false, false]);
    assert_eq!(subject.queue.consumer_len(), 3);

    subject.publish_all(&["0", "1", "2"]);
    let deliveries = subject.deliveries();
    assert!(deliveries.len() == 2 && deliveries.iter().all(|(to, _)| *to == a));

    // The next by priority, and what the first had stays with it.
    assert!(subject.cancel(a));
    assert_eq!(active(&subject), [false, false, true]);
    assert_eq!(subject.delivered(), [(important, "2".to_owned())]);
    assert_eq!(subject.queue.unacked_len(), 2);

    // Then by age.
    let c = subject.consume(prefetch(1));
    assert!(subject.cancel(important));
    assert_eq!(active(&subject), [false, true, false]);
    assert!(subject.cancel(b));
    assert!(subject.queue.is_active(c));
}

#[test]
fn a_consumer_standing_by_goes_without_notice() {
    let mut subject = Subject::new(single_active());
    let [a, b, c] = [(); 3].map(|()| subject.consume(no_ack()));
    assert!(subject.cancel(b));
    assert!(subject.cancel(a));
    assert!(subject.queue.is_active(c));
    assert_eq!(receivers(&mut subject, 1), [c]);
    assert!(subject.cancel(c));
    let d = subject.consume(no_ack());
    assert!(subject.queue.is_active(d));
}

#[test]
fn who_holds_what_and_since_when_can_be_seen() {
    let mut subject = Subject::new(QueueOptions::default());
    let (a, since) = (subject.consume(prefetch(1)), subject.now());
    subject.publish("to a");
    subject.pass(7);
    subject.publish("taken");
    subject.take_id();
    let mut held: Vec<_> = subject.queue.unacked().collect();
    held.sort_by_key(|held| held.since);
    assert_eq!(
        (held[0].consumer, held[0].since, held[0].message.body()),
        (Some(a), since, &b"to a"[..])
    );
    assert_eq!(
        (held[1].consumer, held[1].since),
        (None, since.saturating_add(7))
    );
    assert_eq!(subject.queue.unacked_bytes(), 9);
}
