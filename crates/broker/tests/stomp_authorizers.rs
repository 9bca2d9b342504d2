//! Rights that somebody outside of the broker has to be asked for, in STOMP and on WebSockets.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{Broker, ConsumeOptions, Publish, VirtualClock};
use leveret_stomp_codec::Command;
use support::backend::Backend;
use support::websocket::{TEXT, WebSocket};
use support::{Stomp, beside, break_off, pass, until};

const ANN: [(&str, &str); 3] = [
    ("accept-version", "1.2"),
    ("login", "ann"),
    ("passcode", "secret"),
];

/// Everything that a session can say, without waiting for anything.
fn everything() -> String {
    let mut frames = String::new();
    frames
        .push_str("SUBSCRIBE\nid:1\ndestination:/topic/a\nack:client-individual\nreceipt:1\n\n\0");
    frames.push_str("SUBSCRIBE\nid:2\ndestination:/queue/q\nreceipt:2\n\n\0");
    frames.push_str("BEGIN\ntransaction:t\nreceipt:3\n\n\0");
    frames.push_str("SEND\ndestination:/topic/a\ntransaction:t\nreceipt:4\n\nin t\0");
    frames.push_str("SEND\ndestination:/queue/q\nreceipt:5\n\nfor q\0");
    frames.push_str("COMMIT\ntransaction:t\nreceipt:6\n\n\0");
    frames.push_str(
        "SEND\ndestination:/exchange/amq.direct/k\nreply-to:/temp-queue/r\nreceipt:7\n\n?\0",
    );
    frames.push_str("UNSUBSCRIBE\nid:1\nreceipt:8\n\n\0");
    frames.push_str("UNSUBSCRIBE\nid:2\nreceipt:9\n\n\0");
    frames.push_str("DISCONNECT\nreceipt:10\n\n\0");
    frames
}

/// The receipts and the bodies of messages that a session hears until its end, each kind in its order.
async fn told_everything(broker: &Broker, connect: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let mut stomp = Stomp::connect_with(broker, connect).await;
    stomp.send_raw(everything().as_bytes()).await;
    let (mut receipts, mut messages) = (Vec::new(), Vec::new());
    while let Some(frame) = stomp.next().await {
        match frame.command {
            Command::Receipt => receipts.push(frame.header("receipt-id").unwrap().to_owned()),
            Command::Message => {
                messages.push(String::from_utf8(frame.body.to_vec()).unwrap());
            }
            _ => panic!("{frame:?}"),
        }
    }
    (receipts, messages)
}

#[tokio::test]
async fn frames_that_wait_are_obeyed_in_their_order() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    let (receipts, mut messages) = told_everything(&broker, &ANN).await;
    let nobody_waits = support::broker().await;
    let (wanted, _) = told_everything(&nobody_waits, &ANN[..1]).await;
    assert_eq!((receipts.len(), receipts), (10, wanted));
    // Where nobody waits, all is said before the first of them comes.
    messages.sort_unstable();
    assert_eq!(messages, ["for q", "in t"]);
    assert_eq!(backend.asked_first(), "vhost / from 127.0.0.1");
    let asked = backend.asked();
    let subscription = asked[0]
        .strip_prefix("configure queue ")
        .unwrap()
        .to_owned();
    assert!(subscription.starts_with("stomp-subscription-"));
    let reply = asked.iter().find_map(|question| {
        let name = question.strip_prefix("configure queue ")?;
        name.starts_with("amq.gen-").then_some(name)
    });
    let wanted = [
        format!("configure queue {subscription}"),
        format!("read queue {subscription}"),
        format!("write queue {subscription}"),
        "read exchange amq.topic".to_owned(),
        "read topic a of amq.topic".to_owned(),
        "configure queue q".to_owned(),
        "read queue q".to_owned(),
        "write exchange amq.default".to_owned(),
        "write exchange amq.topic".to_owned(),
        "write topic a of amq.topic".to_owned(),
        format!("configure queue {}", reply.unwrap()),
        format!("read queue {}", reply.unwrap()),
        "write exchange amq.direct".to_owned(),
    ];
    assert_eq!(asked, wanted);
}

/// What a transaction is to publish is asked about together, and nothing is published before it is known what may be.
#[tokio::test]
async fn a_commit_that_waits_publishes_each_message_once() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("all", Default::default())
        .await
        .unwrap();
    client.bind_queue("all", "amq.topic", "#").await.unwrap();
    let mut consumer = client
        .consume("all", ConsumeOptions::default())
        .await
        .unwrap();
    for refused in [false, true] {
        let mut stomp = Stomp::connect_with(&broker, &ANN).await;
        backend.asked();
        if refused {
            backend.refuse(["write topic b of amq.topic"]);
        }
        stomp
            .tell(Command::Begin, &[("transaction", "t")], b"")
            .await;
        for topic in ["a", "b", "a", "c"] {
            let destination = format!("/topic/{topic}");
            let headers = [("destination", &*destination), ("transaction", "t")];
            stomp.send(Command::Send, &headers, topic.as_bytes()).await;
        }
        let commit = [("transaction", "t"), ("receipt", "done")];
        stomp.send(Command::Commit, &commit, b"").await;
        let wanted = [
            "write exchange amq.topic",
            "write topic a of amq.topic",
            "write topic b of amq.topic",
            "write topic c of amq.topic",
        ];
        let published = if refused {
            // What came before stands, as without waiting.
            stomp.expect_error("access_refused").await;
            assert_eq!(backend.asked(), wanted[..3]);
            vec!["a"]
        } else {
            stomp.expect(Command::Receipt).await;
            assert_eq!(backend.asked(), wanted);
            vec!["a", "b", "a", "c"]
        };
        for topic in published {
            let delivery = consumer.recv().await.unwrap();
            assert_eq!(delivery.message().routing_key(), topic);
            delivery.ack();
        }
        assert!(consumer.try_recv().is_none());
    }
}

/// A subscription is not begun before all that it takes is known.
#[tokio::test]
async fn a_subscription_that_waits_has_made_nothing() {
    let backend = Backend::new();
    let broker = backend.broker().await;
    let mut stomp = Stomp::connect_with(&broker, &ANN).await;
    backend.asked();
    backend.hold();
    stomp
        .send_raw(b"SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:1\n\n\0")
        .await;
    for asked in 1..=5 {
        until("the next question", || backend.asked_so_far() == asked).await;
        assert_eq!(
            broker.queues("/").unwrap().len(),
            0,
            "after {asked} questions"
        );
        backend.release(1);
    }
    stomp.expect(Command::Receipt).await;
    assert_eq!(broker.queues("/").unwrap().len(), 1);
}

#[tokio::test]
async fn a_subscription_that_is_refused_leaves_nothing() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    for (refused, what) in [
        ("configure", "queue"),
        ("read", "queue"),
        ("write", "queue"),
        ("read", "exchange"),
        ("read", "topic"),
    ] {
        backend.rule(move |question| Ok(!question.starts_with(&format!("{refused} {what} "))));
        let mut stomp = Stomp::connect_with(&broker, &ANN).await;
        let headers = [("destination", "/topic/a"), ("id", "1")];
        stomp.send(Command::Subscribe, &headers, b"").await;
        let text = stomp.expect_error("access_refused").await;
        assert!(text.starts_with(&format!("ACCESS_REFUSED - access to {what} '")));
        stomp.expect_end().await;
        assert_eq!(broker.queues("/").unwrap().len(), 0, "{refused} {what}");
    }
}

#[tokio::test]
async fn a_durable_subscription_is_ended_once_it_may_be() {
    let backend = Backend::new();
    backend.answer_late();
    let builder = Broker::builder().verdict_ttl(std::time::Duration::ZERO);
    let broker = backend.broker_with(builder).await;
    let mut stomp = Stomp::connect_with(&broker, &ANN).await;
    let subscribe = [
        ("destination", "/topic/a"),
        ("id", "1"),
        ("durable", "true"),
        ("auto-delete", "false"),
    ];
    stomp.tell(Command::Subscribe, &subscribe, b"").await;
    assert_eq!(broker.queues("/").unwrap().len(), 1);
    let unsubscribe = [("id", "1"), ("durable", "true")];
    stomp.tell(Command::Unsubscribe, &unsubscribe, b"").await;
    assert_eq!(broker.queues("/").unwrap().len(), 0);
    stomp.tell(Command::Subscribe, &subscribe, b"").await;
    backend.rule(|question| Ok(!question.starts_with("configure ")));
    stomp.send(Command::Unsubscribe, &unsubscribe, b"").await;
    stomp.expect_error("access_refused").await;
    assert_eq!(broker.queues("/").unwrap().len(), 1);
}

#[tokio::test]
async fn deliveries_go_on_while_a_session_waits() {
    let backend = Backend::new();
    let broker = backend.broker().await;
    let mut stomp = Stomp::connect_with(&broker, &ANN).await;
    stomp.subscribe("/queue/q", "1", "auto").await;
    backend.hold();
    let headers = [("destination", "/topic/k"), ("receipt", "sent")];
    stomp.send(Command::Send, &headers, b"?").await;
    backend.until_asked().await;
    let client = broker.client().unwrap();
    client
        .publish(Publish::to_queue("q", b"one"))
        .await
        .unwrap();
    stomp.expect_message("one").await;
    backend.release(2);
    stomp.expect(Command::Receipt).await;
}

#[tokio::test]
async fn a_session_that_goes_away_is_asked_for_no_more() {
    let backend = Backend::new();
    let broker = backend.broker().await;
    let mut stomp = Stomp::connect_with(&broker, &ANN).await;
    backend.hold();
    let headers = [("destination", "/queue/q"), ("receipt", "sent")];
    stomp.send(Command::Send, &headers, &[b'm'; 100_000]).await;
    backend.until_asked().await;
    break_off(&broker, stomp).await;
    until("the end of the question", || backend.waiting() == 0).await;
}

#[tokio::test]
async fn a_virtual_host_is_asked_about_at_connect() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    for fails in [false, true] {
        if fails {
            backend.fail_at(["vhost / from 127.0.0.1"]);
        } else {
            backend.refuse(["vhost / from 127.0.0.1"]);
        }
        let mut stomp = Stomp::dial(&broker).await;
        stomp.send(Command::Connect, &ANN, b"").await;
        let text = stomp.expect_error("Bad CONNECT").await;
        assert_eq!(text, "Virtual host '/' access denied");
        stomp.expect_end().await;
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_refusal() {
    let (backend, clock) = (Backend::new(), VirtualClock::new());
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = backend.broker_with(builder).await;
    let mut stomp = Stomp::connect_with(&broker, &ANN).await;
    backend.hold();
    let headers = [("destination", "/topic/k")];
    stomp.send(Command::Send, &headers, b"?").await;
    backend.until_asked().await;
    pass(&broker, &clock, 15_000).await;
    let text = stomp.expect_error("access_refused").await;
    let wanted =
        "ACCESS_REFUSED - access to exchange 'amq.topic' in vhost '/' refused for user 'ann'";
    assert_eq!(text, wanted);
}

/// A socket that the embedding program has accepted, for a user whom it knows.
#[tokio::test]
async fn mounted_sockets_ask_too() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = broker.serve_stomp_websocket(far, backend.identity("ann"));
    let serving = beside(serving);
    let mut socket = WebSocket::on(near);
    socket.send(TEXT, "CONNECT\naccept-version:1.2\n\n\0").await;
    let (_, connected) = socket.next().await.unwrap();
    assert!(connected.starts_with(b"CONNECTED\n"));
    // Two frames in one message: the second waits within.
    backend.refuse(["write exchange amq.topic"]);
    let frames =
        "SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:1\n\n\0SEND\ndestination:/topic/a\n\nm\0";
    socket.send(TEXT, frames).await;
    let (_, receipt) = socket.next().await.unwrap();
    assert!(receipt.starts_with(b"RECEIPT\n"));
    let (_, error) = socket.next().await.unwrap();
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("access to exchange 'amq.topic' in vhost '/' refused for user 'ann'"));
    assert_eq!(backend.asked()[0], "vhost /");
    drop(socket);
    serving.await.unwrap();
}

/// What a message is published with is asked about after the queue has been declared, and once.
#[tokio::test]
async fn a_queue_is_declared_once_by_a_send_that_waits() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    let mut stomp = Stomp::connect_with(&broker, &ANN).await;
    backend.asked();
    for body in ["one", "two"] {
        stomp.publish("/queue/q", body).await;
    }
    let wanted = ["configure queue q", "write exchange amq.default"];
    assert_eq!(backend.asked(), wanted);
    let client = broker.client().unwrap();
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    for body in ["one", "two"] {
        let delivery = consumer.recv().await.unwrap();
        assert_eq!(delivery.message().body(), body.as_bytes());
        delivery.ack();
    }
}
