//! What becomes of messages that are rejected, expire or make room.

mod support;

use leveret_broker::{Broker, Properties, QueueOptions, Table, Value, VirtualClock};
use support::{Delivered, Wire, broker, pass, table, timed_broker, with_headers};

/// A queue whose dead go to `to`.
async fn declare(wire: &mut Wire, name: &str, to: &str, more: &[(&str, Value)]) {
    let mut arguments = table([
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", to.into()),
    ]);
    for (name, value) in more {
        arguments.insert(name, value.clone());
    }
    wire.declare_with(name, &arguments).await;
}

/// The entries of the header `x-death`.
#[track_caller]
fn deaths(delivered: &Delivered) -> Vec<Table> {
    let headers = delivered
        .properties
        .headers
        .as_ref()
        .expect("a dead message has headers");
    let Some(Value::Array(deaths)) = headers.get("x-death") else {
        panic!("no x-death in {headers:?}")
    };
    let table = |death: &Value| match death {
        Value::Table(death) => death.clone(),
        other => panic!("not a table: {other:?}"),
    };
    deaths.iter().map(table).collect()
}

fn text<'a>(table: &'a Table, name: &str) -> &'a str {
    table.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Queue, reason and count of each death.
#[track_caller]
fn summary(delivered: &Delivered) -> Vec<(String, String, i64)> {
    let summary = |death: &Table| {
        let Some(Value::I64(count)) = death.get("count") else {
            panic!("count is a long in {death:?}")
        };
        (
            text(death, "queue").to_owned(),
            text(death, "reason").to_owned(),
            *count,
        )
    };
    deaths(delivered).iter().map(summary).collect()
}

fn death(queue: &str, reason: &str, count: i64) -> (String, String, i64) {
    (queue.to_owned(), reason.to_owned(), count)
}

async fn reject_next(wire: &mut Wire, queue: &str) {
    let delivered = wire.get(queue).await.expect("there is a message to reject");
    wire.nack(delivered.tag, false).await;
    wire.quiet().await;
}

#[tokio::test]
async fn a_rejected_message_carries_the_record_of_its_death() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "q", "dead", &[]).await;
    wire.bind("q", "amq.topic", "a.*").await;
    let properties = Properties {
        content_type: Some("text/plain".to_owned()),
        delivery_mode: Some(2),
        priority: Some(3),
        message_id: Some("m-1".to_owned()),
        headers: Some(table([("mine", 1.into())])),
        ..Properties::default()
    };
    wire.publish_with("amq.topic", "a.b", &properties, "body")
        .await;
    reject_next(&mut wire, "q").await;

    let dead = wire.get("dead").await.unwrap();
    assert_eq!(
        (&*dead.exchange, &*dead.routing_key, dead.redelivered),
        ("", "dead", false)
    );
    assert_eq!(dead.text(), "body");
    let headers = dead.properties.headers.clone().unwrap();
    assert_eq!(headers.get("mine"), Some(&Value::I32(1)));
    assert_eq!(text(&headers, "x-first-death-queue"), "q");
    assert_eq!(text(&headers, "x-first-death-reason"), "rejected");
    assert_eq!(text(&headers, "x-first-death-exchange"), "amq.topic");
    let deaths = deaths(&dead);
    let want = table([
        ("count", Value::I64(1)),
        ("reason", "rejected".into()),
        ("queue", "q".into()),
        ("time", Value::Timestamp(clock.now().as_millis() / 1000)),
        ("exchange", "amq.topic".into()),
        ("routing-keys", Value::Array(vec!["a.b".into()])),
    ]);
    assert_eq!(deaths, [want]);
    assert_eq!(
        Properties {
            headers: None,
            ..dead.properties
        },
        Properties {
            headers: None,
            ..properties
        }
    );
}

#[tokio::test]
async fn the_reason_is_told() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "ttl", "dead", &[("x-message-ttl", 10.into())]).await;
    declare(&mut wire, "length", "dead", &[("x-max-length", 0.into())]).await;
    wire.publish("", "ttl", "").await;
    wire.publish("", "length", "").await;
    wire.quiet().await;
    pass(&broker, &clock, 10).await;
    assert_eq!(
        summary(&wire.get("dead").await.unwrap()),
        [death("length", "maxlen", 1)]
    );
    assert_eq!(
        summary(&wire.get("dead").await.unwrap()),
        [death("ttl", "expired", 1)]
    );
}

#[tokio::test]
async fn an_expiration_is_moved_into_the_record() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "q", "dead", &[]).await;
    wire.publish_with("", "q", &support::expiring("10"), "")
        .await;
    wire.quiet().await;
    pass(&broker, &clock, 10).await;
    let dead = wire.get("dead").await.unwrap();
    assert_eq!(dead.properties.expiration, None);
    assert_eq!(text(&deaths(&dead)[0], "original-expiration"), "10");
}

#[tokio::test]
async fn without_a_key_of_the_queues_the_messages_own_keys_are_used() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_exchange("dlx", "direct").await;
    for queue in ["one", "two"] {
        wire.declare(queue).await;
        wire.bind(queue, "dlx", queue).await;
    }
    wire.declare_with("q", &table([("x-dead-letter-exchange", "dlx".into())]))
        .await;
    for key in ["one", "two"] {
        wire.bind("q", "amq.direct", key).await;
    }
    let copies = with_headers([("CC", Value::Array(vec!["two".into()]))]);
    wire.publish_with("amq.direct", "one", &copies, "m").await;
    reject_next(&mut wire, "q").await;
    let first = wire.get("one").await.unwrap();
    assert_eq!((&*first.exchange, &*first.routing_key), ("dlx", "one"));
    let keys = Value::Array(vec!["one".into(), "two".into()]);
    assert_eq!(deaths(&first)[0].get("routing-keys"), Some(&keys));
    assert_eq!(wire.drain("two").await, ["m"]);
}

#[tokio::test]
async fn a_key_of_the_queues_replaces_the_copies() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    wire.declare("copy").await;
    declare(&mut wire, "q", "dead", &[]).await;
    let copies = with_headers([("CC", Value::Array(vec!["copy".into()]))]);
    wire.publish_with("", "q", &copies, "m").await;
    assert_eq!(wire.drain("copy").await, ["m"]);
    reject_next(&mut wire, "q").await;
    let dead = wire.get("dead").await.unwrap();
    assert_eq!(dead.properties.headers.unwrap().get("CC"), None);
    assert_eq!(wire.count("copy").await, 0);
}

#[tokio::test]
async fn deaths_of_the_same_kind_are_counted_in_one_entry_with_the_latest_first() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    declare(&mut wire, "work", "retry", &[]).await;
    declare(
        &mut wire,
        "retry",
        "work",
        &[("x-message-ttl", 1000.into())],
    )
    .await;
    wire.publish("", "work", "m").await;
    for round in 1..=5 {
        reject_next(&mut wire, "work").await;
        assert_eq!(wire.count("retry").await, 1);
        pass(&broker, &clock, 1000).await;
        let delivered = wire
            .get("work")
            .await
            .expect("a rejection on the way makes the cycle legal");
        assert_eq!(
            summary(&delivered),
            [
                death("retry", "expired", round),
                death("work", "rejected", round)
            ]
        );
        assert_eq!(
            text(
                delivered.properties.headers.as_ref().unwrap(),
                "x-first-death-queue"
            ),
            "work"
        );
        wire.nack(delivered.tag, true).await;
    }
}

#[tokio::test]
async fn earlier_deaths_are_turned_round_at_each_further_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    for (queue, next) in [("1", "2"), ("2", "3"), ("3", "4"), ("4", "5")] {
        declare(&mut wire, queue, next, &[]).await;
    }
    wire.declare("5").await;
    wire.publish("", "1", "m").await;
    for (queue, orders) in [("1", "1"), ("2", "21"), ("3", "312"), ("4", "4213")] {
        reject_next(&mut wire, queue).await;
        let next = format!("{}", queue.parse::<u8>().unwrap() + 1);
        let died = wire.get(&next).await.unwrap();
        let queues: String = summary(&died)
            .into_iter()
            .map(|(queue, _, _)| queue)
            .collect();
        assert_eq!(queues, orders);
        wire.nack(died.tag, true).await;
    }
}

#[tokio::test]
async fn a_rejection_counts_for_a_cycle_where_it_stands_among_the_deaths() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    let ttl = [("x-message-ttl", 100.into())];
    declare(&mut wire, "a", "b", &[]).await;
    declare(&mut wire, "b", "c", &ttl).await;
    declare(&mut wire, "c", "b", &ttl).await;
    wire.publish("", "a", "m").await;
    reject_next(&mut wire, "a").await;
    // Dead in a, b, c: c, a, b. What was rejected in a comes before the death in b, so that it may return there.
    pass(&broker, &clock, 100).await;
    pass(&broker, &clock, 100).await;
    assert_eq!(wire.count("b").await, 1);
}

#[tokio::test]
async fn the_first_death_is_the_brokers_to_tell() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "q", "dead", &[]).await;
    let forged = with_headers([
        ("z", 1.into()),
        ("x-first-death-queue", "mine".into()),
        ("a", 2.into()),
    ]);
    wire.publish_with("", "q", &forged, "m").await;
    reject_next(&mut wire, "q").await;
    let headers = wire.get("dead").await.unwrap().properties.headers.unwrap();
    assert_eq!(text(&headers, "x-first-death-queue"), "q");
    let names: Vec<_> = headers
        .iter()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "a",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "z"
        ]
    );
}

#[tokio::test]
async fn deaths_that_a_client_sends_are_put_together() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "q", "dead", &[]).await;
    let entry = |queue: &str, reason: &str| {
        Value::Table(table([("reason", reason.into()), ("queue", queue.into())]))
    };
    let sent = vec![
        entry("q", "rejected"),
        entry("other", "expired"),
        entry("q", "rejected"),
        Value::I32(1),
    ];
    let sent = with_headers([("x-death", Value::Array(sent))]);
    wire.publish_with("", "q", &sent, "m").await;
    reject_next(&mut wire, "q").await;
    let dead = wire.get("dead").await.unwrap();
    let entry = |count, queue: &str, reason: &str| {
        table([
            ("count", Value::I64(count)),
            ("reason", reason.into()),
            ("queue", queue.into()),
        ])
    };
    let mut latest = entry(3, "q", "rejected");
    latest.sort();
    assert_eq!(deaths(&dead), [latest, entry(1, "other", "expired")]);
}

/// Lets a message expire in a cycle of as many queues, and tells how many are left.
async fn left_in_cycle(queues: usize) -> (Broker, VirtualClock, u32) {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    for at in 0..queues {
        let next = (at + 1) % queues;
        declare(
            &mut wire,
            &format!("q{at}"),
            &format!("q{next}"),
            &[("x-message-ttl", 10.into())],
        )
        .await;
    }
    wire.publish("", "q0", "m").await;
    wire.quiet().await;
    for _ in 0..queues + 2 {
        pass(&broker, &clock, 10).await;
    }
    let mut left = 0;
    for at in 0..queues {
        left += wire.count(&format!("q{at}")).await;
    }
    (broker, clock, left)
}

#[tokio::test]
async fn a_cycle_in_which_nobody_rejects_ends() {
    for queues in 1..=3 {
        let (broker, _, left) = left_in_cycle(queues).await;
        assert_eq!((left, broker.memory_used()), (0, 0), "{queues} queues");
    }
}

#[tokio::test]
async fn a_cycle_without_time_ends_too() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    for (queue, next) in [("a", "b"), ("b", "c"), ("c", "a")] {
        declare(&mut wire, queue, next, &[("x-max-length", 0.into())]).await;
    }
    wire.publish("", "a", "m").await;
    wire.quiet().await;
    assert_eq!(broker.memory_used(), 0);
}

/// Every queue of the chain hands its only message on at once.
async fn run_through_chain(queues: usize) {
    let broker = Broker::builder().start().await.unwrap();
    let client = broker.client().unwrap();
    for at in 0..queues {
        let options = QueueOptions {
            max_length: Some(0),
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some(format!("q{}", at + 1)),
            ..QueueOptions::default()
        };
        client
            .declare_queue(&format!("q{at}"), options)
            .await
            .unwrap();
    }
    let last = format!("q{queues}");
    client
        .declare_queue(&last, QueueOptions::default())
        .await
        .unwrap();
    client
        .publish(leveret_broker::Publish::to_queue("q0", b"m"))
        .await
        .unwrap();
    broker.wait_idle().await;
    assert_eq!(client.queue_info(&last).await.unwrap().ready, 1);
}

#[test]
fn a_chain_of_queues_needs_no_deeper_stack_than_one() {
    // The record of deaths grows with every queue, which makes chains of many thousands slow; on a small stack a shorter
    // one shows as much.
    const QUEUES: usize = 400;
    const STACK_BYTES: usize = 256 * 1024;
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run_through_chain(QUEUES));
    };
    let thread = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(run)
        .unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn an_exchange_that_is_missing_when_a_message_dies_swallows_it_and_may_come_later() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    wire.declare_with("q", &table([("x-dead-letter-exchange", "later".into())]))
        .await;
    wire.publish_all("q", ["lost", "kept"]).await;
    reject_next(&mut wire, "q").await;
    wire.declare_exchange("later", "fanout").await;
    wire.bind("dead", "later", "").await;
    reject_next(&mut wire, "q").await;
    assert_eq!(wire.drain("dead").await, ["kept"]);
}

#[tokio::test]
async fn messages_that_die_together_arrive_in_order() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "q", "dead", &[]).await;
    wire.publish_all("q", 0..10).await;
    wire.consume("q").await;
    wire.deliveries(10).await;
    let nack = leveret_amqp_codec::method::basic::Nack {
        delivery_tag: 10,
        multiple: true,
        requeue: false,
    };
    wire.send(&nack).await;
    assert_eq!(
        wire.drain("dead").await,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
}

#[tokio::test]
async fn purging_and_deleting_dead_letter_nothing() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    declare(&mut wire, "q", "dead", &[]).await;
    wire.publish_all("q", 0..3).await;
    let purge = leveret_amqp_codec::method::queue::Purge {
        queue: support::short("q"),
        no_wait: false,
    };
    wire.call(&purge, "queue.purge-ok").await;
    wire.publish_all("q", 0..3).await;
    wire.delete("q").await;
    assert_eq!(wire.count("dead").await, 0);
}

#[tokio::test]
async fn a_key_without_an_exchange_is_refused() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        dead_letter_routing_key: Some("key".to_owned()),
        ..QueueOptions::default()
    };
    let error = client.declare_queue("q", options).await.unwrap_err();
    assert!(error.is_precondition_failed());
    assert!(
        error
            .to_string()
            .ends_with("routing_key_but_no_dlx_defined"),
        "{error}"
    );
}

#[tokio::test]
async fn letters_that_wait_for_a_target_are_forgotten_with_their_virtual_host() {
    let broker = broker().await;
    assert!(broker.create_vhost("v"));
    let greeting = support::Greeting {
        vhost: "v",
        ..support::Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    let arguments = table([
        ("x-queue-type", "quorum".into()),
        ("x-overflow", "reject-publish".into()),
        ("x-dead-letter-exchange", "missing".into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
    ])
    .to_bytes();
    let declare = leveret_amqp_codec::method::queue::Declare {
        queue: support::short("q"),
        durable: true,
        arguments: leveret_amqp_codec::RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    };
    wire.declare_queue(&declare).await;
    wire.publish("", "q", "m").await;
    reject_next(&mut wire, "q").await;
    assert!(broker.memory_used() > 0, "the letter is kept");
    assert!(broker.delete_vhost("v"));
    wire.expect_connection_closed().await;
    assert_eq!(broker.memory_used(), 0);
}
