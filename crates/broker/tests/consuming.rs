//! Consumers: their names, what they are told, and how they end (behaviour reference, sections 7.2 to 7.5).

mod support;

use leveret_amqp_codec::method::{basic, queue};
use leveret_amqp_codec::{Method, RawTable};
use leveret_broker::{Broker, Value};
use support::{Greeting, Wire, broker, short, table};

async fn with_queue(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare("q").await;
    wire
}

fn consume<'a>(queue: &'a str, tag: &'a str) -> basic::Consume<'a> {
    basic::Consume {
        queue: short(queue),
        consumer_tag: short(tag),
        ..basic::Consume::default()
    }
}

#[tokio::test]
async fn a_consumer_without_a_name_is_given_one_that_nobody_has() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    let names = [
        wire.consume_with(&consume("q", "")).await,
        wire.consume_with(&consume("q", "")).await,
    ];
    for name in &names {
        assert!(name.starts_with("amq.ctag-"), "{name}");
        assert_eq!(name.len(), "amq.ctag-".len() + 22);
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_name_is_used_once_on_a_channel_and_may_be_used_on_another() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.consume_with(&consume("q", "tag")).await;
    wire.open_channel(2).await;
    wire.channel = 2;
    wire.consume_with(&consume("q", "tag")).await;
    wire.send(&consume("q", "tag")).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (530, (60, 20)));
    assert_eq!(
        closed.text,
        "NOT_ALLOWED - attempt to reuse consumer tag 'tag'"
    );
}

#[tokio::test]
async fn a_name_is_free_after_its_consumer_was_cancelled() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    for _ in 0..2 {
        wire.consume_with(&consume("q", "tag")).await;
        wire.cancel("tag").await;
    }
    assert_eq!(wire.look("q").await.consumers, 0);
}

#[tokio::test]
async fn a_consumer_is_confirmed_before_its_first_delivery() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.publish_all("q", 0..3).await;
    wire.send(&consume("q", "tag")).await;
    wire.expect("basic.consume-ok").await;
    assert_eq!(wire.deliveries(3).await, ["0", "1", "2"]);
}

#[tokio::test]
async fn nothing_is_delivered_after_cancel_ok() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.consume_with(&consume("q", "tag")).await;
    wire.cancel("tag").await;
    wire.publish("", "q", "m").await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 1);
}

#[tokio::test]
async fn cancelling_who_does_not_consume_is_fine() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.cancel("nobody").await;
    wire.quiet().await;
}

#[tokio::test]
async fn tags_count_deliveries_of_all_kinds_on_their_channel() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.declare("free").await;
    wire.consume_no_ack("free").await;
    wire.publish("", "free", "1").await;
    assert_eq!(wire.delivery().await.tag, 1);
    wire.publish("", "q", "2").await;
    assert_eq!(wire.get("q").await.unwrap().tag, 2);
    wire.publish("", "free", "3").await;
    assert_eq!(wire.delivery().await.tag, 3);
    wire.open_channel(2).await;
    wire.channel = 2;
    wire.publish("", "q", "4").await;
    assert_eq!(wire.get("q").await.unwrap().tag, 1);
}

#[tokio::test]
async fn getting_tells_how_many_are_left_or_that_there_are_none() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    assert!(wire.get("q").await.is_none());
    wire.publish_all("q", 0..3).await;
    let mut remaining = Vec::new();
    while let Some(got) = wire.get("q").await {
        remaining.push(got.remaining);
    }
    assert_eq!(remaining, [2, 1, 0]);
}

#[tokio::test]
async fn what_was_got_without_acknowledgement_is_gone_and_has_no_tag() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.publish("", "q", "m").await;
    let get = basic::Get {
        queue: short("q"),
        no_ack: true,
    };
    let got = wire.call(&get, "basic.get-ok").await.into_delivered();
    assert_eq!(got.tag, 1);
    wire.ack(1).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.text, "PRECONDITION_FAILED - unknown delivery tag 1");
    assert_eq!(wire.look_after_reopening("q").await.messages, 0);
}

#[tokio::test]
async fn a_capable_client_is_told_when_its_queue_is_deleted() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.consume_with(&consume("q", "tag")).await;
    with_queue(&broker).await.delete("q").await;
    let heard = wire.expect("basic.cancel").await;
    let Method::BasicCancel(cancel) = heard.method() else {
        unreachable!()
    };
    assert_eq!((&*cancel.consumer_tag, cancel.no_wait), ("tag", true));
    // The channel is open, and the name is free.
    wire.declare("q").await;
    wire.consume_with(&consume("q", "tag")).await;
}

#[tokio::test]
async fn other_clients_are_not_told() {
    let broker = broker().await;
    let greeting = Greeting {
        capabilities: vec![],
        ..Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    wire.declare("q").await;
    wire.consume_with(&consume("q", "tag")).await;
    with_queue(&broker).await.delete("q").await;
    wire.quiet().await;
}

#[tokio::test]
async fn who_deletes_the_queue_it_consumes_from_is_told_as_well() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.consume_with(&consume("q", "tag")).await;
    wire.send(&queue::Delete {
        queue: short("q"),
        ..Default::default()
    })
    .await;
    let mut heard = Vec::new();
    for _ in 0..2 {
        heard.push(wire.hear().await.unwrap().method().name().to_owned());
    }
    heard.sort_unstable();
    assert_eq!(heard, ["basic.cancel", "queue.delete-ok"]);
}

#[tokio::test]
async fn some_arguments_are_understood_and_others_passed_over() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    let arguments = table([
        ("x-priority", Value::I8(-3)),
        ("x-cancel-on-ha-failover", Value::from(true)),
        ("x-zorp", Value::Void),
    ])
    .to_bytes();
    let consume = basic::Consume {
        no_local: true,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..consume("q", "tag")
    };
    wire.consume_with(&consume).await;
    wire.publish("", "q", "own").await;
    assert_eq!(wire.delivery().await.text(), "own", "no-local says nothing");
}

#[tokio::test]
async fn what_is_not_offered_closes_the_connection() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.send(&basic::Qos {
        prefetch_size: 10,
        ..Default::default()
    })
    .await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (540, (60, 10)));
    assert_eq!(closed.text, "NOT_IMPLEMENTED - prefetch_size!=0 (10)");

    let mut wire = Wire::open(&broker).await;
    wire.send(&basic::Recover { requeue: false }).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (540, (60, 110)));
    assert_eq!(closed.text, "NOT_IMPLEMENTED - requeue=false");

    let mut wire = Wire::open(&broker).await;
    let immediate = basic::Publish {
        routing_key: short("q"),
        immediate: true,
        ..Default::default()
    };
    let bytes = wire.publish_bytes(&immediate, &Default::default(), b"m");
    wire.send_bytes(&bytes).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (540, (60, 40)));
    assert_eq!(closed.text, "NOT_IMPLEMENTED - immediate=true");
}

#[tokio::test]
async fn a_missing_queue_closes_the_channel() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&consume("missing", "")).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (404, (60, 20)));
    assert_eq!(closed.text, "NOT_FOUND - no queue 'missing' in vhost '/'");
}
