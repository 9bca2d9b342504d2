//! A chat room as it is meant: one exchange that knows who is subscribed to a key, and keeps what was said there.
#![cfg(feature = "stomp")]

mod support;

use std::time::Duration;

use leveret_broker::{
    Broker, Client, ExchangeOptions, ExchangeType, Publish, QueueOptions, ResumeFrom, Table, Value,
    VirtualClock,
};
use leveret_stomp_codec::{Command, Frame};
use support::{Stomp, break_off, pass, table, timed_broker};

const GRACE_MS: u64 = 30_000;
const KEPT: u64 = 100;
const ROOM: &str = "/exchange/rooms/room.7";

async fn rooms() -> (Broker, VirtualClock, Client) {
    let (broker, clock) = timed_broker().await;
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        presence_grace: Some(Duration::from_millis(GRACE_MS)),
        history_length: Some(KEPT),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("rooms", ExchangeType::Presence, options)
        .await
        .unwrap();
    (broker, clock, client)
}

async fn say(client: &Client, text: &str) {
    let message = Publish::to_exchange("rooms", "room.7", text.as_bytes());
    client.publish(message).await.unwrap();
}

/// Subscribes to the room, without a receipt: what is kept comes first.
async fn enter(stomp: &mut Stomp, id: &str, headers: &[(&str, &str)]) {
    let headers = [&[("destination", ROOM), ("id", id)], headers].concat();
    stomp.send(Command::Subscribe, &headers, b"").await;
}

async fn watcher(broker: &Broker) -> Stomp {
    let mut stomp = Stomp::connect(broker).await;
    let headers = [("destination", ROOM), ("id", "w"), ("x-presence", "watch")];
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp
}

/// The next frame, which must be this event of a member.
async fn expect_event(stomp: &mut Stomp, event: &str, member: &str) {
    let heard = stomp.expect(Command::Message).await;
    let header = |name| heard.header(name).unwrap_or_default();
    assert_eq!((header("event"), header("member")), (event, member));
    assert_eq!(heard.header("x-history-id"), None, "events are not kept");
}

fn message_id(message: &Frame) -> String {
    message.header("message-id").unwrap().to_owned()
}

#[tokio::test]
async fn who_enters_reads_what_was_said_and_is_seen() {
    let (broker, clock, client) = rooms().await;
    let mut watcher = watcher(&broker).await;
    say(&client, "one").await;

    let ann_first = [("x-presence-member", "Ann"), ("resume-from", "first")];
    let mut ann = Stomp::connect(&broker).await;
    enter(&mut ann, "m", &ann_first).await;
    ann.expect_message("one").await;
    expect_event(&mut watcher, "joined", "guest/Ann").await;
    say(&client, "two").await;
    let seen = message_id(&ann.expect_message("two").await);

    // Away and back within the grace: nothing is missed, and nobody was gone.
    break_off(&broker, ann).await;
    say(&client, "three").await;
    let mut ann = Stomp::connect(&broker).await;
    let ann_again = [("x-presence-member", "Ann"), ("resume-from", &*seen)];
    enter(&mut ann, "m", &ann_again).await;
    ann.expect_message("three").await;
    pass(&broker, &clock, GRACE_MS).await;
    watcher.quiet().await;
    break_off(&broker, ann).await;
    pass(&broker, &clock, GRACE_MS).await;
    expect_event(&mut watcher, "lost", "guest/Ann").await;
}

/// Reading along without being seen goes with history too; watching does not.
#[tokio::test]
async fn who_is_hidden_reads_what_was_said_and_who_watches_cannot_ask_for_it() {
    let (broker, _clock, client) = rooms().await;
    let mut watcher = watcher(&broker).await;
    say(&client, "one").await;
    let mut stomp = Stomp::connect(&broker).await;
    let hidden = [("x-presence", "hidden"), ("resume-from", "first")];
    enter(&mut stomp, "h", &hidden).await;
    stomp.expect_message("one").await;
    watcher.quiet().await;

    let watching = [("x-presence", "watch"), ("resume-from", "first")];
    enter(&mut stomp, "w", &watching).await;
    let text = stomp.expect_error("precondition_failed").await;
    let want = "exchange 'rooms' in vhost '/' keeps no history of who was present";
    assert!(text.contains(want), "{text}");
    stomp.expect_end().await;
}

/// A queue that wants what is kept, with both kinds of bindings: neither takes anything from the other.
#[tokio::test]
async fn a_binding_that_watches_is_no_part_of_what_a_queue_has_had() {
    let (_broker, _clock, client) = rooms().await;
    let watch = table([("x-presence", Value::from("watch"))]);
    let here = table([("x-presence-member", Value::from("a"))]);
    say(&client, "one").await;
    let options = QueueOptions {
        resume_from: Some(ResumeFrom::First),
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    let bind = async |arguments: &Table| {
        let bound = client.bind_queue_with("q", "rooms", "room.7", arguments);
        bound.await.unwrap();
    };
    bind(&watch).await;
    assert_eq!(bodies(&client).await, [""; 0], "watching gives no messages");
    bind(&here).await;
    assert_eq!(
        bodies(&client).await,
        ["one", ""],
        "what is kept, and that a is there"
    );
    let unbound = client.unbind_queue_with("q", "rooms", "room.7", &watch);
    unbound.await.unwrap();
    say(&client, "two").await;
    assert_eq!(bodies(&client).await, ["two"]);
    // Had it been taken for the end of the other, this would bring them again.
    client.bind_queue("q", "rooms", "room.*").await.unwrap();
    assert_eq!(bodies(&client).await, [""; 0]);
    // And had the other not known when it ended, this would not.
    for (key, arguments) in [("room.7", &here), ("room.*", &Table::default())] {
        let unbound = client.unbind_queue_with("q", "rooms", key, arguments);
        unbound.await.unwrap();
    }
    say(&client, "three").await;
    bind(&here).await;
    assert_eq!(bodies(&client).await, ["three"]);
}

/// Takes out what the queue holds.
async fn bodies(client: &Client) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = client.get("q").await.unwrap() {
        bodies.push(String::from_utf8(delivery.body().to_vec()).unwrap());
        delivery.ack();
    }
    bodies
}

/// Who asks for more than may wait for it is given the latest, with the number of the others.
#[tokio::test]
async fn history_counts_as_what_waits_for_a_slow_subscription() {
    let (broker, _clock, client) = rooms().await;
    for number in 0..KEPT {
        say(&client, &number.to_string()).await;
    }
    let mut phone = Stomp::connect(&broker).await;
    let headers = [
        ("resume-from", "first"),
        ("x-slow-consumer", "drop-oldest"),
        ("x-slow-limit", "10"),
        ("ack", "client-individual"),
        ("prefetch-count", "1"),
    ];
    enter(&mut phone, "m", &headers).await;
    let mut next = 0;
    while next < KEPT {
        let message = phone.expect(Command::Message).await;
        let dropped = message.header("x-dropped").unwrap_or("0");
        next += dropped.parse::<u64>().unwrap();
        assert_eq!(message.body, next.to_string().as_bytes());
        next += 1;
        let id = message.header("ack").unwrap();
        phone.tell(Command::Ack, &[("id", id)], b"").await;
    }
    phone.quiet().await;
}
