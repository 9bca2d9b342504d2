//! Messages that must reach a queue, or come back.

mod support;

use leveret_amqp_codec::method::basic;
use leveret_broker::{Properties, Value};
use support::{Confirmed, Wire, broker, short, table};

#[tokio::test]
async fn a_message_that_reaches_no_queue_comes_back_whole() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let properties = Properties {
        content_type: Some("text/plain".to_owned()),
        headers: Some(table([("n", Value::I8(5))])),
        message_id: Some("m-1".to_owned()),
        ..Properties::default()
    };
    let publish = basic::Publish {
        exchange: short("amq.direct"),
        routing_key: short("nowhere"),
        mandatory: true,
        immediate: false,
    };
    let bytes = wire.publish_bytes(&publish, &properties, b"body");
    wire.send_bytes(&bytes).await;
    let returned = wire.returned().await;
    assert_eq!(
        (&*returned.exchange, &*returned.routing_key, returned.text()),
        ("amq.direct", "nowhere", "body")
    );
    assert_eq!(returned.properties, properties);
}

#[tokio::test]
async fn it_comes_back_before_it_is_confirmed() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.select_confirms().await;
    for tag in 1..=3 {
        wire.publish_mandatory("", "nowhere", "m").await;
        wire.returned().await;
        assert_eq!(
            wire.confirmed().await,
            Confirmed::Ack {
                tag,
                multiple: false
            }
        );
    }
}

#[tokio::test]
async fn a_message_that_reaches_a_queue_does_not_come_back() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_mandatory("", "q", "m").await;
    wire.quiet().await;
    assert_eq!(wire.drain("q").await, ["m"]);
}

#[tokio::test]
async fn without_mandatory_it_vanishes_in_silence() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("", "nowhere", "m").await;
    wire.quiet().await;
}

#[tokio::test]
async fn an_alternate_exchange_that_knows_a_queue_keeps_it_from_coming_back() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.declare_exchange("spare", "fanout").await;
    wire.declare_exchange_with(
        "x",
        "direct",
        &table([("alternate-exchange", "spare".into())]),
    )
    .await;
    wire.publish_mandatory("x", "key", "first").await;
    assert_eq!(wire.returned().await.text(), "first");
    wire.bind("q", "spare", "").await;
    wire.publish_mandatory("x", "key", "second").await;
    wire.quiet().await;
    assert_eq!(wire.drain("q").await, ["second"]);
}

#[tokio::test]
async fn an_exchange_with_nothing_behind_it_is_no_queue() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_exchange("a", "fanout").await;
    wire.declare_exchange("b", "fanout").await;
    wire.bind_exchange("b", "a", "").await;
    wire.publish_mandatory("a", "", "m").await;
    assert_eq!(wire.returned().await.exchange, "a");
}

#[tokio::test]
async fn a_message_without_a_body_comes_back_without_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.publish_mandatory("", "nowhere", "").await;
    assert_eq!(wire.returned().await.body, b"");
    wire.quiet().await;
}

#[tokio::test]
async fn immediate_is_not_supported() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let publish = basic::Publish {
        routing_key: short("q"),
        immediate: true,
        ..basic::Publish::default()
    };
    let bytes = wire.publish_bytes(&publish, &Properties::default(), b"m");
    wire.send_bytes(&bytes).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (540, "NOT_IMPLEMENTED - immediate=true")
    );
}
