//! After connection.close-ok it is the client that closes the socket.

mod support;

use leveret_broker::{Broker, VirtualClock};
use support::{Greeting, Wire, broker, pass, timed_broker};

async fn check_patience(heartbeat: u16, patience_ms: u64) {
    let (broker, clock, mut wire) = said_goodbye(heartbeat).await;
    pass(&broker, &clock, patience_ms - 1).await;
    assert_eq!(broker.connection_count(), 1, "heartbeat {heartbeat}");
    pass(&broker, &clock, 1).await;
    assert_eq!(broker.connection_count(), 0, "heartbeat {heartbeat}");
    wire.expect_end().await;
}

async fn said_goodbye(heartbeat: u16) -> (Broker, VirtualClock, Wire) {
    let (broker, clock) = timed_broker().await;
    let greeting = Greeting {
        heartbeat,
        ..Greeting::default()
    };
    let mut wire = greeting.connect(&broker).await;
    wire.say_goodbye().await;
    (broker, clock, wire)
}

#[tokio::test]
async fn a_client_that_leaves_its_socket_open_is_given_half_a_minute() {
    check_patience(0, 30_000).await;
    check_patience(60, 30_000).await;
}

#[tokio::test]
async fn a_client_with_frequent_heartbeats_is_given_one_interval() {
    check_patience(10, 10_000).await;
}

/// The threads of a client may go on sending for a moment. No reset must overtake the close-ok.
#[tokio::test]
async fn what_comes_after_the_goodbye_is_thrown_away() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("letters").await;
    wire.say_goodbye().await;
    wire.publish("", "letters", "too late").await;
    wire.send_bytes(b"no frame at all").await;
    wire.send_end().await;
    wire.expect_end().await;

    assert_eq!(Wire::open(&broker).await.count("letters").await, 0);
}
