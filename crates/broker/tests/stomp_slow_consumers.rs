//! A chat room in which somebody does not read, over STOMP.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{
    Broker, Client, ConsumeOptions, Consumer, ExchangeOptions, ExchangeType, Properties, Publish,
    QueueOptions,
};
use leveret_stomp_codec::Command;
use support::{Stomp, broker};

const ROOM: &str = "/exchange/rooms/room.7";
const BODY_SIZE: usize = 32 * 1024;

fn body(n: usize) -> String {
    format!("{n:0BODY_SIZE$}")
}

async fn room() -> (Broker, Client) {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_exchange("rooms", ExchangeType::Topic, ExchangeOptions::default())
        .await
        .unwrap();
    (broker, client)
}

async fn say(client: &Client, n: usize) {
    client
        .publish(Publish::to_exchange("rooms", "room.7", body(n).as_bytes()))
        .await
        .unwrap();
}

async fn enter(broker: &Broker, slow: &[(&str, &str)]) -> Stomp {
    let mut stomp = Stomp::connect(broker).await;
    let headers = [&[("destination", ROOM), ("id", "1")], slow].concat();
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp
}

/// A member of the room in this process.
async fn member(client: &Client) -> Consumer {
    let options = QueueOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueOptions::default()
    };
    let queue = client.declare_queue("", options).await.unwrap();
    client
        .bind_queue(&queue.name, "rooms", "room.7")
        .await
        .unwrap();
    let options = ConsumeOptions {
        no_ack: true,
        ..ConsumeOptions::default()
    };
    client.consume(&queue.name, options).await.unwrap()
}

#[tokio::test]
async fn one_of_two_hundred_never_reads_and_the_others_miss_nothing() {
    const COUNT: usize = 400;
    let (broker, client) = room().await;
    let slow = [("x-slow-consumer", "drop-oldest"), ("x-slow-limit", "20")];
    let mut phone = enter(&broker, &slow).await;
    let (mut browsers, mut members) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        browsers.push(enter(&broker, &[]).await);
    }
    for _ in 0..190 {
        members.push(member(&client).await);
    }
    for n in 0..COUNT {
        say(&client, n).await;
        // Each has heard it before anything more is said, while the phone reads nothing.
        for browser in &mut browsers {
            let heard = browser.expect(Command::Message).await;
            assert_eq!(heard.body, body(n).as_bytes());
        }
        for member in &mut members {
            let heard = member.try_recv().expect("it is there at once");
            assert_eq!(heard.body(), body(n).as_bytes());
        }
        // What waits for the phone.
        assert!(broker.memory_used() < 21 * (BODY_SIZE + 500));
    }
    let (mut next, mut gaps) = (0, 0);
    while next < COUNT {
        let heard = phone.expect(Command::Message).await;
        if let Some(dropped) = heard.header("x-dropped") {
            next += dropped.parse::<usize>().unwrap();
            gaps += 1;
        }
        assert_eq!(heard.body, body(next).as_bytes());
        next += 1;
    }
    assert!(gaps > 0, "the socket had room for everything");
    phone.quiet().await;
}

#[tokio::test]
async fn who_wants_to_be_closed_learns_of_it_and_goes_on_with_the_rest() {
    const COUNT: usize = 1000;
    let (broker, client) = room().await;
    let slow = [("x-slow-consumer", "close"), ("x-slow-limit", "10")];
    let mut phone = enter(&broker, &slow).await;
    phone.subscribe("/queue/mine", "2", "auto").await;
    let mut said = 0;
    while said < COUNT && is_heard(&client).await {
        say(&client, said).await;
        said += 1;
    }
    assert!(said < COUNT, "the socket takes more than there is");
    let mut heard = 0;
    let error = loop {
        let frame = phone.next().await.expect("the session goes on");
        if frame.command == Command::Error {
            break frame;
        }
        assert_eq!(frame.body, body(heard).as_bytes());
        heard += 1;
    };
    assert_eq!(
        error.header("message"),
        Some("Server cancelled subscription")
    );
    assert_eq!(error.header("subscription"), Some("1"));
    assert_eq!(
        error.body,
        "The server has canceled a subscription that was too slow.\nNo more messages will be delivered for \"id='1'\".\n"
    );
    assert!(heard < said);
    phone.publish("/queue/other", "still there").await;
    client
        .publish(Publish::to_queue("mine", b"to the other"))
        .await
        .unwrap();
    phone.expect_message("to the other").await;
}

/// Whether a message for the room still reaches anybody.
async fn is_heard(client: &Client) -> bool {
    let explained = client
        .explain("rooms", "room.7", &Properties::default())
        .await;
    !explained.unwrap().queues.is_empty()
}

#[tokio::test]
async fn what_acknowledges_is_told_of_gaps_too() {
    let (broker, client) = room().await;
    let slow = [
        ("x-slow-consumer", "drop-oldest"),
        ("x-slow-limit", "2"),
        ("ack", "client-individual"),
        ("prefetch-count", "1"),
    ];
    let mut phone = enter(&broker, &slow).await;
    for n in 0..6 {
        say(&client, n).await;
    }
    let first = phone.expect(Command::Message).await;
    assert_eq!(first.header("x-dropped"), None);
    let ack = |frame: &leveret_stomp_codec::Frame| frame.header("ack").unwrap().to_owned();
    phone
        .send(Command::Ack, &[("id", &*ack(&first))], b"")
        .await;
    let second = phone.expect(Command::Message).await;
    assert_eq!(second.header("x-dropped"), Some("3"));
    assert_eq!(second.body, body(4).as_bytes());
    // It comes back without the marker, which is for the first time.
    phone
        .send(Command::Nack, &[("id", &*ack(&second))], b"")
        .await;
    let again = phone.expect(Command::Message).await;
    assert_eq!(
        (again.header("redelivered"), again.header("x-dropped")),
        (Some("true"), None)
    );
}

#[tokio::test]
async fn nobody_forges_a_marker_and_nonsense_is_refused() {
    let (broker, _client) = room().await;
    let mut phone = enter(&broker, &[]).await;
    let headers = [("destination", ROOM), ("x-dropped", "17"), ("receipt", "r")];
    phone.send(Command::Send, &headers, b"hi").await;
    let mut frames = Vec::new();
    for _ in 0..2 {
        frames.push(phone.next().await.expect("an open session"));
    }
    let message = frames
        .iter()
        .find(|frame| frame.command == Command::Message);
    assert_eq!(message.unwrap().header("x-dropped"), None);

    let mut phone = Stomp::connect(&broker).await;
    let headers = [
        ("destination", ROOM),
        ("id", "1"),
        ("x-slow-consumer", "hurry"),
    ];
    phone.send(Command::Subscribe, &headers, b"").await;
    let text = phone.expect_error("precondition_failed").await;
    assert!(
        text.contains("invalid arg 'x-slow-consumer' for destination"),
        "{text}"
    );
    phone.expect_end().await;
}
