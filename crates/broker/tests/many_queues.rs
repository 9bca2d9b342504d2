//! However many queues hold messages, those that nobody takes from keep nothing in memory when it is short.
#![cfg(feature = "journal")]

mod support;

use leveret_amqp_codec::{ChannelId, write_body, write_content_header, write_method};
use leveret_broker::{
    Broker, Client, ConsumeOptions, Properties, Publish, QueueOptions, VirtualClock,
};
use support::data_dir::Dir;
use support::{Wire, pass, soon, until};

const QUEUES: usize = 100;

/// What durable queues may hold: a fraction of a message for each.
const MEMORY: usize = 8 * 1024;

fn builder() -> leveret_broker::Builder {
    Broker::builder().durable_memory(MEMORY)
}

fn name(queue: usize) -> String {
    format!("q{queue}")
}

fn message<'a>(queue: &'a str, body: &'a [u8], persistent: bool) -> Publish<'a> {
    let properties = persistent.then(|| Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    });
    Publish {
        properties,
        ..Publish::to_queue(queue, body)
    }
}

/// Publishes a message after the other to each queue in turn, named by their place.
async fn fill(client: &Client, options: &QueueOptions, places: std::ops::Range<usize>) {
    for queue in 0..QUEUES {
        client
            .declare_queue(&name(queue), options.clone())
            .await
            .unwrap();
    }
    for place in places {
        let body = place.to_string();
        for queue in 0..QUEUES {
            let name = name(queue);
            let published = client.publish(message(&name, body.as_bytes(), options.durable));
            if queue + 1 == QUEUES {
                soon("a confirm", published).await.unwrap();
            }
        }
    }
}

/// Makes a queue that is not kept, with a message of ten thousand bytes.
async fn fill_transient(client: &Client, queue: usize) {
    let transient = QueueOptions::default();
    client.declare_queue(&name(queue), transient).await.unwrap();
    let published = client.publish(message(&name(queue), &[b'x'; 10_000], false));
    soon("a confirm", published).await.unwrap();
}

/// Returns once no more than so much is in memory.
async fn memory_falls_to(broker: &Broker, bytes: usize) {
    until("memory", || broker.memory_used() <= bytes).await;
}

/// The bodies of all messages of a queue, which are then gone.
async fn drain(client: &Client, queue: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = client.get(&name(queue)).await.unwrap() {
        bodies.push(String::from_utf8(delivery.body().to_vec()).unwrap());
        delivery.ack();
    }
    bodies
}

fn texts(places: std::ops::Range<usize>) -> Vec<String> {
    places.map(|place| place.to_string()).collect()
}

fn durable() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

#[tokio::test]
async fn durable_queues_keep_their_messages_on_disk_and_in_order() {
    let dir = Dir::new();
    let broker = dir.broker_with(builder()).await;
    let client = broker.client().unwrap();
    fill(&client, &durable(), 0..40).await;
    memory_falls_to(&broker, MEMORY).await;
    assert_eq!(drain(&client, 0).await, texts(0..40));

    // Some is delivered and not settled while the rest goes again, and it comes back to its place.
    let first = client.get(&name(1)).await.unwrap().unwrap();
    let second = client.get(&name(1)).await.unwrap().unwrap();
    fill(&client, &durable(), 40..41).await;
    memory_falls_to(&broker, 2 * MEMORY).await;
    first.nack(true);
    second.ack();
    let mut want = texts(0..41);
    want.remove(1);
    assert_eq!(drain(&client, 1).await, want);

    let after = dir.crashed();
    let broker = after.broker_with(builder()).await;
    let client = broker.client().unwrap();
    memory_falls_to(&broker, MEMORY).await;
    for queue in 2..QUEUES {
        assert_eq!(drain(&client, queue).await, texts(0..41));
    }
}

#[tokio::test]
async fn a_consumer_gets_what_was_on_disk() {
    let dir = Dir::new();
    let broker = dir.broker_with(builder()).await;
    let client = broker.client().unwrap();
    fill(&client, &durable(), 0..20).await;
    memory_falls_to(&broker, MEMORY).await;
    let mut consumers = Vec::new();
    for queue in 0..QUEUES {
        let options = ConsumeOptions {
            prefetch: 3,
            ..ConsumeOptions::default()
        };
        consumers.push(client.consume(&name(queue), options).await.unwrap());
    }
    for place in 0..20 {
        for consumer in &mut consumers {
            let delivery = soon("a delivery", consumer.recv()).await.unwrap();
            assert_eq!(delivery.body(), place.to_string().as_bytes());
            delivery.ack();
        }
    }
}

#[tokio::test]
async fn what_is_on_disk_expires_in_time() {
    let dir = Dir::new();
    let clock = VirtualClock::new();
    let broker = dir
        .broker_with(builder().virtual_clock(clock.clone()))
        .await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        message_ttl: Some(std::time::Duration::from_secs(60)),
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("dead".to_owned()),
        ..durable()
    };
    client.declare_queue("dead", durable()).await.unwrap();
    fill(&client, &options, 0..20).await;
    memory_falls_to(&broker, MEMORY).await;
    pass(&broker, &clock, 59_000).await;
    assert_eq!(client.queue_info("dead").await.unwrap().ready, 0);
    pass(&broker, &clock, 2_000).await;
    assert_eq!(
        client.queue_info("dead").await.unwrap().ready,
        20 * QUEUES as u64
    );
}

#[tokio::test]
async fn transient_queues_make_room_before_publishers_are_stopped() {
    const BODY: [u8; 1000] = [b'x'; 1000];
    let dir = Dir::new();
    // In no queue is there enough for a whole chunk, and in all of them three times the limit.
    let limit = 1024 * 1024;
    let broker = dir.broker_with(Broker::builder().memory_limit(limit)).await;
    let client = broker.client().unwrap();
    for queue in 0..QUEUES {
        let transient = QueueOptions::default();
        client.declare_queue(&name(queue), transient).await.unwrap();
    }
    for _ in 0..3 * limit / BODY.len() / QUEUES {
        for queue in 0..QUEUES {
            let name = name(queue);
            let published = client.publish(message(&name, &BODY, false));
            soon("a confirm", published).await.unwrap();
        }
    }
    memory_falls_to(&broker, limit / 2).await;
    until("the end of the alarm", || broker.alarms().is_empty()).await;
    for queue in 0..QUEUES {
        assert_eq!(
            drain(&client, queue).await.len(),
            3 * limit / BODY.len() / QUEUES
        );
    }
}

#[tokio::test]
async fn the_message_that_makes_it_too_much_is_enough_to_make_room() {
    let dir = Dir::new();
    let limit = 100_000;
    let broker = dir.broker_with(Broker::builder().memory_limit(limit)).await;
    let client = broker.client().unwrap();
    for queue in 0..5 {
        assert!(broker.memory_used() <= limit / 2);
        fill_transient(&client, queue).await;
    }
    memory_falls_to(&broker, limit / 2).await;
}

#[tokio::test]
async fn a_limit_that_is_lowered_makes_room_at_once() {
    let dir = Dir::new();
    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    for queue in 0..5 {
        fill_transient(&client, queue).await;
    }
    broker.set_memory_limit(40_000);
    memory_falls_to(&broker, 20_000).await;
    until("the end of the alarm", || broker.alarms().is_empty()).await;
}

#[tokio::test]
async fn a_message_that_is_only_half_there_makes_room_too() {
    let dir = Dir::new();
    let limit = 100_000;
    let broker = dir.broker_with(Broker::builder().memory_limit(limit)).await;
    let client = broker.client().unwrap();
    for queue in 0..4 {
        fill_transient(&client, queue).await;
    }
    let mut wire = Wire::open(&broker).await;
    let mut half = Vec::new();
    let properties = leveret_amqp_codec::RawProperties::EMPTY;
    let publish = leveret_amqp_codec::method::basic::Publish::default();
    write_method(&mut half, ChannelId(1), &publish);
    write_content_header(&mut half, ChannelId(1), 60, 60_000, properties);
    write_body(&mut half, ChannelId(1), &[0; 30_000], 131_072);
    wire.send_bytes(&half).await;
    // What comes behind it is answered, so it is there.
    wire.open_channel(2).await;
    assert!(broker.memory_used() > 30_000);
    memory_falls_to(&broker, limit / 2).await;
}
