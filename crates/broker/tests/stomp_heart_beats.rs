//! Heart-beats of STOMP, on a clock that is moved by hand.
#![cfg(feature = "stomp")]

mod support;

use leveret_stomp_codec::Command;
use support::{Stomp, pass, timed_broker};

#[tokio::test]
async fn the_server_beats_at_half_the_interval() {
    let (broker, clock) = timed_broker().await;
    let headers = [("accept-version", "1.2"), ("heart-beat", "0,4000")];
    let mut stomp = Stomp::connect_with(&broker, &headers).await;
    // What follows CONNECTED is the line feed after its NUL.
    stomp.expect_heart_beat().await;
    for _ in 0..3 {
        pass(&broker, &clock, 2000).await;
        stomp.expect_heart_beat().await;
    }
    pass(&broker, &clock, 1999).await;
    stomp
        .tell(Command::Send, &[("destination", "/topic/a")], b"")
        .await;
    stomp.expect_heart_beat().await;
    // What is sent counts as a beat.
    pass(&broker, &clock, 1999).await;
    stomp
        .tell(Command::Send, &[("destination", "/topic/a")], b"")
        .await;
}

#[tokio::test]
async fn a_client_that_is_silent_for_two_intervals_is_dropped() {
    let (broker, clock) = timed_broker().await;
    let headers = [("accept-version", "1.2"), ("heart-beat", "3000,0")];
    let mut stomp = Stomp::connect_with(&broker, &headers).await;
    pass(&broker, &clock, 5999).await;
    stomp.send_raw(b"\n").await;
    stomp.quiet().await;
    pass(&broker, &clock, 5999).await;
    assert_eq!(broker.connection_count(), 1);
    pass(&broker, &clock, 1).await;
    stomp.expect_end().await;
}

#[tokio::test]
async fn without_heart_beats_silence_is_fine() {
    let (broker, clock) = timed_broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    pass(&broker, &clock, 24 * 3600 * 1000).await;
    stomp.quiet().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let (broker, _) = timed_broker().await;
    let mut stomp = Stomp::dial(&broker).await;
    stomp
        .send(Command::Connect, &[("heart-beat", "often")], b"")
        .await;
    stomp.expect_error("Processing error").await;
}
