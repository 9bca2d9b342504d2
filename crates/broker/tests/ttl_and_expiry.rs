//! Messages and queues that live for a while only, on a clock that is moved by hand.

mod support;

use leveret_broker::{Broker, VirtualClock};
use support::{Wire, expiring, pass, short, table, timed_broker};

/// A queue `q` with a TTL, whose dead go to the queue `dead`.
async fn with_ttl(ttl_ms: i64) -> (Broker, VirtualClock, Wire) {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    let arguments = table([
        ("x-message-ttl", ttl_ms.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
    ]);
    wire.declare_with("q", &arguments).await;
    (broker, clock, wire)
}

#[tokio::test]
async fn a_message_expires_when_its_time_is_up_and_not_before() {
    let (broker, clock, mut wire) = with_ttl(1000).await;
    wire.publish("", "q", "m").await;
    wire.quiet().await;
    pass(&broker, &clock, 999).await;
    assert_eq!((wire.count("q").await, wire.count("dead").await), (1, 0));
    pass(&broker, &clock, 1).await;
    assert_eq!((wire.count("q").await, wire.count("dead").await), (0, 1));
}

#[tokio::test]
async fn each_message_has_its_own_time() {
    let (broker, clock, mut wire) = with_ttl(1000).await;
    for text in ["0", "1", "2"] {
        wire.publish("", "q", text).await;
        wire.quiet().await;
        pass(&broker, &clock, 400).await;
    }
    assert_eq!(wire.count("q").await, 2, "the first died at 1000");
    pass(&broker, &clock, 200).await;
    assert_eq!(wire.drain("q").await, ["2"]);
    assert_eq!(wire.drain("dead").await, ["0", "1"]);
}

#[tokio::test]
async fn the_shorter_of_queue_and_message_counts() {
    let (broker, clock, mut wire) = with_ttl(1000).await;
    wire.publish_with("", "q", &expiring("100"), "short").await;
    wire.publish_with("", "q", &expiring("5000"), "long").await;
    wire.quiet().await;
    pass(&broker, &clock, 100).await;
    assert_eq!(wire.count("q").await, 1);
    pass(&broker, &clock, 900).await;
    assert_eq!(wire.drain("dead").await, ["short", "long"]);
}

#[tokio::test]
async fn an_overdue_message_behind_the_head_is_counted_and_never_delivered() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_with("", "q", &expiring("1000"), "head").await;
    wire.publish_with("", "q", &expiring("10"), "behind").await;
    wire.publish("", "q", "last").await;
    wire.quiet().await;
    pass(&broker, &clock, 500).await;
    assert_eq!(wire.count("q").await, 3);
    assert_eq!(wire.drain("q").await, ["head", "last"]);
}

#[tokio::test]
async fn time_zero_means_at_once_or_not_at_all() {
    let (broker, _clock, mut wire) = with_ttl(0).await;
    wire.publish("", "q", "too early").await;
    wire.quiet().await;
    assert_eq!((wire.count("q").await, wire.count("dead").await), (0, 1));
    wire.prefetch(1, false).await;
    wire.consume("q").await;
    wire.publish_all("q", ["in time", "too many"]).await;
    assert_eq!(wire.deliveries(1).await, ["in time"]);
    wire.quiet().await;
    assert_eq!(wire.drain("dead").await, ["too early", "too many"]);
    drop(broker);
}

#[tokio::test]
async fn what_a_consumer_holds_does_not_expire() {
    let (broker, clock, mut wire) = with_ttl(1000).await;
    wire.publish("", "q", "m").await;
    wire.consume("q").await;
    wire.delivery().await;
    pass(&broker, &clock, 1_000_000).await;
    wire.ack(1).await;
    assert_eq!(wire.count("dead").await, 0);
}

#[tokio::test]
async fn an_overdue_message_that_comes_back_dies() {
    let (broker, clock, mut wire) = with_ttl(1000).await;
    wire.publish_all("q", ["back", "back too late"]).await;
    let (first, second) = (wire.get("q").await.unwrap(), wire.get("q").await.unwrap());
    pass(&broker, &clock, 999).await;
    wire.nack(first.tag, true).await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 1);
    pass(&broker, &clock, 1).await;
    wire.nack(second.tag, true).await;
    wire.quiet().await;
    assert_eq!(wire.drain("dead").await, ["back", "back too late"]);
}

#[tokio::test]
async fn a_live_message_keeps_its_expiration_and_a_dead_one_tells_it_in_its_record() {
    let (broker, clock, mut wire) = with_ttl(60_000).await;
    wire.publish_with("", "q", &expiring("100"), "m").await;
    let delivered = wire.get("q").await.unwrap();
    assert_eq!(delivered.properties, expiring("100"));
    wire.nack(delivered.tag, true).await;
    wire.quiet().await;
    pass(&broker, &clock, 100).await;
    assert_eq!(wire.get("dead").await.unwrap().properties.expiration, None);
}

#[tokio::test]
async fn each_queue_counts_for_its_own_copy() {
    let (broker, clock, mut wire) = with_ttl(100).await;
    wire.declare_with("slow", &table([("x-message-ttl", 500.into())]))
        .await;
    for queue in ["q", "slow"] {
        wire.bind(queue, "amq.fanout", "").await;
    }
    wire.publish("amq.fanout", "", "m").await;
    wire.quiet().await;
    pass(&broker, &clock, 100).await;
    assert_eq!((wire.count("q").await, wire.count("slow").await), (0, 1));
    pass(&broker, &clock, 400).await;
    assert_eq!(wire.count("slow").await, 0);
}

#[tokio::test]
async fn an_expiration_that_is_no_number_closes_the_channel() {
    let (_broker, _clock, mut wire) = with_ttl(100).await;
    for (text, problem) in [
        ("abc", "no_integer"),
        ("10x", "{leftover_string,\"x\"}"),
        ("-1", "{value_negative,-1}"),
    ] {
        wire.publish_with("", "q", &expiring(text), "m").await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!((closed.code, closed.method), (406, (60, 40)));
        assert_eq!(
            closed.text,
            format!("PRECONDITION_FAILED - invalid expiration '{text}': {problem}")
        );
        wire.open_channel(1).await;
    }
}

#[tokio::test]
async fn a_thousand_messages_expire_together_and_in_order() {
    let (broker, clock, mut wire) = with_ttl(1000).await;
    wire.publish_all("q", 0..1000).await;
    wire.quiet().await;
    pass(&broker, &clock, 1000).await;
    let want: Vec<_> = (0..1000).map(|number: u32| number.to_string()).collect();
    assert_eq!(wire.drain("dead").await, want);
}

/// A queue `q` that is deleted when it is not used for a second.
async fn with_lease() -> (Broker, VirtualClock, Wire) {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-expires", 1000.into())]))
        .await;
    (broker, clock, wire)
}

#[tokio::test]
async fn an_unused_queue_goes_exactly_when_its_lease_ends() {
    let (broker, clock, mut wire) = with_lease().await;
    wire.publish_all("q", 0..3).await;
    wire.quiet().await;
    pass(&broker, &clock, 999).await;
    assert!(broker.memory_used() > 0);
    pass(&broker, &clock, 1).await;
    assert_eq!(broker.memory_used(), 0, "publishing is not using");
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn declaring_looking_and_getting_renew_the_lease() {
    let (broker, clock, mut wire) = with_lease().await;
    for _ in 0..3 {
        pass(&broker, &clock, 999).await;
        wire.declare_with("q", &table([("x-expires", 1000.into())]))
            .await;
        pass(&broker, &clock, 999).await;
        wire.look("q").await;
        pass(&broker, &clock, 999).await;
        assert!(wire.get("q").await.is_none());
    }
    pass(&broker, &clock, 1000).await;
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn a_consumer_keeps_the_queue_and_the_lease_begins_anew_when_it_goes() {
    let (broker, clock, mut wire) = with_lease().await;
    wire.consume("q").await;
    pass(&broker, &clock, 1_000_000).await;
    assert_eq!(wire.look("q").await.consumers, 1);
    wire.cancel("q").await;
    pass(&broker, &clock, 999).await;
    wire.quiet().await;
    pass(&broker, &clock, 1).await;
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn what_goes_with_its_queue_is_not_dead_lettered() {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    let arguments = table([
        ("x-expires", 1000.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
    ]);
    wire.declare_with("q", &arguments).await;
    wire.publish("", "q", "m").await;
    wire.quiet().await;
    pass(&broker, &clock, 1000).await;
    wire.expect_no_queue("q").await;
    assert_eq!(wire.count("dead").await, 0);
}

#[tokio::test]
async fn times_that_make_no_sense_are_refused() {
    let (broker, _clock) = timed_broker().await;
    let mut wire = Wire::open(&broker).await;
    let cases = [
        ("x-message-ttl", (-1).into(), "{value_negative,-1}"),
        (
            "x-message-ttl",
            "100".into(),
            "\"expected integer, got longstr\"",
        ),
        ("x-expires", 0.into(), "{value_zero,0}"),
        ("x-expires", (-5).into(), "{value_negative,-5}"),
    ];
    for (name, value, problem) in cases {
        let arguments = table([(name, value)]).to_bytes();
        let declare = leveret_amqp_codec::method::queue::Declare {
            queue: short("q"),
            arguments: leveret_amqp_codec::RawTable::from_validated_bytes(&arguments),
            ..Default::default()
        };
        wire.send(&declare).await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!(closed.code, 406);
        assert_eq!(
            closed.text,
            format!(
                "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {problem}"
            )
        );
        wire.open_channel(1).await;
    }
}
