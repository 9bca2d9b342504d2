//! While the answer about a right is awaited, in AMQP: what goes on, and how it ends without one (behaviour reference, section
//! 18.4).

mod support;

use std::time::Duration;

use leveret_amqp_codec::FrameKind;
use leveret_amqp_codec::method::queue;
use leveret_broker::{Broker, Publish, VirtualClock};
use support::backend::{Backend, ann, begin};
use support::{Greeting, break_off, declare, pass, until};

#[tokio::test]
async fn deliveries_and_other_connections_go_on_while_one_waits() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    let mut other = ann().open_channel(&broker).await;
    wire.declare("q").await;
    wire.consume_no_ack("q").await;
    backend.hold();
    wire.send(&declare("r")).await;
    backend.until_asked().await;
    let client = broker.client().unwrap();
    for text in ["one", "two", "three"] {
        client
            .publish(Publish::to_queue("q", text.as_bytes()))
            .await
            .unwrap();
        assert_eq!(wire.delivery().await.text(), text);
    }
    other.quiet().await;
    assert_eq!(backend.waiting(), 1);
    backend.release(1);
    wire.expect("queue.declare-ok").await;
}

#[tokio::test]
async fn heartbeats_go_on_and_silence_is_not_held_against_a_client_that_waits() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .authorization_timeout(Duration::from_secs(3600));
    let broker = backend.broker_with(builder).await;
    let greeting = Greeting {
        heartbeat: 2,
        ..ann()
    };
    let mut wire = greeting.open_channel(&broker).await;
    backend.hold();
    wire.send(&declare("q")).await;
    backend.until_asked().await;
    for _ in 0..60 {
        pass(&broker, &clock, 1000).await;
        let (kind, ..) = wire.frame().await.expect("a heartbeat comes");
        assert_eq!(kind, FrameKind::Heartbeat);
    }
    backend.release(1);
    wire.expect("queue.declare-ok").await;
}

#[tokio::test]
async fn who_cannot_be_asked_has_refused_and_the_client_is_not_told_why() {
    let (backend, _broker, mut wire) = begin(Backend::new()).await;
    backend.answer_late();
    backend.fail_at(["configure queue q"]);
    wire.send(&declare("q")).await;
    let text = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'ann'";
    assert_eq!(wire.refused().await, text);
}

#[tokio::test]
async fn no_answer_in_time_is_a_refusal() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = backend.broker_with(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    backend.hold();
    wire.send(&declare("q")).await;
    backend.until_asked().await;
    pass(&broker, &clock, 14_999).await;
    assert_eq!(backend.waiting(), 1);
    pass(&broker, &clock, 1).await;
    let text = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'ann'";
    assert_eq!(wire.refused().await, text);
    assert_eq!(backend.waiting(), 0);
    backend.release_all();
    wire.declare("q").await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_asked_for_no_more() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    wire.declare_queue(&queue::Declare {
        exclusive: true,
        ..declare("mine")
    })
    .await;
    backend.hold();
    wire.publish("", "mine", &[7; 300_000]).await;
    backend.until_asked().await;
    break_off(&broker, wire).await;
    until("the end of the question", || backend.waiting() == 0).await;
    backend.release_all();
    let mut other = ann().open_channel(&broker).await;
    other.expect_no_queue("mine").await;
}

#[tokio::test]
async fn an_operator_can_close_a_connection_that_waits() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    backend.hold();
    wire.send(&declare("q")).await;
    backend.until_asked().await;
    let connections = broker.connections().await;
    assert!(broker.close_connection(connections[0].id, "enough"));
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - enough");
    until("the end of the question", || backend.waiting() == 0).await;
}

#[tokio::test]
async fn a_virtual_host_that_is_asked_about_for_too_long_is_not_opened() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = backend.broker_with(builder).await;
    backend.hold();
    let mut wire = ann().ask_to_open(&broker).await;
    backend.until_asked().await;
    // The time for the handshake is shorter than that for an answer.
    pass(&broker, &clock, 10_000).await;
    wire.expect_end().await;
    until("the end of the question", || backend.waiting() == 0).await;
}
