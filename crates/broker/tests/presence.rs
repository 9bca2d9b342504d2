//! Who is subscribed to a key of an `x-presence` exchange: in the process and over AMQP.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::queue;
use leveret_broker::{
    Broker, Client, ConsumeOptions, ExchangeOptions, ExchangeType, Presence, PresenceEvent,
    PresenceKind, Publish, QueueOptions, SlowLimit, Table, Value, VirtualClock, WhenSlow,
};
use support::{Delivered, Wire, break_off, pass, short, table, timed_broker};
use tokio::task::JoinSet;

const GRACE_MS: u64 = 60_000;

async fn rooms() -> (Broker, VirtualClock, Client) {
    let (broker, clock) = timed_broker().await;
    let client = broker.client().unwrap();
    declare(&client, ExchangeOptions::default()).await;
    (broker, clock, client)
}

async fn declare(client: &Client, options: ExchangeOptions) {
    let options = ExchangeOptions {
        presence_grace: Some(Duration::from_millis(GRACE_MS)),
        ..options
    };
    client
        .declare_exchange("rooms", ExchangeType::Presence, options)
        .await
        .unwrap();
}

/// An event in short: `Joined a at k by 1`.
fn short_form(event: &PresenceEvent) -> String {
    let member = &event.member;
    format!(
        "{:?} {} at {} by {}",
        event.kind, member.member, member.key, member.connections
    )
}

/// All that watchers have been told since the last look.
async fn told(broker: &Broker, presence: &mut Presence) -> Vec<String> {
    broker.wait_idle().await;
    std::iter::from_fn(|| presence.try_recv())
        .map(|event| short_form(&event))
        .collect()
}

/// A connection that is present at a key by a queue of its own.
async fn present(broker: &Broker, key: &str, arguments: &Table) -> Wire {
    let mut wire = Wire::open(broker).await;
    bind_own(&mut wire, key, arguments).await;
    wire
}

async fn bind_own(wire: &mut Wire, key: &str, arguments: &Table) {
    let declared = wire
        .declare_queue(&queue::Declare {
            exclusive: true,
            ..queue::Declare::default()
        })
        .await;
    wire.bind_with(&declared.name, "rooms", key, arguments)
        .await;
}

fn named(name: &str) -> Table {
    table([("x-presence-member", Value::from(name))])
}

fn watch() -> Table {
    table([("x-presence", Value::from("watch"))])
}

#[tokio::test]
async fn one_event_when_a_member_comes_and_one_when_its_last_device_leaves() {
    let (broker, _clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "room.7").await.unwrap();
    let phone = present(&broker, "room.7", &Table::default()).await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Joined guest at room.7 by 1"]
    );
    let laptop = present(&broker, "room.7", &Table::default()).await;
    let other = present(&broker, "room.8", &Table::default()).await;
    assert!(told(&broker, &mut watcher).await.is_empty());
    let list = client.present("rooms", "room.7").await.unwrap();
    assert_eq!((list.len(), list[0].connections), (1, 2));
    phone.close().await;
    assert!(told(&broker, &mut watcher).await.is_empty());
    laptop.close().await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Left guest at room.7 by 0"]
    );
    assert!(client.present("rooms", "room.7").await.unwrap().is_empty());
    assert_eq!(client.present("rooms", "#").await.unwrap().len(), 1);
    other.close().await;
}

#[tokio::test]
async fn whose_connection_breaks_is_lost_after_the_grace() {
    let (broker, clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "room.7").await.unwrap();
    let phone = present(&broker, "room.7", &Table::default()).await;
    told(&broker, &mut watcher).await;
    let since = client.present("rooms", "room.7").await.unwrap()[0].since;
    break_off(&broker, phone).await;
    pass(&broker, &clock, GRACE_MS - 1).await;
    assert!(told(&broker, &mut watcher).await.is_empty());
    let list = client.present("rooms", "room.7").await.unwrap();
    assert_eq!((list[0].connections, list[0].since), (0, since));
    pass(&broker, &clock, 1).await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Lost guest at room.7 by 0"]
    );
    assert!(client.present("rooms", "#").await.unwrap().is_empty());
}

#[tokio::test]
async fn who_comes_back_within_the_grace_was_never_away() {
    let (broker, clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "room.7").await.unwrap();
    let phone = present(&broker, "room.7", &Table::default()).await;
    told(&broker, &mut watcher).await;
    break_off(&broker, phone).await;
    pass(&broker, &clock, GRACE_MS - 1).await;
    let phone = present(&broker, "room.7", &Table::default()).await;
    pass(&broker, &clock, 10 * GRACE_MS).await;
    assert!(told(&broker, &mut watcher).await.is_empty());
    phone.close().await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Left guest at room.7 by 0"]
    );
}

#[tokio::test]
async fn without_grace_who_breaks_off_is_lost_at_once() {
    let (broker, _clock, client) = rooms().await;
    let options = ExchangeOptions {
        presence_grace: Some(Duration::ZERO),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("strict", ExchangeType::Presence, options)
        .await
        .unwrap();
    let mut watcher = client.presence("strict", "#").await.unwrap();
    let mut phone = Wire::open(&broker).await;
    let declared = phone.declare("q").await;
    phone.bind(&declared.name, "strict", "k").await;
    break_off(&broker, phone).await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Joined guest at k by 1", "Lost guest at k by 0"]
    );
}

#[tokio::test]
async fn a_client_that_makes_a_mistake_may_come_back() {
    let (broker, clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "#").await.unwrap();
    let mut phone = present(&broker, "room.7", &Table::default()).await;
    told(&broker, &mut watcher).await;
    phone.send_bytes(&[99; 8]).await;
    phone.expect_connection_closed().await;
    broker.wait_idle().await;
    assert!(told(&broker, &mut watcher).await.is_empty());
    pass(&broker, &clock, GRACE_MS).await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Lost guest at room.7 by 0"]
    );
}

#[tokio::test]
async fn unbinding_and_deleting_a_queue_is_leaving() {
    let (broker, _clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "#").await.unwrap();
    let mut wire = Wire::open(&broker).await;
    for name in ["q", "r"] {
        wire.declare(name).await;
        wire.bind(name, "rooms", name).await;
    }
    told(&broker, &mut watcher).await;
    wire.call(
        &queue::Unbind {
            queue: short("q"),
            exchange: short("rooms"),
            routing_key: short("q"),
            ..queue::Unbind::default()
        },
        "queue.unbind-ok",
    )
    .await;
    assert_eq!(told(&broker, &mut watcher).await, ["Left guest at q by 0"]);
    wire.delete("r").await;
    assert_eq!(told(&broker, &mut watcher).await, ["Left guest at r by 0"]);
    wire.close().await;
    assert!(told(&broker, &mut watcher).await.is_empty());
}

/// A queue that outlives its connections: who asks for the binding again is present by it again.
#[tokio::test]
async fn a_binding_that_stays_makes_present_whoever_asks_for_it() {
    let (broker, clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "#").await.unwrap();
    let mut phone = Wire::open(&broker).await;
    phone.declare("mine").await;
    phone.bind("mine", "rooms", "k").await;
    phone.bind("mine", "rooms", "k").await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Joined guest at k by 1"]
    );
    phone.close().await;
    assert_eq!(told(&broker, &mut watcher).await, ["Left guest at k by 0"]);
    let mut phone = Wire::open(&broker).await;
    phone.bind("mine", "rooms", "k").await;
    assert_eq!(
        told(&broker, &mut watcher).await,
        ["Joined guest at k by 1"]
    );
    break_off(&broker, phone).await;
    let mut phone = Wire::open(&broker).await;
    phone.bind("mine", "rooms", "k").await;
    pass(&broker, &clock, GRACE_MS).await;
    assert!(told(&broker, &mut watcher).await.is_empty());
    phone.delete("mine").await;
    assert_eq!(told(&broker, &mut watcher).await, ["Left guest at k by 0"]);
    phone.close().await;
}

#[tokio::test]
async fn a_watcher_first_learns_who_is_there_and_then_what_changes() {
    let (broker, _clock, client) = rooms().await;
    let a = present(&broker, "room.7", &named("a")).await;
    let b = present(&broker, "room.8", &named("b")).await;
    let mut one = client.presence("rooms", "room.7").await.unwrap();
    let mut all = client.presence("rooms", "room.*").await.unwrap();
    let c = present(&broker, "room.7", &named("c")).await;
    a.close().await;
    b.close().await;
    c.close().await;
    assert_eq!(
        told(&broker, &mut one).await,
        [
            "Present guest/a at room.7 by 1",
            "Joined guest/c at room.7 by 1",
            "Left guest/a at room.7 by 0",
            "Left guest/c at room.7 by 0",
        ]
    );
    assert_eq!(
        told(&broker, &mut all).await,
        [
            "Present guest/a at room.7 by 1",
            "Present guest/b at room.8 by 1",
            "Joined guest/c at room.7 by 1",
            "Left guest/a at room.7 by 0",
            "Left guest/b at room.8 by 0",
            "Left guest/c at room.7 by 0",
        ]
    );
}

/// Has members of this client come and go, and some of them stay.
async fn come_and_go(client: Client, task: usize) -> Client {
    for round in 0..40 {
        let queue = client
            .declare_queue("", QueueOptions::default())
            .await
            .unwrap();
        let name = named(&format!("{task}.{}", round % 3));
        client
            .bind_queue_with(&queue.name, "rooms", "k", &name)
            .await
            .unwrap();
        if round % 4 > 0 {
            client.delete_queue(&queue.name).await.unwrap();
        }
    }
    client
}

/// Members come and go in other tasks while watchers begin: what each was told leads to what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_watcher_has_a_gap_or_hears_anything_twice() {
    let broker = support::broker().await;
    let client = broker.client().unwrap();
    declare(&client, ExchangeOptions::default()).await;
    let comings: JoinSet<Client> = (0..8)
        .map(|task| come_and_go(broker.client().unwrap(), task))
        .collect();
    let mut watchers = Vec::new();
    for _ in 0..50 {
        watchers.push(client.presence("rooms", "k").await.unwrap());
        tokio::task::yield_now().await;
    }
    // Who is present at the end is so by these clients.
    let _clients = comings.join_all().await;
    broker.wait_idle().await;
    let expected: BTreeSet<_> = client
        .present("rooms", "k")
        .await
        .unwrap()
        .into_iter()
        .map(|here| here.member)
        .collect();
    assert!(!expected.is_empty());
    for mut watcher in watchers {
        let mut known = BTreeSet::new();
        while let Some(event) = watcher.try_recv() {
            let member = event.member.member.clone();
            let is_right = match event.kind {
                PresenceKind::Left => known.remove(&member),
                _ => known.insert(member),
            };
            assert!(is_right, "{event:?}");
        }
        assert_eq!(known, expected);
    }
}

#[tokio::test]
async fn amqp_watchers_are_told_in_headers() {
    let (broker, clock, _client) = rooms().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("events").await;
    wire.bind_with("events", "rooms", "room.#", &watch()).await;
    wire.consume_no_ack("events").await;
    let phone = present(&broker, "room.7", &named("Ann")).await;
    let event = wire.delivery().await;
    let now = i64::try_from(clock.now().as_millis()).unwrap();
    assert_eq!(
        (&*event.exchange, &*event.routing_key, event.text()),
        ("rooms", "room.7", "")
    );
    assert_eq!(
        event.properties.headers,
        Some(table([
            ("event", Value::from("joined")),
            ("member", Value::from("guest/Ann")),
            ("user", Value::from("guest")),
            ("since", Value::I64(now)),
            ("connections", Value::I64(1)),
        ]))
    );
    phone.close().await;
    let event: Delivered = wire.delivery().await;
    let headers = event.properties.headers.unwrap();
    assert_eq!(headers.get("event"), Some(&Value::from("left")));
    wire.close().await;
}

#[tokio::test]
async fn messages_go_to_who_is_subscribed_and_events_to_who_watches() {
    let (broker, _clock, client) = rooms().await;
    let mut wire = Wire::open(&broker).await;
    for (queue, key, mode) in [
        ("present", "room.7", "present"),
        ("hidden", "room.7", "hidden"),
        ("all", "room.*", "present"),
        ("events", "room.7", "watch"),
    ] {
        wire.declare(queue).await;
        let arguments = table([("x-presence", Value::from(mode))]);
        wire.bind_with(queue, "rooms", key, &arguments).await;
    }
    client
        .publish(Publish::to_exchange("rooms", "room.7", b"hi"))
        .await
        .unwrap();
    for queue in ["present", "hidden", "all"] {
        assert_eq!(wire.drain(queue).await, ["hi"], "{queue}");
    }
    // Of the three bindings to the room one makes present, and was there before anybody watched.
    let events = client.browse("events", 9).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(client.present("rooms", "#").await.unwrap().len(), 1);
    wire.close().await;
}

#[tokio::test]
async fn a_client_of_the_process_is_nobody_unless_it_says_who() {
    let (broker, _clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "#").await.unwrap();
    let bot = broker.client().unwrap();
    bot.declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    bot.bind_queue("q", "rooms", "k").await.unwrap();
    assert!(told(&broker, &mut watcher).await.is_empty());
    bot.bind_queue_with("q", "rooms", "k", &named("bot"))
        .await
        .unwrap();
    assert_eq!(told(&broker, &mut watcher).await, ["Joined bot at k by 1"]);
    // The queue stays, and the client goes.
    drop(bot);
    assert_eq!(told(&broker, &mut watcher).await, ["Left bot at k by 0"]);
}

#[tokio::test]
async fn there_are_no_more_members_than_the_exchange_may_know() {
    let (broker, _clock, client) = rooms().await;
    let options = ExchangeOptions {
        presence_max: Some(2),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("small", ExchangeType::Presence, options)
        .await
        .unwrap();
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for name in ["a", "b", "a"] {
        wire.bind_with("q", "small", "k", &named(name)).await;
    }
    let refused = named("c").to_bytes();
    wire.send(&queue::Bind {
        queue: short("q"),
        exchange: short("small"),
        routing_key: short("k"),
        arguments: RawTable::from_validated_bytes(&refused),
        ..queue::Bind::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - presence exchange 'small' knows as many members as it may"
    );
    assert_eq!(client.present("small", "k").await.unwrap().len(), 2);
    wire.close().await;
}

#[tokio::test]
async fn what_means_nothing_is_refused() {
    let (broker, _clock, client) = rooms().await;
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    for arguments in [
        table([("x-presence", Value::from("here"))]),
        table([("x-presence", Value::Bool(true))]),
        table([("x-presence-member", Value::from(""))]),
        table([("x-presence-member", Value::from("a\nb"))]),
        table([("x-presence-member", Value::I32(1))]),
        table([
            ("x-presence", Value::from("watch")),
            ("x-presence-member", Value::from("a")),
        ]),
    ] {
        let refused = client.bind_queue_with("q", "rooms", "k", &arguments).await;
        assert!(refused.unwrap_err().is_precondition_failed());
    }
    for (name, value) in [
        ("x-presence-grace", Value::I64(-1)),
        ("x-presence-grace", Value::I64(86_400_001)),
        ("x-presence-max", Value::I64(0)),
        ("x-presence-max", Value::from("many")),
    ] {
        let mut wire = Wire::open(&broker).await;
        let arguments = table([(name, value)]).to_bytes();
        wire.send(&leveret_amqp_codec::method::exchange::Declare {
            exchange: short("other"),
            kind: short("x-presence"),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..Default::default()
        })
        .await;
        let closed = wire.expect_channel_closed().await;
        assert!(closed.text.contains(name), "{}", closed.text);
        wire.close().await;
    }
    let not_there = client.presence("nowhere", "#").await;
    assert!(not_there.unwrap_err().is_not_found());
    let other = client.presence("amq.topic", "#").await;
    assert!(other.unwrap_err().is_precondition_failed());
}

#[tokio::test]
async fn a_stream_of_events_is_not_fooled_by_what_is_sent_to_its_queue() {
    let (broker, _clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "#").await.unwrap();
    let forged = support::with_headers([
        ("event", Value::from("joined")),
        ("member", Value::from("nobody")),
        ("user", Value::from("nobody")),
        ("since", Value::I64(0)),
        ("connections", Value::I64(1)),
    ]);
    for (exchange, key) in [("rooms", "k"), ("amq.fanout", "k")] {
        let publish = Publish {
            properties: Some(forged.clone()),
            ..Publish::to_exchange(exchange, key, b"")
        };
        client.publish(publish).await.unwrap();
    }
    assert!(told(&broker, &mut watcher).await.is_empty());
}

#[tokio::test]
async fn an_exchange_that_is_deleted_forgets_everybody() {
    let (broker, clock, client) = rooms().await;
    let mut watcher = client.presence("rooms", "#").await.unwrap();
    let phone = present(&broker, "k", &Table::default()).await;
    told(&broker, &mut watcher).await;
    break_off(&broker, phone).await;
    client.delete_exchange("rooms").await.unwrap();
    declare(&client, ExchangeOptions::default()).await;
    assert!(client.present("rooms", "#").await.unwrap().is_empty());
    pass(&broker, &clock, GRACE_MS).await;
    assert!(told(&broker, &mut watcher).await.is_empty());
}

/// Each event ends one watcher, whose queue goes, which is the next event.
#[tokio::test]
async fn events_that_lead_to_events_need_no_stack() {
    const CHAIN: u64 = 150;
    let (broker, _clock, client) = rooms().await;
    let mut consumers = Vec::new();
    for n in 0..CHAIN {
        let options = QueueOptions {
            auto_delete: true,
            ..QueueOptions::default()
        };
        let name = format!("q{n}");
        client.declare_queue(&name, options).await.unwrap();
        client
            .bind_queue_with(&name, "rooms", "k", &named(&name))
            .await
            .unwrap();
        let options = ConsumeOptions {
            prefetch: 1,
            when_slow: WhenSlow::Close(SlowLimit {
                messages: CHAIN + n,
                ..SlowLimit::default()
            }),
            ..ConsumeOptions::default()
        };
        consumers.push(client.consume(&name, options).await.unwrap());
    }
    // Each is told of as many members, one of which is on its way to the consumer.
    for n in 0..CHAIN {
        client
            .bind_queue_with(&format!("q{n}"), "rooms", "k", &watch())
            .await
            .unwrap();
    }
    assert_eq!(
        client.present("rooms", "k").await.unwrap().len(),
        CHAIN as usize
    );
    client
        .declare_queue("start", QueueOptions::default())
        .await
        .unwrap();
    for n in 0..2 {
        client
            .bind_queue_with("start", "rooms", "k", &named(&n.to_string()))
            .await
            .unwrap();
    }
    broker.wait_idle().await;
    assert_eq!(client.present("rooms", "k").await.unwrap().len(), 2);
    for consumer in &mut consumers {
        drop(consumer.recv().await);
        assert!(consumer.recv().await.is_none());
        assert!(consumer.was_too_slow());
    }
}
