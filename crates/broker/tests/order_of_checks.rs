//! What a client is told when more than one thing is wrong: clients match on the reply, so the first check counts.

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::{basic, channel, exchange, queue};
use support::{Closed, Wire, broker, short, table};

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

/// Binds to a headers exchange with a mode that it refuses.
async fn refused_mode(wire: &mut Wire, name: &str, mode: &str) -> Closed {
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
