//! STOMP subscriptions: which queues they make, what they are sent, and how they end.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{Client, Publish, QueueOptions};
use leveret_stomp_codec::Command;
use support::{Stomp, broker, until};

async fn exists(client: &Client, queue: &str) -> bool {
    client.queue_info(queue).await.is_ok()
}

#[tokio::test]
async fn the_queue_of_a_topic_goes_with_its_subscription() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [
        ("destination", "/topic/a.*"),
        ("id", "1"),
        ("x-queue-name", "named"),
    ];
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp.publish("/topic/a.b", "m").await;
    stomp.expect_message("m").await;
    stomp.tell(Command::Unsubscribe, &[("id", "1")], b"").await;
    assert!(!exists(&client, "named").await);
    stomp.quiet().await;
    // The id is free again.
    stomp.subscribe("/topic/a.*", "1", "auto").await;
}

#[tokio::test]
async fn a_durable_subscription_keeps_what_is_sent_while_nobody_is_there() {
    let broker = broker().await;
    let headers = [
        ("destination", "/topic/news"),
        ("id", "reader"),
        ("durable", "true"),
        ("auto-delete", "false"),
    ];
    let mut stomp = Stomp::connect(&broker).await;
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp.tell(Command::Disconnect, &[], b"").await;

    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/topic/news", "while away").await;
    stomp.send(Command::Subscribe, &headers, b"").await;
    stomp.expect_message("while away").await;
    // Without `durable` the subscription alone ends, and its queue goes on.
    stomp
        .tell(Command::Unsubscribe, &[("id", "reader")], b"")
        .await;
    stomp.publish("/topic/news", "still kept").await;
    stomp.send(Command::Subscribe, &headers, b"").await;
    stomp.expect_message("still kept").await;
    let for_good = [("id", "reader"), ("durable", "true")];
    stomp.tell(Command::Unsubscribe, &for_good, b"").await;
    stomp.publish("/topic/news", "missed").await;
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp.quiet().await;
}

#[tokio::test]
async fn a_durable_subscription_needs_an_id() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    for destination in ["/topic/a", "/queue/a"] {
        let headers = [("destination", destination), ("persistent", "true")];
        for command in [Command::Subscribe, Command::Unsubscribe] {
            stomp.send(command, &headers, b"").await;
            stomp.expect_error("Missing Header").await;
            stomp.quiet().await;
        }
    }
}

/// Two spellings of one header, of which RabbitMQ takes the last.
#[tokio::test]
async fn durable_or_persistent_counts_whichever_stands_last() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    let (durable, persistent) = (("durable", "false"), ("persistent", "true"));
    for (id, spellings, is_durable) in [
        ("1", [durable, persistent], true),
        ("2", [persistent, durable], false),
    ] {
        let own = [("id", id), ("destination", id), ("exclusive", "false")];
        let headers = [&own[..], &spellings].concat();
        stomp.tell(Command::Subscribe, &headers, b"").await;
        let declare = QueueOptions {
            durable: is_durable,
            auto_delete: !is_durable,
            ..QueueOptions::default()
        };
        client.declare_queue(id, declare).await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_comes_after_the_receipt() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/queue/q", "m").await;
    let headers = [("destination", "/queue/q"), ("id", "1"), ("receipt", "r")];
    stomp.send(Command::Subscribe, &headers, b"").await;
    stomp.expect(Command::Receipt).await;
    stomp.expect_message("m").await;
    // A message that was sent after it in the same breath comes later still.
    let burst =
        b"SUBSCRIBE\ndestination:/queue/p\nid:2\nreceipt:s\n\n\0SEND\ndestination:/queue/p\n\nn\0";
    stomp.send_raw(burst).await;
    stomp.expect(Command::Receipt).await;
    stomp.expect_message("n").await;
}

#[tokio::test]
async fn an_id_that_is_in_use_ends_the_session() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/a", "1", "auto").await;
    let headers = [("destination", "/queue/b"), ("id", "1")];
    stomp.send(Command::Subscribe, &headers, b"").await;
    let body = stomp
        .expect_error("Duplicated subscription identifier")
        .await;
    assert_eq!(body, "A subscription identified by 'T_1' already exists.");
    stomp.expect_end().await;
}

#[tokio::test]
async fn an_id_that_is_in_use_is_complained_of_before_what_is_missing() {
    let broker = broker().await;
    for destination in ["/amq/queue/none", "/exchange/none/k"] {
        let mut stomp = Stomp::connect(&broker).await;
        stomp.subscribe("/queue/a", "1", "auto").await;
        let headers = [("destination", destination), ("id", "1")];
        stomp.send(Command::Subscribe, &headers, b"").await;
        stomp
            .expect_error("Duplicated subscription identifier")
            .await;
        stomp.expect_end().await;
    }
}

#[tokio::test]
async fn a_subscription_without_id_is_called_by_its_destination() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [("destination", "/topic/a")];
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp.send(Command::Send, &headers, b"m").await;
    let message = stomp.expect_message("m").await;
    assert_eq!(message.header("subscription"), None);
    stomp.tell(Command::Unsubscribe, &headers, b"").await;
    stomp.send(Command::Unsubscribe, &headers, b"").await;
    let body = stomp.expect_error("No subscription found").await;
    assert!(body.contains("\"destination='/topic/a'\""), "{body}");
}

#[tokio::test]
async fn what_a_subscription_has_not_settled_goes_back_when_it_ends() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "client").await;
    for body in ["1", "2"] {
        client
            .publish(Publish::to_queue("q", body.as_bytes()))
            .await
            .unwrap();
        stomp.expect_message(body).await;
    }
    stomp.tell(Command::Unsubscribe, &[("id", "1")], b"").await;
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked), (2, 0));
    // In their old order, and marked.
    stomp
        .send(
            Command::Subscribe,
            &[("destination", "/queue/q"), ("id", "2")],
            b"",
        )
        .await;
    let message = stomp.expect_message("1").await;
    assert_eq!(message.header("redelivered"), Some("true"));
    stomp.expect_message("2").await;
}

#[tokio::test]
async fn a_subscription_whose_queue_is_deleted_ends_alone() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/a", "1", "client").await;
    stomp.subscribe("/queue/b", "2", "auto").await;
    client.publish(Publish::to_queue("a", b"m")).await.unwrap();
    let message = stomp.expect_message("m").await;
    client.delete_queue("a").await.unwrap();
    let error = stomp.expect(Command::Error).await;
    assert_eq!(
        error.header("message"),
        Some("Server cancelled subscription")
    );
    assert_eq!(error.header("subscription"), Some("1"));
    let id = message.header("ack").unwrap();
    stomp.send(Command::Ack, &[("id", id)], b"").await;
    stomp.expect_error("Subscription not found").await;
    client.publish(Publish::to_queue("b", b"on")).await.unwrap();
    stomp.expect_message("on").await;
}

#[tokio::test]
async fn prefetch_holds_back_what_is_not_acknowledged() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    for body in ["1", "2", "3"] {
        stomp.publish("/queue/q", body).await;
    }
    let headers = [
        ("destination", "/queue/q"),
        ("id", "1"),
        ("ack", "client-individual"),
        ("prefetch-count", "1"),
    ];
    stomp.send(Command::Subscribe, &headers, b"").await;
    for body in ["1", "2", "3"] {
        let message = stomp.expect_message(body).await;
        stomp.quiet().await;
        let id = message.header("ack").unwrap();
        stomp.send(Command::Ack, &[("id", id)], b"").await;
    }
}

#[tokio::test]
async fn a_consumer_of_higher_priority_goes_first() {
    let broker = broker().await;
    let mut low = Stomp::connect(&broker).await;
    low.subscribe("/queue/q", "low", "auto").await;
    let mut high = Stomp::connect(&broker).await;
    let headers = [
        ("destination", "/queue/q"),
        ("id", "high"),
        ("x-priority", "5"),
    ];
    high.tell(Command::Subscribe, &headers, b"").await;
    for body in ["1", "2", "3"] {
        low.publish("/queue/q", body).await;
        high.expect_message(body).await;
    }
    low.quiet().await;
}

#[tokio::test]
async fn arguments_of_queues_come_as_headers() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [
        ("destination", "/queue/q"),
        ("id", "1"),
        ("durable", "false"),
        ("exclusive", "false"),
        ("auto-delete", "false"),
        ("x-max-length", "2"),
        ("x-message-ttl", "60000"),
    ];
    stomp.tell(Command::Subscribe, &headers, b"").await;
    let same = QueueOptions {
        durable: false,
        max_length: Some(2),
        message_ttl: Some(std::time::Duration::from_secs(60)),
        ..QueueOptions::default()
    };
    client.declare_queue("q", same).await.unwrap();
    for (name, value) in [
        ("x-expires", "soon"),
        ("durable", "maybe"),
        ("ack", "sometimes"),
        ("prefetch-count", "many"),
    ] {
        let headers = [("destination", "/queue/other"), ("id", "2"), (name, value)];
        stomp.send(Command::Subscribe, &headers, b"").await;
        stomp.expect_error("Processing error").await;
    }
    assert!(!exists(&client, "other").await);
}

#[tokio::test]
async fn a_message_cannot_say_what_only_the_server_says() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "auto").await;
    let forged = [
        ("destination", "/queue/q"),
        ("subscription", "forged"),
        ("ack", "forged"),
        ("redelivered", "forged"),
    ];
    stomp.send(Command::Send, &forged, b"m").await;
    let message = stomp.expect_message("m").await;
    let headers: Vec<_> = message.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(
        headers,
        [
            "subscription",
            "destination",
            "message-id",
            "redelivered",
            "content-length"
        ]
    );
    assert_eq!(message.header("subscription"), Some("1"));
}

#[tokio::test]
async fn word_of_a_cancelled_subscription_without_id_names_its_destination() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [("destination", "/queue/a")];
    stomp.tell(Command::Subscribe, &headers, b"").await;
    client.delete_queue("a").await.unwrap();
    let error = stomp.expect(Command::Error).await;
    assert_eq!(error.header("subscription"), Some("/queue/a"));
}

#[tokio::test]
async fn a_subscription_to_a_missing_exchange_leaves_no_queue_of_its_own() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue(
            "old",
            QueueOptions {
                durable: true,
                ..QueueOptions::default()
            },
        )
        .await
        .unwrap();
    for name in ["new", "old"] {
        let mut stomp = Stomp::connect(&broker).await;
        let headers = [
            ("destination", "/exchange/none/k"),
            ("id", "1"),
            ("x-queue-name", name),
            ("durable", "true"),
            ("auto-delete", "false"),
        ];
        stomp.send(Command::Subscribe, &headers, b"").await;
        stomp.expect_error("not_found").await;
        stomp.expect_end().await;
        assert_eq!(exists(&client, name).await, name == "old", "{name}");
    }
}

/// What nobody has ever consumed from does not go by itself, and fills up.
#[tokio::test]
async fn a_subscription_that_is_refused_leaves_no_queue_behind() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/topic/a", "1", "auto").await;
    let headers = [("destination", "/topic/a"), ("id", "1")];
    stomp.send(Command::Subscribe, &headers, b"").await;
    stomp
        .expect_error("Duplicated subscription identifier")
        .await;
    stomp.expect_end().await;
    until("the session's end", || broker.connection_count() == 0).await;
    let left = broker.queues("/").unwrap();
    assert!(left.is_empty(), "{left:?}");
}
