//! A subscription that goes on after the last message its client has seen.
#![cfg(feature = "stomp")]

mod support;

use std::time::Duration;

use leveret_broker::{Broker, Client, ExchangeOptions, ExchangeType, Publish};
use leveret_stomp_codec::{Command, Frame};
use support::{Stomp, broker, pass, start, timed_broker};

const ROOM: &str = "/exchange/chat/room.1";

/// A broker with a topic exchange that keeps the latest three messages of each room.
async fn chat() -> (Broker, Client) {
    let broker = broker().await;
    let client = history(&broker).await;
    (broker, client)
}

async fn history(broker: &Broker) -> Client {
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        history_length: Some(3),
        ..ExchangeOptions::default()
    };
    let declared = client.declare_exchange("chat", ExchangeType::Topic, options);
    declared.await.unwrap();
    client
}

async fn say(client: &Client, room: &str, text: &str) {
    let message = Publish::to_exchange("chat", room, text.as_bytes());
    client.publish(message).await.unwrap();
}

async fn resume(stomp: &mut Stomp, destination: &str, id: &str, from: &str) {
    let headers = [
        ("destination", destination),
        ("id", id),
        ("resume-from", from),
    ];
    stomp.send(Command::Subscribe, &headers, b"").await;
}

fn message_id(message: &Frame) -> String {
    message.header("message-id").unwrap().to_owned()
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_and_then_what_comes() {
    let (broker, client) = chat().await;
    let mut phone = Stomp::connect(&broker).await;
    phone.subscribe(ROOM, "1", "auto").await;
    say(&client, "room.1", "one").await;
    let seen = message_id(&phone.expect_message("one").await);
    drop(phone);
    say(&client, "room.1", "two").await;
    say(&client, "room.2", "not for us").await;
    say(&client, "room.1", "three").await;

    let mut phone = Stomp::connect(&broker).await;
    resume(&mut phone, ROOM, "1", &seen).await;
    let two = phone.expect_message("two").await;
    assert_eq!(two.header("x-history-gap"), None);
    let seen = message_id(&phone.expect_message("three").await);
    say(&client, "room.1", "four").await;
    let four = phone.expect_message("four").await;
    phone.quiet().await;

    // The header says the same, and an id of history is as good as one of what came live.
    let mut second = Stomp::connect(&broker).await;
    resume(&mut second, ROOM, "1", &seen).await;
    second.expect_message("four").await;
    resume(&mut second, ROOM, "2", four.header("x-history-id").unwrap()).await;
    second.quiet().await;
}

#[tokio::test]
async fn all_that_is_kept_or_nothing_of_it_can_be_asked_for() {
    let (broker, client) = chat().await;
    for text in ["one", "two", "three", "four"] {
        say(&client, "room.1", text).await;
    }
    say(&client, "room.2", "other").await;
    let mut stomp = Stomp::connect(&broker).await;
    resume(&mut stomp, "/exchange/chat/#", "all", "first").await;
    for text in ["two", "three", "four", "other"] {
        let message = stomp.expect_message(text).await;
        assert_eq!(
            message.header("x-history-gap"),
            None,
            "it asked for no more"
        );
    }
    resume(&mut stomp, "/exchange/chat/#", "none", "next").await;
    stomp.quiet().await;
}

#[tokio::test]
async fn what_is_kept_no_longer_is_told() {
    let (broker, client) = chat().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe(ROOM, "1", "auto").await;
    say(&client, "room.1", "one").await;
    let seen = message_id(&stomp.expect_message("one").await);
    let headers = [("id", "1")];
    stomp.tell(Command::Unsubscribe, &headers, b"").await;
    for text in ["two", "three", "four", "five"] {
        say(&client, "room.1", text).await;
    }
    resume(&mut stomp, ROOM, "2", &seen).await;
    let first = stomp.expect_message("three").await;
    let gap = first.header("x-history-gap").unwrap().to_owned();
    assert!(first.header("x-history-id").is_some());
    let second = stomp.expect_message("four").await;
    assert_eq!(second.header("x-history-gap"), None);
    stomp.expect_message("five").await;
    // From the end of the gap on nothing is missing.
    resume(&mut stomp, ROOM, "3", &gap).await;
    let first = stomp.expect_message("three").await;
    assert_eq!(first.header("x-history-gap"), None);
}

#[tokio::test]
async fn an_id_of_another_run_is_answered_by_all_that_is_kept() {
    let (broker, client) = chat().await;
    say(&client, "room.1", "one").await;
    let mut stomp = Stomp::connect(&broker).await;
    for (id, from) in [
        ("a", "T_1@@session-x@@7~0123456789abcdef-5"),
        ("b", "T_1@@session-x@@7"),
    ] {
        resume(&mut stomp, ROOM, id, from).await;
        let message = stomp.expect_message("one").await;
        assert!(message.header("x-history-gap").is_some(), "{from}");
    }
    // Where nothing is kept the first message that comes has to say it.
    resume(
        &mut stomp,
        "/exchange/chat/room.2",
        "c",
        "T_1@@session-x@@7",
    )
    .await;
    stomp.quiet().await;
    say(&client, "room.2", "two").await;
    let message = stomp.expect_message("two").await;
    assert!(message.header("x-history-gap").is_some());
    say(&client, "room.2", "three").await;
    let message = stomp.expect_message("three").await;
    assert_eq!(message.header("x-history-gap"), None, "it is said once");
}

#[tokio::test]
async fn messages_with_positions_are_acknowledged_by_their_ids() {
    let (broker, client) = chat().await;
    for version in ["1.0", "1.1", "1.2"] {
        let mut stomp = Stomp::connect_with(&broker, &[("accept-version", version)]).await;
        let headers = [
            ("destination", ROOM),
            ("id", "a"),
            ("ack", "client-individual"),
            ("durable", "true"),
            ("auto-delete", "false"),
        ];
        stomp.tell(Command::Subscribe, &headers, b"").await;
        say(&client, "room.1", version).await;
        let message = stomp.expect_message(version).await;
        let id = message_id(&message);
        let ack = match version {
            "1.2" => ("id", message.header("ack").unwrap()),
            _ => ("message-id", &*id),
        };
        stomp
            .tell(Command::Ack, &[ack, ("subscription", "a")], b"")
            .await;
        stomp.tell(Command::Disconnect, &[], b"").await;
        // Otherwise the next to subscribe with this id would get it again.
    }
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [
        ("destination", ROOM),
        ("id", "a"),
        ("durable", "true"),
        ("auto-delete", "false"),
    ];
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp.quiet().await;
}

#[tokio::test]
async fn a_durable_subscription_gives_nothing_twice_and_one_that_has_expired_is_made_up_for() {
    let (broker, clock) = timed_broker().await;
    let client = history(&broker).await;
    let headers = |from| {
        [
            ("destination", ROOM),
            ("id", "phone"),
            ("durable", "true"),
            ("auto-delete", "false"),
            ("x-expires", "60000"),
            ("resume-from", from),
        ]
    };
    let mut phone = Stomp::connect(&broker).await;
    say(&client, "room.1", "one").await;
    phone.send(Command::Subscribe, &headers("first"), b"").await;
    phone.expect_message("one").await;
    phone.tell(Command::Disconnect, &[], b"").await;
    say(&client, "room.1", "two").await;

    // The queue is still there.
    let mut phone = Stomp::connect(&broker).await;
    phone.send(Command::Subscribe, &headers("first"), b"").await;
    let two = phone.expect_message("two").await;
    phone.quiet().await;
    phone.tell(Command::Disconnect, &[], b"").await;

    pass(&broker, &clock, 61_000).await;
    say(&client, "room.1", "three").await;
    let mut phone = Stomp::connect(&broker).await;
    let mut headers = headers("");
    let seen = message_id(&two);
    headers[5].1 = &seen;
    phone.send(Command::Subscribe, &headers, b"").await;
    phone.expect_message("three").await;
    phone.quiet().await;
}

#[tokio::test]
async fn what_cannot_be_resumed_is_refused() {
    let (broker, _client) = chat().await;
    let mut stomp = Stomp::connect(&broker).await;
    resume(&mut stomp, ROOM, "1", "yesterday").await;
    let text = stomp.expect_error("Invalid header").await;
    assert!(text.contains("'yesterday' is no position"), "{text}");
    resume(&mut stomp, "/queue/q", "1", "first").await;
    stomp.expect_error("Invalid header").await;
    resume(&mut stomp, "/exchange/amq.topic/a", "1", "first").await;
    let text = stomp.expect_error("precondition_failed").await;
    assert!(text.contains("exchange 'amq.topic' in vhost '/' keeps no history"));
    stomp.expect_end().await;
}

#[tokio::test]
async fn topics_have_a_history_where_the_broker_is_told_so() {
    let builder = Broker::builder().topic_history(Some(2), Some(Duration::from_secs(3600)));
    let broker = start(builder).await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/topic/news", "one").await;
    resume(&mut stomp, "/topic/news", "1", "first").await;
    let one = stomp.expect_message("one").await;
    assert_eq!(one.header("destination"), Some("/topic/news"));
    resume(&mut stomp, "/topic/news", "2", &message_id(&one)).await;
    stomp.publish("/topic/other", "two").await;
    // It is declared again as every virtual host has it.
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        durable: true,
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("amq.topic", ExchangeType::Topic, options)
        .await
        .unwrap();
}
