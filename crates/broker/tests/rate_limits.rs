//! Clients that may only send so fast.

mod support;

use std::time::Duration;

use leveret_broker::{Broker, VirtualClock};
use support::{Wire, pass, start, until};

#[tokio::test]
async fn messages_come_as_fast_as_they_may() {
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .messages_per_s_max(10);
    let broker = start(builder).await;
    let client = broker.client().unwrap();
    client.declare_queue("q", Default::default()).await.unwrap();
    let ready = async || client.queue_info("q").await.unwrap().ready;
    let mut wire = Wire::open(&broker).await;
    // Each as large as what is read at once.
    let body = vec![0; 4096];
    for _ in 0..30 {
        wire.publish("", "q", &body).await;
    }
    until("a second's worth", || broker.memory_used() > 10 * 4096).await;
    broker.wait_idle().await;
    let first = ready().await;
    assert!((10..=12).contains(&first), "{first}");
    for second in 1..=2 {
        for _ in 0..10 {
            pass(&broker, &clock, 100).await;
        }
        let now = ready().await;
        let want = first + 10 * second;
        assert!(
            (want - 2..=want + 2).contains(&now),
            "{now} after {second} s"
        );
    }
}

#[tokio::test]
async fn bytes_come_as_fast_as_they_may() {
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .bytes_per_s_max(100_000);
    let broker = start(builder).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let mut other = Wire::open(&broker).await;
    for _ in 0..5 {
        wire.publish("", "q", vec![0; 50_000]).await;
    }
    until("the first", || broker.memory_used() > 50_000).await;
    broker.wait_idle().await;
    // Others have a rate of their own.
    assert!(other.count("q").await <= 2);
    clock.advance(Duration::from_secs(3));
    until("the rest", || {
        clock.advance(Duration::from_millis(1));
        broker.memory_used() > 250_000
    })
    .await;
    assert_eq!(other.count("q").await, 5);
}

#[tokio::test]
async fn without_a_limit_nothing_waits() {
    let clock = VirtualClock::new();
    let broker = start(Broker::builder().virtual_clock(clock.clone())).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", vec![0; 5_000_000]).await;
    wire.publish_all("q", 0..1000).await;
    assert_eq!(wire.count("q").await, 1001);
}
