//! What is durable is there again after a restart, and nothing else is.
#![cfg(feature = "journal")]

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leveret_amqp_codec::method::{exchange, queue};
use leveret_amqp_codec::{Method, RawTable};
use leveret_broker::{
    Broker, Client, ConsumeOptions, ExchangeOptions, ExchangeType, Publish, QueueOptions,
    QueueType, Value, VirtualClock,
};
use support::{Wire, pass, short, soon, start, table};

/// A data directory of one test, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("durable-{}-{number}", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    async fn broker(&self) -> Broker {
        start(Broker::builder().data_dir(&self.0)).await
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn durable_queue() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

fn durable_exchange() -> ExchangeOptions {
    ExchangeOptions {
        durable: true,
        ..ExchangeOptions::default()
    }
}

async fn exists(client: &Client, queue: &str) -> bool {
    match client.queue_info(queue).await {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => panic!("{error}"),
    }
}

/// How many messages a queue gets from a publish.
async fn reached(client: &Client, queue: &str, exchange: &str, key: &str) -> u64 {
    let before = client.queue_info(queue).await.unwrap().ready;
    client
        .publish(Publish::to_exchange(exchange, key, b"hello"))
        .await
        .unwrap();
    client.queue_info(queue).await.unwrap().ready - before
}

#[tokio::test]
async fn durable_queues_survive_and_are_empty() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("kept", durable_queue()).await.unwrap();
    client
        .declare_queue("gone", QueueOptions::default())
        .await
        .unwrap();
    client
        .publish(Publish::to_queue("kept", b"lost"))
        .await
        .unwrap();
    drop((client, broker));

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert_eq!(client.queue_info("kept").await.unwrap().ready, 0);
    assert!(!exists(&client, "gone").await);
    assert_eq!(reached(&client, "kept", "", "kept").await, 1);
}

#[tokio::test]
async fn bindings_between_durable_things_survive_with_their_arguments() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", durable_queue()).await.unwrap();
    client
        .declare_queue("transient", QueueOptions::default())
        .await
        .unwrap();
    for (name, kind) in [
        ("topic", ExchangeType::Topic),
        ("headers", ExchangeType::Headers),
        ("front", ExchangeType::Fanout),
    ] {
        client
            .declare_exchange(name, kind, durable_exchange())
            .await
            .unwrap();
    }
    client
        .declare_exchange("transient", ExchangeType::Fanout, Default::default())
        .await
        .unwrap();
    client.bind_queue("q", "topic", "a.*").await.unwrap();
    client.bind_queue("q", "amq.direct", "d").await.unwrap();
    client.bind_queue("q", "transient", "").await.unwrap();
    client
        .bind_queue("transient", "topic", "a.*")
        .await
        .unwrap();
    client.bind_exchange("topic", "front", "").await.unwrap();
    let wanted = table([
        ("kind", Value::from("red")),
        ("x-match", Value::from("any")),
    ]);
    client
        .bind_queue_with("q", "headers", "", &wanted)
        .await
        .unwrap();
    drop((client, broker));

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert_eq!(reached(&client, "q", "topic", "a.b").await, 1);
    assert_eq!(reached(&client, "q", "topic", "b.b").await, 0);
    assert_eq!(reached(&client, "q", "amq.direct", "d").await, 1);
    assert_eq!(reached(&client, "q", "front", "a.c").await, 1);
    assert_eq!(reached(&client, "q", "headers", "").await, 0);
    let red = Publish {
        properties: Some(support::with_headers([("kind", Value::from("red"))])),
        ..Publish::to_exchange("headers", "", b"")
    };
    let before = client.queue_info("q").await.unwrap().ready;
    client.publish(red).await.unwrap();
    assert_eq!(client.queue_info("q").await.unwrap().ready, before + 1);
    // The transient exchange and queue are gone, and do not come back bound.
    client
        .declare_exchange("transient", ExchangeType::Fanout, Default::default())
        .await
        .unwrap();
    assert_eq!(reached(&client, "q", "transient", "").await, 0);
    client
        .declare_queue("transient", QueueOptions::default())
        .await
        .unwrap();
    assert_eq!(reached(&client, "transient", "topic", "a.b").await, 0);
}

#[tokio::test]
async fn properties_of_exchanges_and_queues_survive() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let exchange = ExchangeOptions {
        auto_delete: true,
        internal: true,
        alternate_exchange: Some("elsewhere".to_owned()),
        delayed_type: Some(ExchangeType::Topic),
        ..durable_exchange()
    };
    let queue = QueueOptions {
        auto_delete: true,
        message_ttl: Some(Duration::from_secs(60)),
        max_length: Some(3),
        dead_letter_exchange: Some("dead".to_owned()),
        max_priority: Some(5),
        single_active_consumer: true,
        ..durable_queue()
    };
    let quorum = QueueOptions {
        queue_type: QueueType::Quorum,
        delivery_limit: Some(4),
        ..durable_queue()
    };
    let declare_all = async |client: &Client| {
        client
            .declare_exchange("e", ExchangeType::Delayed, exchange.clone())
            .await
            .unwrap();
        client.declare_queue("q", queue.clone()).await.unwrap();
        client
            .declare_queue("quorum", quorum.clone())
            .await
            .unwrap();
    };
    declare_all(&client).await;
    drop((client, broker));

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    // The same declarations are accepted, which they would not be if anything differed.
    declare_all(&client).await;
    for different in [
        QueueOptions {
            durable: false,
            ..queue.clone()
        },
        QueueOptions {
            auto_delete: false,
            ..queue.clone()
        },
        QueueOptions {
            max_length: Some(4),
            ..queue.clone()
        },
    ] {
        let error = client.declare_queue("q", different).await.unwrap_err();
        assert!(error.is_precondition_failed(), "{error}");
    }
    let different = ExchangeOptions {
        internal: false,
        ..exchange.clone()
    };
    let error = client
        .declare_exchange("e", ExchangeType::Delayed, different)
        .await
        .unwrap_err();
    assert!(error.is_precondition_failed(), "{error}");
    for n in 0..5_u8 {
        client.publish(Publish::to_queue("q", &[n])).await.unwrap();
    }
    assert_eq!(client.queue_info("q").await.unwrap().ready, 3);
}

#[tokio::test]
async fn what_was_deleted_stays_deleted_however_it_went() {
    let dir = Dir::new();
    let clock = VirtualClock::new();
    let broker = start(
        Broker::builder()
            .data_dir(&dir.0)
            .virtual_clock(clock.clone()),
    )
    .await;
    let client = broker.client().unwrap();
    let auto_delete = QueueOptions {
        auto_delete: true,
        ..durable_queue()
    };
    let leased = QueueOptions {
        expires: Some(Duration::from_secs(1)),
        ..durable_queue()
    };
    let auto_delete_exchange = ExchangeOptions {
        auto_delete: true,
        ..durable_exchange()
    };
    for (name, options) in [
        ("deleted", durable_queue()),
        ("left", auto_delete),
        ("expired", leased),
        ("kept", durable_queue()),
    ] {
        client.declare_queue(name, options).await.unwrap();
    }
    for (name, options) in [
        ("deleted", durable_exchange()),
        ("unused", auto_delete_exchange.clone()),
        ("chained", auto_delete_exchange),
        ("kept", durable_exchange()),
    ] {
        client
            .declare_exchange(name, ExchangeType::Fanout, options)
            .await
            .unwrap();
    }
    client.bind_queue("kept", "deleted", "").await.unwrap();
    client.bind_queue("kept", "kept", "gone").await.unwrap();
    client.bind_queue("deleted", "unused", "").await.unwrap();
    client.bind_exchange("unused", "chained", "").await.unwrap();

    client.delete_exchange("deleted").await.unwrap();
    // Takes its exchange along, and that the next.
    client.delete_queue("deleted").await.unwrap();
    client.unbind_queue("kept", "kept", "gone").await.unwrap();
    drop(
        client
            .consume("left", ConsumeOptions::default())
            .await
            .unwrap(),
    );
    pass(&broker, &clock, 1_000).await;
    drop((client, broker));

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    for queue in ["deleted", "left", "expired"] {
        assert!(!exists(&client, queue).await, "{queue} is back");
    }
    assert_eq!(reached(&client, "kept", "kept", "gone").await, 0);
    // Declared anew with other properties, which would be refused if they were back; and unbound.
    for exchange in ["deleted", "unused", "chained"] {
        client
            .declare_exchange(exchange, ExchangeType::Topic, durable_exchange())
            .await
            .unwrap();
        assert_eq!(reached(&client, "kept", exchange, "").await, 0);
    }
}

#[tokio::test]
async fn exclusive_queues_go_with_their_connection() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    let exclusive = QueueOptions {
        exclusive: true,
        ..durable_queue()
    };
    client.declare_queue("mine", exclusive).await.unwrap();
    client.bind_queue("mine", "amq.topic", "#").await.unwrap();
    drop((client, broker));

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert!(!exists(&client, "mine").await);
    client.declare_queue("mine", durable_queue()).await.unwrap();
    assert_eq!(reached(&client, "mine", "amq.topic", "a").await, 0);
}

#[tokio::test]
async fn virtual_hosts_survive_and_so_does_their_end() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    assert!(broker.create_vhost("kept"));
    assert!(broker.create_vhost("gone"));
    for vhost in ["kept", "gone"] {
        let client = broker.client_of(vhost).unwrap();
        client.declare_queue("q", durable_queue()).await.unwrap();
        client.bind_queue("q", "amq.fanout", "").await.unwrap();
    }
    assert!(broker.delete_vhost("gone"));
    assert!(broker.delete_vhost("/"));
    broker.definitions_stored().await.unwrap();
    drop(broker);

    let broker = dir.broker().await;
    assert_eq!(broker.vhosts(), ["kept".into()]);
    let client = broker.client_of("kept").unwrap();
    assert_eq!(reached(&client, "q", "amq.fanout", "").await, 1);
    // A namesake begins empty.
    assert!(broker.create_vhost("gone"));
    let client = broker.client_of("gone").unwrap();
    assert!(!exists(&client, "q").await);
}

#[tokio::test]
async fn a_virtual_host_that_is_deleted_and_made_again_keeps_only_the_new_things() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    assert!(broker.create_vhost("v"));
    let old = broker.client_of("v").unwrap();
    old.declare_queue("old", durable_queue()).await.unwrap();
    let mut consumer = old.consume("old", ConsumeOptions::default()).await.unwrap();
    assert!(broker.delete_vhost("v"));
    assert!(broker.create_vhost("v"));
    let new = broker.client_of("v").unwrap();
    new.declare_queue("old", durable_queue()).await.unwrap();
    new.declare_queue("new", durable_queue()).await.unwrap();
    // Whoever is still in the old one leaves no trace in the new one.
    assert!(
        soon("the end of the stream", consumer.recv())
            .await
            .is_none()
    );
    assert!(old.declare_queue("late", durable_queue()).await.is_err());
    old.delete_queue("new").await.unwrap();
    drop((consumer, old, new, broker));

    let broker = dir.broker().await;
    let client = broker.client_of("v").unwrap();
    assert!(exists(&client, "old").await && exists(&client, "new").await);
    assert!(!exists(&client, "late").await);
}

#[tokio::test]
async fn a_lease_begins_anew_with_the_broker() {
    let dir = Dir::new();
    let leased = QueueOptions {
        expires: Some(Duration::from_secs(10)),
        ..durable_queue()
    };
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("q", leased).await.unwrap();
    drop((client, broker));

    let clock = VirtualClock::new();
    clock.advance(Duration::from_secs(1_000_000));
    let broker = start(
        Broker::builder()
            .data_dir(&dir.0)
            .virtual_clock(clock.clone()),
    )
    .await;
    let client = broker.client().unwrap();
    pass(&broker, &clock, 9_999).await;
    assert!(exists(&client, "q").await);
    pass(&broker, &clock, 1).await;
    assert!(!exists(&client, "q").await);
    drop((client, broker));
    let broker = dir.broker().await;
    assert!(!exists(&broker.client().unwrap(), "q").await);
}

#[tokio::test]
async fn answers_over_a_socket_come_in_order_and_mean_that_it_is_stored() {
    const QUEUES: usize = 500;
    let dir = Dir::new();
    let broker = dir.broker().await;
    let mut wire = Wire::open(&broker).await;
    let declare = |name: &str, durable| {
        let mut bytes = Vec::new();
        let method = queue::Declare {
            queue: short(name),
            durable,
            ..queue::Declare::default()
        };
        leveret_amqp_codec::write_method(&mut bytes, leveret_amqp_codec::ChannelId(1), &method);
        bytes
    };
    let mut bytes = Vec::new();
    for n in 0..QUEUES {
        bytes.extend(declare(&format!("q{n}"), n % 3 != 0));
    }
    wire.send_bytes(&bytes).await;
    for n in 0..QUEUES {
        let heard = wire.expect("queue.declare-ok").await;
        let Method::QueueDeclareOk(ok) = heard.method() else {
            panic!("{heard:?}");
        };
        assert_eq!(&*ok.queue, format!("q{n}"));
    }
    drop(broker);

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    for n in 0..QUEUES {
        assert_eq!(exists(&client, &format!("q{n}")).await, n % 3 != 0, "q{n}");
    }
}

#[tokio::test]
async fn deliveries_and_confirms_follow_the_answer_that_waits() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.select_confirms().await;
    wire.send(&exchange::Declare {
        exchange: short("e"),
        kind: short("fanout"),
        durable: true,
        ..exchange::Declare::default()
    })
    .await;
    wire.send(&queue::Declare {
        queue: short("q"),
        durable: true,
        ..queue::Declare::default()
    })
    .await;
    wire.send(&queue::Bind {
        queue: short("q"),
        exchange: short("e"),
        arguments: RawTable::EMPTY,
        ..queue::Bind::default()
    })
    .await;
    wire.publish("e", "", &vec![7; 100_000]).await;
    wire.expect("exchange.declare-ok").await;
    wire.expect("queue.declare-ok").await;
    wire.expect("queue.bind-ok").await;
    wire.confirmed().await;
    assert_eq!(wire.get("q").await.unwrap().body.len(), 100_000);
    wire.close().await;
}

#[tokio::test]
async fn a_data_directory_serves_one_broker_at_a_time() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let error = Broker::builder()
        .data_dir(&dir.0)
        .start()
        .await
        .unwrap_err();
    assert!(error.is_data_dir_in_use(), "{error}");
    broker.shutdown().await;
    dir.broker().await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_one_is_an_error() {
    let dir = Dir::new();
    std::fs::write(&dir.0, b"").unwrap();
    let error = Broker::builder()
        .data_dir(&dir.0)
        .start()
        .await
        .unwrap_err();
    assert!(error.is_data_dir_unusable(), "{error}");
    assert!(error.as_io_error().is_some());
    std::fs::remove_file(&dir.0).unwrap();

    std::fs::create_dir(&dir.0).unwrap();
    std::fs::write(dir.0.join("metadata.redb"), b"not a database").unwrap();
    let error = Broker::builder()
        .data_dir(&dir.0)
        .start()
        .await
        .unwrap_err();
    assert!(error.is_data_unreadable(), "{error}");
    assert!(error.to_string().contains("metadata.redb"), "{error}");
}
