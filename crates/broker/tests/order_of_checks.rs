//! What a client is told when more than one thing is wrong: clients match on the reply, so the first check counts.

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::{basic, channel, exchange, queue};
use leveret_broker::{Properties, Value};
use support::{Closed, Wire, broker, short, table, with_headers};

fn passively(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: short(name),
        passive: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_reused_consumer_tag_is_noticed_before_a_missing_queue() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let consume = |queue| basic::Consume {
        queue: short(queue),
        consumer_tag: short("tag"),
        ..Default::default()
    };
    wire.consume_with(&consume("q")).await;
    wire.send(&consume("missing")).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (530, (60, 20)));
}

#[tokio::test]
async fn a_bad_binding_is_noticed_before_a_locked_queue() {
    let broker = broker().await;
    let mut owner = Wire::open(&broker).await;
    owner
        .declare_queue(&queue::Declare {
            queue: short("mine"),
            exclusive: true,
            ..Default::default()
        })
        .await;
    let closed = refused_mode(&mut Wire::open(&broker).await, "mine", "some").await;
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"
    );
}

#[tokio::test]
async fn an_empty_mode_is_shown_without_quotes() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let closed = refused_mode(&mut wire, "q", "").await;
    assert!(closed.text.contains("value <<>>;"), "{}", closed.text);
}

#[tokio::test]
async fn a_mode_that_is_no_text_is_shown_as_a_term() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for (mode, shown) in [
        (
            Value::ByteArray(b"all".to_vec()),
            "binary (value <<\"all\">>)",
        ),
        (Value::Void, "void (value undefined)"),
        (Value::I32(1), "signedint (value 1)"),
    ] {
        let closed = refused_mode(&mut wire, "q", mode).await;
        assert_eq!(
            closed.text,
            format!("PRECONDITION_FAILED - Invalid x-match field type {shown}; expected longstr")
        );
        wire.open_channel(1).await;
    }
}

/// Binds to a headers exchange with a mode that it refuses.
async fn refused_mode(wire: &mut Wire, name: &str, mode: impl Into<Value>) -> Closed {
    let arguments = table([("x-match", mode.into())]).to_bytes();
    wire.send(&queue::Bind {
        queue: short(name),
        exchange: short("amq.headers"),
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    closed
}

#[tokio::test]
async fn of_two_missing_exchanges_the_source_is_named() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&exchange::Bind {
        destination: short("to"),
        source: short("from"),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.text, "NOT_FOUND - no exchange 'from' in vhost '/'");
}

#[tokio::test]
async fn a_passive_declare_does_not_mean_the_last_declared_queue() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.send(&passively("")).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.text, "NOT_FOUND - no queue '' in vhost '/'");
}

#[tokio::test]
async fn a_refused_queue_is_called_by_the_name_it_would_have_had() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([("x-overflow", "sideways".into())]).to_bytes();
    wire.send(&queue::Declare {
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert!(
        closed.text.contains("for queue 'amq.gen-"),
        "{}",
        closed.text
    );
}

#[tokio::test]
async fn a_difference_of_type_is_noticed_after_the_others() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-overflow", "drop-head".into())]))
        .await;
    let arguments = table([("x-queue-type", "quorum".into())]).to_bytes();
    wire.send(&queue::Declare {
        queue: short("q"),
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert!(
        closed.text.contains("inequivalent arg 'x-overflow'"),
        "{}",
        closed.text
    );
}

#[tokio::test]
async fn a_close_ok_that_answers_nothing_is_no_command() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&channel::CloseOk {}).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (503, (20, 41)));
}

/// What a publish is refused with when everything about it is wrong that these properties make wrong.
async fn refused_publish(exchange: &str, properties: &Properties) -> Closed {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.publish_with(exchange, "q", properties, "m").await;
    wire.expect_channel_closed().await
}

/// Properties of which each further one is wrong.
fn wrong(faults: usize) -> Properties {
    let mut properties = with_headers([("CC", Value::from("no array"))]);
    if faults > 1 {
        properties.expiration = Some("soon".to_owned());
    }
    if faults > 2 {
        properties.user_id = Some("somebody".to_owned());
    }
    if faults > 3 {
        properties.reply_to = Some("amq.rabbitmq.reply-to".to_owned());
    }
    properties
}

#[tokio::test]
async fn a_publish_is_looked_at_from_the_exchange_to_the_further_keys() {
    let told = async |exchange, faults| refused_publish(exchange, &wrong(faults)).await.text;
    assert_eq!(
        told("missing", 4).await,
        "NOT_FOUND - no exchange 'missing' in vhost '/'"
    );
    assert_eq!(
        told("", 4).await,
        "PRECONDITION_FAILED - fast reply consumer does not exist"
    );
    assert_eq!(
        told("", 3).await,
        "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'"
    );
    assert_eq!(
        told("", 2).await,
        "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"
    );
    assert_eq!(
        told("", 1).await,
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}"
    );
}

#[tokio::test]
async fn a_reason_that_does_not_fit_ends_in_three_dots() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&passively(&"q".repeat(240))).await;
    let closed = wire.expect_channel_closed().await;
    let name = "q".repeat(252 - "NOT_FOUND - no queue '".len());
    assert_eq!(closed.text, format!("NOT_FOUND - no queue '{name}..."));
}
