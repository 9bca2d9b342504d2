//! What STOMP messages say, and where they go.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{
    Broker, ConsumeOptions, ExchangeOptions, ExchangeType, Overflow, Properties, Publish,
    QueueOptions, Value,
};
use leveret_stomp_codec::Command;
use support::{Stomp, broker, soon, table};

/// A message that was sent with these headers, as a client of this process sees it.
async fn sent(broker: &Broker, headers: &[(&str, &str)], body: &[u8]) -> Properties {
    let mut stomp = Stomp::connect(broker).await;
    let headers = [&[("destination", "/queue/q")], headers].concat();
    stomp.tell(Command::Send, &headers, body).await;
    let client = broker.client().unwrap();
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let delivery = soon("the message", consumer.recv()).await.unwrap();
    assert_eq!(delivery.body(), body);
    let properties = delivery.properties();
    delivery.ack();
    properties
}

#[tokio::test]
async fn headers_become_properties() {
    let broker = broker().await;
    let headers = [
        ("content-type", "text/x"),
        ("persistent", "true"),
        ("priority", "7"),
        ("correlation-id", "c"),
        ("amqp-message-id", "m"),
        ("timestamp", "5"),
        ("user-id", "guest"),
        ("custom", "a:b\n"),
        ("custom", "again"),
    ];
    let properties = sent(&broker, &headers, b"m").await;
    let want = Properties {
        content_type: Some("text/x".into()),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: Some("c".into()),
        message_id: Some("m".into()),
        timestamp: Some(5),
        user_id: Some("guest".into()),
        headers: Some(table([
            ("custom", Value::from("a:b\n")),
            ("receipt", Value::from("r1")),
        ])),
        ..Properties::default()
    };
    assert_eq!(properties, want);
}

#[tokio::test]
async fn of_a_repeated_header_the_first_counts() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    let headers = [
        ("destination", "/amq/queue/q"),
        ("persistent", "yes"),
        ("persistent", "true"),
        ("type", "first"),
        ("type", "second"),
    ];
    let mut stomp = Stomp::connect(&broker).await;
    stomp.tell(Command::Send, &headers, b"m").await;
    let delivery = client.get("q").await.unwrap().unwrap();
    let properties = delivery.properties();
    assert_eq!(properties.delivery_mode, None);
    assert_eq!(properties.kind.as_deref(), Some("first"));
}

/// AMQP clients may rely on a table that RabbitMQ always sends.
#[tokio::test]
async fn a_message_without_headers_has_an_empty_table_of_them() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [("destination", "/queue/q")];
    stomp.send(Command::Send, &headers, b"m").await;
    stomp.quiet().await;
    let client = broker.client().unwrap();
    let delivery = client.get("q").await.unwrap().unwrap();
    assert_eq!(delivery.properties().headers, Some(table([])));
}

#[tokio::test]
async fn an_empty_address_for_replies_is_kept_as_it_is() {
    let broker = broker().await;
    let properties = sent(&broker, &[("reply-to", "")], b"m").await;
    assert_eq!(properties.reply_to.as_deref(), Some(""));
}

#[tokio::test]
async fn bodies_are_bytes() {
    let broker = broker().await;
    let all: Vec<u8> = (0..=255).collect();
    sent(&broker, &[], &all).await;
    sent(&broker, &[], b"").await;
    // Larger than what is read at once, and kept where it was read.
    sent(&broker, &[], &all.repeat(3000)).await;
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte_and_many_at_once() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "auto").await;
    let frame = b"\r\n\nSEND\r\ndestination:/queue/q\r\ncontent-length:3\r\n\r\na\0b\0\r\n";
    for byte in frame {
        stomp.send_raw(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    stomp.expect_message("a\0b").await;
    stomp.send_raw(&frame.repeat(500)).await;
    for _ in 0..500 {
        stomp.expect_message("a\0b").await;
    }
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "auto").await;
    for size in [16_383, 16_384, 65_536, 1_000_000, 3_000_000] {
        let body: String = ('a'..='z').cycle().take(size).collect();
        let headers = [("destination", "/queue/q")];
        stomp.send(Command::Send, &headers, body.as_bytes()).await;
        stomp.expect_message(&body).await;
    }
}

#[tokio::test]
async fn the_destination_names_where_it_was_published() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_exchange("x/y", ExchangeType::Fanout, ExchangeOptions::default())
        .await
        .unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    for (id, destination) in ["/topic/a.#", "/exchange/x%2Fy", "/queue/q"]
        .iter()
        .enumerate()
    {
        stomp.subscribe(destination, &id.to_string(), "auto").await;
    }
    for (to, named) in [
        (Publish::to_exchange("amq.topic", "a.b", b"m"), "/topic/a.b"),
        (
            Publish::to_exchange("x/y", "k%", b"m"),
            "/exchange/x%2Fy/k%25",
        ),
        (Publish::to_exchange("x/y", "", b"m"), "/exchange/x%2Fy"),
        (Publish::to_queue("q", b"m"), "/queue/q"),
    ] {
        client.publish(to).await.unwrap();
        let message = stomp.expect_message("m").await;
        assert_eq!(message.header("destination"), Some(named));
    }
}

#[tokio::test]
async fn what_amqp_refuses_ends_the_session() {
    let broker = broker().await;
    for (headers, title) in [
        (&[("destination", "/exchange/none/k")][..], "not_found"),
        (
            &[("destination", "/queue/q"), ("expiration", "soon")],
            "precondition_failed",
        ),
        (
            &[("destination", "/queue/q"), ("user-id", "bob")],
            "precondition_failed",
        ),
        (&[("destination", "/queue/amq.mine")], "access_refused"),
    ] {
        let mut stomp = Stomp::connect(&broker).await;
        let headers = [headers, &[("receipt", "never")]].concat();
        stomp.send(Command::Send, &headers, b"m").await;
        stomp.expect_error(title).await;
        stomp.expect_end().await;
    }
}

#[tokio::test]
async fn receipts_come_in_order_and_for_messages_that_go_nowhere_too() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    let mut burst = Vec::new();
    for at in 0..300 {
        let frame = format!("SEND\ndestination:/topic/{at}\nreceipt:{at}\n\n\0");
        burst.extend_from_slice(frame.as_bytes());
    }
    stomp.send_raw(&burst).await;
    for at in 0..300 {
        let receipt = stomp.expect(Command::Receipt).await;
        assert_eq!(receipt.header("receipt-id"), Some(&*at.to_string()));
    }
}

#[tokio::test]
async fn a_full_queue_that_refuses_is_told_by_an_error_with_the_receipt() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        max_length: Some(1),
        overflow: Overflow::RejectPublish,
        ..QueueOptions::default()
    };
    client.declare_queue("small", options).await.unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/amq/queue/small", "1").await;
    let headers = [("destination", "/amq/queue/small"), ("receipt", "second")];
    stomp.send(Command::Send, &headers, b"2").await;
    let error = stomp.expect(Command::Error).await;
    assert_eq!(error.header("receipt-id"), Some("second"));
    stomp.quiet().await;
}

#[tokio::test]
async fn a_queue_is_declared_once_by_whoever_names_it_first() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    let limited = [("destination", "/queue/q"), ("x-max-length", "1")];
    stomp.tell(Command::Send, &limited, b"1").await;
    stomp.publish("/queue/q", "2").await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
    // Another session says something else of it.
    let mut other = Stomp::connect(&broker).await;
    other
        .send(Command::Send, &[("destination", "/queue/q")], b"3")
        .await;
    other.expect_error("precondition_failed").await;
}

#[tokio::test]
async fn a_reply_finds_its_way_back() {
    let broker = broker().await;
    let mut server = Stomp::connect(&broker).await;
    server.subscribe("/queue/rpc", "s", "auto").await;
    let mut asker = Stomp::connect(&broker).await;
    let request = [
        ("destination", "/queue/rpc"),
        ("reply-to", "/temp-queue/answers"),
        ("correlation-id", "7"),
    ];
    asker.tell(Command::Send, &request, b"question").await;
    asker.tell(Command::Send, &request, b"question").await;
    for _ in 0..2 {
        let question = server.expect_message("question").await;
        let reply_to = question.header("reply-to").unwrap().to_owned();
        assert!(reply_to.starts_with("/reply-queue/amq.gen-"), "{reply_to}");
        let headers = [("destination", &*reply_to), ("correlation-id", "7")];
        server.send(Command::Send, &headers, b"answer").await;
        let answer = asker.expect_message("answer").await;
        assert_eq!(answer.header("subscription"), Some("/temp-queue/answers"));
        assert_eq!(answer.header("correlation-id"), Some("7"));
    }
    let headers = [("destination", "/temp-queue/answers"), ("id", "1")];
    asker.send(Command::Subscribe, &headers, b"").await;
    asker.expect_error("Invalid destination").await;
    drop(asker);
    support::until("the end of the connection", || {
        broker.connection_count() == 1
    })
    .await;
    let queues = broker.client().unwrap();
    assert!(queues.queue_info("rpc").await.is_ok());
}
