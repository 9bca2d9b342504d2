//! Publishers wait while messages take too much memory; everybody else goes on.

mod support;

use std::task::{Context, Poll, Waker};

use leveret_amqp_codec::Method;
use leveret_broker::{Alarm, Broker, Client, Properties, Publish, QueueOptions, Value};
use support::{Greeting, Wire, pass, soon, start, table};

const LIMIT: usize = 100_000;

/// A broker above its memory limit by the 20 messages of 10,000 bytes in the queue `q`.
async fn alarmed() -> (Broker, Client) {
    let broker = start(Broker::builder().memory_limit(LIMIT)).await;
    let client = fill(&broker).await;
    (broker, client)
}

async fn fill(broker: &Broker) -> Client {
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    for _ in 0..20 {
        drop(client.publish(Publish::to_queue("q", &[0; 10_000])));
    }
    assert!(broker.memory_used() > LIMIT);
    client
}

#[tokio::test]
async fn a_publisher_is_told_and_not_read_until_there_is_room() {
    let (broker, client) = alarmed().await;
    let mut wire = Wire::open(&broker).await;
    wire.select_confirms().await;
    wire.publish("", "q", "late").await;
    let heard = wire.expect_on(0, "connection.blocked").await;
    let Method::ConnectionBlocked(blocked) = heard.method() else {
        unreachable!()
    };
    assert_eq!(&*blocked.reason, "low on memory");
    wire.publish("", "q", "later").await;
    broker.wait_idle().await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 20);
    client.purge_queue("q").await.unwrap();
    wire.expect_on(0, "connection.unblocked").await;
    let confirmed = wire.confirmed().await;
    if confirmed
        == (support::Confirmed::Ack {
            tag: 1,
            multiple: false,
        })
    {
        wire.confirmed().await;
    }
    assert_eq!(
        client.queue_info("q").await.unwrap().ready,
        2,
        "nothing that was sent meanwhile is lost"
    );
}

#[tokio::test]
async fn a_client_that_would_not_understand_is_not_told() {
    let (broker, client) = alarmed().await;
    let mut wire = Greeting {
        capabilities: vec![],
        ..Greeting::default()
    }
    .open_channel(&broker)
    .await;
    wire.publish("", "q", "late").await;
    wire.send(&leveret_amqp_codec::method::channel::Flow { active: true })
        .await;
    broker.wait_idle().await;
    client.purge_queue("q").await.unwrap();
    wire.expect("channel.flow-ok").await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}

#[tokio::test]
async fn a_publish_in_several_pieces_waits_too() {
    let (broker, client) = alarmed().await;
    let mut large = Greeting {
        frame_max: 4096,
        ..Greeting::default()
    }
    .open_channel(&broker)
    .await;
    large.publish("", "q", vec![1; 10_000]).await;
    large.expect_on(0, "connection.blocked").await;
    let mut slow = Wire::open(&broker).await;
    let publish = leveret_amqp_codec::method::basic::Publish {
        routing_key: support::short("q"),
        ..Default::default()
    };
    let bytes = slow.publish_bytes(&publish, &Default::default(), b"slow");
    let (first, rest) = bytes.split_at(30);
    slow.send_bytes(first).await;
    slow.expect_on(0, "connection.blocked").await;
    slow.send_bytes(rest).await;
    client.purge_queue("q").await.unwrap();
    for wire in [&mut large, &mut slow] {
        wire.expect_on(0, "connection.unblocked").await;
        wire.quiet().await;
    }
    assert_eq!(client.queue_info("q").await.unwrap().ready, 2);
}

#[tokio::test]
async fn headers_count_as_bodies_do() {
    let broker = start(Broker::builder().memory_limit(LIMIT)).await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    let properties = Properties {
        headers: Some(table([("h", Value::from("x".repeat(10_000).as_str()))])),
        ..Properties::default()
    };
    let mut wire = Wire::open(&broker).await;
    for _ in 0..20 {
        wire.publish_with("", "q", &properties, "").await;
    }
    wire.expect_on(0, "connection.blocked").await;
    assert_eq!(broker.alarms(), [Alarm::Memory]);
    client.purge_queue("q").await.unwrap();
    wire.expect_on(0, "connection.unblocked").await;
}

#[tokio::test]
async fn who_does_not_publish_goes_on() {
    let (broker, _client) = alarmed().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("other").await;
    wire.prefetch(1, false).await;
    wire.consume("q").await;
    for tag in 1..=5 {
        assert_eq!(wire.delivery().await.body.len(), 10_000);
        wire.ack(tag).await;
    }
}

#[tokio::test]
async fn what_a_blocked_publisher_consumes_is_still_delivered_to_it() {
    let (broker, client) = alarmed().await;
    client
        .declare_queue("small", QueueOptions::default())
        .await
        .unwrap();
    let mut wire = Wire::open(&broker).await;
    wire.consume_no_ack("small").await;
    wire.publish("", "q", "late").await;
    wire.expect_on(0, "connection.blocked").await;
    drop(client.publish(Publish::to_queue("small", b"m")));
    assert_eq!(wire.delivery().await.text(), "m");
}

#[tokio::test]
async fn publishers_are_told_once_each_time() {
    let (broker, client) = alarmed().await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("", "q", "late").await;
    wire.expect_on(0, "connection.blocked").await;
    client.purge_queue("q").await.unwrap();
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
    fill(&broker).await;
    wire.publish("", "q", "late again").await;
    wire.expect_on(0, "connection.blocked").await;
    client.purge_queue("q").await.unwrap();
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn the_alarm_ends_below_nine_tenths_of_the_limit() {
    let (broker, client) = alarmed().await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("", "q", "late").await;
    wire.expect_on(0, "connection.blocked").await;
    while broker.memory_used() > LIMIT - LIMIT / 10 {
        broker.wait_idle().await;
        assert!(client.queue_info("q").await.unwrap().ready < 21);
        client
            .get("q")
            .await
            .unwrap()
            .expect("it is not empty")
            .ack();
    }
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn a_confirm_in_the_process_waits_too() {
    let (_broker, client) = alarmed().await;
    let mut confirm = Box::pin(client.publish(Publish::to_queue("q", b"late")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(confirm.as_mut().poll(&mut cx).is_pending());
    assert_eq!(
        client.queue_info("q").await.unwrap().ready,
        21,
        "it is published all the same"
    );
    client.purge_queue("q").await.unwrap();
    assert!(matches!(
        confirm.as_mut().poll(&mut cx),
        Poll::Ready(Ok(()))
    ));
    soon(
        "a confirm",
        client.publish(Publish::to_queue("q", b"in time")),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_confirm_that_waits_is_woken() {
    let (_broker, client) = alarmed().await;
    let confirm = client.publish(Publish::to_queue("q", b"late"));
    let (result, ()) = soon("both", async {
        tokio::join!(confirm, async {
            tokio::task::yield_now().await;
            client.purge_queue("q").await.unwrap();
        })
    })
    .await;
    result.unwrap();
}

#[tokio::test]
async fn a_blocked_client_is_not_blamed_for_its_silence() {
    let clock = leveret_broker::VirtualClock::new();
    let broker = start(
        Broker::builder()
            .memory_limit(LIMIT)
            .virtual_clock(clock.clone()),
    )
    .await;
    let client = fill(&broker).await;
    let mut wire = Greeting {
        heartbeat: 10,
        ..Greeting::default()
    }
    .open_channel(&broker)
    .await;
    wire.publish("", "q", "late").await;
    wire.expect_on(0, "connection.blocked").await;
    for _ in 0..20 {
        pass(&broker, &clock, 5_000).await;
    }
    client.purge_queue("q").await.unwrap();
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn a_blocked_client_may_go_away() {
    let (broker, client) = alarmed().await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("", "q", "never read").await;
    wire.expect_on(0, "connection.blocked").await;
    drop(wire);
    client.purge_queue("q").await.unwrap();
    support::until("the client to be gone", || broker.connection_count() == 1).await;
}

#[tokio::test]
async fn a_body_that_is_only_half_there_counts_and_is_forgotten_with_its_channel() {
    let broker = start(Broker::builder()).await;
    let mut wire = Wire::open(&broker).await;
    let mut half = Vec::new();
    let channel = leveret_amqp_codec::ChannelId(1);
    let publish = leveret_amqp_codec::method::basic::Publish::default();
    let properties = leveret_amqp_codec::RawProperties::EMPTY;
    leveret_amqp_codec::write_method(&mut half, channel, &publish);
    leveret_amqp_codec::write_content_header(&mut half, channel, 60, 200_000, properties);
    leveret_amqp_codec::write_body(&mut half, channel, &[0; 100_000], 131_072);
    wire.send_bytes(&half).await;
    support::until("the half to be counted", || broker.memory_used() >= 100_000).await;
    drop(wire);
    support::until("it to be forgotten", || broker.memory_used() == 0).await;
}
