//! Messages whose definitions are lost, or were taken from an old copy.

use super::*;
use crate::{Properties, Publish};

/// A broker with these definitions and messages; the error for the operator when it does not start.
async fn start(definitions: &FaultyStorage, messages: &MemoryStorage) -> Result<Broker, String> {
    let beginning = Beginning::on(
        Box::new(definitions.clone()),
        Arc::new(messages.clone()),
        JournalOptions::default(),
        None,
    );
    let beginning = beginning.map_err(|error| error.to_string())?;
    let started = Broker::builder().start_from(beginning).await;
    started.map_err(|error| error.to_string())
}

/// Declares a durable queue and publishes a message to it, which is confirmed; then the broker ends.
async fn keep_a_message(queue: &str, definitions: &FaultyStorage, messages: &MemoryStorage) {
    let broker = start(definitions, messages).await.unwrap();
    let client = broker.client().unwrap();
    client.declare_queue(queue, durable()).await.unwrap();
    let publish = Publish {
        properties: Some(Properties {
            delivery_mode: Some(2),
            ..Properties::default()
        }),
        ..Publish::to_queue(queue, b"kept")
    };
    client.publish(publish).await.unwrap();
    drop(client);
    broker.shutdown().await;
}

async fn assert_is_kept(queue: &str, definitions: &FaultyStorage, messages: &MemoryStorage) {
    let broker = start(definitions, messages).await.unwrap();
    let client = broker.client().unwrap();
    let delivery = client.get(queue).await.unwrap().expect("it was kept");
    assert_eq!(delivery.body(), b"kept");
    delivery.nack(true);
    drop(client);
    broker.shutdown().await;
}

#[track_caller]
fn assert_refused(started: Result<Broker, String>) {
    let error = started.expect_err("messages would be deleted");
    for part in ["messages: 1, queues: 1", "put the right", "move the folder"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn messages_are_not_deleted_because_the_definitions_are_lost() {
    let (definitions, messages) = (FaultyStorage::default(), MemoryStorage::new());
    keep_a_message("q", &definitions, &messages).await;
    let lost = FaultyStorage::default();
    for _ in 0..3 {
        assert_refused(start(&lost, &messages).await);
    }
    assert_is_kept("q", &definitions, &messages).await;
}

#[tokio::test]
async fn messages_are_not_deleted_because_the_definitions_are_from_an_old_copy() {
    let (definitions, messages) = (FaultyStorage::default(), MemoryStorage::new());
    keep_a_message("old", &definitions, &messages).await;
    let old = FaultyStorage::with_bytes(definitions.bytes());
    keep_a_message("new", &definitions, &messages).await;
    for _ in 0..3 {
        assert_refused(start(&old, &messages).await);
    }
    assert_is_kept("old", &definitions, &messages).await;
    assert_is_kept("new", &definitions, &messages).await;
}

#[tokio::test]
async fn definitions_may_be_lost_of_queues_without_messages() {
    let (definitions, messages) = (FaultyStorage::default(), MemoryStorage::new());
    keep_a_message("q", &definitions, &messages).await;
    let broker = start(&definitions, &messages).await.unwrap();
    let client = broker.client().unwrap();
    assert_eq!(client.purge_queue("q").await.unwrap(), 1);
    drop(client);
    broker.shutdown().await;
    let lost = FaultyStorage::default();
    keep_a_message("q", &lost, &messages).await;
    assert_is_kept("q", &lost, &messages).await;
}
