//! More that is overdue than there is memory for.

use leveret_queue_store::FaultyStorage as MessageDisk;

use super::*;
use crate::{Client, ExchangeOptions, ExchangeType, Properties, Publish, Table, VirtualClock};

/// What durable queues may hold in memory.
const MEMORY: usize = 256 * 1024;
/// Of a kibibyte each: many times of that.
const MESSAGES: usize = 8192;
/// No more go from memory and disk at a time.
const TURN: usize = 1024;
const TTL: Duration = Duration::from_secs(60);

struct World {
    definitions: FaultyStorage,
    messages: MessageDisk,
    clock: VirtualClock,
}

impl World {
    fn new() -> Self {
        Self {
            definitions: FaultyStorage::default(),
            messages: MessageDisk::new(1),
            clock: VirtualClock::new(),
        }
    }

    async fn start(&self) -> (Broker, Client) {
        let (definitions, messages) = (self.definitions.clone(), self.messages.clone());
        let options = JournalOptions {
            pending_max: 1 << 20,
            ..JournalOptions::default()
        };
        let beginning =
            Beginning::on(Box::new(definitions), Arc::new(messages), options, None).unwrap();
        let builder = Broker::builder()
            .virtual_clock(self.clock.clone())
            .durable_memory(MEMORY);
        let broker = builder.start_from(beginning).await.unwrap();
        let client = broker.client().unwrap();
        (broker, client)
    }

    /// A broker whose queue `q` has a backlog on disk.
    async fn filled(&self, options: QueueOptions) -> (Broker, Client) {
        let (broker, client) = self.start().await;
        let options = QueueOptions {
            message_ttl: Some(TTL),
            ..options
        };
        client.declare_queue("q", options).await.unwrap();
        client.declare_queue("letters", durable()).await.unwrap();
        for n in 0..MESSAGES {
            let published = publish(&client, "q", n);
            if n.is_multiple_of(64) {
                published.await.unwrap();
            }
        }
        publish(&client, "letters", MESSAGES).await.unwrap();
        (broker, client)
    }

    /// One that finds all of it overdue.
    async fn overdue(&self, options: QueueOptions) -> (Broker, Client) {
        let found = self.filled(options).await;
        self.clock.advance(TTL);
        found
    }

    /// The same when it starts.
    async fn overdue_at_start(&self, options: QueueOptions) -> (Broker, Client) {
        let (broker, _client) = self.filled(options).await;
        broker.shutdown().await;
        self.clock.advance(TTL);
        self.start().await
    }
}

fn with_letters() -> QueueOptions {
    QueueOptions {
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("letters".to_owned()),
        ..durable()
    }
}

fn publish(client: &Client, queue: &str, n: usize) -> crate::Confirm {
    let body = format!("{n:01024}");
    client.publish(Publish {
        properties: Some(Properties {
            delivery_mode: Some(2),
            ..Properties::default()
        }),
        ..Publish::to_queue(queue, body.as_bytes())
    })
}

async fn ready(client: &Client, queue: &str) -> usize {
    client.queue_info(queue).await.unwrap().ready as usize
}

/// The next message, for which it waits.
async fn take(client: &Client, queue: &str) -> usize {
    let taken = async {
        loop {
            if let Some(message) = client.get(queue).await.unwrap() {
                let n = std::str::from_utf8(message.body())
                    .unwrap()
                    .parse()
                    .unwrap();
                message.ack();
                return n;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, taken).await.unwrap()
}

/// What was there before, and everything that has died, once and in order.
async fn check_letters(client: &Client) {
    assert_eq!(take(client, "letters").await, MESSAGES);
    for n in 0..MESSAGES {
        assert_eq!(take(client, "letters").await, n);
    }
    assert!(client.get("letters").await.unwrap().is_none());
}

/// The same after an end on a full disk, which is a crash to what had gone on: some may be there twice.
async fn check_all_letters(client: &Client) {
    let mut found = std::collections::BTreeSet::new();
    while found.len() <= MESSAGES {
        found.insert(take(client, "letters").await);
    }
}

#[tokio::test]
async fn what_is_overdue_at_a_start_goes_in_turns() {
    let world = World::new();
    let (broker, client) = world.overdue_at_start(durable()).await;
    let mut left = ready(&client, "q").await;
    assert!(left > MESSAGES - TURN, "{left} are left by the start");
    while left > 0 {
        assert!(!broker.shared.is_idle(), "the rest is due");
        broker.shared.run_timers();
        let before = std::mem::replace(&mut left, ready(&client, "q").await);
        assert!(
            (1..=TURN).contains(&(before - left)),
            "from {before} to {left}"
        );
    }
    assert!(broker.shared.is_idle());
}

#[tokio::test]
async fn a_page_that_cannot_be_opened_for_now_is_tried_again() {
    let world = World::new();
    let (broker, _client) = world.filled(durable()).await;
    broker.shutdown().await;
    let (_broker, client) = world.start().await;
    world.messages.fail_opens(u32::MAX);
    let options = crate::ConsumeOptions::default();
    let mut consumer = client.consume("q", options).await.unwrap();
    assert_eq!(ready(&client, "q").await, MESSAGES);
    world.messages.fail_opens(0);
    world.clock.advance(Duration::from_secs(1));
    let delivered = tokio::time::timeout(DEADLINE, consumer.recv()).await;
    assert!(delivered.unwrap().is_some());
}

#[tokio::test]
async fn letters_of_a_start_go_in_turns() {
    let world = World::new();
    let (broker, client) = world.overdue_at_start(with_letters()).await;
    assert!(ready(&client, "q").await > MESSAGES - TURN);
    let mut most = 0;
    while ready(&client, "q").await > 0 {
        most = most.max(broker.memory_used());
        broker.shared.run_timers();
    }
    assert!(most < 8 << 20, "{most} bytes were in memory");
    broker.wait_idle().await;
    check_letters(&client).await;
}

#[tokio::test]
async fn what_comes_behind_an_overdue_backlog_is_neither_lost_nor_late() {
    let world = World::new();
    let (broker, client) = world.overdue(durable()).await;
    publish(&client, "q", MESSAGES).await.unwrap();
    publish(&client, "q", MESSAGES + 1).await.unwrap();
    // Each time a turn goes, and never what is overdue comes.
    assert_eq!(take(&client, "q").await, MESSAGES);
    let mut consumer = client.consume("q", Default::default()).await.unwrap();
    let delivery = consumer.recv().await.unwrap();
    assert_eq!(
        delivery.body(),
        format!("{:01024}", MESSAGES + 1).as_bytes()
    );
    delivery.ack();
    broker.wait_idle().await;
    assert_eq!(ready(&client, "q").await, 0);
}

#[tokio::test]
async fn a_consumer_waits_for_an_overdue_backlog() {
    let world = World::new();
    let (_broker, client) = world.overdue(with_letters()).await;
    let mut consumer = client.consume("q", Default::default()).await.unwrap();
    publish(&client, "q", MESSAGES).await.unwrap();
    let delivery = consumer.recv().await.unwrap();
    assert_eq!(delivery.body(), format!("{MESSAGES:01024}").as_bytes());
    check_letters(&client).await;
}

/// The disk is full from now on, and timers run until nothing goes on: what is in memory stays little.
async fn check_memory_on_a_full_disk(world: &World, broker: &Broker) {
    world.messages.leave_room(Some(0));
    world.clock.advance(TTL);
    let store = broker.shared.services.store.as_ref().unwrap();
    let timers = &broker.shared.services.timers;
    let stands = async {
        while !timers.has_held() || timers.earliest().is_some_and(|at| at <= world.clock.now()) {
            broker.shared.run_timers();
            let unwritten = store.journal().stats().unwritten_bytes;
            let held = broker.memory_used() + unwritten;
            assert!(held < 7 << 20, "{held} bytes are in memory");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, stands).await.unwrap();
    // That takes no processor while it lasts.
    broker.wait_idle().await;
}

#[tokio::test]
async fn what_is_overdue_waits_for_room_on_the_disk_where_its_letters_go() {
    let world = World::new();
    let (broker, client) = world.filled(with_letters()).await;
    check_memory_on_a_full_disk(&world, &broker).await;
    // Nor does it become more and more by whoever comes upon it.
    let mut left = 0;
    for _ in 0..2 {
        left = ready(&client, "q").await;
        for _ in 0..20 {
            assert!(client.get("q").await.unwrap().is_none());
        }
    }
    assert_eq!(ready(&client, "q").await, left);
    assert!(left > MESSAGES / 2, "{left} wait");
    world.messages.leave_room(None);
    check_letters(&client).await;
}

#[tokio::test]
async fn letters_that_wait_for_room_are_safe_where_they_died() {
    let world = World::new();
    let (broker, client) = world.filled(with_letters()).await;
    check_memory_on_a_full_disk(&world, &broker).await;
    drop(client);
    broker.shutdown().await;
    world.messages.leave_room(None);
    let (_broker, client) = world.start().await;
    check_all_letters(&client).await;
}

#[tokio::test]
async fn delayed_messages_wait_for_room_on_the_disk_and_are_safe() {
    let world = World::new();
    let (broker, client) = world.start().await;
    let options = ExchangeOptions {
        durable: true,
        delayed_type: Some(ExchangeType::Fanout),
        ..ExchangeOptions::default()
    };
    let declared = client.declare_exchange("later", ExchangeType::Delayed, options);
    declared.await.unwrap();
    client.declare_queue("letters", durable()).await.unwrap();
    client.bind_queue("letters", "later", "").await.unwrap();
    for n in 0..=MESSAGES {
        // What is routed first is what was there before.
        let n = (MESSAGES + n) % (MESSAGES + 1);
        let delay = i64::try_from(TTL.as_millis()).unwrap();
        let body = format!("{n:01024}");
        let published = client.publish(Publish {
            properties: Some(Properties {
                delivery_mode: Some(2),
                headers: Some(Table::from_iter([("x-delay", delay)])),
                ..Properties::default()
            }),
            ..Publish::to_exchange("later", "", body.as_bytes())
        });
        // The last as well, or those behind the one before would not be safe.
        if n.is_multiple_of(64) || n == MESSAGES - 1 {
            published.await.unwrap();
        }
    }
    broker.wait_idle().await;
    check_memory_on_a_full_disk(&world, &broker).await;
    assert!(ready(&client, "letters").await < MESSAGES / 2);
    drop(client);
    broker.shutdown().await;

    world.messages.leave_room(None);
    let (broker, client) = world.start().await;
    check_memory_on_a_full_disk(&world, &broker).await;
    world.messages.leave_room(None);
    check_all_letters(&client).await;
}
