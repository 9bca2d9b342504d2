//! How many deliveries may be unacknowledged: by consumer, by channel, over several queues.

mod support;

use leveret_amqp_codec::method::basic;
use support::{Wire, broker, short};

/// A connection with messages `0`, `1`, ... in the queue `q`.
async fn with_messages(broker: &leveret_broker::Broker, count: u32) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..count).await;
    wire
}

async fn consume_as(wire: &mut Wire, queue: &str, consumer_tag: &str) {
    let consume = basic::Consume {
        queue: short(queue),
        consumer_tag: short(consumer_tag),
        ..basic::Consume::default()
    };
    wire.consume_with(&consume).await;
}

#[tokio::test]
async fn a_consumer_gets_as_many_as_its_limit_and_one_for_each_it_acknowledges() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 6).await;
    wire.prefetch(2, false).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
    wire.quiet().await;
    wire.ack(2).await;
    assert_eq!(wire.deliveries(1).await, ["2"]);
    wire.quiet().await;
    wire.ack_up_to(3).await;
    assert_eq!(wire.deliveries(2).await, ["3", "4"]);
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 1);
}

#[tokio::test]
async fn rejecting_makes_room_too() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 3).await;
    wire.prefetch(1, false).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(1).await, ["0"]);
    wire.nack(1, false).await;
    assert_eq!(wire.deliveries(1).await, ["1"]);
    wire.nack(2, true).await;
    assert_eq!(wire.deliveries(1).await, ["1"]);
}

#[tokio::test]
async fn each_consumer_has_a_limit_of_its_own() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 10).await;
    wire.prefetch(2, false).await;
    for tag in ["a", "b"] {
        consume_as(&mut wire, "q", tag).await;
        let (first, second) = (wire.delivery().await, wire.delivery().await);
        assert_eq!((&*first.consumer_tag, &*second.consumer_tag), (tag, tag));
    }
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 6);
}

#[tokio::test]
async fn a_limit_holds_for_consumers_that_are_started_later() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 5).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(5).await.len(), 5);
    wire.prefetch(1, false).await;
    wire.publish_all("q", 5..8).await;
    assert_eq!(wire.deliveries(3).await, ["5", "6", "7"]);
}

#[tokio::test]
async fn a_limit_of_the_channel_is_shared_by_its_consumers() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 10).await;
    wire.prefetch(3, true).await;
    consume_as(&mut wire, "q", "a").await;
    assert_eq!(wire.deliveries(3).await, ["0", "1", "2"]);
    consume_as(&mut wire, "q", "b").await;
    wire.quiet().await;
    wire.ack(1).await;
    assert_eq!(wire.deliveries(1).await, ["3"]);
    wire.quiet().await;
}

#[tokio::test]
async fn a_limit_of_the_channel_spans_several_queues() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 2).await;
    wire.declare("r").await;
    wire.publish_all("r", ["r0", "r1"]).await;
    wire.prefetch(2, true).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
    wire.consume("r").await;
    wire.quiet().await;
    wire.ack(1).await;
    assert_eq!(
        wire.deliveries(1).await,
        ["r0"],
        "a queue hears of room that another queue's message made"
    );
    wire.ack_up_to(0).await;
    assert_eq!(wire.deliveries(1).await, ["r1"]);
}

#[tokio::test]
async fn room_that_another_channel_makes_is_not_shared() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 4).await;
    wire.prefetch(1, true).await;
    consume_as(&mut wire, "q", "a").await;
    assert_eq!(wire.deliveries(1).await, ["0"]);
    wire.open_channel(2).await;
    wire.prefetch(1, true).await;
    consume_as(&mut wire, "q", "b").await;
    let delivered = wire.delivery().await;
    assert_eq!(
        (delivered.tag, delivered.text()),
        (1, "1"),
        "tags and limits are the channel's own"
    );
    wire.ack(1).await;
    assert_eq!(wire.deliveries(1).await, ["2"]);
    wire.quiet().await;
}

#[tokio::test]
async fn raising_the_limit_of_the_channel_lets_more_through_at_once() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 5).await;
    wire.prefetch(1, true).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(1).await, ["0"]);
    wire.send(&basic::Qos {
        prefetch_size: 0,
        prefetch_count: 3,
        global: true,
    })
    .await;
    // What it lets through and the answer to it may come in either order.
    let mut texts = Vec::new();
    for _ in 0..3 {
        let heard = wire.hear().await.unwrap();
        if heard.method().name() == "basic.deliver" {
            texts.push(heard.into_delivered().text().to_owned());
        }
    }
    assert_eq!(texts, ["1", "2"]);
    wire.prefetch(0, true).await;
    assert_eq!(wire.deliveries(2).await, ["3", "4"]);
}

#[tokio::test]
async fn both_kinds_of_limits_hold_together() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 10).await;
    wire.prefetch(2, false).await;
    wire.prefetch(3, true).await;
    consume_as(&mut wire, "q", "a").await;
    assert_eq!(
        wire.deliveries(2).await,
        ["0", "1"],
        "the limit of the consumer"
    );
    consume_as(&mut wire, "q", "b").await;
    assert_eq!(wire.deliveries(1).await, ["2"], "the limit of the channel");
    wire.quiet().await;
}

#[tokio::test]
async fn what_is_got_and_what_needs_no_acknowledgement_does_not_count() {
    let broker = broker().await;
    let mut wire = with_messages(&broker, 5).await;
    wire.prefetch(1, false).await;
    assert_eq!(wire.get("q").await.unwrap().text(), "0");
    wire.consume("q").await;
    assert_eq!(wire.deliveries(1).await, ["1"]);
    wire.cancel("q").await;
    wire.consume_no_ack("q").await;
    assert_eq!(wire.deliveries(3).await, ["2", "3", "4"]);
}

#[tokio::test]
async fn consumers_take_turns_and_pass_over_who_is_full() {
    let broker = broker().await;
    let mut slow = Wire::open(&broker).await;
    slow.declare("q").await;
    slow.prefetch(1, false).await;
    slow.consume("q").await;
    let mut quick = Wire::open(&broker).await;
    quick.consume_no_ack("q").await;
    let mut publisher = Wire::open(&broker).await;
    publisher.publish_all("q", 0..6).await;
    publisher.quiet().await;
    assert_eq!(slow.deliveries(1).await, ["0"]);
    slow.quiet().await;
    assert_eq!(quick.deliveries(5).await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_limit_in_bytes_is_not_supported() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&basic::Qos {
        prefetch_size: 10,
        prefetch_count: 0,
        global: false,
    })
    .await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)")
    );
}

#[tokio::test]
async fn a_limit_for_each_consumer_lifts_the_shared_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.prefetch(1, true).await;
    wire.consume("q").await;
    wire.publish_all("q", ["1", "2", "3"]).await;
    assert_eq!(wire.deliveries(1).await, ["1"]);
    wire.quiet().await;
    wire.prefetch(10, false).await;
    assert_eq!(wire.deliveries(2).await, ["2", "3"]);
}
