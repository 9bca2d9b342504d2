//! STOMP clients that do not read, and publishers that outrun the memory limit.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{Broker, Client, Publish};
use leveret_stomp_codec::Command;
use support::{Stomp, broker, start, until};

const BODY_SIZE: usize = 64 * 1024;

async fn fill(client: &Client, count: usize) {
    for _ in 0..count {
        client
            .publish(Publish::to_queue("q", &vec![b'x'; BODY_SIZE]))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_a_window_and_no_more() {
    const COUNT: usize = 400;
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "client-individual").await;
    fill(&client, COUNT).await;
    // What the socket's buffers take varies; most of it has to stay where it is.
    let info = client.queue_info("q").await.unwrap();
    assert!(info.ready > COUNT as u64 / 2, "{info:?}");
    for _ in 0..COUNT {
        let message = stomp.expect(Command::Message).await;
        assert_eq!(message.body.len(), BODY_SIZE);
    }
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked), (0, COUNT as u64));
}

#[tokio::test]
async fn a_publisher_waits_while_memory_is_short() {
    let broker = start(Broker::builder().memory_limit(100_000)).await;
    let client = broker.client().unwrap();
    let mut consumer = Stomp::connect(&broker).await;
    consumer.publish("/queue/q", &"x".repeat(110_000)).await;
    let mut publisher = Stomp::connect(&broker).await;
    // What may stand before a frame is no way around.
    let late = b"\n\0\r\nSEND\ndestination:/queue/q\nreceipt:late\n\nm\0";
    publisher.send_raw(late).await;
    // The other one may go on with everything but publishing, and makes room.
    consumer
        .send(
            Command::Begin,
            &[("transaction", "t"), ("receipt", "b")],
            b"",
        )
        .await;
    consumer.expect(Command::Receipt).await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
    consumer
        .send(
            Command::Subscribe,
            &[("destination", "/queue/q"), ("id", "1")],
            b"",
        )
        .await;
    consumer.expect(Command::Message).await;
    publisher.expect(Command::Receipt).await;
    consumer.expect_message("m").await;
}

#[tokio::test]
async fn messages_that_are_half_there_when_memory_is_short_arrive() {
    let half = vec![b'x'; 150_000];
    let broker = start(Broker::builder().memory_limit(200_000)).await;
    let client = broker.client().unwrap();
    let mut publishers = [Stomp::connect(&broker).await, Stomp::connect(&broker).await];
    for (before, stomp) in (0..).zip(&mut publishers) {
        stomp
            .send_raw(b"SEND\ndestination:/queue/q\ncontent-length:300000\n\n")
            .await;
        stomp.send_raw(&half).await;
        let all = 140_000 * (before + 1);
        until("half of it", || broker.memory_used() > all).await;
    }
    // Nothing but these two takes memory. Neither can give it back before the rest has come; what follows waits.
    for stomp in &mut publishers {
        let rest = [&half[..], b"\0SEND\ndestination:/queue/q\n\nz\0"].concat();
        stomp.send_raw(&rest).await;
    }
    let ready = async || client.queue_info("q").await.map_or(0, |info| info.ready);
    while ready().await < 2 {
        tokio::task::yield_now().await;
    }
    let mut consumer = Stomp::connect(&broker).await;
    let headers = [("destination", "/queue/q"), ("id", "1")];
    consumer.send(Command::Subscribe, &headers, b"").await;
    for size in [300_000, 300_000, 1, 1] {
        let message = consumer.expect(Command::Message).await;
        assert_eq!(message.body.len(), size);
    }
}

#[tokio::test]
async fn half_a_message_counts_and_is_forgotten_with_its_client() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp
        .send_raw(b"SEND\ndestination:/queue/q\ncontent-length:100000\n\n")
        .await;
    stomp.send_raw(&[b'x'; 90_000]).await;
    until("the bytes", || broker.memory_used() > 80_000).await;
    drop(stomp);
    until("the end of the connection", || {
        broker.connection_count() == 0
    })
    .await;
    assert_eq!(broker.memory_used(), 0);
}
