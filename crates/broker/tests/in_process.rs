//! The broker from within its own process.

mod support;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use leveret_broker::{
    Broker, Client, ConsumeOptions, Consumer, ExchangeOptions, ExchangeType, Overflow, Properties,
    Publish, QueueOptions,
};
use support::{Wire, soon};

async fn broker() -> (Broker, Client) {
    let broker = Broker::builder().start().await.unwrap();
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    (broker, client)
}

async fn publish(client: &Client, texts: &[&str]) {
    for text in texts {
        client
            .publish(Publish::to_queue("q", text.as_bytes()))
            .await
            .unwrap();
    }
}

/// The bodies of what is ready, as texts.
async fn ready(client: &Client) -> Vec<String> {
    let messages = client.browse("q", usize::MAX).await.unwrap();
    messages
        .iter()
        .map(|message| String::from_utf8(message.body().to_vec()).unwrap())
        .collect()
}

async fn next(consumer: &mut Consumer) -> leveret_broker::Delivery {
    soon("a delivery", consumer.recv())
        .await
        .expect("the consumer goes on")
}

#[tokio::test]
async fn what_is_published_is_received_in_order() {
    let (_broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    publish(&client, &["0", "1", "2"]).await;
    for text in ["0", "1", "2"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.body(), text.as_bytes());
        assert_eq!(
            (
                delivery.exchange(),
                delivery.routing_key(),
                delivery.redelivered()
            ),
            ("", "q", false)
        );
        delivery.ack();
    }
    assert!(consumer.try_recv().is_none());
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked, info.consumers), (0, 0, 1));
}

#[tokio::test]
async fn a_receiver_that_waits_is_woken() {
    let (_broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let (delivery, ()) = soon("both", async {
        tokio::join!(consumer.recv(), async {
            tokio::task::yield_now().await;
            publish(&client, &["m"]).await;
        })
    })
    .await;
    assert_eq!(delivery.unwrap().body(), b"m");
}

#[tokio::test]
async fn a_receiver_that_is_dropped_while_it_waits_loses_nothing() {
    let (_broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let mut waiting = Box::pin(consumer.recv());
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    publish(&client, &["m"]).await;
    drop(waiting);
    assert_eq!(next(&mut consumer).await.body(), b"m");
}

#[tokio::test]
async fn a_consumer_is_a_stream() {
    let (_broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut consumer).poll_next(&mut cx).is_pending());
    publish(&client, &["m"]).await;
    let Poll::Ready(Some(delivery)) = Pin::new(&mut consumer).poll_next(&mut cx) else {
        panic!("a message is there")
    };
    delivery.ack();
    client.delete_queue("q").await.unwrap();
    assert!(matches!(
        Pin::new(&mut consumer).poll_next(&mut cx),
        Poll::Ready(None)
    ));
}

#[tokio::test]
async fn settling_does_what_it_says() {
    let (_broker, client) = broker().await;
    publish(&client, &["ack", "nack", "requeue", "reject"]).await;
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(client.get("q").await.unwrap().unwrap());
    }
    assert_eq!(client.queue_info("q").await.unwrap().unacked, 4);
    for delivery in deliveries {
        match delivery.body() {
            b"ack" => delivery.ack(),
            b"nack" => delivery.nack(false),
            b"requeue" => delivery.nack(true),
            _ => delivery.reject(false),
        }
    }
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked), (1, 0));
    assert!(client.get("q").await.unwrap().unwrap().redelivered());
}

#[tokio::test]
async fn a_delivery_that_is_dropped_goes_back_to_its_place() {
    let (_broker, client) = broker().await;
    publish(&client, &["0", "1", "2"]).await;
    let first = client.get("q").await.unwrap().unwrap();
    let second = client.get("q").await.unwrap().unwrap();
    drop(second);
    drop(first);
    assert_eq!(ready(&client).await, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_consumer_that_is_dropped_gives_back_what_it_has_not_handed_out() {
    let (_broker, client) = broker().await;
    publish(&client, &["0", "1", "2", "3"]).await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let taken = next(&mut consumer).await;
    drop(consumer);
    assert_eq!(ready(&client).await, ["1", "2", "3"]);
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.unacked, info.consumers), (1, 0));
    taken.nack(true);
    assert_eq!(ready(&client).await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn what_a_dropped_consumer_gives_back_goes_to_another() {
    let (_broker, client) = broker().await;
    let first = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    publish(&client, &["0", "1", "2"]).await;
    let mut second = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    drop(first);
    for text in ["0", "1", "2"] {
        let delivery = next(&mut second).await;
        assert_eq!(delivery.body(), text.as_bytes());
        delivery.ack();
    }
}

#[tokio::test]
async fn prefetch_holds_deliveries_back() {
    let (_broker, client) = broker().await;
    publish(&client, &["0", "1", "2"]).await;
    let options = ConsumeOptions {
        prefetch: 2,
        ..ConsumeOptions::default()
    };
    let mut consumer = client.consume("q", options).await.unwrap();
    let first = next(&mut consumer).await;
    let _second = next(&mut consumer).await;
    assert!(consumer.try_recv().is_none());
    first.ack();
    assert_eq!(next(&mut consumer).await.body(), b"2");
}

#[tokio::test]
async fn a_consumer_without_acknowledgements_settles_at_once() {
    let (_broker, client) = broker().await;
    publish(&client, &["m"]).await;
    let mut consumer = client
        .consume(
            "q",
            ConsumeOptions {
                no_ack: true,
                ..ConsumeOptions::default()
            },
        )
        .await
        .unwrap();
    drop(next(&mut consumer).await);
    assert_eq!(client.queue_info("q").await.unwrap().unacked, 0);
    assert!(ready(&client).await.is_empty());
}

#[tokio::test]
async fn an_exclusive_consumer_is_the_only_one() {
    let (_broker, client) = broker().await;
    let options = ConsumeOptions {
        exclusive: true,
        ..ConsumeOptions::default()
    };
    let consumer = client.consume("q", options).await.unwrap();
    assert!(
        client
            .consume("q", ConsumeOptions::default())
            .await
            .unwrap_err()
            .is_access_refused()
    );
    drop(consumer);
    client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_exclusive_queue_goes_with_its_client_and_not_before_its_consumers() {
    let (broker, client) = broker().await;
    let options = QueueOptions {
        exclusive: true,
        ..QueueOptions::default()
    };
    let other = broker.client().unwrap();
    other.declare_queue("mine", options).await.unwrap();
    assert!(client.queue_info("mine").await.unwrap_err().is_locked());
    let consumer = other
        .consume("mine", ConsumeOptions::default())
        .await
        .unwrap();
    let clone = other.clone();
    drop(other);
    drop(clone);
    assert!(
        client.queue_info("mine").await.unwrap_err().is_locked(),
        "the consumer is still there"
    );
    drop(consumer);
    assert!(client.queue_info("mine").await.unwrap_err().is_not_found());
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn browsing_changes_nothing_and_stops_where_it_is_told() {
    let (_broker, client) = broker().await;
    publish(&client, &["0", "1", "2"]).await;
    assert_eq!(client.browse("q", 2).await.unwrap().len(), 2);
    assert_eq!(client.browse("q", 0).await.unwrap().len(), 0);
    assert_eq!(ready(&client).await, ["0", "1", "2"]);
    assert!(!client.get("q").await.unwrap().unwrap().redelivered());
}

#[tokio::test]
async fn a_mandatory_message_without_a_queue_is_handed_back() {
    let (_broker, client) = broker().await;
    let publish = Publish {
        properties: Some(Properties {
            message_id: Some("m-1".to_owned()),
            ..Properties::default()
        }),
        mandatory: true,
        ..Publish::to_exchange("amq.direct", "nowhere", b"body")
    };
    let error = client.publish(publish).await.unwrap_err();
    assert!(error.is_unroutable());
    assert_eq!(
        error.to_string(),
        "no queue for routing key 'nowhere' at exchange 'amq.direct'"
    );
    let message = error.into_message().expect("it gives the message back");
    assert_eq!(
        (message.body(), message.routing_key()),
        (&b"body"[..], "nowhere")
    );
    client
        .publish(Publish::to_queue("nowhere", b""))
        .await
        .expect("nobody asked for a queue");
}

#[tokio::test]
async fn a_full_queue_that_rejects_says_so() {
    let (_broker, client) = broker().await;
    let options = QueueOptions {
        max_length: Some(1),
        overflow: Overflow::RejectPublish,
        ..QueueOptions::default()
    };
    client.declare_queue("small", options).await.unwrap();
    client
        .publish(Publish::to_queue("small", b""))
        .await
        .unwrap();
    let error = client
        .publish(Publish::to_queue("small", b""))
        .await
        .unwrap_err();
    assert!(error.is_queue_full() && !error.is_unroutable());
}

#[tokio::test]
async fn publishing_to_what_is_not_there_is_an_error() {
    let (_broker, client) = broker().await;
    let error = client
        .publish(Publish::to_exchange("zorp", "", b""))
        .await
        .unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "no exchange 'zorp' in vhost '/'");
    let long = "x".repeat(256);
    let error = client
        .publish(Publish::to_exchange("amq.direct", &long, b""))
        .await
        .unwrap_err();
    assert!(error.is_precondition_failed());
}

#[tokio::test]
async fn a_message_is_published_whether_or_not_its_confirm_is_awaited() {
    let (_broker, client) = broker().await;
    drop(client.publish(Publish::to_queue("q", b"m")));
    assert_eq!(ready(&client).await, ["m"]);
}

#[tokio::test]
async fn a_consumer_ends_when_its_queue_is_deleted() {
    let (_broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    publish(&client, &["before"]).await;
    client.delete_queue("q").await.unwrap();
    next(&mut consumer).await.ack();
    assert!(soon("the end", consumer.recv()).await.is_none());
    assert!(soon("the end, again", consumer.recv()).await.is_none());
    assert!(
        client
            .consume("q", ConsumeOptions::default())
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn a_consumer_ends_when_the_broker_is_shut_down() {
    let (broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    broker.shutdown().await;
    assert!(soon("the end", consumer.recv()).await.is_none());
    assert!(
        client
            .consume("q", ConsumeOptions::default())
            .await
            .unwrap_err()
            .is_closed()
    );
}

#[tokio::test]
async fn a_consumer_that_is_not_polled_is_given_a_window_of_messages_and_no_more() {
    const MESSAGES: usize = 64;
    let (_broker, client) = broker().await;
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    let body = vec![0; 64 * 1024];
    for _ in 0..MESSAGES {
        client.publish(Publish::to_queue("q", &body)).await.unwrap();
    }
    let given = client.queue_info("q").await.unwrap().unacked;
    assert!(
        (1..=9).contains(&given),
        "{given} messages of 64 KiB are more than 512 KiB and one message"
    );
    for _ in 0..MESSAGES {
        next(&mut consumer).await.ack();
    }
    assert!(consumer.try_recv().is_none());
}

#[tokio::test]
async fn declarations_answer_as_over_a_socket() {
    let (_broker, client) = broker().await;
    let named = client
        .declare_queue("", QueueOptions::default())
        .await
        .unwrap();
    assert!(named.name.starts_with("amq.gen-"));
    assert!(
        client
            .declare_queue("amq.mine", QueueOptions::default())
            .await
            .unwrap_err()
            .is_access_refused()
    );
    let durable = QueueOptions {
        durable: true,
        ..QueueOptions::default()
    };
    assert!(
        client
            .declare_queue("q", durable)
            .await
            .unwrap_err()
            .is_precondition_failed()
    );
    publish(&client, &["0", "1"]).await;
    assert_eq!(
        client
            .declare_queue("q", QueueOptions::default())
            .await
            .unwrap()
            .ready,
        2
    );
    assert_eq!(client.purge_queue("q").await.unwrap(), 2);
    assert_eq!(client.delete_queue("never was").await.unwrap(), 0);
    let fanout = ExchangeType::Fanout;
    let error = client
        .declare_exchange("amq.topic", fanout, ExchangeOptions::default())
        .await
        .unwrap_err();
    assert!(error.is_precondition_failed());
    assert!(
        client
            .bind_queue("q", "zorp", "")
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(
        client
            .bind_queue("q", "", "")
            .await
            .unwrap_err()
            .is_access_refused()
    );
}

#[tokio::test]
async fn a_client_of_another_virtual_host_is_refused() {
    let (broker, _client) = broker().await;
    assert!(broker.client_of("zorp").unwrap_err().is_not_found());
}

#[tokio::test]
async fn both_kinds_of_clients_meet_in_the_same_queues() {
    let broker = support::broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    let mut wire = Wire::open(&broker).await;
    let properties = support::with_headers([("n", 5.into())]);
    wire.publish_with("", "q", &properties, "from the wire")
        .await;
    wire.quiet().await;
    let delivery = client.get("q").await.unwrap().unwrap();
    assert_eq!(
        (delivery.body(), delivery.properties()),
        (&b"from the wire"[..], properties.clone())
    );
    delivery.ack();
    let publish = Publish {
        properties: Some(properties.clone()),
        ..Publish::to_queue("q", b"from the process")
    };
    client.publish(publish).await.unwrap();
    let delivered = wire.get("q").await.unwrap();
    assert_eq!(delivered.text(), "from the process");
    assert_eq!(delivered.properties, properties);
    assert_eq!(broker.connection_count(), 2);
}
