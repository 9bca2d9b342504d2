//! What of presence and of slow consumers is there after a restart, and what is not.
#![cfg(feature = "journal")]

mod support;

use leveret_broker::{
    Client, ConsumeOptions, ExchangeOptions, ExchangeType, PresenceKind, Properties, Publish,
    QueueOptions, SlowLimit, Table, Value, WhenSlow,
};
use support::data_dir::Dir;
use support::table;

fn durable_queue() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

fn named(name: &str) -> Table {
    table([("x-presence-member", Value::from(name))])
}

async fn bind(client: &Client, queue: &str, arguments: &Table) {
    client
        .bind_queue_with(queue, "rooms", "k", arguments)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_exchange_and_its_bindings_come_back_and_nobody_is_present() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        durable: true,
        presence_max: Some(2),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("rooms", ExchangeType::Presence, options)
        .await
        .unwrap();
    for queue in ["member", "events"] {
        client.declare_queue(queue, durable_queue()).await.unwrap();
    }
    bind(
        &client,
        "events",
        &table([("x-presence", Value::from("watch"))]),
    )
    .await;
    bind(&client, "member", &named("a")).await;
    assert_eq!(client.queue_info("events").await.unwrap().ready, 1);
    broker.shutdown().await;
    drop(client);

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert!(client.present("rooms", "#").await.unwrap().is_empty());
    assert_eq!(client.queue_info("events").await.unwrap().ready, 0);
    // The binding is there, and its member again when it is asked for.
    client
        .publish(Publish::to_exchange("rooms", "k", b"hi"))
        .await
        .unwrap();
    assert_eq!(client.queue_info("member").await.unwrap().ready, 1);
    let mut watcher = client.presence("rooms", "k").await.unwrap();
    bind(&client, "member", &named("a")).await;
    let event = watcher.recv().await.unwrap();
    assert_eq!(event.kind, PresenceKind::Joined);
    assert_eq!(client.queue_info("events").await.unwrap().ready, 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn what_was_dropped_for_a_slow_consumer_does_not_come_back() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable_queue()).await.unwrap();
    let options = ConsumeOptions {
        prefetch: 1,
        when_slow: WhenSlow::DropOldest(SlowLimit {
            messages: 2,
            ..SlowLimit::default()
        }),
        ..ConsumeOptions::default()
    };
    let consumer = client.consume("q", options).await.unwrap();
    for body in [b"0", b"1", b"2", b"3", b"4", b"5"] {
        let publish = Publish {
            properties: Some(Properties {
                delivery_mode: Some(2),
                ..Properties::default()
            }),
            ..Publish::to_queue("q", body)
        };
        client.publish(publish).await.unwrap();
    }
    broker.shutdown().await;
    drop((consumer, client));

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let bodies = client.browse("q", 9).await.unwrap();
    let bodies: Vec<_> = bodies.iter().map(|message| message.body()).collect();
    assert_eq!(bodies, [b"0", b"4", b"5"]);
    broker.shutdown().await;
}
