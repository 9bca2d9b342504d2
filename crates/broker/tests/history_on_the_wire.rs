//! Exchanges that keep history, for clients of AMQP.

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::{basic, queue, tx};
use leveret_broker::{Broker, Properties, Table, Value};
use support::{Confirmed, Wire, broker, short, table, with_headers};

async fn with_exchange(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    let arguments = table([("x-history-length", Value::I32(10))]);
    wire.declare_exchange_with("x", "topic", &arguments).await;
    wire
}

fn resume_from(position: &str) -> Table {
    table([("x-resume-from", Value::from(position))])
}

fn header(properties: &Properties, name: &str) -> Option<String> {
    let value = properties.headers.as_ref()?.get(name)?;
    Some(value.as_str().expect("a text").to_owned())
}

#[tokio::test]
async fn a_queue_argument_says_from_where_on() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    wire.declare("live").await;
    wire.bind("live", "x", "#").await;
    wire.publish("x", "a", "one").await;
    wire.quiet().await;
    let one = wire.get("live").await.unwrap();
    let seen = header(&one.properties, "x-history-id").unwrap();
    wire.publish("x", "a", "two").await;
    wire.publish("x", "b", "three").await;
    wire.declare_with("late", &resume_from(&seen)).await;
    wire.bind("late", "x", "a").await;
    wire.bind("late", "x", "#").await;
    wire.publish("x", "a", "four").await;
    assert_eq!(wire.drain("late").await, ["two", "three", "four"]);
    // Whoever comes back to the queue has another position by then.
    wire.declare_with("late", &resume_from("first")).await;
    wire.bind("late", "x", "#").await;
    assert_eq!(wire.drain("late").await, [""; 0]);
}

#[tokio::test]
async fn an_argument_that_is_no_position_is_refused() {
    let broker = broker().await;
    let want = "invalid arg 'x-resume-from' for queue 'q' in vhost '/': ";
    for (value, why) in [
        (
            Value::from("yesterday"),
            "\"'yesterday' is no position in a history\"",
        ),
        (Value::I32(5), "{unacceptable_type,signedint}"),
    ] {
        let mut wire = Wire::open(&broker).await;
        let arguments = table([("x-resume-from", value)]).to_bytes();
        let declare = queue::Declare {
            queue: short("q"),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..queue::Declare::default()
        };
        wire.send(&declare).await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!(closed.code, 406);
        assert!(
            closed.text.ends_with(&format!("{want}{why}")),
            "{}",
            closed.text
        );
    }
}

#[tokio::test]
async fn what_a_publisher_says_of_positions_does_not_count() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    wire.declare("q").await;
    wire.bind("q", "x", "#").await;
    let forged = with_headers([
        ("x-history-id", Value::from("0123456789abcdef-5")),
        ("x-history-gap", Value::from("0123456789abcdef-4")),
        ("mine", Value::from("stays")),
    ]);
    wire.publish_with("x", "a", &forged, "m").await;
    let got = wire.get("q").await.unwrap();
    let id = header(&got.properties, "x-history-id").unwrap();
    assert!(
        id.ends_with("-1") && !id.starts_with("0123456789abcdef"),
        "{id}"
    );
    assert_eq!(header(&got.properties, "x-history-gap"), None);
    assert_eq!(header(&got.properties, "mine").as_deref(), Some("stays"));
}

#[tokio::test]
async fn further_keys_lead_to_history_too_and_bcc_is_not_shown() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    let keys = |key: &str| Value::Array(vec![Value::from(key)]);
    let headers = with_headers([("CC", keys("cc")), ("BCC", keys("bcc"))]);
    wire.publish_with("x", "own", &headers, "m").await;
    wire.publish("x", "own", "other").await;
    for (key, want) in [("cc", &["m"][..]), ("bcc", &["m"]), ("#", &["m", "other"])] {
        wire.declare_with(key, &resume_from("first")).await;
        wire.bind(key, "x", key).await;
        let first = wire.get(key).await.unwrap();
        assert!(first.properties.headers.unwrap().get("BCC").is_none());
        wire.nack(first.tag, true).await;
        assert_eq!(wire.drain(key).await, want, "{key}");
    }
}

#[tokio::test]
async fn batches_confirms_and_other_exchanges_keep_their_order() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    wire.declare("q").await;
    wire.bind("q", "x", "#").await;
    wire.select_confirms().await;
    // In one read: what passes the history, and what does not.
    let mut burst = Vec::new();
    for n in 0..20 {
        let (exchange, key) = if n % 3 == 0 { ("", "q") } else { ("x", "a") };
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            ..Default::default()
        };
        let properties = Properties::default();
        burst.extend(wire.publish_bytes(&publish, &properties, n.to_string().as_bytes()));
    }
    wire.send_bytes(&burst).await;
    let mut confirmed = 0;
    while confirmed < 20 {
        match wire.confirmed().await {
            Confirmed::Ack { tag, .. } => confirmed = tag,
            refused => panic!("{refused:?}"),
        }
    }
    let want: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(wire.drain("q").await, want);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_what_comes_by_way_of_a_history() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    let full = table([
        ("x-max-length", Value::I32(0)),
        ("x-overflow", Value::from("reject-publish")),
    ]);
    wire.declare_with("full", &full).await;
    wire.bind("full", "x", "#").await;
    wire.select_confirms().await;
    wire.publish("x", "a", "m").await;
    let refused = wire.confirmed().await;
    assert!(matches!(refused, Confirmed::Nack { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_transaction_passes_when_it_is_committed() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    let mut other = Wire::open(&broker).await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire.publish("x", "a", "held").await;
    wire.quiet().await;
    other.publish("x", "a", "meanwhile").await;
    other.quiet().await;
    // It finds its way anew: the queue was not there when it was published.
    other.declare_with("q", &resume_from("first")).await;
    other.bind("q", "x", "#").await;
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
    assert_eq!(other.drain("q").await, ["meanwhile", "held"]);
}

#[tokio::test]
async fn messages_that_find_their_ways_anew_together_find_their_own() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    let arguments = table([("x-history-length", Value::I32(10))]);
    wire.declare_exchange_with("y", "fanout", &arguments).await;
    wire.bind_exchange("y", "x", "#").await;
    let mut other = Wire::open(&broker).await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire.publish("x", "a", "plain").await;
    let copies = |header: &str| {
        let keys = Value::Array(vec![Value::from("copy")]);
        with_headers([(header, keys)])
    };
    wire.publish_with("x", "b", &copies("CC"), "cc").await;
    wire.publish_with("x", "c", &copies("BCC"), "bcc").await;
    wire.quiet().await;
    other.declare("q").await;
    other.bind("q", "x", "copy").await;
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
    assert_eq!(other.drain("q").await, ["cc", "bcc"]);
}

#[tokio::test]
async fn mandatory_messages_come_back_although_they_are_kept() {
    let broker = broker().await;
    let mut wire = with_exchange(&broker).await;
    wire.publish_mandatory("x", "a", "m").await;
    assert_eq!(wire.returned().await.body, b"m");
    wire.declare_with("q", &resume_from("first")).await;
    wire.bind("q", "x", "#").await;
    assert_eq!(wire.drain("q").await, ["m"]);
}
