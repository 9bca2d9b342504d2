//! What waits in a durable delayed exchange is there again after a restart, and costs little memory meanwhile.
#![cfg(feature = "journal")]

mod support;

use std::time::Duration;

use leveret_broker::{
    Broker, Builder, Client, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions,
    Table, VirtualClock,
};
use support::data_dir::Dir;
use support::soon;

/// A broker on a virtual clock that keeps its data directory, and a client of it.
struct World {
    dir: Dir,
    clock: VirtualClock,
    broker: Broker,
    client: Client,
}

impl World {
    /// With a durable delayed exchange `later` and a durable queue `jobs` bound to it.
    async fn new() -> Self {
        Self::with_memory(16 * 1024 * 1024).await
    }

    async fn with_memory(bytes: usize) -> Self {
        let clock = VirtualClock::new();
        let dir = Dir::new();
        let builder = Broker::builder().durable_memory(bytes);
        let world = Self::start(dir, clock, builder).await;
        let options = ExchangeOptions {
            durable: true,
            delayed_type: Some(ExchangeType::Direct),
            ..ExchangeOptions::default()
        };
        let client = &world.client;
        client
            .declare_exchange("later", ExchangeType::Delayed, options)
            .await
            .unwrap();
        let options = QueueOptions {
            durable: true,
            ..QueueOptions::default()
        };
        client.declare_queue("jobs", options).await.unwrap();
        client.bind_queue("jobs", "later", "job").await.unwrap();
        world
    }

    async fn start(dir: Dir, clock: VirtualClock, builder: Builder) -> Self {
        let builder = builder.virtual_clock(clock.clone());
        let broker = dir.broker_with(builder).await;
        let client = broker.client().unwrap();
        Self {
            dir,
            clock,
            broker,
            client,
        }
    }

    /// What a crash at this moment would leave, started `later`.
    async fn crashed(&self, later: Duration) -> Self {
        let dir = self.dir.crashed();
        self.clock.advance(later);
        Self::start(dir, self.clock.clone(), Broker::builder()).await
    }

    /// Publishes a message that is to come after `delay_ms`; the future is its confirm.
    async fn schedule(&self, delay_ms: u32, body: &str) {
        let confirm = self.client.publish(delayed(delay_ms, body.as_bytes()));
        soon("a confirm", confirm).await.unwrap();
    }

    /// Publishes so many messages, numbered, with delays that follow no order.
    async fn schedule_scattered(&self, count: u32) {
        let mut last = None;
        for number in 0..count {
            let body = number.to_string();
            let message = delayed(scattered(number), body.as_bytes());
            last = Some(self.client.publish(message));
        }
        if let Some(last) = last {
            soon("the last confirm", last).await.unwrap();
        }
    }

    async fn advance(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.broker.wait_idle().await;
    }

    /// Takes what has come.
    async fn arrived(&self) -> Vec<String> {
        self.broker.wait_idle().await;
        let mut found = Vec::new();
        while let Some(delivery) = self.client.get("jobs").await.unwrap() {
            found.push(String::from_utf8(delivery.body().to_vec()).unwrap());
            delivery.ack();
        }
        found
    }

    /// The bodies of what waits.
    async fn waiting(&self) -> Vec<String> {
        let waiting = self.client.scheduled("later").await.unwrap();
        let bodies = waiting.iter().map(|it| it.message.body().to_vec());
        bodies
            .map(|body| String::from_utf8(body).unwrap())
            .collect()
    }
}

fn delayed(delay_ms: u32, body: &[u8]) -> Publish<'_> {
    let headers = Table::from_iter([("x-delay", i64::from(delay_ms))]);
    let properties = Properties {
        headers: Some(headers),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    Publish {
        properties: Some(properties),
        ..Publish::to_exchange("later", "job", body)
    }
}

/// A delay in milliseconds that follows no order: 1 to 10,000.
fn scattered(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761) % 10_000 + 1
}

#[tokio::test]
async fn what_was_confirmed_survives_a_crash_and_comes_at_its_time() {
    let world = World::new().await;
    world.schedule(60_000, "second").await;
    world.schedule(30_000, "first").await;

    let world = world.crashed(Duration::from_secs(10)).await;
    assert_eq!(world.waiting().await, ["first", "second"]);
    world.advance(19_999).await;
    assert!(world.arrived().await.is_empty());
    world.advance(1).await;
    assert_eq!(world.arrived().await, ["first"]);
    world.advance(30_000).await;
    assert_eq!(world.arrived().await, ["second"]);
}

#[tokio::test]
async fn what_came_due_while_the_broker_was_away_comes_at_once_in_order() {
    let world = World::new().await;
    for (delay_ms, body) in [
        (300, "c"),
        (100, "a"),
        (200, "b"),
        (200, "b2"),
        (9_000, "z"),
    ] {
        world.schedule(delay_ms, body).await;
    }
    let world = world.crashed(Duration::from_secs(1)).await;
    assert_eq!(world.arrived().await, ["a", "b", "b2", "c"]);
    assert_eq!(world.waiting().await, ["z"]);
}

#[tokio::test]
async fn what_has_been_routed_or_cancelled_does_not_come_again() {
    let world = World::new().await;
    world.schedule(100, "routed").await;
    world.schedule(200, "cancelled").await;
    world.advance(100).await;
    assert_eq!(world.arrived().await, ["routed"]);
    let waiting = world.client.scheduled("later").await.unwrap();
    let cancelled = world.client.cancel_scheduled("later", waiting[0].id).await;
    assert_eq!(cancelled.unwrap().unwrap().body(), b"cancelled");
    // Behind all that in the log; what it says must be there once this is.
    world.schedule(300, "last").await;

    let world = world.crashed(Duration::from_secs(1)).await;
    assert_eq!(world.arrived().await, ["last"]);
}

#[tokio::test]
async fn ids_are_the_same_after_a_restart_and_not_given_again() {
    let world = World::new().await;
    world.schedule(100, "one").await;
    let before = world.client.scheduled("later").await.unwrap()[0].id;
    let world = world.crashed(Duration::ZERO).await;
    world.schedule(200, "two").await;
    let waiting = world.client.scheduled("later").await.unwrap();
    assert_eq!(waiting[0].id, before);
    assert!(waiting[1].id > before);
}

#[tokio::test]
async fn deleting_the_exchange_drops_what_waits_for_good() {
    let world = World::new().await;
    world.schedule(100, "old").await;
    world.client.delete_exchange("later").await.unwrap();
    assert_eq!(world.broker.memory_used(), 0);
    let options = ExchangeOptions {
        durable: true,
        delayed_type: Some(ExchangeType::Direct),
        ..ExchangeOptions::default()
    };
    let declared = world
        .client
        .declare_exchange("later", ExchangeType::Delayed, options);
    declared.await.unwrap();
    world
        .client
        .bind_queue("jobs", "later", "job")
        .await
        .unwrap();
    world.schedule(100, "new").await;

    let world = world.crashed(Duration::from_secs(1)).await;
    assert_eq!(world.arrived().await, ["new"]);
}

#[tokio::test]
async fn transient_messages_survive_there_too() {
    let world = World::new().await;
    let mut message = delayed(100, b"transient");
    if let Some(properties) = &mut message.properties {
        properties.delivery_mode = None;
    }
    world.client.publish(message).await.unwrap();
    let world = world.crashed(Duration::ZERO).await;
    assert_eq!(world.waiting().await, ["transient"]);
    world.advance(100).await;
    assert_eq!(world.arrived().await, ["transient"]);
}

#[tokio::test]
async fn what_waits_in_an_exchange_that_is_not_durable_goes_with_the_broker() {
    let world = World::new().await;
    let options = ExchangeOptions {
        delayed_type: Some(ExchangeType::Direct),
        ..ExchangeOptions::default()
    };
    world.client.delete_exchange("later").await.unwrap();
    let client = &world.client;
    client
        .declare_exchange("later", ExchangeType::Delayed, options)
        .await
        .unwrap();
    world.schedule(100, "lost").await;
    let world = world.crashed(Duration::ZERO).await;
    let error = world.client.scheduled("later").await.unwrap_err();
    assert!(error.is_not_found());
}

#[tokio::test]
async fn a_great_many_scheduled_cost_little_memory_and_come_in_order() {
    const MESSAGES: u32 = 20_000;
    let budget = 256 * 1024;
    let world = World::with_memory(budget).await;
    world.schedule_scattered(MESSAGES).await;
    // A page's worth may wait beyond the budget.
    let held = world.broker.memory_used();
    assert!(held < 2 * budget, "{held} bytes in memory");

    let mut want: Vec<_> = (0..MESSAGES).collect();
    want.sort_by_key(|number| scattered(*number));
    let want: Vec<_> = want.iter().map(u32::to_string).collect();
    assert_eq!(world.waiting().await, want);
    let looked = world.broker.memory_used();
    assert!(
        looked < 2 * budget,
        "{looked} bytes in memory after looking"
    );

    let world = world.crashed(Duration::ZERO).await;
    let mut found = Vec::new();
    for _ in 0..10 {
        world.advance(1_000).await;
        found.extend(world.arrived().await);
    }
    assert_eq!(found, want);
    assert_eq!(world.broker.memory_used(), 0);
}

#[tokio::test]
async fn what_is_on_disk_can_be_cancelled() {
    let world = World::with_memory(0).await;
    world.schedule_scattered(2_000).await;
    let waiting = world.client.scheduled("later").await.unwrap();
    for cancelled in waiting.iter().step_by(50) {
        let found = world.client.cancel_scheduled("later", cancelled.id).await;
        assert_eq!(found.unwrap().unwrap().body(), cancelled.message.body());
        let again = world.client.cancel_scheduled("later", cancelled.id).await;
        assert!(again.unwrap().is_none());
    }
    world.schedule(20_000, "last").await;

    let world = world.crashed(Duration::from_secs(20)).await;
    let kept = waiting.iter().enumerate().filter(|(at, _)| at % 50 != 0);
    let mut want: Vec<_> = kept
        .map(|(_, it)| String::from_utf8(it.message.body().to_vec()).unwrap())
        .collect();
    want.push("last".to_owned());
    assert_eq!(world.arrived().await, want);
}
