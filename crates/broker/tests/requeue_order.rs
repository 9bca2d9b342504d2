//! What comes back to a queue takes its old place.

mod support;

use leveret_amqp_codec::method::basic;
use leveret_broker::{Broker, Value};
use support::{Wire, broker, short, table, until};

/// Consumes five messages, `0` to `4`, and cancels the consumer, so that what goes back stays in the queue.
async fn with_five(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..5).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(5).await, ["0", "1", "2", "3", "4"]);
    wire.cancel("q").await;
    wire
}

#[tokio::test]
async fn requeued_messages_keep_their_places_whatever_the_order_they_come_in() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    for tag in [2, 1, 3] {
        wire.nack(tag, true).await;
    }
    for tag in [5, 4] {
        wire.send(&basic::Reject {
            delivery_tag: tag,
            requeue: true,
        })
        .await;
    }
    assert_eq!(wire.drain("q").await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn they_come_before_what_has_arrived_since() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.publish("", "q", "5").await;
    wire.nack(4, true).await;
    wire.ack_up_to(3).await;
    assert_eq!(wire.drain("q").await, ["3", "5"]);
}

#[tokio::test]
async fn nacking_up_to_a_tag_brings_all_of_them_back() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.ack(2).await;
    wire.send(&basic::Nack {
        delivery_tag: 4,
        multiple: true,
        requeue: true,
    })
    .await;
    assert_eq!(wire.drain("q").await, ["0", "2", "3"]);
    assert_eq!(wire.count("q").await, 0, "the fifth is still outstanding");
    wire.nack(5, true).await;
    assert_eq!(wire.drain("q").await, ["4"]);
}

#[tokio::test]
async fn they_are_marked_as_redelivered() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.publish("", "q", "new").await;
    wire.nack(1, true).await;
    let (old, new) = (wire.get("q").await.unwrap(), wire.get("q").await.unwrap());
    assert_eq!((old.text(), old.redelivered), ("0", true));
    assert_eq!((new.text(), new.redelivered), ("new", false));
}

#[tokio::test]
async fn a_channel_that_closes_has_given_everything_back_when_it_says_so() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.ack(3).await;
    wire.close_channel().await;
    wire.open_channel(1).await;
    let declared = wire.look("q").await;
    assert_eq!((declared.messages, declared.consumers), (4, 0));
    assert!(wire.get("q").await.unwrap().redelivered);
    assert_eq!(wire.drain("q").await, ["1", "3", "4"]);
}

#[tokio::test]
async fn a_connection_that_closes_has_given_everything_back_when_it_says_so() {
    let broker = broker().await;
    let wire = with_five(&broker).await;
    let mut other = Wire::open(&broker).await;
    wire.close().await;
    assert_eq!(other.drain("q").await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_connection_that_breaks_gives_everything_back() {
    let broker = broker().await;
    let wire = with_five(&broker).await;
    let mut other = Wire::open(&broker).await;
    drop(wire);
    until("the broken connection to be noticed", || {
        broker.connection_count() == 1
    })
    .await;
    assert_eq!(other.drain("q").await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_channel_that_an_error_closes_gives_everything_back() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.ack(1).await;
    wire.ack(1).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (406, "PRECONDITION_FAILED - unknown delivery tag 1")
    );
    assert_eq!(closed.method, (60, 80));
    wire.open_channel(1).await;
    assert_eq!(wire.drain("q").await, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn recovering_brings_everything_back_and_to_the_consumer_again() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..3).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(3).await, ["0", "1", "2"]);
    wire.ack(2).await;
    wire.send(&basic::Recover { requeue: true }).await;
    let mut texts = Vec::new();
    let mut answered = false;
    while texts.len() < 2 || !answered {
        let heard = wire.hear().await.unwrap();
        if heard.method().name() == "basic.recover-ok" {
            answered = true;
            continue;
        }
        let delivered = heard.into_delivered();
        assert!(delivered.redelivered && delivered.tag > 3);
        texts.push(delivered.text().to_owned());
    }
    assert_eq!(texts, ["0", "2"]);
}

#[tokio::test]
async fn recovering_without_requeueing_is_not_supported() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&basic::Recover { requeue: false }).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (540, "NOT_IMPLEMENTED - requeue=false")
    );
}

#[tokio::test]
async fn tag_zero_stands_for_everything_and_only_with_multiple() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.ack_up_to(0).await;
    wire.ack_up_to(0).await;
    wire.quiet().await;
    wire.close_channel().await;
    wire.open_channel(1).await;
    assert_eq!(wire.count("q").await, 0);
    wire.ack(0).await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "PRECONDITION_FAILED - unknown delivery tag 0"
    );
}

#[tokio::test]
async fn tags_are_those_of_the_channel() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    wire.open_channel(2).await;
    wire.ack(1).await;
    assert_eq!(wire.expect_channel_closed().await.code, 406);
    wire.channel = 1;
    wire.ack_up_to(5).await;
    wire.quiet().await;
}

#[tokio::test]
async fn a_cancelled_consumer_leaves_its_deliveries_with_the_channel() {
    let broker = broker().await;
    let mut wire = with_five(&broker).await;
    assert_eq!(wire.count("q").await, 0);
    wire.ack_up_to(5).await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 0);
}

#[tokio::test]
async fn a_quorum_queue_counts_how_often_a_message_came_back() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([
        ("x-queue-type", "quorum".into()),
        ("x-delivery-limit", 2.into()),
    ])
    .to_bytes();
    let declare = leveret_amqp_codec::method::queue::Declare {
        queue: short("q"),
        durable: true,
        arguments: leveret_amqp_codec::RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    };
    wire.declare_queue(&declare).await;
    wire.publish("", "q", "m").await;
    for count in 0..3 {
        let delivered = wire.get("q").await.unwrap();
        let headers = delivered.properties.headers.unwrap();
        assert_eq!(headers.get("x-delivery-count"), Some(&Value::I64(count)));
        wire.nack(delivered.tag, true).await;
    }
    assert!(
        wire.get("q").await.is_none(),
        "beyond its limit it is dropped"
    );
}

#[tokio::test]
async fn what_waited_behind_a_single_active_consumer_was_not_delivered_when_its_channel_goes() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-single-active-consumer", true.into())]))
        .await;
    wire.prefetch(1, false).await;
    for tag in ["active", "waiting"] {
        wire.consume_with(&basic::Consume {
            queue: short("q"),
            consumer_tag: short(tag),
            ..Default::default()
        })
        .await;
    }
    wire.publish_all("q", 0..2).await;
    assert_eq!(wire.deliveries(1).await, ["0"]);
    wire.close().await;
    let mut wire = Wire::open(&broker).await;
    for (text, redelivered) in [("0", true), ("1", false)] {
        let message = wire.get("q").await.expect("both have come back");
        assert_eq!((message.text(), message.redelivered), (text, redelivered));
    }
}
