//! What holds back an old file of the log, and is moved so that it can go.

use leveret_queue_store::FaultyStorage as MessageDisk;

use super::*;
use crate::{Client, Overflow, Properties, Publish, QueueType};

/// Files so small that some dozens of messages fill one.
const OPTIONS: JournalOptions = JournalOptions {
    sync: leveret_queue_store::SyncPolicy::EveryConfirm,
    log_file_size: 4096,
    page_file_size: 4096,
    log_files_max: 2,
    pending_max: 1 << 20,
};

async fn start(definitions: &FaultyStorage, messages: &MessageDisk) -> (Broker, Client) {
    let messages = Arc::new(messages.clone());
    let beginning = Beginning::on(Box::new(definitions.clone()), messages, OPTIONS, None).unwrap();
    let broker = Broker::builder().start_from(beginning).await.unwrap();
    let client = broker.client().unwrap();
    (broker, client)
}

async fn publish(client: &Client, queue: &str, body: &str, priority: u8) {
    let published = client.publish(Publish {
        properties: Some(Properties {
            delivery_mode: Some(2),
            priority: Some(priority),
            ..Properties::default()
        }),
        ..Publish::to_queue(queue, body.as_bytes())
    });
    published.await.unwrap();
}

/// Fills some files of the log with what is acknowledged at once.
async fn fill_files(client: &Client) {
    client.declare_queue("busy", durable()).await.unwrap();
    let body = "x".repeat(200);
    for _ in 0..200 {
        publish(client, "busy", &body, 0).await;
        client.get("busy").await.unwrap().unwrap().ack();
    }
}

fn durable() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

/// Returns once no more files of the log are there than there should be.
async fn old_files_go(broker: &Broker) {
    let store = broker.shared.services.store.as_ref().unwrap();
    let shrunk = async {
        while store.journal().stats().log_files > OPTIONS.log_files_max {
            tokio::task::yield_now().await;
        }
    };
    let shrunk = tokio::time::timeout(DEADLINE, shrunk).await;
    assert!(shrunk.is_ok(), "{:?}", store.journal().stats());
}

#[tokio::test]
async fn letters_that_do_not_arrive_keep_no_old_file() {
    let (definitions, messages) = (FaultyStorage::default(), MessageDisk::new(1));
    let (broker, client) = start(&definitions, &messages).await;
    let options = QueueOptions {
        queue_type: QueueType::Quorum,
        overflow: Overflow::RejectPublish,
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("graveyard".to_owned()),
        dead_letter_at_least_once: true,
        ..durable()
    };
    client.declare_queue("work", options).await.unwrap();
    for body in ["a", "b", "c", "d"] {
        publish(&client, "work", body, 0).await;
    }
    for at in 0..4 {
        let delivery = client.get("work").await.unwrap().unwrap();
        match at {
            // One is with a consumer between two that are dead.
            1 => std::mem::forget(delivery),
            _ => delivery.reject(false),
        }
    }
    fill_files(&client).await;
    old_files_go(&broker).await;
    broker.shutdown().await;

    let (broker, client) = start(&definitions, &messages).await;
    let mut found = Vec::new();
    while let Some(delivery) = client.get("work").await.unwrap() {
        assert!(delivery.redelivered());
        found.push(String::from_utf8(delivery.body().to_vec()).unwrap());
        delivery.reject(false);
    }
    assert_eq!(found, ["a", "b", "c", "d"]);
    fill_files(&client).await;
    old_files_go(&broker).await;

    // They arrive from the pages they are in now, and are gone from there.
    client.declare_queue("graveyard", durable()).await.unwrap();
    let arrived = async {
        let mut names = Vec::new();
        while names.len() < 4 {
            match client.get("graveyard").await.unwrap() {
                Some(letter) => {
                    names.push(String::from_utf8(letter.body().to_vec()).unwrap());
                    letter.ack();
                }
                None => tokio::task::yield_now().await,
            }
        }
        names
    };
    let arrived = tokio::time::timeout(DEADLINE, arrived).await.unwrap();
    assert_eq!(arrived, ["a", "b", "c", "d"]);
    broker.shutdown().await;
    let (_broker, client) = start(&definitions, &messages).await;
    assert!(client.get("work").await.unwrap().is_none());
    assert!(client.get("graveyard").await.unwrap().is_none());
}
