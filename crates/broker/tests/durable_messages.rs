//! Persistent messages in durable queues are there again after a restart, as they were, and others are not.
#![cfg(feature = "journal")]

mod support;

use std::time::Duration;

use leveret_broker::{
    Broker, Client, ConsumeOptions, Properties, Publish, QueueOptions, QueueType, Value,
    VirtualClock,
};
use support::data_dir::Dir;
use support::soon;

fn durable() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

fn persistent() -> Properties {
    Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    }
}

fn message<'a>(queue: &'a str, body: &'a str) -> Publish<'a> {
    Publish {
        properties: Some(persistent()),
        ..Publish::to_queue(queue, body.as_bytes())
    }
}

async fn publish(client: &Client, queue: &str, bodies: impl IntoIterator<Item = impl ToString>) {
    let mut last = None;
    for body in bodies {
        last = Some(client.publish(message(queue, &body.to_string())));
    }
    if let Some(last) = last {
        last.await.unwrap();
    }
}

/// Takes everything that is ready, with whether it was redelivered.
async fn drain(client: &Client, queue: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    while let Some(delivery) = client.get(queue).await.unwrap() {
        let body = String::from_utf8(delivery.body().to_vec()).unwrap();
        found.push((body, delivery.redelivered()));
        delivery.ack();
    }
    found
}

async fn bodies(client: &Client, queue: &str) -> Vec<String> {
    let found = drain(client, queue).await;
    found.into_iter().map(|(body, _)| body).collect()
}

fn texts<const N: usize>(bodies: [&str; N]) -> Vec<String> {
    bodies.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn what_was_confirmed_survives_a_crash_in_order_and_with_its_properties() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    publish(&client, "q", 0..100).await;
    let mut decorated = message("q", "last");
    decorated.properties = Some(Properties {
        correlation_id: Some("7".to_owned()),
        priority: Some(3),
        ..persistent()
    });
    client.publish(decorated).await.unwrap();

    let broker = dir.crashed().broker().await;
    let client = broker.client().unwrap();
    for number in 0..100 {
        let delivery = client.get("q").await.unwrap().unwrap();
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        assert!(!delivery.redelivered());
        delivery.ack();
    }
    let last = client.get("q").await.unwrap().unwrap();
    assert_eq!(last.properties().correlation_id.as_deref(), Some("7"));
    assert_eq!(last.routing_key(), "q");
}

#[tokio::test]
async fn transient_messages_and_those_of_transient_queues_are_gone() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    publish(&client, "q", ["kept"]).await;
    let transient = Publish::to_queue("q", b"lost");
    client.publish(transient).await.unwrap();
    broker.shutdown().await;

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert_eq!(bodies(&client, "q").await, ["kept"]);
}

#[tokio::test]
async fn what_was_acknowledged_stays_away_and_what_was_not_comes_back_redelivered() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    publish(&client, "q", 0..5).await;
    let first = client.get("q").await.unwrap().unwrap();
    let second = client.get("q").await.unwrap().unwrap();
    first.ack();
    // Behind it in the log; what it says must be there once this is.
    publish(&client, "q", [5]).await;

    let crashed = dir.crashed().broker().await;
    let found = drain(&crashed.client().unwrap(), "q").await;
    let found: Vec<_> = found
        .iter()
        .map(|(body, again)| (&**body, *again))
        .collect();
    assert_eq!(
        found,
        [
            ("1", true),
            ("2", false),
            ("3", false),
            ("4", false),
            ("5", false)
        ]
    );
    drop(second);
}

#[tokio::test]
async fn purged_and_deleted_means_gone() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    for queue in ["purged", "deleted"] {
        client.declare_queue(queue, durable()).await.unwrap();
        publish(&client, queue, 0..3).await;
    }
    assert_eq!(client.purge_queue("purged").await.unwrap(), 3);
    publish(&client, "purged", ["after"]).await;
    client.delete_queue("deleted").await.unwrap();
    client.declare_queue("deleted", durable()).await.unwrap();
    publish(&client, "deleted", ["anew"]).await;

    let broker = dir.crashed().broker().await;
    let client = broker.client().unwrap();
    assert_eq!(bodies(&client, "purged").await, ["after"]);
    assert_eq!(bodies(&client, "deleted").await, ["anew"]);
}

#[tokio::test]
async fn time_to_live_goes_on_while_the_broker_is_away() {
    let dir = Dir::new();
    let clock = VirtualClock::new();
    let builder = || Broker::builder().virtual_clock(clock.clone());
    let broker = dir.broker_with(builder()).await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        message_ttl: Some(Duration::from_secs(60)),
        dead_letter_exchange: Some("amq.fanout".to_owned()),
        ..durable()
    };
    client.declare_queue("q", options).await.unwrap();
    client.declare_queue("dead", durable()).await.unwrap();
    client.bind_queue("dead", "amq.fanout", "").await.unwrap();
    publish(&client, "q", ["old"]).await;
    clock.advance(Duration::from_secs(50));
    publish(&client, "q", ["young"]).await;
    broker.shutdown().await;

    clock.advance(Duration::from_secs(20));
    let broker = dir.broker_with(builder()).await;
    broker.wait_idle().await;
    let client = broker.client().unwrap();
    assert_eq!(bodies(&client, "dead").await, ["old"]);
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
    clock.advance(Duration::from_secs(40));
    broker.wait_idle().await;
    assert_eq!(bodies(&client, "dead").await, ["young"]);
    broker.shutdown().await;

    let broker = dir.broker_with(builder()).await;
    let client = broker.client().unwrap();
    for queue in ["q", "dead"] {
        assert_eq!(client.queue_info(queue).await.unwrap().ready, 0, "{queue}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_in_one_of_the_two_queues_after_a_crash() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("dead".to_owned()),
        ..durable()
    };
    client.declare_queue("q", options).await.unwrap();
    client.declare_queue("dead", durable()).await.unwrap();
    publish(&client, "q", 0..3).await;
    for _ in 0..2 {
        client.get("q").await.unwrap().unwrap().reject(false);
    }
    publish(&client, "q", [3]).await;

    let broker = dir.crashed().broker().await;
    let client = broker.client().unwrap();
    assert_eq!(bodies(&client, "dead").await, ["0", "1"]);
    assert_eq!(bodies(&client, "q").await, ["2", "3"]);
}

#[tokio::test]
async fn priorities_and_delivery_counts_survive() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        max_priority: Some(5),
        ..durable()
    };
    client.declare_queue("by priority", options).await.unwrap();
    for (body, priority) in [("low", 1), ("high", 5), ("low too", 1)] {
        let mut important = message("by priority", body);
        important.properties = Some(Properties {
            priority: Some(priority),
            ..persistent()
        });
        client.publish(important).await.unwrap();
    }
    let quorum = QueueOptions {
        queue_type: QueueType::Quorum,
        delivery_limit: Some(2),
        ..durable()
    };
    client.declare_queue("limited", quorum).await.unwrap();
    publish(&client, "limited", ["tried"]).await;
    for _ in 0..2 {
        client.get("limited").await.unwrap().unwrap().nack(true);
    }
    broker.shutdown().await;

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert_eq!(
        bodies(&client, "by priority").await,
        ["high", "low", "low too"]
    );
    let tried = client.get("limited").await.unwrap().unwrap();
    assert!(tried.redelivered());
    tried.nack(true);
    assert!(client.get("limited").await.unwrap().is_none(), "third time");
}

#[tokio::test]
async fn a_backlog_beyond_memory_keeps_its_order_through_a_crash_in_the_middle() {
    const MESSAGES: usize = 20_000;
    let dir = Dir::new();
    let builder = || Broker::builder().durable_memory(64 * 1024);
    let broker = dir.broker_with(builder()).await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    publish(&client, "q", 0..MESSAGES).await;
    let held = broker.memory_used();
    assert!(held < 1024 * 1024, "{held} bytes in memory");
    for number in 0..MESSAGES / 4 {
        let delivery = client.get("q").await.unwrap().unwrap();
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        delivery.ack();
    }
    publish(&client, "q", ["end"]).await;
    assert_eq!(
        client.browse("q", usize::MAX).await.unwrap().len(),
        MESSAGES * 3 / 4 + 1
    );

    let broker = dir.crashed().broker_with(builder()).await;
    let client = broker.client().unwrap();
    let mut want: Vec<_> = (MESSAGES / 4..MESSAGES).map(|n| n.to_string()).collect();
    want.push("end".to_owned());
    assert_eq!(bodies(&client, "q").await, want);
}

#[tokio::test]
async fn messages_that_are_all_headers_go_to_disk_too() {
    const MESSAGES: usize = 200;
    let dir = Dir::new();
    let broker = dir
        .broker_with(Broker::builder().durable_memory(64 * 1024))
        .await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    let header = "x".repeat(50_000);
    let with_header = || Publish {
        properties: Some(Properties {
            headers: Some(support::table([("h", Value::from(header.as_str()))])),
            ..persistent()
        }),
        ..Publish::to_queue("q", b"")
    };
    for _ in 0..MESSAGES {
        client.publish(with_header()).await.unwrap();
    }
    // Both ends of the queue, which stay.
    let held = broker.memory_used();
    assert!(held < 3 * 1024 * 1024, "{held} bytes in memory");
    for _ in 0..MESSAGES {
        client.get("q").await.unwrap().unwrap().ack();
    }
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn transient_messages_go_to_disk_before_publishers_are_stopped() {
    let dir = Dir::new();
    let limit = 4 * 1024 * 1024;
    let broker = dir.broker_with(Broker::builder().memory_limit(limit)).await;
    let client = broker.client().unwrap();
    let transient = QueueOptions::default();
    client.declare_queue("q", transient).await.unwrap();
    let body = [b'x'; 1000];
    // Three times the limit.
    for _ in 0..3 * limit / body.len() {
        soon("a confirm", client.publish(Publish::to_queue("q", &body)))
            .await
            .unwrap();
    }
    assert!(broker.alarms().is_empty());
    assert!(broker.memory_used() <= limit);
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    for _ in 0..3 * limit / body.len() {
        let delivery = soon("a delivery", consumer.recv()).await.unwrap();
        assert_eq!(delivery.body(), body);
        delivery.ack();
    }
    broker.wait_idle().await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 0);
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn a_broker_that_stops_in_order_loses_nothing_that_was_not_confirmed_either() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    let confirm = client.publish(message("q", "unconfirmed"));
    broker.shutdown().await;
    drop(confirm);
    drop(client);

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert_eq!(bodies(&client, "q").await, texts(["unconfirmed"]));
}
