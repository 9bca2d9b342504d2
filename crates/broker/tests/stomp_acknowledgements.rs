//! ACK, NACK and transactions of STOMP sessions.
#![cfg(feature = "stomp")]

mod support;

use std::time::Duration;

use leveret_broker::{Broker, Client, Publish, VirtualClock};
use leveret_stomp_codec::{Command, Frame};
use support::{Stomp, broker, pass, start};

/// A session with these many unsettled messages, named by their numbers.
async fn holding(
    broker: &Broker,
    queue: &str,
    ack: &str,
    count: usize,
) -> (Stomp, Client, Vec<Frame>) {
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(broker).await;
    stomp
        .subscribe(&format!("/queue/{queue}"), queue, ack)
        .await;
    let messages = more(&mut stomp, &client, queue, count).await;
    (stomp, client, messages)
}

async fn more(stomp: &mut Stomp, client: &Client, queue: &str, count: usize) -> Vec<Frame> {
    let mut messages = Vec::new();
    for at in 1..=count {
        let body = at.to_string();
        client
            .publish(Publish::to_queue(queue, body.as_bytes()))
            .await
            .unwrap();
        messages.push(stomp.expect_message(&body).await);
    }
    messages
}

fn id(message: &Frame) -> &str {
    message.header("ack").expect("a message to be acknowledged")
}

async fn unacked(client: &Client, queue: &str) -> u64 {
    client.queue_info(queue).await.unwrap().unacked
}

#[tokio::test]
async fn individual_acknowledgement_settles_one() {
    let broker = broker().await;
    let (mut stomp, client, messages) = holding(&broker, "q", "client-individual", 3).await;
    stomp
        .tell(Command::Ack, &[("id", id(&messages[1]))], b"")
        .await;
    assert_eq!(unacked(&client, "q").await, 2);
    stomp.tell(Command::Disconnect, &[], b"").await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 2);
}

#[tokio::test]
async fn cumulative_acknowledgement_covers_all_subscriptions_of_the_session() {
    let broker = broker().await;
    let (mut stomp, client, _) = holding(&broker, "a", "client", 2).await;
    stomp.subscribe("/queue/b", "b", "client").await;
    let messages = more(&mut stomp, &client, "b", 2).await;
    stomp
        .tell(Command::Ack, &[("id", id(&messages[0]))], b"")
        .await;
    assert_eq!(
        (unacked(&client, "a").await, unacked(&client, "b").await),
        (0, 1)
    );
}

#[tokio::test]
async fn nack_brings_a_message_back_or_discards_it() {
    let broker = broker().await;
    let (mut stomp, client, messages) = holding(&broker, "q", "client-individual", 2).await;
    stomp
        .send(Command::Nack, &[("id", id(&messages[0]))], b"")
        .await;
    let again = stomp.expect_message("1").await;
    assert_eq!(again.header("redelivered"), Some("true"));
    for message in [&again, &messages[1]] {
        let headers = [("id", id(message)), ("requeue", "false")];
        stomp.tell(Command::Nack, &headers, b"").await;
    }
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked), (0, 0));
}

#[tokio::test]
async fn older_versions_acknowledge_by_message_id() {
    let broker = broker().await;
    for version in ["1.0", "1.1"] {
        let client = broker.client().unwrap();
        let mut stomp = Stomp::connect_with(&broker, &[("accept-version", version)]).await;
        let headers = [("destination", "/queue/q"), ("id", "1"), ("ack", "client")];
        stomp.tell(Command::Subscribe, &headers, b"").await;
        client.publish(Publish::to_queue("q", b"m")).await.unwrap();
        let message = stomp.expect_message("m").await;
        assert_eq!(message.header("ack"), None);
        let id = message.header("message-id").unwrap();
        stomp.send(Command::Ack, &[("id", id)], b"").await;
        stomp.expect_error("Missing header").await;
        let headers = [("message-id", id), ("subscription", "1")];
        stomp.tell(Command::Ack, &headers, b"").await;
        assert_eq!(unacked(&client, "q").await, 0);
        stomp.tell(Command::Disconnect, &[], b"").await;
    }
}

#[tokio::test]
async fn an_acknowledgement_of_nothing_settles_nothing() {
    let broker = broker().await;
    let (mut stomp, client, messages) = holding(&broker, "q", "client", 1).await;
    let (tag_and_session, _) = id(&messages[0]).rsplit_once("@@").unwrap();
    stomp.send(Command::Ack, &[("id", "garbage")], b"").await;
    stomp.expect_error("Invalid header").await;
    let of_another_session = "T_q@@session-xxxxxxxxxxxxxxxxxxxxxx@@1";
    stomp
        .send(Command::Ack, &[("id", of_another_session)], b"")
        .await;
    stomp.expect_error("Subscription not found").await;
    assert_eq!(unacked(&client, "q").await, 1);
    let unknown = format!("{tag_and_session}@@7");
    stomp.send(Command::Ack, &[("id", &*unknown)], b"").await;
    let body = stomp.expect_error("precondition_failed").await;
    assert_eq!(body, "PRECONDITION_FAILED - unknown delivery tag 7");
    stomp.expect_end().await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}

#[tokio::test]
async fn an_id_with_separators_in_it_is_understood() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "a@@b@@3", "client").await;
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    let message = stomp.expect_message("m").await;
    stomp.tell(Command::Ack, &[("id", id(&message))], b"").await;
    assert_eq!(unacked(&client, "q").await, 0);
}

#[tokio::test]
async fn a_transaction_is_carried_out_in_order_at_its_commit() {
    let broker = broker().await;
    let (mut stomp, client, messages) = holding(&broker, "q", "client-individual", 1).await;
    stomp
        .tell(Command::Begin, &[("transaction", "t")], b"")
        .await;
    let headers = [
        ("destination", "/queue/out"),
        ("transaction", "t"),
        ("receipt", "sent"),
    ];
    stomp.send(Command::Send, &headers, b"1").await;
    let settle = [("id", id(&messages[0])), ("transaction", "t")];
    stomp.tell(Command::Ack, &settle, b"").await;
    assert_eq!(client.queue_info("out").await.unwrap().ready, 0);
    assert_eq!(unacked(&client, "q").await, 1);
    stomp
        .send(Command::Commit, &[("transaction", "t")], b"")
        .await;
    let receipt = stomp.expect(Command::Receipt).await;
    assert_eq!(receipt.header("receipt-id"), Some("sent"));
    stomp.quiet().await;
    assert_eq!(client.queue_info("out").await.unwrap().ready, 1);
    assert_eq!(unacked(&client, "q").await, 0);
}

/// As in RabbitMQ: nothing that AMQP would refuse is refused before.
#[tokio::test]
async fn what_a_transaction_sends_is_looked_at_when_it_is_committed() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    let begin = [("transaction", "t")];
    stomp.tell(Command::Begin, &begin, b"").await;
    for destination in ["/queue/q", "/exchange/later/k"] {
        let headers = [("destination", destination), ("transaction", "t")];
        stomp.send(Command::Send, &headers, b"m").await;
    }
    stomp.quiet().await;
    stomp.send(Command::Commit, &begin, b"").await;
    stomp.expect_error("not_found").await;
    stomp.expect_end().await;
    let info = client.queue_info("q").await.unwrap();
    assert_eq!(info.ready, 1, "what came before stands");
}

#[tokio::test]
async fn an_aborted_transaction_leaves_no_trace() {
    let broker = broker().await;
    let (mut stomp, client, messages) = holding(&broker, "q", "client-individual", 1).await;
    stomp
        .tell(Command::Begin, &[("transaction", "t")], b"")
        .await;
    let headers = [("destination", "/queue/out"), ("transaction", "t")];
    stomp.send(Command::Send, &headers, b"1").await;
    let settle = [("id", id(&messages[0])), ("transaction", "t")];
    stomp.send(Command::Ack, &settle, b"").await;
    stomp
        .tell(Command::Abort, &[("transaction", "t")], b"")
        .await;
    assert_eq!(client.queue_info("out").await.unwrap().ready, 0);
    assert_eq!(unacked(&client, "q").await, 1);
    stomp
        .send(Command::Commit, &[("transaction", "t")], b"")
        .await;
    stomp.expect_error("Bad transaction").await;
    stomp
        .tell(Command::Ack, &[("id", id(&messages[0]))], b"")
        .await;
}

#[tokio::test]
async fn a_transaction_that_grows_too_large_cannot_be_committed_in_part() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/queue/q", "first").await;
    stomp
        .tell(Command::Begin, &[("transaction", "t")], b"")
        .await;
    let frame = b"SEND\ndestination:/queue/q\ntransaction:t\n\nm\0";
    stomp.send_raw(&frame.repeat(1025)).await;
    stomp.expect_error("Transaction too large").await;
    stomp
        .send(Command::Commit, &[("transaction", "t")], b"")
        .await;
    stomp.expect_error("Bad transaction").await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}

#[tokio::test]
async fn a_delivery_that_is_kept_for_too_long_ends_the_session() {
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .consumer_timeout(Duration::from_secs(60));
    let broker = start(builder).await;
    let (mut stomp, client, _) = holding(&broker, "q", "client", 1).await;
    pass(&broker, &clock, 59_999).await;
    stomp.quiet().await;
    pass(&broker, &clock, 1).await;
    let body = stomp.expect_error("precondition_failed").await;
    assert!(body.contains("Timeout value used: 60000 ms"), "{body}");
    stomp.expect_end().await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}
