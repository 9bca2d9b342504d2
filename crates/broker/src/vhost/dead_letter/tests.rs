use std::time::Duration;

use leveret_amqp_codec::{Properties, Table, Value};

use super::*;
use crate::{
    Alarm, Broker, Client, ExchangeOptions, ExchangeType, Overflow, Publish, QueueOptions,
    QueueType, VirtualClock,
};

const BEHIND: usize = 10;
const MESSAGES: usize = 3000;
/// How many letters a timer carries.
const TURN: usize = TURN_MAX / (1 + BEHIND) + 1;

/// Queues `q0` and so on whose messages expire together, all of them to each of ten queues.
async fn broker(clock: &VirtualClock, dying: usize) -> (Broker, Client) {
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = builder.start().await.unwrap();
    let client = broker.client().unwrap();
    for n in 0..BEHIND {
        let queue = n.to_string();
        client
            .declare_queue(&queue, QueueOptions::default())
            .await
            .unwrap();
        client.bind_queue(&queue, "amq.fanout", "").await.unwrap();
    }
    for n in 0..dying {
        let options = QueueOptions {
            message_ttl: Some(Duration::from_secs(1)),
            dead_letter_exchange: Some("amq.fanout".to_owned()),
            max_length: Some(MESSAGES as u64),
            ..QueueOptions::default()
        };
        let queue = format!("q{n}");
        client.declare_queue(&queue, options).await.unwrap();
    }
    (broker, client)
}

async fn publish(client: &Client, queue: usize, n: usize) {
    let (queue, body) = (format!("q{queue}"), n.to_string());
    client
        .publish(Publish::to_queue(&queue, body.as_bytes()))
        .await
        .unwrap();
}

async fn arrived(client: &Client) -> usize {
    client.queue_info("0").await.unwrap().ready as usize
}

async fn check_order(client: &Client) {
    let found = client.browse("9", 3 * MESSAGES).await.unwrap();
    for (n, message) in found.iter().enumerate() {
        assert_eq!(message.body(), n.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_timer_carries_so_many_letters_and_lets_others_have_their_turn() {
    let clock = VirtualClock::new();
    let (broker, client) = broker(&clock, 1).await;
    for n in 0..MESSAGES {
        publish(&client, 0, n).await;
    }
    clock.advance(Duration::from_secs(1));
    for turns in 1..4 {
        // Not the timer task, which has not run yet.
        broker.shared.run_timers();
        assert_eq!(arrived(&client).await, turns * TURN);
        assert!(!broker.shared.is_idle(), "the rest is due");
    }
    // Whoever has messages die carries a turn as well.
    for n in MESSAGES..3 * MESSAGES {
        publish(&client, 0, n).await;
    }
    assert_eq!(arrived(&client).await, 2 * MESSAGES);
    broker.wait_idle().await;
    assert_eq!(arrived(&client).await, 2 * MESSAGES);
    check_order(&client).await;
}

#[tokio::test]
async fn letters_with_many_made_up_deaths_take_more_of_a_turn() {
    const LETTERS: usize = 200;
    let clock = VirtualClock::new();
    let (broker, client) = broker(&clock, 1).await;
    let deaths = (0..1000).map(|n| {
        let queue = Value::from(format!("elsewhere {n}").as_str());
        let death = [("queue", queue), ("reason", Value::from("expired"))];
        Value::Table(Table::from_iter(death))
    });
    let headers = Table::from_iter([("x-death", Value::Array(deaths.collect()))]);
    let properties = Properties {
        headers: Some(headers),
        ..Properties::default()
    };
    let steps = properties.to_bytes().len() / STEP_BYTES + BEHIND;
    for _ in 0..LETTERS {
        let properties = Some(properties.clone());
        drop(client.publish(Publish {
            properties,
            ..Publish::to_queue("q0", b"")
        }));
    }
    clock.advance(Duration::from_secs(1));
    broker.shared.run_timers();
    let carried = arrived(&client).await;
    assert!(
        (1..=TURN_MAX / steps).contains(&carried),
        "{carried} carried"
    );
    broker.wait_idle().await;
    assert_eq!(arrived(&client).await, LETTERS);
}

#[tokio::test]
async fn a_cause_carries_a_turn() {
    const LEVELS: usize = 4;
    let (broker, client) = broker(&VirtualClock::new(), 0).await;
    // What comes to one of the exchanges dies at once in ten queues, which send it on to the next.
    for level in 0..LEVELS {
        let next = match level + 1 == LEVELS {
            true => "amq.fanout".to_owned(),
            false => format!("level {}", level + 1),
        };
        let exchange = format!("level {level}");
        client
            .declare_exchange(&exchange, ExchangeType::Fanout, ExchangeOptions::default())
            .await
            .unwrap();
        for n in 0..BEHIND {
            let options = QueueOptions {
                max_length: Some(0),
                dead_letter_exchange: Some(next.clone()),
                ..QueueOptions::default()
            };
            let queue = format!("{exchange}, {n}");
            client.declare_queue(&queue, options).await.unwrap();
            client.bind_queue(&queue, &exchange, "").await.unwrap();
        }
    }
    client
        .publish(Publish::to_queue("level 0, 0", b""))
        .await
        .unwrap();
    // Letters to each of the exchanges: one, 10, 100 and 1000.
    assert_eq!(arrived(&client).await, TURN - (1 + 10 + 100));
    broker.wait_idle().await;
    assert_eq!(arrived(&client).await, 1000);
}

#[tokio::test]
async fn what_waits_counts_against_the_memory_limit() {
    const SIZE: usize = 1000;
    let clock = VirtualClock::new();
    let (broker, client) = broker(&clock, 1).await;
    for _ in 0..MESSAGES {
        drop(client.publish(Publish::to_queue("q0", &[0; SIZE])));
    }
    clock.advance(Duration::from_secs(1));
    broker.shared.run_timers();
    for n in 0..BEHIND {
        client.purge_queue(&n.to_string()).await.unwrap();
    }
    assert!(broker.memory_used() > (MESSAGES - TURN) * SIZE);
    broker.set_memory_limit(MESSAGES * SIZE / 2);
    assert_eq!(broker.alarms(), [Alarm::Memory]);
    broker.wait_idle().await;
    assert_eq!(arrived(&client).await, MESSAGES - TURN);
    for n in 0..BEHIND {
        client.purge_queue(&n.to_string()).await.unwrap();
    }
    assert_eq!(broker.memory_used(), 0);
    assert!(broker.alarms().is_empty());
}

/// A virtual host that has been deleted while some letters were kept and others on their way.
async fn deleted() -> (Broker, Client) {
    let clock = VirtualClock::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = builder.start().await.unwrap();
    broker.create_vhost("v");
    let client = broker.client_of("v").unwrap();
    let options = QueueOptions {
        durable: true,
        queue_type: QueueType::Quorum,
        overflow: Overflow::RejectPublish,
        message_ttl: Some(Duration::from_secs(1)),
        dead_letter_exchange: Some("missing".to_owned()),
        dead_letter_at_least_once: true,
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    for _ in 0..2 * TURN_MAX {
        drop(client.publish(Publish::to_queue("q", b"")));
    }
    clock.advance(Duration::from_secs(1));
    broker.shared.run_timers();
    let held = broker.memory_used();
    assert!(broker.delete_vhost("v"));
    let on_their_way = broker.memory_used();
    assert!(0 < on_their_way && on_their_way < held);
    (broker, client)
}

#[tokio::test]
async fn letters_on_their_way_are_kept_for_no_queue_that_is_gone() {
    let (broker, _client) = deleted().await;
    broker.shared.run_timers();
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn letters_on_their_way_go_with_their_virtual_host() {
    let (broker, client) = deleted().await;
    drop(client);
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn all_timers_of_a_moment_have_one_turn() {
    let clock = VirtualClock::new();
    let (broker, client) = broker(&clock, MESSAGES).await;
    for n in 0..MESSAGES {
        publish(&client, n, n).await;
    }
    clock.advance(Duration::from_secs(1));
    for turns in 1..4 {
        broker.shared.run_timers();
        assert_eq!(arrived(&client).await, turns * TURN);
    }
    broker.wait_idle().await;
    assert_eq!(arrived(&client).await, MESSAGES);
    check_order(&client).await;
}
