//! Subscriptions that say what happens when they are slow: messages wait, the oldest are dropped, or they end.

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::basic;
use leveret_broker::{
    Broker, Client, ConsumeOptions, ExchangeOptions, ExchangeType, Publish, QueueOptions,
    SlowLimit, Table, Value, WhenSlow,
};
use support::{Greeting, Wire, broker, short, table};

async fn publish(client: &Client, bodies: std::ops::Range<usize>) {
    for n in bodies {
        client
            .publish(Publish::to_queue("q", n.to_string().as_bytes()))
            .await
            .unwrap();
    }
}

async fn with_queue() -> (Broker, Client) {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    (broker, client)
}

fn dropping(messages: u64) -> WhenSlow {
    WhenSlow::DropOldest(SlowLimit {
        messages,
        ..SlowLimit::default()
    })
}

fn closing(messages: u64) -> WhenSlow {
    WhenSlow::Close(SlowLimit {
        messages,
        ..SlowLimit::default()
    })
}

#[tokio::test]
async fn in_process_received_and_dropped_are_all_that_was_published() {
    const COUNT: usize = 20_000;
    let (_broker, client) = with_queue().await;
    let options = ConsumeOptions {
        no_ack: true,
        when_slow: dropping(100),
        ..ConsumeOptions::default()
    };
    let mut consumer = client.consume("q", options).await.unwrap();
    publish(&client, 0..COUNT).await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 100);
    let mut next = 0;
    while next < COUNT {
        let delivery = consumer.recv().await.unwrap();
        next += usize::try_from(delivery.dropped()).unwrap();
        assert_eq!(delivery.body(), next.to_string().as_bytes());
        next += 1;
    }
    assert!(consumer.try_recv().is_none());
}

#[tokio::test]
async fn a_consumer_that_is_closed_sees_its_end_and_others_get_the_rest() {
    let (_broker, client) = with_queue().await;
    let options = ConsumeOptions {
        prefetch: 1,
        when_slow: closing(3),
        ..ConsumeOptions::default()
    };
    let mut consumer = client.consume("q", options).await.unwrap();
    publish(&client, 0..5).await;
    let first = consumer.recv().await.unwrap();
    assert_eq!(first.body(), b"0");
    assert!(consumer.recv().await.is_none());
    assert!(consumer.was_too_slow());
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked, info.consumers), (4, 1, 0));
    // It comes late, and has lost nothing.
    let mut other = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    drop(consumer);
    for n in 1..5 {
        let delivery = other.recv().await.unwrap();
        assert_eq!(delivery.body(), n.to_string().as_bytes());
        delivery.ack();
    }
    drop(first);
    let back = other.recv().await.unwrap();
    assert!(back.redelivered());
    assert_eq!(back.body(), b"0");
    back.ack();
}

#[tokio::test]
async fn an_auto_delete_queue_goes_with_its_consumer_that_was_too_slow() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        auto_delete: true,
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    let options = ConsumeOptions {
        prefetch: 1,
        when_slow: closing(1),
        ..ConsumeOptions::default()
    };
    let mut consumer = client.consume("q", options).await.unwrap();
    publish(&client, 0..3).await;
    assert!(client.queue_info("q").await.unwrap_err().is_not_found());
    let last = consumer.recv().await.unwrap();
    assert!(consumer.recv().await.is_none());
    last.ack();
}

#[tokio::test]
async fn what_is_dropped_is_dead_lettered_as_one_too_many() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_exchange("dead", ExchangeType::Fanout, ExchangeOptions::default())
        .await
        .unwrap();
    client
        .declare_queue("letters", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("letters", "dead", "").await.unwrap();
    let options = QueueOptions {
        dead_letter_exchange: Some("dead".to_owned()),
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    let options = ConsumeOptions {
        prefetch: 1,
        when_slow: dropping(1),
        ..ConsumeOptions::default()
    };
    let _consumer = client.consume("q", options).await.unwrap();
    publish(&client, 0..3).await;
    let letter = client.get("letters").await.unwrap().unwrap();
    assert_eq!(letter.body(), b"1");
    let headers = letter.properties().headers.unwrap();
    assert_eq!(
        headers.get("x-first-death-reason"),
        Some(&Value::from("maxlen"))
    );
    letter.ack();
}

/// Starts the consumer `c` of `q` with arguments and a prefetch of one.
async fn consume_with(wire: &mut Wire, arguments: &Table) {
    wire.prefetch(1, false).await;
    wire.consume_with(&basic::Consume {
        queue: short("q"),
        consumer_tag: short("c"),
        arguments: RawTable::from_validated_bytes(&arguments.to_bytes()),
        ..basic::Consume::default()
    })
    .await;
}

#[tokio::test]
async fn amqp_consumers_are_told_in_a_header() {
    let (broker, client) = with_queue().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([
        ("x-slow-consumer", Value::from("drop-oldest")),
        ("x-slow-limit", Value::I32(2)),
    ]);
    consume_with(&mut wire, &arguments).await;
    publish(&client, 0..6).await;
    let first = wire.delivery().await;
    assert_eq!((first.text(), &first.properties.headers), ("0", &None));
    wire.ack(first.tag).await;
    let second = wire.delivery().await;
    let headers = second.properties.headers.clone().unwrap();
    assert_eq!(second.text(), "4");
    assert_eq!(headers.get("x-dropped"), Some(&Value::I64(3)));
    wire.ack(second.tag).await;
    let third = wire.delivery().await;
    assert_eq!((third.text(), &third.properties.headers), ("5", &None));
    wire.close().await;
}

#[tokio::test]
async fn amqp_consumers_that_are_closed_get_basic_cancel_or_lose_their_channel() {
    let arguments = || {
        table([
            ("x-slow-consumer", Value::from("close")),
            ("x-slow-limit", Value::I32(1)),
        ])
    };
    let (broker, client) = with_queue().await;
    let mut wire = Wire::open(&broker).await;
    consume_with(&mut wire, &arguments()).await;
    publish(&client, 0..3).await;
    assert_eq!(wire.delivery().await.text(), "0");
    wire.expect("basic.cancel").await;
    wire.quiet().await;
    wire.close().await;

    client.purge_queue("q").await.unwrap();
    let greeting = Greeting {
        capabilities: Vec::new(),
        ..Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    consume_with(&mut wire, &arguments()).await;
    publish(&client, 0..3).await;
    assert_eq!(wire.delivery().await.text(), "0");
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            406,
            "PRECONDITION_FAILED - consumer 'c' of queue 'q' was too slow"
        )
    );
}

#[tokio::test]
async fn arguments_that_mean_nothing_are_refused() {
    let (broker, _client) = with_queue().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([("x-slow-limit", Value::I32(1))]).to_bytes();
    wire.send(&basic::Consume {
        queue: short("q"),
        arguments: RawTable::from_validated_bytes(&arguments),
        ..basic::Consume::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - invalid arg 'x-slow-limit' for queue 'q' in vhost '/': \"needs x-slow-consumer\""
    );
}
