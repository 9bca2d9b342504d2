//! Priorities of messages, and of consumers.

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::basic;
use leveret_broker::{Properties, Value};
use support::{Wire, broker, short, table};

fn priority(priority: Option<u8>) -> Properties {
    Properties {
        priority,
        ..Properties::default()
    }
}

async fn consume_at(wire: &mut Wire, priority: i32, consumer_tag: &str) {
    let arguments = table([("x-priority", priority.into())]).to_bytes();
    let consume = basic::Consume {
        queue: short("q"),
        consumer_tag: short(consumer_tag),
        arguments: RawTable::from_validated_bytes(&arguments),
        ..basic::Consume::default()
    };
    wire.consume_with(&consume).await;
}

#[tokio::test]
async fn higher_priorities_come_first_and_equals_in_order() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-max-priority", 5.into())]))
        .await;
    for (at, given) in [None, Some(1), Some(9), Some(3), Some(0), Some(5)]
        .into_iter()
        .enumerate()
    {
        wire.publish_with("", "q", &priority(given), at.to_string())
            .await;
    }
    let mut got = Vec::new();
    while let Some(delivered) = wire.get("q").await {
        got.push((delivered.text().to_owned(), delivered.properties.priority));
    }
    let want = [
        ("2", Some(9)),
        ("5", Some(5)),
        ("3", Some(3)),
        ("1", Some(1)),
        ("0", None),
        ("4", Some(0)),
    ];
    assert_eq!(
        got,
        want.map(|(text, priority)| (text.to_owned(), priority))
    );
}

#[tokio::test]
async fn a_queue_without_priorities_knows_none() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for (at, given) in [0, 9, 5].into_iter().enumerate() {
        wire.publish_with("", "q", &priority(Some(given)), at.to_string())
            .await;
    }
    assert_eq!(wire.drain("q").await, ["0", "1", "2"]);
}

#[tokio::test]
async fn what_comes_back_has_its_old_place_among_its_equals() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-max-priority", 2.into())]))
        .await;
    for (text, given) in [("low 0", 0), ("low 1", 0), ("high 0", 2), ("high 1", 2)] {
        wire.publish_with("", "q", &priority(Some(given)), text)
            .await;
    }
    let high = wire.get("q").await.unwrap();
    assert_eq!(high.text(), "high 0");
    wire.nack(high.tag, true).await;
    assert_eq!(
        wire.drain("q").await,
        ["high 0", "high 1", "low 0", "low 1"]
    );
}

#[tokio::test]
async fn numbers_of_priorities_beyond_a_byte_are_refused() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    for (levels, problem) in [
        (256, "{max_value_exceeded,256}"),
        (-1, "{value_negative,-1}"),
    ] {
        let arguments = table([("x-max-priority", Value::I32(levels))]).to_bytes();
        let declare = leveret_amqp_codec::method::queue::Declare {
            queue: short("q"),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..Default::default()
        };
        wire.send(&declare).await;
        let text = wire.expect_channel_closed().await.text;
        assert!(text.ends_with(problem), "{text}");
        wire.open_channel(1).await;
    }
}

#[tokio::test]
async fn consumers_of_a_higher_priority_get_everything_they_can_take() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.prefetch(2, false).await;
    consume_at(&mut wire, -1, "low").await;
    consume_at(&mut wire, 10, "high").await;
    wire.publish_all("q", 0..5).await;
    let mut tags = Vec::new();
    for _ in 0..4 {
        tags.push(wire.delivery().await.consumer_tag);
    }
    assert_eq!(tags, ["high", "high", "low", "low"]);
    wire.quiet().await;
    wire.ack(1).await;
    assert_eq!(wire.delivery().await.consumer_tag, "high");
}

#[tokio::test]
async fn equals_take_turns() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for tag in ["a", "b", "c"] {
        consume_at(&mut wire, 1, tag).await;
    }
    wire.publish_all("q", 0..6).await;
    let mut tags = Vec::new();
    for _ in 0..6 {
        tags.push(wire.delivery().await.consumer_tag);
    }
    assert_eq!(tags, ["a", "b", "c", "a", "b", "c"]);
}

#[tokio::test]
async fn a_priority_that_is_no_number_is_refused() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let arguments = table([("x-priority", "high".into())]).to_bytes();
    let arguments = RawTable::from_validated_bytes(&arguments);
    wire.send(&basic::Consume {
        queue: short("q"),
        arguments,
        ..basic::Consume::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    assert_eq!(wire.look_after_reopening("q").await.consumers, 0);
}

#[tokio::test]
async fn of_the_consumers_of_a_single_active_queue_one_gets_everything_and_then_the_next() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", &table([("x-single-active-consumer", true.into())]))
        .await;
    for tag in ["a", "b"] {
        consume_at(&mut wire, 0, tag).await;
    }
    wire.publish_all("q", 0..2).await;
    for text in ["0", "1"] {
        let delivered = wire.delivery().await;
        assert_eq!((&*delivered.consumer_tag, delivered.text()), ("a", text));
    }
    wire.ack(1).await;
    wire.cancel("a").await;
    wire.publish("", "q", "2").await;
    let delivered = wire.delivery().await;
    assert_eq!(
        (&*delivered.consumer_tag, delivered.text()),
        ("b", "2"),
        "what a holds stays with its channel"
    );
}
