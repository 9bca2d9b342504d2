//! The exchange types that RabbitMQ has from plugins (behaviour reference, section 5.10).

mod support;

use leveret_broker::{
    Broker, Client, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions, Table, Value,
};
use support::{Wire, table};

async fn start(kind: ExchangeType, queues: &[(&str, &str)]) -> (Broker, Client) {
    let broker = Broker::builder().seed(7).start().await.unwrap();
    let client = broker.client().unwrap();
    client
        .declare_exchange("x", kind, ExchangeOptions::default())
        .await
        .unwrap();
    for (queue, key) in queues {
        client
            .declare_queue(queue, QueueOptions::default())
            .await
            .unwrap();
        client.bind_queue(queue, "x", key).await.unwrap();
    }
    (broker, client)
}

async fn ready(client: &Client, queue: &str) -> u64 {
    client.queue_info(queue).await.unwrap().ready
}

#[tokio::test]
async fn consistent_hash_sends_a_key_to_one_queue_and_always_the_same() {
    let queues = [("a", "1"), ("b", "1"), ("c", "2")];
    let (_broker, client) = start(ExchangeType::ConsistentHash, &queues).await;
    for round in 0..2 {
        for user in 0..400 {
            let key = format!("user-{user}");
            client
                .publish(Publish::to_exchange("x", &key, b""))
                .await
                .unwrap();
        }
        let (a, b, c) = (
            ready(&client, "a").await,
            ready(&client, "b").await,
            ready(&client, "c").await,
        );
        assert_eq!(a + b + c, 400 * (round + 1), "each message in one queue");
        assert!(c > a && c > b, "the heavier queue gets more: {a} {b} {c}");
    }
    let first = ready(&client, "a").await;
    assert_eq!(first % 2, 0, "the second round went where the first did");
}

#[tokio::test]
async fn consistent_hash_wants_a_weight() {
    let (_broker, client) = start(ExchangeType::ConsistentHash, &[]).await;
    client
        .declare_queue("a", QueueOptions::default())
        .await
        .unwrap();
    for key in ["", "0", "-3", "10001", "much"] {
        let error = client.bind_queue("a", "x", key).await.unwrap_err();
        assert!(error.is_precondition_failed(), "{key:?}: {error}");
    }
    client.bind_queue("a", "x", "10000").await.unwrap();
}

#[tokio::test]
async fn modulus_hash_sends_each_message_to_one_queue() {
    let (_broker, client) = start(ExchangeType::ModulusHash, &[("a", ""), ("b", "")]).await;
    for n in 0..100 {
        let key = n.to_string();
        client
            .publish(Publish::to_exchange("x", &key, b""))
            .await
            .unwrap();
    }
    let (a, b) = (ready(&client, "a").await, ready(&client, "b").await);
    assert_eq!(a + b, 100);
    assert!(a > 20 && b > 20, "{a} and {b}");
}

#[tokio::test]
async fn random_spreads_one_key_over_all_queues() {
    let (_broker, client) = start(ExchangeType::Random, &[("a", ""), ("b", ""), ("c", "")]).await;
    for _ in 0..300 {
        client
            .publish(Publish::to_exchange("x", "same", b""))
            .await
            .unwrap();
    }
    let counts = [
        ready(&client, "a").await,
        ready(&client, "b").await,
        ready(&client, "c").await,
    ];
    assert_eq!(counts.iter().sum::<u64>(), 300);
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[tokio::test]
async fn a_message_with_further_keys_goes_to_one_destination_all_the_same() {
    for kind in [
        ExchangeType::ConsistentHash,
        ExchangeType::ModulusHash,
        ExchangeType::Random,
    ] {
        let queues = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        let (_broker, client) = start(kind, &queues).await;
        let keys = |prefix: &str| {
            let keys = (0..20).map(|n| Value::from(format!("{prefix}{n}").as_str()));
            Value::Array(keys.collect())
        };
        for n in 1..=20 {
            let headers = table([("CC", keys("cc-")), ("BCC", keys("bcc-"))]);
            let message = Publish {
                properties: Some(Properties {
                    headers: Some(headers),
                    ..Properties::default()
                }),
                ..Publish::to_exchange("x", "own", b"")
            };
            client.publish(message).await.unwrap();
            let mut all = 0;
            for (queue, _) in queues {
                all += ready(&client, queue).await;
            }
            assert_eq!(all, n, "{kind:?}");
        }
        // The message's own key chooses, where a key does.
        client
            .publish(Publish::to_exchange("x", "own", b""))
            .await
            .unwrap();
        if kind != ExchangeType::Random {
            let mut counts = Vec::new();
            for (queue, _) in queues {
                counts.push(ready(&client, queue).await);
            }
            counts.sort_unstable();
            assert_eq!(counts, [0, 0, 0, 21], "{kind:?}");
        }
    }
}

#[tokio::test]
async fn recent_history_tells_a_new_binding_what_it_missed() {
    let (_broker, client) = start(ExchangeType::RecentHistory, &[]).await;
    for n in 0..25 {
        let body = n.to_string();
        client
            .publish(Publish::to_exchange("x", "k", body.as_bytes()))
            .await
            .unwrap();
    }
    let headers = Table::from_iter([("x-recent-history-no-store", true)]);
    let unstored = Publish {
        properties: Some(Properties {
            headers: Some(headers),
            ..Properties::default()
        }),
        ..Publish::to_exchange("x", "k", b"secret")
    };
    client.publish(unstored).await.unwrap();
    client
        .declare_queue("late", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("late", "x", "").await.unwrap();
    client.bind_queue("late", "x", "").await.unwrap();
    let waiting = client.browse("late", 100).await.unwrap();
    let bodies: Vec<_> = waiting
        .iter()
        .map(|message| String::from_utf8_lossy(message.body()))
        .collect();
    let want: Vec<_> = (5..25).map(|n| n.to_string()).collect();
    assert_eq!(bodies, want, "the latest twenty, once");
    client
        .publish(Publish::to_exchange("x", "k", b"live"))
        .await
        .unwrap();
    assert_eq!(ready(&client, "late").await, 21);
}

#[tokio::test]
async fn whoever_binds_to_a_recent_history_again_and_again_cannot_stop_publishers() {
    let (broker, client) = with_long_history(400_000).await;
    publish_numbered(&client, 200).await;
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    for _ in 0..10 {
        client.bind_queue("q", "x", "").await.unwrap();
        client.unbind_queue("q", "x", "").await.unwrap();
    }
    assert!(broker.alarms().is_empty());
    let options = ExchangeOptions::default();
    client
        .declare_exchange("y", ExchangeType::Fanout, options)
        .await
        .unwrap();
    for queue in ["q", "r", "s", "t"] {
        client
            .declare_queue(queue, QueueOptions::default())
            .await
            .unwrap();
        client.bind_queue(queue, "y", "").await.unwrap();
    }
    client.purge_queue("q").await.unwrap();
    client.bind_exchange("y", "x", "").await.unwrap();
    assert!(broker.alarms().is_empty());
    assert!(
        ready(&client, "t").await > 50,
        "as much as there is room for"
    );
}

#[tokio::test]
async fn a_new_binding_is_told_of_the_latest_only_where_a_recent_history_is_very_long() {
    const MESSAGES: usize = 66_000;
    let (_broker, client) = with_long_history(1 << 30).await;
    for n in 0..MESSAGES {
        let body = n.to_string();
        client
            .publish(Publish::to_exchange("x", "k", body.as_bytes()))
            .await
            .unwrap();
    }
    client
        .declare_queue("late", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("late", "x", "").await.unwrap();
    assert_eq!(ready(&client, "late").await, 65_536);
    let first = client.browse("late", 1).await.unwrap();
    let want = (MESSAGES - 65_536).to_string();
    assert_eq!(first[0].body(), want.as_bytes());
}

#[tokio::test]
async fn a_long_recent_history_and_many_queues_are_not_told_at_once() {
    const QUEUES: usize = 1000;
    let (_broker, client) = with_long_history(1 << 30).await;
    publish_numbered(&client, 200).await;
    let options = ExchangeOptions::default();
    client
        .declare_exchange("y", ExchangeType::Fanout, options)
        .await
        .unwrap();
    for n in 0..QUEUES {
        let queue = n.to_string();
        client
            .declare_queue(&queue, QueueOptions::default())
            .await
            .unwrap();
        client.bind_queue(&queue, "y", "").await.unwrap();
    }
    client.bind_exchange("y", "x", "").await.unwrap();
    for queue in ["0", "999"] {
        assert_eq!(ready(&client, queue).await, 65, "65,536 places in all");
        let first = client.browse(queue, 1).await.unwrap();
        assert_eq!(first[0].body(), format!("{:01000}", 200 - 65).as_bytes());
    }
}

/// An exchange `x` with a long recent history, in a broker with this memory limit.
async fn with_long_history(limit: usize) -> (Broker, Client) {
    let broker = support::start(Broker::builder().memory_limit(limit)).await;
    let arguments = table([("x-recent-history-length", Value::I64(1_000_000_000))]);
    let mut wire = Wire::open(&broker).await;
    wire.declare_exchange_with("x", "x-recent-history", &arguments)
        .await;
    let client = broker.client().unwrap();
    (broker, client)
}

async fn publish_numbered(client: &Client, messages: usize) {
    for n in 0..messages {
        let body = format!("{n:01000}");
        client
            .publish(Publish::to_exchange("x", "k", body.as_bytes()))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn recent_histories_take_a_quarter_of_the_memory_at_most_and_the_oldest_go_first() {
    const LIMIT: usize = 400_000;
    let (broker, client) = with_long_history(LIMIT).await;
    for n in 0..500 {
        publish_numbered(&client, 1).await;
        assert!(broker.memory_used() > n.min(80) * 1000, "it is counted");
        assert!(broker.memory_used() <= LIMIT / 4);
    }
    publish_numbered(&client, 10).await;
    client
        .declare_queue("late", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("late", "x", "").await.unwrap();
    let waiting = client.browse("late", 1000).await.unwrap();
    assert!(waiting.len() > 80, "{}", waiting.len());
    for (at, message) in waiting.iter().rev().take(10).enumerate() {
        assert_eq!(message.body(), format!("{:01000}", 9 - at).as_bytes());
    }
    drop(waiting);
    client.delete_queue("late").await.unwrap();

    broker.set_memory_limit(LIMIT / 10);
    assert!(broker.memory_used() <= LIMIT / 40, "the alarm can end");
    assert!(broker.memory_used() > 0);
    client.delete_exchange("x").await.unwrap();
    assert_eq!(broker.memory_used(), 0);
}
