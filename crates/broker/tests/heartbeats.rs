//! Signs of life, on a clock that is moved by hand.

mod support;

use leveret_amqp_codec::{FrameKind, write_heartbeat};
use leveret_broker::{Broker, VirtualClock};
use support::{Greeting, Wire, pass, timed_broker};

const INTERVAL_MS: u64 = 10_000;

async fn beating() -> (Broker, VirtualClock, Wire) {
    let (broker, clock) = timed_broker().await;
    let wire = Greeting {
        heartbeat: 10,
        ..Greeting::default()
    }
    .open_channel(&broker)
    .await;
    (broker, clock, wire)
}

async fn beat(wire: &mut Wire) {
    let mut bytes = Vec::new();
    write_heartbeat(&mut bytes);
    wire.send_bytes(&bytes).await;
    wire.quiet().await;
}

#[track_caller]
fn check_heartbeat(frame: Option<(FrameKind, u16, Vec<u8>)>) {
    assert_eq!(frame, Some((FrameKind::Heartbeat, 0, Vec::new())));
}

#[tokio::test]
async fn one_is_sent_after_half_an_interval_of_silence() {
    let (broker, clock, mut wire) = beating().await;
    pass(&broker, &clock, INTERVAL_MS / 2 - 1).await;
    // The answer is the next frame: no heartbeat was sent before it, and what was sent now puts the next one off.
    wire.send(&leveret_amqp_codec::method::channel::Flow { active: true })
        .await;
    let (kind, ..) = wire.frame().await.unwrap();
    assert_eq!(kind, FrameKind::Method);

    pass(&broker, &clock, INTERVAL_MS / 2 - 1).await;
    pass(&broker, &clock, 1).await;
    check_heartbeat(wire.frame().await);
    pass(&broker, &clock, INTERVAL_MS / 2).await;
    check_heartbeat(wire.frame().await);
}

#[tokio::test]
async fn a_peer_is_given_up_after_two_intervals_of_silence() {
    let (broker, clock, mut wire) = beating().await;
    pass(&broker, &clock, 2 * INTERVAL_MS - 1).await;
    assert_eq!(broker.connection_count(), 1);
    pass(&broker, &clock, 1).await;
    assert_eq!(broker.connection_count(), 0);
    // No close frame: nobody is there to read it.
    wire.expect_end().await;
}

#[tokio::test]
async fn heartbeats_keep_a_connection_alive_and_are_not_answered() {
    let (broker, clock, mut wire) = beating().await;
    for _ in 0..10 {
        pass(&broker, &clock, 2 * INTERVAL_MS - 1).await;
        beat(&mut wire).await;
    }
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn whatever_a_peer_sends_is_a_sign_of_life() {
    let (broker, clock, mut wire) = beating().await;
    wire.declare("q").await;
    for _ in 0..5 {
        pass(&broker, &clock, 2 * INTERVAL_MS - 1).await;
        wire.publish("", "q", "still here").await;
        wire.quiet().await;
    }
    assert_eq!(wire.count("q").await, 5);
}

#[tokio::test]
async fn half_a_frame_is_a_sign_of_life() {
    let (broker, clock, mut wire) = beating().await;
    for byte in [8, 0, 0, 0, 0, 0] {
        pass(&broker, &clock, 2 * INTERVAL_MS - 1).await;
        wire.send_bytes(&[byte]).await;
        // There is no answer to wait for, so the byte is given its turns.
        Wire::open(&broker).await.close().await;
    }
    wire.send_bytes(&[0, 0xCE]).await;
    wire.quiet().await;
}

#[tokio::test]
async fn what_a_lost_peer_held_goes_back() {
    let (broker, clock, mut wire) = beating().await;
    wire.declare("q").await;
    wire.publish_all("q", 0..3).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(3).await, ["0", "1", "2"]);
    pass(&broker, &clock, 2 * INTERVAL_MS).await;
    assert_eq!(broker.connection_count(), 0);

    let mut other = Wire::open(&broker).await;
    assert_eq!(other.drain("q").await, ["0", "1", "2"]);
}

#[tokio::test]
async fn without_an_agreed_interval_silence_may_last() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    pass(&broker, &clock, 365 * 24 * 3_600_000).await;
    wire.quiet().await;
    assert_eq!(broker.connection_count(), 1);
}
