//! What clients may have of everything that costs memory.

mod support;

use leveret_amqp_codec::Properties;
use leveret_amqp_codec::method::{basic, tx};
use leveret_broker::{Broker, UserTable};
use support::{Wire, short, soon, start, until};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn consumers_of_a_channel_have_a_limit() {
    let broker = start(Broker::builder().consumers_per_channel_max(2)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for _ in 0..2 {
        wire.consume_with(&basic::Consume {
            queue: short("q"),
            ..basic::Consume::default()
        })
        .await;
    }
    wire.send(&basic::Consume {
        queue: short("q"),
        ..basic::Consume::default()
    })
    .await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            530,
            "NOT_ALLOWED - reached maximum (2) of consumers per channel"
        )
    );
}

#[tokio::test]
async fn exchanges_of_a_virtual_host_have_a_limit() {
    let broker = start(Broker::builder().exchanges_max(1)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_exchange("a", "fanout").await;
    // It is there.
    wire.declare_exchange("a", "fanout").await;
    let client = broker.client().unwrap();
    let refused = client.declare_exchange(
        "b",
        leveret_broker::ExchangeType::Fanout,
        Default::default(),
    );
    assert_eq!(
        refused.await.unwrap_err().to_string(),
        "cannot declare exchange 'b' in vhost '/': exchange limit of 1 is reached"
    );
    client.delete_exchange("a").await.unwrap();
    wire.declare_exchange("b", "fanout").await;
}

#[tokio::test]
async fn bindings_of_a_virtual_host_have_a_limit() {
    let broker = start(Broker::builder().bindings_max(3)).await;
    let mut wire = Wire::open(&broker).await;
    for exchange in ["a", "b"] {
        wire.declare_exchange(exchange, "direct").await;
    }
    wire.declare("q").await;
    let client = broker.client().unwrap();
    let fill = async || {
        client.bind_queue("q", "a", "1").await?;
        client.bind_queue("q", "a", "2").await?;
        client.bind_exchange("b", "a", "3").await?;
        // It is there.
        client.bind_queue("q", "a", "1").await
    };
    fill().await.unwrap();
    let refused = client.bind_queue("q", "amq.direct", "k").await.unwrap_err();
    assert!(refused.is_precondition_failed());
    assert_eq!(
        refused.to_string(),
        "cannot bind to 'q': binding limit in vhost '/' (3) is reached"
    );
    // All ways in which bindings go.
    client.unbind_queue("q", "a", "1").await.unwrap();
    fill().await.unwrap();
    client.delete_exchange("b").await.unwrap();
    wire.declare_exchange("b", "direct").await;
    fill().await.unwrap();
    client.delete_exchange("a").await.unwrap();
    wire.declare_exchange("a", "direct").await;
    fill().await.unwrap();
    client.delete_queue("q").await.unwrap();
    wire.declare("q").await;
    fill().await.unwrap();
    client.bind_queue("q", "amq.direct", "k").await.unwrap_err();
}

#[tokio::test]
async fn parts_of_messages_have_a_limit_for_each_connection() {
    let broker = start(Broker::builder().message_size_max(MIB).held_max(2 * MIB)).await;
    let mut other = Wire::open(&broker).await;
    let mut wire = Wire::open(&broker).await;
    // On each channel all of a message but its last frame.
    let body = vec![0; MIB];
    for channel in 1..=3 {
        if channel > 1 {
            wire.open_channel(channel).await;
        }
        let publish = basic::Publish::default();
        let bytes = wire.publish_bytes(&publish, &Default::default(), &body);
        // The last frame has what does not fill another one.
        let last = MIB % (131_072 - 8) + 8;
        let _ = wire.try_send_bytes(&bytes[..bytes.len() - last]).await;
        if channel < 3 {
            other.quiet().await;
        }
    }
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            506,
            "RESOURCE_ERROR - messages that are incomplete or not committed take more than 2097152 bytes on this connection"
        )
    );
    drop(wire);
    until("nothing to be held", || broker.memory_used() == 0).await;
    other.quiet().await;
}

#[tokio::test]
async fn properties_of_messages_that_do_not_follow_count() {
    let broker = start(Broker::builder().message_size_max(MIB).held_max(MIB)).await;
    let mut wire = Wire::open(&broker).await;
    let properties = Properties {
        headers: Some([("x", "y".repeat(100_000))].into_iter().collect()),
        ..Properties::default()
    };
    for channel in 1..=12 {
        if channel > 1 {
            wire.open_channel(channel).await;
        }
        let bytes = wire.publish_bytes(&basic::Publish::default(), &properties, b"never");
        // All but the frame of the body.
        let _ = wire.try_send_bytes(&bytes[..bytes.len() - 13]).await;
    }
    assert_eq!(wire.expect_connection_closed().await.code, 506);
    drop(wire);
    until("nothing to be held", || broker.memory_used() == 0).await;
}

#[tokio::test]
async fn the_largest_message_fits_a_transaction() {
    let broker = start(Broker::builder().message_size_max(MIB).held_max(1)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire.publish("", "q", vec![0; MIB]).await;
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
    assert_eq!(wire.count("q").await, 1);
}

#[tokio::test]
async fn transactions_have_a_limit_for_each_connection() {
    let broker = start(Broker::builder().message_size_max(MIB).held_max(2 * MIB)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    let body = vec![0; MIB / 2];
    for _ in 0..3 {
        wire.publish("", "q", &body).await;
    }
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
    // What is committed is held no longer.
    for _ in 0..3 {
        wire.publish("", "q", &body).await;
    }
    wire.call(&tx::Rollback {}, "tx.rollback-ok").await;
    for _ in 0..5 {
        wire.publish("", "q", &body).await;
    }
    assert_eq!(wire.expect_connection_closed().await.code, 506);
}

#[tokio::test]
async fn connections_from_an_address_have_a_limit() {
    let broker = start(
        Broker::builder()
            .authenticator(UserTable::guest())
            .connections_per_address_max(2),
    )
    .await;
    let first = Wire::open(&broker).await;
    let _second = Wire::open(&broker).await;
    let mut third = Wire::dial(&broker).await;
    third.expect_end().await;
    first.close().await;
    until("room", || broker.connection_count() == 1).await;
    Wire::open(&broker).await;
}

#[tokio::test]
async fn strangers_from_an_address_have_a_limit() {
    let broker = start(Broker::builder().strangers_per_address_max(2)).await;
    // Those who have logged in do not count.
    let mut known = Vec::new();
    for _ in 0..4 {
        known.push(Wire::open(&broker).await);
    }
    let first = Wire::dial(&broker).await;
    let _second = Wire::dial(&broker).await;
    until("both to be there", || broker.connection_count() == 6).await;
    let mut third = Wire::dial(&broker).await;
    third.expect_end().await;
    drop(first);
    until("room", || broker.connection_count() == 5).await;
    Wire::open(&broker).await;
}

/// What was STOMP until the first bytes said otherwise is still the same stranger.
#[cfg(feature = "stomp")]
#[tokio::test]
async fn a_stranger_stays_one_within_a_websocket() {
    use support::websocket::{BINARY, WebSocket};

    let broker = start(Broker::builder().strangers_per_address_max(1)).await;
    let (mut socket, _) = WebSocket::request(&broker, "/ws", "").await;
    socket.send(BINARY, b"AMQP\0\0\x09\x01").await;
    soon("connection.start", socket.next()).await.unwrap();
    Wire::dial(&broker).await.expect_end().await;
    drop(socket);
    until("room", || broker.connection_count() == 0).await;
    Wire::open(&broker).await;
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn subscriptions_and_transactions_of_stomp_have_the_same_limits() {
    use leveret_stomp_codec::Command;
    use support::Stomp;

    let builder = Broker::builder()
        .consumers_per_channel_max(1)
        .message_size_max(MIB)
        .held_max(MIB);
    let broker = start(builder).await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "auto").await;
    let headers = [("destination", "/queue/q"), ("id", "2")];
    stomp.send(Command::Subscribe, &headers, b"").await;
    let error = stomp.expect(Command::Error).await;
    assert_eq!(error.header("message"), Some("not_allowed"));

    let mut stomp = Stomp::connect(&broker).await;
    stomp
        .tell(Command::Begin, &[("transaction", "t")], b"")
        .await;
    let body = vec![0; MIB / 2];
    let headers = [("destination", "/queue/p"), ("transaction", "t")];
    for _ in 0..3 {
        stomp.send(Command::Send, &headers, &body).await;
    }
    let error = soon("an ERROR", stomp.expect(Command::Error)).await;
    assert_eq!(error.header("message"), Some("resource_error"));
}
