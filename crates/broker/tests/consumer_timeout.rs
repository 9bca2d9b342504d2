//! Deliveries that are not acknowledged in time, on a clock that is moved by hand.

mod support;

use std::time::Duration;

use leveret_amqp_codec::method::tx;
use leveret_broker::{Broker, ConsumeOptions, VirtualClock};
use support::{Greeting, Wire, pass, start, timed_broker};

const TIMEOUT_MS: u64 = 60_000;

/// A client whose consumer of the queue `q` holds the two messages in it.
async fn holding() -> (Broker, VirtualClock, Wire) {
    let clock = VirtualClock::new();
    let timed = Broker::builder()
        .virtual_clock(clock.clone())
        .consumer_timeout(Duration::from_millis(TIMEOUT_MS));
    let broker = start(timed).await;
    // A time that is no multiple of the timeout, counted from the beginning of the connection.
    let mut wire = Wire::open(&broker).await;
    pass(&broker, &clock, 1_000).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..2).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
    (broker, clock, wire)
}

#[tokio::test]
async fn the_channel_is_closed_in_rabbitmqs_words_and_its_messages_go_back() {
    let (broker, clock, mut wire) = holding().await;
    pass(&broker, &clock, TIMEOUT_MS - 1).await;
    wire.quiet().await;
    pass(&broker, &clock, 1).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (406, (0, 0)));
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms. This \
         timeout value can be configured, see consumers doc guide to learn more"
    );
    let mut other = Wire::open(&broker).await;
    let returned = other.get("q").await.unwrap();
    assert_eq!((returned.text(), returned.redelivered), ("0", true));
    assert_eq!(other.get("q").await.unwrap().text(), "1");
}

#[tokio::test]
async fn other_channels_of_the_connection_go_on() {
    let (broker, clock, mut wire) = holding().await;
    wire.open_channel(2).await;
    wire.channel = 1;
    pass(&broker, &clock, TIMEOUT_MS).await;
    wire.expect_channel_closed().await;
    wire.channel = 2;
    assert_eq!(wire.count("q").await, 2);
}

#[tokio::test]
async fn what_was_acknowledged_in_time_counts_no_more() {
    let (broker, clock, mut wire) = holding().await;
    pass(&broker, &clock, TIMEOUT_MS - 1).await;
    wire.ack_up_to(2).await;
    wire.quiet().await;
    pass(&broker, &clock, 10 * TIMEOUT_MS).await;
    wire.quiet().await;
}

#[tokio::test]
async fn each_delivery_has_its_own_time() {
    let (broker, clock, mut wire) = holding().await;
    pass(&broker, &clock, TIMEOUT_MS / 2).await;
    wire.publish("", "q", "2").await;
    assert_eq!(wire.delivery().await.text(), "2");
    wire.ack_up_to(2).await;
    wire.quiet().await;
    pass(&broker, &clock, TIMEOUT_MS - 1).await;
    wire.quiet().await;
    pass(&broker, &clock, 1).await;
    wire.expect_channel_closed().await;
}

#[tokio::test]
async fn what_was_got_must_be_acknowledged_in_time_too() {
    let (broker, clock, mut wire) = holding().await;
    let mut other = Wire::open(&broker).await;
    other.declare("q2").await;
    other.publish("", "q2", "m").await;
    other.get("q2").await.unwrap();
    pass(&broker, &clock, TIMEOUT_MS).await;
    other.expect_channel_closed().await;
    wire.expect_channel_closed().await;
}

#[tokio::test]
async fn what_was_acknowledged_in_a_transaction_is_not_waited_for() {
    let (broker, clock, mut wire) = holding().await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire.ack_up_to(2).await;
    wire.quiet().await;
    pass(&broker, &clock, 2 * TIMEOUT_MS).await;
    wire.quiet().await;
}

#[tokio::test]
async fn who_does_not_acknowledge_at_all_has_no_time() {
    let (broker, clock, mut wire) = holding().await;
    wire.ack_up_to(2).await;
    wire.declare("other").await;
    wire.consume_no_ack("other").await;
    wire.publish("", "other", "m").await;
    wire.delivery().await;
    pass(&broker, &clock, 2 * TIMEOUT_MS).await;
    wire.quiet().await;
}

#[tokio::test]
async fn heartbeats_are_sent_meanwhile() {
    let clock = VirtualClock::new();
    let timed = Broker::builder()
        .virtual_clock(clock.clone())
        .consumer_timeout(Duration::from_millis(TIMEOUT_MS));
    let broker = start(timed).await;
    let greeting = Greeting {
        heartbeat: 100,
        ..Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..1).await;
    wire.consume("q").await;
    wire.deliveries(1).await;
    pass(&broker, &clock, 50_000).await;
    let (kind, ..) = wire.frame().await.unwrap();
    assert_eq!(kind, leveret_amqp_codec::FrameKind::Heartbeat);
    pass(&broker, &clock, 10_000).await;
    wire.expect_channel_closed().await;
}

#[tokio::test]
async fn a_consumer_in_the_process_may_take_its_time() {
    let (broker, clock, wire) = holding().await;
    drop(wire);
    support::until("the client to be gone", || broker.connection_count() == 0).await;
    let client = broker.client().unwrap();
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let delivery = consumer.recv().await.unwrap();
    pass(&broker, &clock, 10 * TIMEOUT_MS).await;
    delivery.ack();
    drop(consumer);
    broker.wait_idle().await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}

#[tokio::test]
async fn unless_asked_for_there_is_no_limit() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..1).await;
    wire.consume("q").await;
    wire.deliveries(1).await;
    // A year.
    pass(&broker, &clock, 365 * 24 * 3_600_000).await;
    wire.quiet().await;
}
