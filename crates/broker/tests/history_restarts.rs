//! A durable exchange keeps history across a restart of the broker; what it kept before is gone, and that is known.
#![cfg(feature = "journal")]

mod support;

use leveret_broker::{
    Broker, Client, Delivery, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions,
    ResumeFrom,
};
use support::data_dir::Dir;

async fn start(dir: &Dir) -> (Broker, Client) {
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        durable: true,
        history_length: Some(10),
        ..ExchangeOptions::default()
    };
    // The second time it is there already.
    let declared = client.declare_exchange("x", ExchangeType::Topic, options);
    declared.await.unwrap();
    (broker, client)
}

async fn declare(client: &Client, queue: &str, resume_from: ResumeFrom) {
    let options = QueueOptions {
        durable: true,
        resume_from: Some(resume_from),
        ..QueueOptions::default()
    };
    client.declare_queue(queue, options).await.unwrap();
}

async fn say(client: &Client, key: &str, text: &str) {
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let message = Publish {
        properties: Some(properties),
        ..Publish::to_exchange("x", key, text.as_bytes())
    };
    client.publish(message).await.unwrap();
}

async fn drain(client: &Client, queue: &str) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while let Some(delivery) = client.get(queue).await.unwrap() {
        taken.push(delivery);
    }
    taken
}

fn texts(deliveries: &[Delivery]) -> Vec<&str> {
    let bodies = deliveries.iter().map(Delivery::body);
    bodies
        .map(|body| std::str::from_utf8(body).unwrap())
        .collect()
}

#[tokio::test]
async fn a_position_of_an_earlier_run_is_known_to_be_one() {
    let dir = Dir::new();
    let (broker, client) = start(&dir).await;
    declare(&client, "live", ResumeFrom::Next).await;
    client.bind_queue("live", "x", "#").await.unwrap();
    say(&client, "a", "one").await;
    say(&client, "a", "gone").await;
    let found = drain(&client, "live").await;
    let seen = found[0].position().unwrap();
    drop(found);
    broker.shutdown().await;

    let (_broker, client) = start(&dir).await;
    say(&client, "a", "two").await;
    declare(&client, "late", ResumeFrom::After(seen)).await;
    client.bind_queue("late", "x", "#").await.unwrap();
    let found = drain(&client, "late").await;
    assert_eq!(texts(&found), ["two"]);
    assert!(found[0].gap().is_some());
    // What the durable queue held has the positions that it had.
    let found = drain(&client, "live").await;
    assert_eq!(texts(&found), ["one", "gone", "two"]);
    assert_eq!(found[0].position(), Some(seen));
}

#[tokio::test]
async fn a_durable_queue_that_was_bound_has_had_what_came() {
    let dir = Dir::new();
    let (broker, client) = start(&dir).await;
    declare(&client, "q", ResumeFrom::First).await;
    client.bind_queue("q", "x", "a").await.unwrap();
    broker.shutdown().await;

    let (_broker, client) = start(&dir).await;
    say(&client, "a", "one").await;
    say(&client, "b", "two").await;
    client.bind_queue("q", "x", "a").await.unwrap();
    client.bind_queue("q", "x", "#").await.unwrap();
    assert_eq!(texts(&drain(&client, "q").await), ["one", "two"]);
}
