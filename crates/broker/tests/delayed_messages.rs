//! Exchanges of type `x-delayed-message`: routed when the time has come (behaviour reference, section 16).

use std::time::Duration;

use leveret_broker::{
    Broker, Client, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions, Table, Value,
    VirtualClock,
};

/// A broker on a virtual clock with a delayed exchange `later` and a queue `jobs` bound to it with the key `job`.
async fn start(kind: ExchangeType) -> (Broker, VirtualClock, Client) {
    let clock = VirtualClock::new();
    let broker = Broker::builder()
        .virtual_clock(clock.clone())
        .start()
        .await
        .unwrap();
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        delayed_type: Some(kind),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("later", ExchangeType::Delayed, options)
        .await
        .unwrap();
    client
        .declare_queue("jobs", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("jobs", "later", "job").await.unwrap();
    (broker, clock, client)
}

fn delayed<'a>(delay: impl Into<Value>, body: &'a [u8]) -> Publish<'a> {
    let headers = Table::from_iter([("x-delay", delay.into())]);
    Publish {
        properties: Some(Properties {
            headers: Some(headers),
            ..Properties::default()
        }),
        ..Publish::to_exchange("later", "job", body)
    }
}

async fn bodies(client: &Client) -> Vec<String> {
    let waiting = client.browse("jobs", 100).await.unwrap();
    waiting
        .iter()
        .map(|message| String::from_utf8_lossy(message.body()).into_owned())
        .collect()
}

async fn advance(broker: &Broker, clock: &VirtualClock, ms: u64) {
    clock.advance(Duration::from_millis(ms));
    broker.wait_idle().await;
}

#[tokio::test]
async fn messages_come_in_the_order_of_their_time() {
    let (broker, clock, client) = start(ExchangeType::Direct).await;
    for (delay, body) in [(300, "c"), (100, "a"), (200, "b"), (200, "b2")] {
        client
            .publish(delayed(delay, body.as_bytes()))
            .await
            .unwrap();
    }
    advance(&broker, &clock, 99).await;
    assert!(bodies(&client).await.is_empty());
    advance(&broker, &clock, 1).await;
    assert_eq!(bodies(&client).await, ["a"]);
    advance(&broker, &clock, 1_000_000).await;
    assert_eq!(bodies(&client).await, ["a", "b", "b2", "c"]);
}

#[tokio::test]
async fn what_is_no_positive_delay_is_routed_at_once() {
    let (_broker, _clock, client) = start(ExchangeType::Direct).await;
    client.publish(delayed(0, b"zero")).await.unwrap();
    client.publish(delayed(-5, b"negative")).await.unwrap();
    client
        .publish(delayed(i64::from(u32::MAX) + 1, b"huge"))
        .await
        .unwrap();
    client.publish(delayed("soon", b"text")).await.unwrap();
    let plain = Publish::to_exchange("later", "job", b"none");
    client.publish(plain).await.unwrap();
    assert_eq!(
        bodies(&client).await,
        ["zero", "negative", "huge", "text", "none"]
    );
}

#[tokio::test]
async fn the_sign_of_the_delay_is_turned_so_that_it_is_not_delayed_twice() {
    let (broker, clock, client) = start(ExchangeType::Fanout).await;
    let options = ExchangeOptions {
        delayed_type: Some(ExchangeType::Fanout),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("again", ExchangeType::Delayed, options)
        .await
        .unwrap();
    client.unbind_queue("jobs", "later", "job").await.unwrap();
    client.bind_exchange("again", "later", "").await.unwrap();
    client.bind_queue("jobs", "again", "").await.unwrap();
    client.publish(delayed(500, b"x")).await.unwrap();
    advance(&broker, &clock, 500).await;
    let delivery = client.get("jobs").await.unwrap().unwrap();
    let headers = delivery.properties().headers.unwrap();
    assert_eq!(headers.get("x-delay"), Some(&Value::I32(-500)));
    assert_eq!(delivery.exchange(), "later");
}

#[tokio::test]
async fn a_mandatory_message_comes_back_at_once_and_is_delivered_all_the_same() {
    let (broker, clock, client) = start(ExchangeType::Topic).await;
    let publish = Publish {
        mandatory: true,
        ..delayed(50, b"x")
    };
    let error = client.publish(publish).await.unwrap_err();
    assert!(error.is_unroutable());
    advance(&broker, &clock, 50).await;
    assert_eq!(bodies(&client).await, ["x"]);
}

#[tokio::test]
async fn bindings_of_the_due_time_count() {
    let (broker, clock, client) = start(ExchangeType::Direct).await;
    client.publish(delayed(50, b"lost")).await.unwrap();
    client.publish(delayed(100, b"found")).await.unwrap();
    client.delete_queue("jobs").await.unwrap();
    advance(&broker, &clock, 50).await;
    client
        .declare_queue("jobs", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("jobs", "later", "job").await.unwrap();
    advance(&broker, &clock, 50).await;
    assert_eq!(bodies(&client).await, ["found"]);
}

#[tokio::test]
async fn what_waits_can_be_listed_and_cancelled() {
    let (broker, clock, client) = start(ExchangeType::Direct).await;
    client.publish(delayed(200, b"second")).await.unwrap();
    client.publish(delayed(100, b"first")).await.unwrap();
    let waiting = client.scheduled("later").await.unwrap();
    let seen: Vec<_> = waiting
        .iter()
        .map(|scheduled| scheduled.message.body())
        .collect();
    assert_eq!(seen, [b"first".as_slice(), b"second"]);
    assert_eq!(waiting[0].due, clock.now().saturating_add(100));
    let cancelled = client
        .cancel_scheduled("later", waiting[0].id)
        .await
        .unwrap();
    assert_eq!(cancelled.unwrap().body(), b"first");
    assert!(
        client
            .cancel_scheduled("later", waiting[0].id)
            .await
            .unwrap()
            .is_none()
    );
    advance(&broker, &clock, 1_000).await;
    assert_eq!(bodies(&client).await, ["second"]);
    assert!(client.scheduled("later").await.unwrap().is_empty());
    assert!(
        client
            .scheduled("amq.direct")
            .await
            .unwrap_err()
            .is_precondition_failed()
    );
}

#[tokio::test]
async fn deleting_the_exchange_drops_what_waits_in_it() {
    let (broker, clock, client) = start(ExchangeType::Direct).await;
    client.publish(delayed(100, &[0; 1000])).await.unwrap();
    assert!(broker.memory_used() > 1000);
    client.delete_exchange("later").await.unwrap();
    assert_eq!(broker.memory_used(), 0);
    advance(&broker, &clock, 100).await;
    assert!(bodies(&client).await.is_empty());
}

#[tokio::test]
async fn the_type_behind_it_must_be_a_type() {
    let (_broker, _clock, client) = start(ExchangeType::Direct).await;
    let missing = client
        .declare_exchange("x", ExchangeType::Delayed, ExchangeOptions::default())
        .await;
    assert!(missing.unwrap_err().is_precondition_failed());
    let options = ExchangeOptions {
        delayed_type: Some(ExchangeType::Delayed),
        ..ExchangeOptions::default()
    };
    let itself = client
        .declare_exchange("x", ExchangeType::Delayed, options)
        .await;
    assert!(itself.unwrap_err().is_precondition_failed());
}
