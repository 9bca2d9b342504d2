//! What a client acknowledges has made room by the time of what it publishes next, though both come together.

mod support;

use leveret_amqp_codec::{ChannelId, method::basic, write_method};
use leveret_broker::{Broker, Properties};
use support::{Wire, broker, short, table};

/// A connection whose only consumer, with a prefetch of one, has the first of two messages.
async fn with_one_of_two(overflow: &str) -> (Broker, Wire) {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = [("x-max-length", 1.into()), ("x-overflow", overflow.into())];
    wire.declare_with("q", &table(arguments)).await;
    wire.prefetch(1, false).await;
    wire.consume("q").await;
    wire.publish_all("q", 0..2).await;
    assert_eq!(wire.deliveries(1).await, ["0"]);
    (broker, wire)
}

/// Acknowledges a delivery and publishes in one write. Every other message has properties of its own, so that it is not
/// recognized as one like that before.
async fn acknowledge_and_publish(wire: &mut Wire, tag: u64, body: u64) {
    let mut bytes = Vec::new();
    let ack = basic::Ack {
        delivery_tag: tag,
        multiple: false,
    };
    write_method(&mut bytes, ChannelId(1), &ack);
    let publish = basic::Publish {
        routing_key: short("q"),
        ..basic::Publish::default()
    };
    let properties = Properties {
        message_id: (tag / 4).is_multiple_of(2).then(|| tag.to_string()),
        ..Properties::default()
    };
    bytes.extend(wire.publish_bytes(&publish, &properties, body.to_string().as_bytes()));
    wire.send_bytes(&bytes).await;
}

#[tokio::test]
async fn a_full_queue_takes_a_message_for_one_that_was_acknowledged() {
    for overflow in ["reject-publish", "drop-head"] {
        let (_broker, mut wire) = with_one_of_two(overflow).await;
        for tag in 1..=16 {
            acknowledge_and_publish(&mut wire, tag, tag + 1).await;
            assert_eq!(wire.deliveries(1).await, [tag.to_string()], "{overflow}");
        }
        assert_eq!(wire.drain("q").await, ["17"], "{overflow}");
    }
}

#[tokio::test]
async fn what_does_not_live_reaches_a_consumer_that_has_just_acknowledged() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-message-ttl", 0.into())]))
        .await;
    wire.prefetch(1, false).await;
    wire.consume("q").await;
    wire.publish("", "q", "1").await;
    assert_eq!(wire.deliveries(1).await, ["1"]);
    for tag in 1..=16 {
        acknowledge_and_publish(&mut wire, tag, tag + 1).await;
        assert_eq!(wire.deliveries(1).await, [(tag + 1).to_string()]);
    }
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn a_frame_of_stomp_finds_the_room_of_an_acknowledgement() {
    use leveret_stomp_codec::Command;
    use support::Stomp;

    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([("x-max-length", 1.into())]);
    wire.declare_with("q", &arguments).await;
    let mut stomp = Stomp::connect(&broker).await;
    let subscribe = [
        ("destination", "/amq/queue/q"),
        ("id", "1"),
        ("ack", "client-individual"),
        ("prefetch-count", "1"),
    ];
    stomp.tell(Command::Subscribe, &subscribe, b"").await;
    wire.publish_all("q", 0..2).await;
    let first = stomp.expect(Command::Message).await;
    assert_eq!(&first.body[..], b"0");
    wire.quiet().await;
    let id = first.header("ack").expect("what it is acknowledged by");
    let both = format!("ACK\nid:{id}\n\n\0SEND\ndestination:/amq/queue/q\n\n2\0");
    stomp.send_raw(both.as_bytes()).await;
    let next = stomp.expect(Command::Message).await;
    assert_eq!(&next.body[..], b"1");
}
