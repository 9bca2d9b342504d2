//! How much a queue may hold, and what happens to what is too much.

mod support;

use leveret_broker::{Broker, Value};
use support::{Wire, broker, table};

/// A queue `q` with these arguments, whose dead go to the queue `dead`.
async fn with_queue<const N: usize>(broker: &Broker, arguments: [(&str, Value); N]) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare("dead").await;
    let mut arguments = table(arguments);
    arguments.insert("x-dead-letter-exchange", "");
    arguments.insert("x-dead-letter-routing-key", "dead");
    wire.declare_with("q", &arguments).await;
    wire
}

#[tokio::test]
async fn the_oldest_messages_make_room() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-max-length", 3.into())]).await;
    wire.publish_all("q", 0..5).await;
    assert_eq!(wire.drain("q").await, ["2", "3", "4"]);
    assert_eq!(wire.drain("dead").await, ["0", "1"]);
}

#[tokio::test]
async fn bytes_are_those_of_bodies() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-max-length-bytes", 10.into())]).await;
    wire.publish_all("q", ["12345", "67890"]).await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 2, "exactly full is not too much");
    wire.publish("", "q", "x").await;
    assert_eq!(wire.drain("q").await, ["67890", "x"]);
    wire.publish_all("q", ["a message that alone is too large"])
        .await;
    assert_eq!(wire.drain("q").await, Vec::<String>::new());
    assert_eq!(
        wire.drain("dead").await,
        ["12345", "a message that alone is too large"]
    );
}

#[tokio::test]
async fn whichever_limit_is_reached_first_acts() {
    let broker = broker().await;
    let mut wire = with_queue(
        &broker,
        [("x-max-length", 3.into()), ("x-max-length-bytes", 4.into())],
    )
    .await;
    wire.publish_all("q", ["a", "b", "c", "d"]).await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 3);
    wire.publish("", "q", "long").await;
    assert_eq!(wire.drain("q").await, ["long"]);
}

#[tokio::test]
async fn what_consumers_hold_does_not_count() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-max-length", 1.into())]).await;
    for text in ["0", "1", "2"] {
        wire.publish("", "q", text).await;
        assert_eq!(wire.get("q").await.unwrap().text(), text);
    }
    wire.publish("", "q", "3").await;
    assert_eq!(wire.count("dead").await, 0);
}

#[tokio::test]
async fn what_comes_back_to_a_full_queue_is_the_first_to_go() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-max-length", 1.into())]).await;
    wire.publish("", "q", "old").await;
    let old = wire.get("q").await.unwrap();
    wire.publish("", "q", "new").await;
    wire.nack(old.tag, true).await;
    assert_eq!(wire.drain("q").await, ["new"]);
    assert_eq!(wire.drain("dead").await, ["old"]);
}

#[tokio::test]
async fn a_queue_without_room_hands_straight_through() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-max-length", 0.into())]).await;
    wire.publish("", "q", "nobody waits").await;
    wire.prefetch(1, false).await;
    wire.consume("q").await;
    wire.publish_all("q", ["through", "no credit"]).await;
    assert_eq!(wire.deliveries(1).await, ["through"]);
    wire.quiet().await;
    assert_eq!(wire.drain("dead").await, ["nobody waits", "no credit"]);
}

#[tokio::test]
async fn rejecting_keeps_the_old_and_drops_the_new() {
    let broker = broker().await;
    let mut wire = with_queue(
        &broker,
        [
            ("x-max-length", 2.into()),
            ("x-overflow", "reject-publish".into()),
        ],
    )
    .await;
    wire.publish_all("q", 0..4).await;
    assert_eq!(wire.drain("q").await, ["0", "1"]);
    assert_eq!(wire.count("dead").await, 0);
    wire.publish("", "q", "4").await;
    assert_eq!(wire.drain("q").await, ["4"], "there is room again");
}

#[tokio::test]
async fn rejecting_may_dead_letter_the_new() {
    let broker = broker().await;
    let arguments = [
        ("x-max-length", 2.into()),
        ("x-overflow", "reject-publish-dlx".into()),
    ];
    let mut wire = with_queue(&broker, arguments).await;
    wire.publish_all("q", 0..4).await;
    assert_eq!(wire.drain("q").await, ["0", "1"]);
    assert_eq!(wire.drain("dead").await, ["2", "3"]);
}

#[tokio::test]
async fn of_a_queue_with_priorities_the_head_is_the_highest() {
    let broker = broker().await;
    let mut wire = with_queue(
        &broker,
        [("x-max-length", 3.into()), ("x-max-priority", 5.into())],
    )
    .await;
    for priority in [1, 5, 3, 1, 5, 0, 2] {
        let properties = leveret_broker::Properties {
            priority: Some(priority),
            ..Default::default()
        };
        wire.publish_with("", "q", &properties, priority.to_string())
            .await;
    }
    assert_eq!(wire.drain("q").await, ["1", "1", "0"]);
}

#[tokio::test]
async fn a_message_larger_than_the_broker_takes_closes_the_channel() {
    let broker = support::start(Broker::builder().message_size_max(100_000)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", vec![0; 100_000]).await;
    wire.quiet().await;
    // Announced: refused before the body has come. Whole in one read: refused all the same.
    for size in [100_001, 1_000_000] {
        wire.publish("", "q", vec![0; size]).await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!((closed.code, closed.method), (406, (60, 40)));
        let text = format!(
            "PRECONDITION_FAILED - message size {size} is larger than configured max size 100000"
        );
        assert_eq!(closed.text, text);
        wire.open_channel(1).await;
    }
    assert_eq!(wire.count("q").await, 1);
}
