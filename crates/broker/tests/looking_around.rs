//! An operator's questions: where would this message go, where did the others go, who holds what, what waits.

use leveret_broker::{
    Broker, Client, ConsumeOptions, ExchangeOptions, ExchangeType, Properties, Publish,
    QueueOptions, Table, Value, VirtualClock,
};

async fn start() -> (Broker, Client) {
    let broker = Broker::builder().start().await.unwrap();
    let client = broker.client().unwrap();
    for queue in ["orders", "audit"] {
        client
            .declare_queue(queue, QueueOptions::default())
            .await
            .unwrap();
    }
    (broker, client)
}

#[tokio::test]
async fn explain_names_the_bindings_that_match_and_those_that_nearly_do() {
    let (_broker, client) = start().await;
    client
        .bind_queue("orders", "amq.topic", "order.*.paid")
        .await
        .unwrap();
    client
        .bind_queue("audit", "amq.topic", "order.#")
        .await
        .unwrap();
    let properties = Properties::default();
    let paid = client
        .explain("amq.topic", "order.7.paid", &properties)
        .await
        .unwrap();
    assert_eq!(
        paid.queues.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["orders", "audit"]
    );
    assert_eq!(paid.steps[0].matched.len(), 2);
    assert!(paid.steps[0].near_misses.is_empty());

    let sent = client
        .explain("amq.topic", "order.7.sent", &properties)
        .await
        .unwrap();
    assert_eq!(sent.queues.len(), 1);
    let (missed, reason) = &sent.steps[0].near_misses[0];
    assert_eq!(&*missed.destination, "orders");
    assert_eq!(reason, "word 3 is 'sent' and not 'paid'");
}

#[tokio::test]
async fn explain_follows_exchanges_and_alternates_and_publishes_nothing() {
    let (_broker, client) = start().await;
    client
        .declare_exchange("rest", ExchangeType::Fanout, ExchangeOptions::default())
        .await
        .unwrap();
    let options = ExchangeOptions {
        alternate_exchange: Some("rest".to_owned()),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("front", ExchangeType::Direct, options)
        .await
        .unwrap();
    client.bind_queue("orders", "front", "Order").await.unwrap();
    client.bind_queue("audit", "rest", "").await.unwrap();
    let explanation = client
        .explain("front", "order", &Properties::default())
        .await
        .unwrap();
    assert_eq!(explanation.steps[0].alternate.as_deref(), Some("rest"));
    assert_eq!(
        explanation.steps[0].near_misses[0].1,
        "only upper and lower case differ"
    );
    assert_eq!(
        explanation
            .queues
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["audit"]
    );
    let text = explanation.to_string();
    assert!(
        text.contains("leads nowhere: on to its alternate exchange rest"),
        "{text}"
    );
    assert_eq!(client.queue_info("audit").await.unwrap().ready, 0);
}

#[tokio::test]
async fn explain_says_which_header_is_wrong() {
    let (_broker, client) = start().await;
    let wanted = Table::from_iter([
        ("x-match", Value::from("all")),
        ("type", Value::from("pdf")),
        ("pages", Value::from(2)),
    ]);
    client
        .bind_queue_with("orders", "amq.headers", "", &wanted)
        .await
        .unwrap();
    let properties = Properties {
        headers: Some(Table::from_iter([("type", Value::from("pdf"))])),
        ..Properties::default()
    };
    let explanation = client
        .explain("amq.headers", "", &properties)
        .await
        .unwrap();
    assert!(explanation.queues.is_empty());
    assert_eq!(
        explanation.steps[0].near_misses[0].1,
        "the header 'pages' is missing"
    );
    assert!(
        client
            .explain("nowhere", "", &properties)
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn messages_that_reached_no_queue_are_remembered() {
    let (_broker, client) = start().await;
    client
        .publish(Publish::to_queue("ordrs", b"lost"))
        .await
        .unwrap();
    client
        .publish(Publish::to_queue("orders", b"found"))
        .await
        .unwrap();
    let unroutable = client.unroutable().await;
    assert_eq!(unroutable.len(), 1);
    assert_eq!(unroutable[0].message.routing_key(), "ordrs");
    assert_eq!(unroutable[0].message.body(), b"lost");
}

#[tokio::test]
async fn who_holds_unsettled_messages_can_be_seen() {
    let (_broker, client) = start().await;
    client
        .publish(Publish::to_queue("orders", b"1"))
        .await
        .unwrap();
    client
        .publish(Publish::to_queue("orders", b"2"))
        .await
        .unwrap();
    let mut consumer = client
        .consume(
            "orders",
            ConsumeOptions {
                prefetch: 1,
                ..ConsumeOptions::default()
            },
        )
        .await
        .unwrap();
    let delivery = consumer.recv().await.unwrap();
    let held = client.unacked("orders").await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].message.body(), b"1");
    assert_eq!(
        held[0].consumer_tag, None,
        "a consumer of this process has no tag"
    );
    delivery.ack();
    let held = client.unacked("orders").await.unwrap();
    assert_eq!(held[0].message.body(), b"2");
}

#[tokio::test]
async fn who_has_held_a_message_for_longest_comes_first() {
    // Within the same millisecond too, and whatever was settled in between.
    let broker = Broker::builder()
        .virtual_clock(VirtualClock::new())
        .start()
        .await
        .unwrap();
    let client = broker.client().unwrap();
    client
        .declare_queue("orders", QueueOptions::default())
        .await
        .unwrap();
    for body in [b"1", b"2", b"3"] {
        client
            .publish(Publish::to_queue("orders", body))
            .await
            .unwrap();
    }
    let first = client.get("orders").await.unwrap().unwrap();
    let second = client.get("orders").await.unwrap().unwrap();
    first.ack();
    let third = client.get("orders").await.unwrap().unwrap();
    let held = client.unacked("orders").await.unwrap();
    let held: Vec<_> = held.iter().map(|held| held.message.body()).collect();
    assert_eq!(held, [b"2", b"3"]);
    second.ack();
    third.ack();
}

#[tokio::test]
async fn browsing_leaves_messages_as_they_are() {
    let (_broker, client) = start().await;
    for body in [b"1", b"2", b"3"] {
        client
            .publish(Publish::to_queue("orders", body))
            .await
            .unwrap();
    }
    let first: Vec<_> = client.browse("orders", 2).await.unwrap();
    assert_eq!(
        first
            .iter()
            .map(|message| message.body())
            .collect::<Vec<_>>(),
        [b"1", b"2"]
    );
    assert_eq!(client.queue_info("orders").await.unwrap().ready, 3);
    assert!(!client.get("orders").await.unwrap().unwrap().redelivered());
}
