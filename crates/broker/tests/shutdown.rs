//! How a broker ends, and that nothing of it is left.

mod support;

use std::time::Duration;

use leveret_broker::{Broker, ConsumeOptions, Publish, QueueOptions};
use support::{Greeting, Wire, broker, soon, start, until};
use tokio::net::TcpStream;

#[tokio::test]
async fn clients_are_told_and_waited_for() {
    let broker = broker().await;
    let mut wires = [Wire::open(&broker).await, Wire::open(&broker).await];
    let address = broker.amqp_addresses()[0];
    let goodbye = async {
        for wire in &mut wires {
            let closed = wire.expect_connection_closed().await;
            assert_eq!((closed.code, closed.method), (320, (0, 0)));
            assert_eq!(
                closed.text,
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
            );
        }
    };
    soon("everybody", async {
        tokio::join!(broker.shutdown(), goodbye)
    })
    .await;
    TcpStream::connect(address)
        .await
        .expect_err("nobody listens any more");
}

#[tokio::test]
async fn who_has_not_finished_the_handshake_is_not_waited_for() {
    let broker = broker().await;
    let mut silent = Wire::dial(&broker).await;
    let mut slow = Greeting::default().authenticate(&broker).await;
    slow.expect_on(0, "connection.tune").await;
    until("both to be there", || broker.connection_count() == 2).await;
    soon("the end", broker.shutdown()).await;
    silent.expect_end().await;
    slow.expect_end().await;
}

#[tokio::test]
async fn who_does_not_answer_is_waited_for_until_the_timeout() {
    let broker = start(Broker::builder().shutdown_timeout(Duration::from_millis(1))).await;
    let mut wire = Wire::open(&broker).await;
    soon("the end", broker.shutdown()).await;
    assert_eq!(
        wire.expect_on(0, "connection.close")
            .await
            .into_closed()
            .code,
        320
    );
}

#[tokio::test]
async fn dropping_a_broker_tells_its_clients_without_waiting() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let address = broker.amqp_addresses()[0];
    drop(broker);
    assert_eq!(wire.expect_connection_closed().await.code, 320);
    until("the address to be free", || {
        std::net::TcpListener::bind(address).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_client_in_the_process_outlives_its_broker_harmlessly() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    let delivery = client.get("q").await.unwrap().unwrap();
    soon("the end", broker.shutdown()).await;
    delivery.ack();
    assert!(
        client
            .consume("q", ConsumeOptions::default())
            .await
            .unwrap_err()
            .is_closed()
    );
    assert!(client.queue_info("q").await.unwrap_err().is_closed());
}

#[tokio::test]
async fn brokers_in_one_process_have_nothing_in_common() {
    let (one, two) = (broker().await, broker().await);
    assert_ne!(one.amqp_addresses(), two.amqp_addresses());
    let (mut first, mut second) = (Wire::open(&one).await, Wire::open(&two).await);
    first.declare("q").await;
    first.publish("", "q", "m").await;
    first.quiet().await;
    second.expect_no_queue("q").await;
    assert_eq!((one.connection_count(), two.connection_count()), (1, 1));
    assert_eq!(two.memory_used(), 0);
    drop(one);
    first.expect_connection_closed().await;
    second.quiet().await;
}

#[tokio::test]
async fn a_broker_may_listen_in_several_places_or_none() {
    let loopback = ([127, 0, 0, 1], 0);
    let broker = Broker::builder()
        .amqp(loopback)
        .amqp(loopback)
        .start()
        .await
        .unwrap();
    let addresses = broker.amqp_addresses();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        TcpStream::connect(address).await.unwrap();
    }
    assert!(
        Broker::builder()
            .start()
            .await
            .unwrap()
            .amqp_addresses()
            .is_empty()
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_leaves_nothing_running() {
    let first = broker().await;
    let taken = first.amqp_addresses()[0];
    let error = Broker::builder()
        .amqp(([127, 0, 0, 1], 0))
        .amqp(taken)
        .start()
        .await
        .unwrap_err();
    assert_eq!(
        error.as_io_error().unwrap().kind(),
        std::io::ErrorKind::AddrInUse
    );
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    Wire::open(&first).await.quiet().await;
}

#[tokio::test]
async fn nothing_is_left_of_connections_that_came_and_went() {
    let broker = broker().await;
    for round in 0..50 {
        let mut wire = Wire::open(&broker).await;
        let declare = leveret_amqp_codec::method::queue::Declare {
            queue: support::short("q"),
            exclusive: true,
            ..Default::default()
        };
        wire.declare_queue(&declare).await;
        wire.publish_all("q", 0..10).await;
        wire.consume("q").await;
        wire.deliveries(10).await;
        if round % 2 == 0 {
            wire.close().await;
        } else {
            drop(wire);
        }
        until("the connection to go", || broker.connection_count() == 0).await;
        assert_eq!(broker.memory_used(), 0);
    }
    soon("the end", broker.shutdown()).await;
}

#[tokio::test]
async fn a_client_that_outlives_the_broker_is_told_so() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    broker.shutdown().await;
    let published = client.publish(Publish::to_queue("q", b"too late")).await;
    assert!(published.unwrap_err().is_closed());
    let declared = client.declare_queue("other", QueueOptions::default()).await;
    assert!(declared.unwrap_err().is_closed());
    assert!(client.get("q").await.unwrap_err().is_closed());
    let settled = [
        client.bind_queue("q", "amq.fanout", "").await,
        client.unbind_queue("q", "amq.fanout", "").await,
        client.bind_exchange("amq.topic", "amq.fanout", "").await,
        client.unbind_exchange("amq.topic", "amq.fanout", "").await,
        client.delete_queue("q").await.map(|_| ()),
    ];
    for outcome in settled {
        assert!(outcome.unwrap_err().is_closed());
    }
}
