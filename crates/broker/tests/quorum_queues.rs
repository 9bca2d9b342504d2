//! What is different about a quorum queue (behaviour reference, section 15.1).

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::{basic, queue};
use leveret_broker::{Broker, Table, Value};
#[cfg(feature = "stomp")]
use leveret_stomp_codec::Command;
#[cfg(feature = "stomp")]
use support::Stomp;
use support::{Closed, Confirmed, Wire, break_off, broker, pass, short, table, timed_broker};

fn quorum<const N: usize>(further: [(&str, Value); N]) -> Table {
    let mut arguments = table(further);
    arguments.insert("x-queue-type", Value::from("quorum"));
    arguments
}

fn durable<'a>(name: &'a str, arguments: &'a [u8]) -> queue::Declare<'a> {
    queue::Declare {
        queue: short(name),
        durable: true,
        arguments: RawTable::from_validated_bytes(arguments),
        ..queue::Declare::default()
    }
}

async fn with_queue<const N: usize>(broker: &Broker, further: [(&str, Value); N]) -> Wire {
    let mut wire = Wire::open(broker).await;
    let arguments = quorum(further).to_bytes();
    wire.declare_queue(&durable("q", &arguments)).await;
    wire
}

async fn refused(declare: &queue::Declare<'_>) -> Closed {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(declare).await;
    wire.expect_channel_closed().await
}

#[tokio::test]
async fn it_is_durable_shared_permanent_and_named_by_its_client() {
    let arguments = quorum([]).to_bytes();
    let good = durable("q", &arguments);
    let transient = queue::Declare {
        durable: false,
        ..good
    };
    let exclusive = queue::Declare {
        exclusive: true,
        ..good
    };
    let fleeting = queue::Declare {
        auto_delete: true,
        ..good
    };
    for (declare, property) in [
        (transient, "non-durable"),
        (exclusive, "exclusive-owner"),
        (fleeting, "auto-delete"),
    ] {
        let closed = refused(&declare).await;
        assert_eq!(closed.code, 406);
        assert_eq!(
            closed.text,
            format!(
                "PRECONDITION_FAILED - invalid property '{property}' for queue 'q' in vhost '/'"
            )
        );
    }
    let closed = refused(&durable("", &arguments)).await;
    assert_eq!(closed.code, 406);
    assert!(
        closed.text.starts_with(
            "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"
        ),
        "{}",
        closed.text
    );
}

#[tokio::test]
async fn arguments_of_other_types_are_refused_and_unknown_ones_ignored() {
    for (argument, value) in [
        ("x-max-priority", Value::I32(5)),
        ("x-queue-mode", Value::from("lazy")),
    ] {
        let arguments = quorum([(argument, value)]).to_bytes();
        let closed = refused(&durable("q", &arguments)).await;
        assert_eq!(closed.code, 406);
        assert_eq!(
            closed.text,
            format!(
                "PRECONDITION_FAILED - invalid arg '{argument}' for queue 'q' in vhost '/' of queue type \
                 rabbit_quorum_queue"
            )
        );
    }
    let broker = broker().await;
    with_queue(
        &broker,
        [
            ("x-expires", Value::I32(1000)),
            ("x-message-ttl", Value::I32(1000)),
            ("x-max-length", Value::I32(10)),
            ("x-max-length-bytes", Value::I32(1000)),
            ("x-overflow", Value::from("reject-publish")),
            ("x-dead-letter-exchange", Value::from("")),
            ("x-dead-letter-strategy", Value::from("at-least-once")),
            ("x-delivery-limit", Value::I32(3)),
            ("x-single-active-consumer", Value::from(true)),
            ("x-quorum-initial-group-size", Value::I32(1)),
            ("x-zorp", Value::from("anything")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_message_that_came_back_too_often_is_dead() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("dead").await;
    let mut wire = with_queue(
        &broker,
        [
            ("x-delivery-limit", Value::I32(2)),
            ("x-dead-letter-exchange", Value::from("")),
            ("x-dead-letter-routing-key", Value::from("dead")),
        ],
    )
    .await;
    wire.publish("", "q", "m").await;
    for _ in 0..3 {
        let got = wire.get("q").await.expect("it came back");
        wire.nack(got.tag, true).await;
    }
    assert!(wire.get("q").await.is_none());
    let dead = wire.get("dead").await.unwrap();
    let headers = dead.properties.headers.unwrap();
    assert_eq!(
        headers.get("x-first-death-reason"),
        Some(&Value::from("delivery_limit"))
    );
}

#[tokio::test]
async fn without_a_limit_what_comes_back_goes_to_the_end() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    wire.publish_all("q", 0..3).await;
    let got = wire.get("q").await.unwrap();
    wire.nack(got.tag, true).await;
    assert_eq!(wire.drain("q").await, ["1", "2", "0"]);
}

#[tokio::test]
async fn what_nobody_holds_any_more_goes_first_with_a_limit_or_without() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    wire.publish_all("q", 0..4).await;
    wire.open_channel(2).await;
    wire.prefetch(2, false).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
    wire.cancel("q").await;
    assert_eq!(wire.get("q").await.unwrap().text(), "2");
    wire.close_channel().await;
    let mut other = Wire::open(&broker).await;
    for want in [("0", true), ("1", true), ("2", true)] {
        let got = other.get("q").await.unwrap();
        assert_eq!((got.text(), got.redelivered), want);
    }
    break_off(&broker, other).await;
    wire.channel = 1;
    assert_eq!(wire.drain("q").await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_delivery_that_is_dropped_goes_first_and_one_that_is_rejected_last() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    wire.publish_all("q", 0..3).await;
    wire.quiet().await;
    let client = broker.client().unwrap();
    let first = client.get("q").await.unwrap().unwrap();
    let second = client.get("q").await.unwrap().unwrap();
    drop(second);
    first.nack(true);
    assert_eq!(wire.drain("q").await, ["1", "2", "0"]);
}

#[tokio::test]
async fn the_next_single_active_consumer_begins_with_what_the_last_one_had() {
    for kind in ["quorum", "classic"] {
        let broker = broker().await;
        let mut wire = Wire::open(&broker).await;
        let arguments = table([
            ("x-queue-type", Value::from(kind)),
            ("x-single-active-consumer", Value::from(true)),
        ]);
        let arguments = arguments.to_bytes();
        wire.declare_queue(&durable("q", &arguments)).await;
        wire.prefetch(2, false).await;
        wire.consume("q").await;
        wire.publish_all("q", 0..3).await;
        assert_eq!(wire.deliveries(2).await, ["0", "1"]);
        let mut next = Wire::open(&broker).await;
        next.consume("q").await;
        wire.close_channel().await;
        assert_eq!(next.deliveries(3).await, ["0", "1", "2"], "{kind}");
    }
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn what_a_stomp_session_leaves_goes_first() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    wire.publish_all("q", 0..3).await;
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [
        ("destination", "/amq/queue/q"),
        ("id", "0"),
        ("ack", "client"),
        ("prefetch-count", "2"),
    ];
    stomp.send(Command::Subscribe, &headers, b"").await;
    for text in ["0", "1"] {
        stomp.expect_message(text).await;
    }
    break_off(&broker, stomp).await;
    assert_eq!(wire.drain("q").await, ["0", "1", "2"]);
}

#[tokio::test]
async fn with_a_limit_what_comes_back_goes_first_in_the_order_of_return() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-delivery-limit", Value::I32(9))]).await;
    wire.publish_all("q", 0..4).await;
    for _ in 0..3 {
        wire.get("q").await.unwrap();
    }
    for tag in [2, 1, 3] {
        wire.nack(tag, true).await;
    }
    assert_eq!(wire.drain("q").await, ["1", "0", "2", "3"]);
}

#[tokio::test]
async fn a_limit_that_the_channel_gets_later_is_not_for_it_either() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    wire.consume("q").await;
    wire.prefetch(1, true).await;
    wire.publish_all("q", 0..2).await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
}

#[tokio::test]
async fn a_limit_of_the_channel_is_not_for_it() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    wire.prefetch(5, true).await;
    wire.send(&basic::Consume {
        queue: short("q"),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (540, (60, 20)));
    assert_eq!(
        closed.text,
        "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos"
    );
}

#[tokio::test]
async fn nobody_gets_from_one_with_a_single_active_consumer() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-single-active-consumer", Value::from(true))]).await;
    wire.publish("", "q", "m").await;
    wire.send(&basic::Get {
        queue: short("q"),
        no_ack: true,
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (405, (60, 70)));
    assert_eq!(
        closed.text,
        "RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are not supported by \
         quorum queues with single active consumer"
    );
    let error = broker.client().unwrap().get("q").await.unwrap_err();
    assert!(error.to_string().contains("basic.get"), "{error}");
    wire.open_channel(1).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(1).await, ["m"]);
}

#[tokio::test]
async fn getting_renews_its_lease_and_asking_for_it_does_not() {
    let (broker, clock) = timed_broker().await;
    let lease = [("x-expires", Value::from(1000))];
    let mut wire = with_queue(&broker, lease.clone()).await;
    pass(&broker, &clock, 900).await;
    assert!(wire.get("q").await.is_none());
    pass(&broker, &clock, 900).await;
    let mut wire = with_queue(&broker, lease).await;
    wire.look("q").await;
    pass(&broker, &clock, 100).await;
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn an_exclusive_consumer_is_one_among_others() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    for tag in ["one", "other"] {
        wire.consume_with(&basic::Consume {
            queue: short("q"),
            consumer_tag: short(tag),
            exclusive: tag == "one",
            ..Default::default()
        })
        .await;
    }
    wire.publish_all("q", 0..2).await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
}

#[tokio::test]
async fn consumers_cannot_ask_for_what_other_queues_have() {
    for (argument, value) in [
        ("x-cancel-on-ha-failover", Value::from(true)),
        ("x-stream-offset", Value::from("next")),
    ] {
        refused_to_consume(argument, value).await;
    }
}

async fn refused_to_consume(argument: &str, value: Value) {
    let broker = broker().await;
    let mut wire = with_queue(&broker, []).await;
    let arguments = table([(argument, value)]).to_bytes();
    wire.send(&basic::Consume {
        queue: short("q"),
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (406, (60, 20)));
    assert_eq!(
        closed.text,
        format!(
            "PRECONDITION_FAILED - invalid arg '{argument}' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
        )
    );
}

#[tokio::test]
async fn an_overflow_that_it_does_not_know_is_passed_over() {
    let broker = broker().await;
    let mut wire = with_queue(
        &broker,
        [
            ("x-max-length", Value::from(1)),
            ("x-overflow", Value::from("reject-publish-dlx")),
        ],
    )
    .await;
    wire.publish_all("q", 0..2).await;
    assert_eq!(wire.drain("q").await, ["1"]);
}

#[tokio::test]
async fn it_takes_one_message_more_than_it_may_have_before_it_refuses() {
    let broker = broker().await;
    let mut wire = with_queue(
        &broker,
        [
            ("x-max-length", Value::from(1)),
            ("x-overflow", Value::from("reject-publish")),
        ],
    )
    .await;
    wire.select_confirms().await;
    for (tag, is_taken) in [(1, true), (2, true), (3, false)] {
        wire.publish("", "q", "m").await;
        let multiple = false;
        let want = match is_taken {
            true => Confirmed::Ack { tag, multiple },
            false => Confirmed::Nack { tag, multiple },
        };
        assert_eq!(wire.confirmed().await, want);
    }
    assert_eq!(wire.count("q").await, 2);
}

#[tokio::test]
async fn a_delivery_limit_may_be_a_float() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-delivery-limit", Value::F64(1.0))]).await;
    wire.publish("", "q", "m").await;
    for _ in 0..2 {
        let got = wire.get("q").await.unwrap();
        wire.nack(got.tag, true).await;
    }
    assert!(wire.get("q").await.is_none());
}

#[tokio::test]
async fn a_delivery_limit_that_is_no_number_is_never_reached() {
    let broker = broker().await;
    let mut wire = with_queue(&broker, [("x-delivery-limit", Value::from("1"))]).await;
    wire.publish_all("q", 0..2).await;
    for _ in 0..3 {
        let got = wire.get("q").await.unwrap();
        assert_eq!(got.text(), "0");
        wire.nack(got.tag, true).await;
    }
}

#[tokio::test]
async fn it_is_deleted_without_conditions_only() {
    for (if_unused, if_empty, flag) in [(true, false, "if-unused"), (false, true, "if-empty")] {
        let broker = broker().await;
        let mut wire = with_queue(&broker, []).await;
        wire.send(&queue::Delete {
            queue: short("q"),
            if_unused,
            if_empty,
            no_wait: false,
        })
        .await;
        let closed = wire.expect_connection_closed().await;
        assert_eq!((closed.code, closed.method), (540, (50, 40)));
        assert_eq!(
            closed.text,
            format!(
                "NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations with {flag} flag set are \
                 not supported by quorum queues"
            )
        );
    }
}
