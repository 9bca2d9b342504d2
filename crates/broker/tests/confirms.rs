//! Publisher confirms.

mod support;

use leveret_amqp_codec::method::{confirm, tx};
use leveret_broker::Value;
use support::{Confirmed, Wire, broker, table, until};

/// Hears confirms until `count` publishes have one; the outcome of each, by its number.
async fn outcomes(wire: &mut Wire, count: usize) -> Vec<bool> {
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        let (tag, multiple, acked) = match wire.confirmed().await {
            Confirmed::Ack { tag, multiple } => (tag, multiple, true),
            Confirmed::Nack { tag, multiple } => (tag, multiple, false),
        };
        let end = usize::try_from(tag).unwrap();
        assert!(
            if multiple {
                end > outcomes.len()
            } else {
                end == outcomes.len() + 1
            },
            "{tag} is confirmed in turn"
        );
        outcomes.resize(end, acked);
    }
    assert_eq!(
        outcomes.len(),
        count,
        "no more is confirmed than was published"
    );
    outcomes
}

#[tokio::test]
async fn numbers_begin_with_the_first_publish_after_select() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", "before").await;
    wire.select_confirms().await;
    for tag in 1..=3 {
        wire.publish("", "q", "after").await;
        assert_eq!(
            wire.confirmed().await,
            Confirmed::Ack {
                tag,
                multiple: false
            }
        );
    }
    assert_eq!(wire.count("q").await, 4);
}

#[tokio::test]
async fn selecting_again_changes_nothing() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.select_confirms().await;
    wire.publish("", "nowhere", "").await;
    wire.confirmed().await;
    wire.select_confirms().await;
    wire.publish("", "nowhere", "").await;
    assert_eq!(
        wire.confirmed().await,
        Confirmed::Ack {
            tag: 2,
            multiple: false
        }
    );
}

#[tokio::test]
async fn every_publish_of_many_is_confirmed_once() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.select_confirms().await;
    wire.publish_all("q", 0..1000).await;
    assert_eq!(outcomes(&mut wire, 1000).await, [true; 1000]);
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 1000);
}

#[tokio::test]
async fn a_full_queue_that_rejects_has_its_publishes_nacked_one_by_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with(
        "q",
        &table([
            ("x-max-length", 2.into()),
            ("x-overflow", "reject-publish".into()),
        ]),
    )
    .await;
    wire.select_confirms().await;
    wire.publish_all("q", 0..5).await;
    assert_eq!(
        outcomes(&mut wire, 5).await,
        [true, true, false, false, false]
    );
    assert_eq!(wire.drain("q").await, ["0", "1"]);
}

#[tokio::test]
async fn a_nack_is_not_swallowed_by_the_acks_around_it() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("good").await;
    wire.declare_with(
        "full",
        &table([
            ("x-max-length", 0.into()),
            ("x-overflow", "reject-publish".into()),
        ]),
    )
    .await;
    wire.select_confirms().await;
    // In one write, so that the broker sees all of them together.
    let mut bytes = Vec::new();
    for queue in ["good", "good", "full", "good", "full", "good"] {
        let publish = leveret_amqp_codec::method::basic::Publish {
            routing_key: support::short(queue),
            ..Default::default()
        };
        bytes.extend(wire.publish_bytes(&publish, &Default::default(), b"m"));
    }
    wire.send_bytes(&bytes).await;
    assert_eq!(
        outcomes(&mut wire, 6).await,
        [true, true, false, true, false, true]
    );
}

#[tokio::test]
async fn one_queue_of_several_that_rejects_is_enough_for_a_nack() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("roomy").await;
    wire.declare_with(
        "full",
        &table([
            ("x-max-length", 0.into()),
            ("x-overflow", "reject-publish".into()),
        ]),
    )
    .await;
    for queue in ["roomy", "full"] {
        wire.bind(queue, "amq.fanout", "").await;
    }
    wire.select_confirms().await;
    wire.publish("amq.fanout", "", "m").await;
    assert_eq!(
        wire.confirmed().await,
        Confirmed::Nack {
            tag: 1,
            multiple: false
        }
    );
    assert_eq!(
        wire.drain("roomy").await,
        ["m"],
        "the other queue keeps its copy"
    );
}

#[tokio::test]
async fn what_no_queue_wants_and_what_dies_at_once_is_confirmed() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("gone", &table([("x-message-ttl", 0.into())]))
        .await;
    wire.declare_with("none", &table([("x-max-length", 0.into())]))
        .await;
    wire.select_confirms().await;
    for (tag, queue) in [(1, "nowhere"), (2, "gone"), (3, "none")] {
        wire.publish("", queue, "m").await;
        assert_eq!(
            wire.confirmed().await,
            Confirmed::Ack {
                tag,
                multiple: false
            },
            "to {queue}"
        );
    }
}

#[tokio::test]
async fn each_channel_counts_for_itself() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.select_confirms().await;
    wire.publish("", "nowhere", "").await;
    wire.confirmed().await;
    wire.open_channel(2).await;
    wire.publish("", "nowhere", "nobody counts this").await;
    wire.quiet().await;
    wire.select_confirms().await;
    wire.publish("", "nowhere", "").await;
    assert_eq!(
        wire.confirmed().await,
        Confirmed::Ack {
            tag: 1,
            multiple: false
        }
    );
}

#[tokio::test]
async fn confirms_and_transactions_exclude_each_other() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.select_confirms().await;
    wire.send(&tx::Select {}).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            406,
            "PRECONDITION_FAILED - cannot switch from confirm to tx mode"
        )
    );

    wire.open_channel(1).await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire.send(&confirm::Select { no_wait: false }).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            406,
            "PRECONDITION_FAILED - cannot switch from tx to confirm mode"
        )
    );
}

#[tokio::test]
async fn a_missing_exchange_closes_the_channel_after_the_confirms_that_were_due() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.select_confirms().await;
    wire.publish("", "q", "first").await;
    wire.publish("zorp", "q", "second").await;
    wire.publish("", "q", "third").await;
    assert_eq!(
        wire.confirmed().await,
        Confirmed::Ack {
            tag: 1,
            multiple: false
        }
    );
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (404, (60, 40)));
    assert_eq!(closed.text, "NOT_FOUND - no exchange 'zorp' in vhost '/'");
    wire.open_channel(1).await;
    assert_eq!(
        wire.drain("q").await,
        ["first"],
        "what came after the error is lost"
    );
}

#[tokio::test]
async fn what_is_confirmed_is_there_when_the_publisher_is_gone() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.select_confirms().await;
    wire.publish_all("q", 0..10).await;
    outcomes(&mut wire, 10).await;
    drop(wire);
    until("the publisher to be gone", || {
        broker.connection_count() == 0
    })
    .await;
    let mut other = Wire::open(&broker).await;
    assert_eq!(other.count("q").await, 10);
}

#[tokio::test]
async fn a_queue_that_is_deleted_leaves_no_confirm_open() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-max-priority", Value::from(3))]))
        .await;
    wire.select_confirms().await;
    wire.publish("", "q", "m").await;
    wire.send(&leveret_amqp_codec::method::queue::Delete {
        queue: support::short("q"),
        ..Default::default()
    })
    .await;
    assert_eq!(
        wire.confirmed().await,
        Confirmed::Ack {
            tag: 1,
            multiple: false
        }
    );
    wire.expect("queue.delete-ok").await;
    wire.publish("", "q", "m").await;
    assert_eq!(
        wire.confirmed().await,
        Confirmed::Ack {
            tag: 2,
            multiple: false
        }
    );
}
