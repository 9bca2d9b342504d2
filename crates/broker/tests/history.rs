//! Exchanges that keep what has passed them, for queues that are bound later.

mod support;

use std::time::Duration;

use leveret_broker::{
    Broker, Client, ConsumeOptions, Delivery, ExchangeOptions, ExchangeType, Position, Publish,
    QueueOptions, ResumeFrom, Table,
};
use support::{broker, pass, start, timed_broker};

fn latest(length: u64) -> ExchangeOptions {
    ExchangeOptions {
        history_length: Some(length),
        ..ExchangeOptions::default()
    }
}

async fn with_exchange(kind: ExchangeType, options: ExchangeOptions) -> (Broker, Client) {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client.declare_exchange("x", kind, options).await.unwrap();
    (broker, client)
}

async fn say(client: &Client, key: &str, text: &str) {
    let message = Publish::to_exchange("x", key, text.as_bytes());
    client.publish(message).await.unwrap();
}

/// Declares a queue that wants what is kept from there on.
async fn declare(client: &Client, queue: &str, resume_from: ResumeFrom) {
    let options = QueueOptions {
        resume_from: Some(resume_from),
        ..QueueOptions::default()
    };
    client.declare_queue(queue, options).await.unwrap();
}

/// A new queue, bound so.
async fn bound(client: &Client, queue: &str, key: &str, resume_from: ResumeFrom) {
    declare(client, queue, resume_from).await;
    client.bind_queue(queue, "x", key).await.unwrap();
}

/// Takes out what a queue holds.
async fn drain(client: &Client, queue: &str) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while let Some(delivery) = client.get(queue).await.unwrap() {
        taken.push(delivery);
    }
    taken
}

async fn texts(client: &Client, queue: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for delivery in drain(client, queue).await {
        texts.push(String::from_utf8(delivery.body().to_vec()).unwrap());
        delivery.ack();
    }
    texts
}

/// The position of the one message in a queue.
async fn position(client: &Client, queue: &str) -> Position {
    let mut found = drain(client, queue).await;
    assert_eq!(found.len(), 1);
    let delivery = found.pop().unwrap();
    let position = delivery.position().unwrap();
    delivery.ack();
    position
}

#[tokio::test]
async fn a_queue_is_given_what_came_after_a_position_and_matches() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    bound(&client, "live", "#", ResumeFrom::Next).await;
    say(&client, "room.1", "one").await;
    let seen = position(&client, "live").await;
    for (key, text) in [("room.1", "two"), ("hall.1", "no"), ("room.2", "three")] {
        say(&client, key, text).await;
    }
    bound(&client, "late", "room.*", ResumeFrom::After(seen)).await;
    say(&client, "room.3", "four").await;
    assert_eq!(texts(&client, "late").await, ["two", "three", "four"]);
    bound(&client, "all", "room.*", ResumeFrom::First).await;
    assert_eq!(texts(&client, "all").await, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn chatter_in_one_key_does_not_push_out_another() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(2)).await;
    say(&client, "room.1", "quiet").await;
    for n in 0..1000 {
        say(&client, "room.2", &n.to_string()).await;
    }
    bound(&client, "late", "#", ResumeFrom::First).await;
    assert_eq!(texts(&client, "late").await, ["quiet", "998", "999"]);
}

#[tokio::test]
async fn direct_and_fanout_exchanges_keep_history_too() {
    for (kind, binding, want) in [
        (ExchangeType::Direct, "a", &["one", "three"][..]),
        (ExchangeType::Direct, "#", &[]),
        (ExchangeType::Fanout, "whatever", &["one", "two", "three"]),
    ] {
        let (_broker, client) = with_exchange(kind, latest(9)).await;
        for (key, text) in [("a", "one"), ("b", "two"), ("a", "three")] {
            say(&client, key, text).await;
        }
        bound(&client, "late", binding, ResumeFrom::First).await;
        assert_eq!(texts(&client, "late").await, want, "{kind:?} {binding}");
    }
}

#[tokio::test]
async fn a_queue_resumes_by_very_many_bindings_in_a_moment() {
    const BINDINGS: usize = 5000;
    for (kind, key) in [
        (ExchangeType::Topic, "4000"),
        (ExchangeType::Direct, "4000"),
        (ExchangeType::Fanout, "0"),
    ] {
        let (_broker, client) = with_exchange(kind, latest(9)).await;
        say(&client, "4000", "one").await;
        declare(&client, "late", ResumeFrom::First).await;
        for n in 0..BINDINGS {
            client
                .bind_queue("late", "x", &n.to_string())
                .await
                .unwrap();
        }
        say(&client, key, "two").await;
        assert_eq!(texts(&client, "late").await, ["one", "two"], "{kind:?}");
    }
}

#[tokio::test]
async fn types_that_do_not_route_by_key_keep_none() {
    for kind in [
        ExchangeType::Headers,
        ExchangeType::ConsistentHash,
        ExchangeType::ModulusHash,
        ExchangeType::Random,
        ExchangeType::RecentHistory,
        ExchangeType::Delayed,
    ] {
        let broker = broker().await;
        let client = broker.client().unwrap();
        let options = ExchangeOptions {
            delayed_type: Some(ExchangeType::Topic),
            ..latest(1)
        };
        let error = client.declare_exchange("x", kind, options).await;
        let error = error.unwrap_err();
        assert!(error.is_precondition_failed(), "{kind:?}: {error}");
    }
}

#[tokio::test]
async fn how_much_is_kept_cannot_be_declared_otherwise() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(5)).await;
    let again = |options| client.declare_exchange("x", ExchangeType::Topic, options);
    again(latest(5)).await.unwrap();
    let with_age = ExchangeOptions {
        history_age: Some(Duration::from_secs(1)),
        ..latest(5)
    };
    for other in [latest(6), ExchangeOptions::default(), with_age] {
        let error = again(other).await.unwrap_err();
        assert!(error.is_precondition_failed(), "{error}");
        assert!(error.to_string().contains("x-history-"), "{error}");
    }
    let nothing = client
        .declare_exchange("y", ExchangeType::Topic, latest(0))
        .await;
    let error = nothing.unwrap_err().to_string();
    let want = "invalid arg 'x-history-length' for exchange 'y' in vhost '/': {value_zero,0}";
    assert!(error.contains(want), "{error}");
}

#[tokio::test]
async fn what_is_too_old_is_gone_with_the_memory_it_took() {
    let (broker, clock) = timed_broker().await;
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        history_age: Some(Duration::from_secs(60)),
        ..ExchangeOptions::default()
    };
    let declared = client.declare_exchange("x", ExchangeType::Topic, options);
    declared.await.unwrap();
    let before = broker.memory_used();
    say(&client, "a", "old").await;
    pass(&broker, &clock, 30_000).await;
    say(&client, "a", "new").await;
    pass(&broker, &clock, 29_999).await;
    bound(&client, "both", "#", ResumeFrom::First).await;
    assert_eq!(texts(&client, "both").await, ["old", "new"]);
    pass(&broker, &clock, 1).await;
    bound(&client, "one", "#", ResumeFrom::First).await;
    assert_eq!(texts(&client, "one").await, ["new"]);
    let with_both = broker.memory_used();
    pass(&broker, &clock, 30_000).await;
    assert!(broker.memory_used() < with_both, "nobody had to ask");
    client.delete_exchange("x").await.unwrap();
    assert_eq!(broker.memory_used(), before);
}

#[tokio::test]
async fn several_bindings_of_a_queue_give_it_each_message_once() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    for (key, text) in [("a.b", "both"), ("a.c", "first"), ("d.b", "second")] {
        say(&client, key, text).await;
    }
    declare(&client, "q", ResumeFrom::First).await;
    client.bind_queue("q", "x", "a.*").await.unwrap();
    client.bind_queue("q", "x", "*.b").await.unwrap();
    client.bind_queue("q", "x", "a.*").await.unwrap();
    say(&client, "a.b", "live").await;
    let want = ["both", "first", "second", "live"];
    assert_eq!(texts(&client, "q").await, want);
    let other = Table::from_iter([("other", "arguments")]);
    client
        .bind_queue_with("q", "x", "a.*", &other)
        .await
        .unwrap();
    client.bind_queue("q", "x", "#").await.unwrap();
    assert_eq!(texts(&client, "q").await, [""; 0]);
}

#[tokio::test]
async fn a_binding_made_again_gives_what_passed_meanwhile() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    say(&client, "a", "one").await;
    bound(&client, "q", "a", ResumeFrom::First).await;
    client.unbind_queue("q", "x", "a").await.unwrap();
    say(&client, "a", "two").await;
    client.bind_queue("q", "x", "a").await.unwrap();
    say(&client, "a", "three").await;
    assert_eq!(texts(&client, "q").await, ["one", "two", "three"]);
    // Another key that leads to the same messages.
    client.unbind_queue("q", "x", "a").await.unwrap();
    say(&client, "a", "four").await;
    client.bind_queue("q", "x", "#").await.unwrap();
    assert_eq!(texts(&client, "q").await, ["four"]);
}

#[tokio::test]
async fn a_queue_that_has_the_name_of_one_that_is_gone_has_had_nothing() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    say(&client, "a", "one").await;
    for unbound in [false, true, false] {
        bound(&client, "q", "#", ResumeFrom::First).await;
        assert_eq!(texts(&client, "q").await, ["one"]);
        if unbound {
            client.unbind_queue("q", "x", "#").await.unwrap();
        }
        client.delete_queue("q").await.unwrap();
    }
}

#[tokio::test]
async fn a_position_holds_in_every_exchange_of_the_virtual_host() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    let declared = client.declare_exchange("before", ExchangeType::Fanout, latest(10));
    declared.await.unwrap();
    client.bind_exchange("x", "before", "").await.unwrap();
    bound(&client, "live", "#", ResumeFrom::Next).await;
    client.bind_queue("live", "before", "").await.unwrap();
    client
        .publish(Publish::to_exchange("before", "a", b"one"))
        .await
        .unwrap();
    let seen = position(&client, "live").await;
    say(&client, "a", "two").await;
    client
        .publish(Publish::to_exchange("before", "a", b"three"))
        .await
        .unwrap();
    bound(&client, "late", "a", ResumeFrom::After(seen)).await;
    assert_eq!(texts(&client, "late").await, ["two", "three"]);
    // By way of the other, too, it would have them again: of that nobody knows.
    let resume = ResumeFrom::After(seen);
    declare(&client, "behind", resume).await;
    client.bind_queue("behind", "before", "").await.unwrap();
    assert_eq!(texts(&client, "behind").await, ["three"]);
}

#[tokio::test]
async fn an_exchange_made_anew_knows_that_it_missed_something() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    bound(&client, "live", "#", ResumeFrom::Next).await;
    say(&client, "a", "one").await;
    let seen = position(&client, "live").await;
    say(&client, "a", "gone with the exchange").await;
    client.delete_exchange("x").await.unwrap();
    client
        .declare_exchange("x", ExchangeType::Topic, latest(10))
        .await
        .unwrap();
    say(&client, "a", "two").await;
    bound(&client, "late", "#", ResumeFrom::After(seen)).await;
    let found = drain(&client, "late").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body(), b"two");
    let gap = found[0].gap().expect("a message is missing");
    bound(&client, "later", "#", ResumeFrom::After(gap)).await;
    let found = drain(&client, "later").await;
    assert_eq!((found[0].body(), found[0].gap()), (&b"two"[..], None));
}

#[tokio::test]
async fn only_what_was_asked_for_can_be_missing() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(1)).await;
    bound(&client, "live", "room.1", ResumeFrom::Next).await;
    say(&client, "room.1", "one").await;
    let seen = position(&client, "live").await;
    for text in ["two", "three"] {
        say(&client, "room.2", text).await;
    }
    say(&client, "room.1", "four").await;
    for (queue, key, has_gap) in [("a", "room.1", false), ("b", "*.2", true)] {
        bound(&client, queue, key, ResumeFrom::After(seen)).await;
        let found = drain(&client, queue).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].gap().is_some(), has_gap, "{key}");
    }
}

#[tokio::test]
async fn messages_that_reach_nobody_are_kept_and_not_called_unroutable() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    say(&client, "a", "one").await;
    assert!(client.unroutable().await.is_empty());
    let mandatory = Publish {
        mandatory: true,
        ..Publish::to_exchange("x", "a", b"two")
    };
    let error = client.publish(mandatory).await.unwrap_err();
    assert!(error.is_unroutable(), "nobody has it yet: {error}");
    bound(&client, "late", "#", ResumeFrom::First).await;
    assert_eq!(texts(&client, "late").await, ["one", "two"]);
}

#[tokio::test]
async fn dead_letters_and_delayed_messages_pass_like_any_other() {
    let (broker, clock) = timed_broker().await;
    let client = broker.client().unwrap();
    client
        .declare_exchange("x", ExchangeType::Topic, latest(10))
        .await
        .unwrap();
    let short_lived = QueueOptions {
        message_ttl: Some(Duration::from_secs(1)),
        dead_letter_exchange: Some("x".to_owned()),
        ..QueueOptions::default()
    };
    // The letter would come back to where it died, if that were allowed.
    client.declare_queue("q", short_lived).await.unwrap();
    client.bind_queue("q", "x", "#").await.unwrap();
    client
        .publish(Publish::to_queue("q", b"letter"))
        .await
        .unwrap();
    pass(&broker, &clock, 1000).await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 0);
    bound(&client, "late", "q", ResumeFrom::First).await;
    assert_eq!(texts(&client, "late").await, ["letter"]);
}

#[tokio::test]
async fn histories_take_a_quarter_of_the_memory_at_most_and_the_oldest_go_first() {
    const LIMIT: usize = 400_000;
    let broker = start(Broker::builder().memory_limit(LIMIT)).await;
    let client = broker.client().unwrap();
    for exchange in ["x", "y"] {
        client
            .declare_exchange(exchange, ExchangeType::Topic, latest(1_000_000))
            .await
            .unwrap();
    }
    let body = [b'.'; 1000];
    bound(&client, "live", "#", ResumeFrom::Next).await;
    say(&client, "first", "").await;
    let seen = position(&client, "live").await;
    client.delete_queue("live").await.unwrap();
    for n in 0..500 {
        let key = format!("room.{}", n % 7);
        client
            .publish(Publish::to_exchange("x", &key, &body))
            .await
            .unwrap();
        client
            .publish(Publish::to_exchange("y", &key, &body))
            .await
            .unwrap();
        assert!(broker.memory_used() <= LIMIT / 4);
    }
    assert!(broker.memory_used() > LIMIT / 5, "and not much less");
    bound(&client, "late", "#", ResumeFrom::After(seen)).await;
    let found = drain(&client, "late").await;
    assert!(!found.is_empty());
    assert!(found[0].gap().is_some());
    let keys: Vec<_> = found.iter().map(Delivery::routing_key).collect();
    assert_eq!(keys.last(), Some(&"room.2"), "the latest are there");
    drop(found);
    client.delete_queue("late").await.unwrap();

    broker.set_memory_limit(LIMIT / 10);
    assert!(broker.memory_used() <= LIMIT / 40, "the alarm can end");
    say(&client, "a", "still").await;
}

#[tokio::test]
async fn whoever_asks_for_history_again_and_again_cannot_stop_publishers() {
    const LIMIT: usize = 400_000;
    let broker = start(Broker::builder().memory_limit(LIMIT)).await;
    let client = broker.client().unwrap();
    client
        .declare_exchange("x", ExchangeType::Topic, latest(1_000_000))
        .await
        .unwrap();
    for _ in 0..200 {
        client
            .publish(Publish::to_exchange("x", "a", &[b'.'; 1000]))
            .await
            .unwrap();
    }
    for n in 0..10 {
        bound(&client, &n.to_string(), "#", ResumeFrom::First).await;
    }
    assert!(broker.alarms().is_empty());
    say(&client, "b", "live").await;
    let first = client.get("0").await.unwrap().unwrap();
    assert_eq!((first.routing_key(), first.gap()), ("a", None));
    let last = client.get("9").await.unwrap().unwrap();
    assert_eq!(last.body(), b"live", "there was no room for more");
    assert!(last.gap().is_some());
    let seen = last.position().unwrap();
    drop((first, last));
    // With room again it can be had, as what was not given was not had.
    for n in 0..9 {
        client.delete_queue(&n.to_string()).await.unwrap();
    }
    client.unbind_queue("9", "x", "#").await.unwrap();
    client.bind_queue("9", "x", "#").await.unwrap();
    let all = drain(&client, "9").await;
    assert_eq!(all[0].position(), Some(seen), "it came first");
    assert!(all.len() > 50, "{}", all.len());
    assert_eq!(all[1].gap(), None);
}

#[tokio::test]
async fn a_consumer_sees_positions_grow() {
    let (_broker, client) = with_exchange(ExchangeType::Topic, latest(10)).await;
    say(&client, "a", "one").await;
    bound(&client, "q", "#", ResumeFrom::First).await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    say(&client, "a", "two").await;
    let one = consumer.recv().await.unwrap();
    let two = consumer.recv().await.unwrap();
    let texts = [one.position(), two.position()].map(|it| it.unwrap().to_string());
    let numbers = texts.each_ref().map(|text| text.split_once('-').unwrap());
    assert_eq!(numbers[0].0, numbers[1].0);
    assert_eq!((numbers[0].1, numbers[1].1), ("1", "2"));
    assert_eq!((one.gap(), two.gap()), (None, None));
    assert_eq!(
        texts[0].parse::<Position>().unwrap(),
        one.position().unwrap()
    );
}
