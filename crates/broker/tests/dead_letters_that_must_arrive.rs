//! Quorum queues that keep dead letters until somebody has taken them (behaviour reference, section 13.1).

mod support;

use leveret_broker::{Broker, Client, Overflow, Publish, QueueOptions, QueueType, VirtualClock};
use support::pass;

async fn start(at_least_once: bool) -> (Broker, VirtualClock, Client) {
    let clock = VirtualClock::new();
    let broker = Broker::builder()
        .virtual_clock(clock.clone())
        .start()
        .await
        .unwrap();
    let client = broker.client().unwrap();
    let options = QueueOptions {
        durable: true,
        queue_type: QueueType::Quorum,
        overflow: Overflow::RejectPublish,
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("graveyard".to_owned()),
        dead_letter_at_least_once: at_least_once,
        ..QueueOptions::default()
    };
    client.declare_queue("work", options).await.unwrap();
    (broker, clock, client)
}

async fn reject_one(client: &Client, body: &[u8]) {
    client
        .publish(Publish::to_queue("work", body))
        .await
        .unwrap();
    client.get("work").await.unwrap().unwrap().reject(false);
}

#[tokio::test]
async fn a_letter_waits_for_its_queue() {
    let (broker, clock, client) = start(true).await;
    reject_one(&client, b"x").await;
    pass(&broker, &clock, 10_000).await;
    assert!(broker.memory_used() > 0, "it is kept and counted");
    client
        .declare_queue("graveyard", QueueOptions::default())
        .await
        .unwrap();
    pass(&broker, &clock, 1_000).await;
    let letter = client.get("graveyard").await.unwrap().unwrap();
    assert_eq!(letter.body(), b"x");
    letter.ack();
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn a_letter_waits_for_room() {
    let (broker, clock, client) = start(true).await;
    let full = QueueOptions {
        max_length: Some(1),
        overflow: Overflow::RejectPublish,
        ..QueueOptions::default()
    };
    client.declare_queue("graveyard", full).await.unwrap();
    reject_one(&client, b"1").await;
    reject_one(&client, b"2").await;
    pass(&broker, &clock, 5_000).await;
    assert_eq!(client.purge_queue("graveyard").await.unwrap(), 1);
    pass(&broker, &clock, 1_000).await;
    let letter = client.get("graveyard").await.unwrap().unwrap();
    assert_eq!(letter.body(), b"2");
}

#[tokio::test]
async fn letters_go_with_their_queue() {
    let (broker, clock, client) = start(true).await;
    reject_one(&client, b"x").await;
    client.delete_queue("work").await.unwrap();
    pass(&broker, &clock, 1_000).await;
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn without_the_promise_they_are_dropped() {
    let (broker, _clock, client) = start(false).await;
    reject_one(&client, b"x").await;
    assert_eq!(broker.memory_used(), 0);
}
