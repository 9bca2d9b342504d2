//! Hours that pass in no time.

mod support;

use std::time::Duration;

use leveret_broker::{Broker, Client, ConsumeOptions, Publish, QueueOptions, VirtualClock};
use support::{pass, soon};

const HOUR: Duration = Duration::from_secs(3600);

async fn broker() -> (Broker, VirtualClock, Client) {
    let clock = VirtualClock::new();
    let broker = Broker::builder()
        .virtual_clock(clock.clone())
        .start()
        .await
        .unwrap();
    let client = broker.client().unwrap();
    (broker, clock, client)
}

async fn ready(client: &Client, queue: &str) -> u64 {
    client.queue_info(queue).await.unwrap().ready
}

#[tokio::test]
async fn a_message_that_lives_for_an_hour_dies_in_no_time() {
    let (broker, clock, client) = broker().await;
    let options = QueueOptions {
        message_ttl: Some(HOUR),
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    pass(&broker, &clock, 3_599_999).await;
    assert_eq!(ready(&client, "q").await, 1);
    pass(&broker, &clock, 1).await;
    assert_eq!(ready(&client, "q").await, 0);
}

#[tokio::test]
async fn idle_means_that_a_whole_chain_of_consequences_is_over() {
    let (broker, clock, client) = broker().await;
    const QUEUES: u64 = 50;
    for at in 0..QUEUES {
        let options = QueueOptions {
            message_ttl: Some(HOUR),
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some(format!("q{}", at + 1)),
            ..QueueOptions::default()
        };
        client
            .declare_queue(&format!("q{at}"), options)
            .await
            .unwrap();
    }
    client
        .declare_queue(&format!("q{QUEUES}"), QueueOptions::default())
        .await
        .unwrap();
    client.publish(Publish::to_queue("q0", b"m")).await.unwrap();
    for at in 1..=QUEUES {
        pass(&broker, &clock, 3_600_000).await;
        assert_eq!(ready(&client, &format!("q{at}")).await, 1);
    }
}

#[tokio::test]
async fn deadlines_that_were_leapt_over_come_in_their_order() {
    let (broker, clock, client) = broker().await;
    client
        .declare_queue("dead", QueueOptions::default())
        .await
        .unwrap();
    for (queue, hours) in [("late", 3), ("early", 1), ("middle", 2)] {
        let options = QueueOptions {
            message_ttl: Some(HOUR * hours),
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some("dead".to_owned()),
            ..QueueOptions::default()
        };
        client.declare_queue(queue, options).await.unwrap();
        client
            .publish(Publish::to_queue(queue, queue.as_bytes()))
            .await
            .unwrap();
    }
    pass(&broker, &clock, 4 * 3_600_000).await;
    let order: Vec<_> = client
        .browse("dead", 9)
        .await
        .unwrap()
        .iter()
        .map(|dead| dead.body().to_vec())
        .collect();
    assert_eq!(order, [&b"early"[..], b"middle", b"late"]);
}

#[tokio::test]
async fn a_broker_with_nothing_to_do_is_idle_at_once() {
    let (broker, clock, client) = broker().await;
    soon("an idle broker", broker.wait_idle()).await;
    // A deadline in the future is nothing to be done now, nor is a delivery that this process has not taken.
    let options = QueueOptions {
        expires: Some(HOUR),
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    let _consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    clock.advance(Duration::ZERO);
    soon("an idle broker", broker.wait_idle()).await;
}

#[tokio::test]
async fn deliveries_are_on_their_way_when_the_broker_is_idle() {
    let (broker, _clock) = support::timed_broker().await;
    let mut wire = support::Wire::open(&broker).await;
    wire.declare("q").await;
    wire.consume_no_ack("q").await;
    let client = broker.client().unwrap();
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    broker.wait_idle().await;
    // The answer to this would come first if the delivery were still to be written.
    wire.send(&leveret_amqp_codec::method::channel::Flow { active: true })
        .await;
    assert_eq!(wire.delivery().await.text(), "m");
    wire.expect("channel.flow-ok").await;
}

#[tokio::test]
async fn time_stands_still_until_it_is_moved() {
    let (broker, clock, client) = broker().await;
    let options = QueueOptions {
        message_ttl: Some(Duration::from_millis(1)),
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    let before = clock.now();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    broker.wait_idle().await;
    assert_eq!((clock.now(), ready(&client, "q").await), (before, 1));
}

#[tokio::test]
async fn names_follow_from_the_seed() {
    let mut names = Vec::new();
    for seed in [7, 7, 8] {
        let broker = Broker::builder().seed(seed).start().await.unwrap();
        let client = broker.client().unwrap();
        names.push(
            client
                .declare_queue("", QueueOptions::default())
                .await
                .unwrap()
                .name,
        );
    }
    assert_eq!(names[0], names[1]);
    assert_ne!(names[0], names[2]);
}
