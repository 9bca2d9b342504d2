//! What a message carries is what its consumer gets (behaviour reference, sections 1.4, 1.5 and 11).

mod support;

use leveret_amqp_codec::RawProperties;
use leveret_broker::{Properties, Publish, Table, Value};
use support::{Wire, broker, table};

/// Sends a message and takes it, with its properties.
async fn pass_through(properties: &Properties) -> Properties {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_with("", "q", properties, "m").await;
    wire.get("q").await.unwrap().properties
}

#[tokio::test]
async fn every_property_arrives_as_it_was_sent() {
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        headers: Some(table([("a", Value::I32(1))])),
        delivery_mode: Some(2),
        priority: Some(200),
        correlation_id: Some("c".to_owned()),
        reply_to: Some("somewhere".to_owned()),
        expiration: Some("60000".to_owned()),
        message_id: Some("m".to_owned()),
        timestamp: Some(1_700_000_000),
        kind: Some("t".to_owned()),
        user_id: Some("guest".to_owned()),
        app_id: Some("a".to_owned()),
        cluster_id: Some("old".to_owned()),
    };
    assert_eq!(pass_through(&properties).await, properties);
}

#[tokio::test]
async fn what_was_not_set_stays_unset_and_what_is_empty_stays_empty() {
    assert_eq!(
        pass_through(&Properties::default()).await,
        Properties::default()
    );
    let empty = Properties {
        content_type: Some(String::new()),
        headers: Some(Table::default()),
        ..Properties::default()
    };
    assert_eq!(pass_through(&empty).await, empty);
}

#[tokio::test]
async fn a_delivery_mode_that_means_nothing_is_refused() {
    let with_mode = |delivery_mode| Properties {
        delivery_mode: Some(delivery_mode),
        ..Properties::default()
    };
    let broker = broker().await;
    for mode in [0, 3, 255] {
        let mut wire = Wire::open(&broker).await;
        wire.declare("q").await;
        for _ in 0..3 {
            wire.publish_with("", "q", &with_mode(1), "m").await;
        }
        wire.publish_with("", "q", &with_mode(mode), "m").await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!((closed.code, closed.method), (406, (60, 40)));
        assert_eq!(
            closed.text,
            format!("PRECONDITION_FAILED - invalid message: {{delivery_mode_unknown,{mode}}}")
        );
        wire.open_channel(1).await;
        assert_eq!(wire.drain("q").await, ["m", "m", "m"]);
    }
}

#[tokio::test]
async fn an_expiration_is_found_fault_with_before_a_delivery_mode() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let odd = Properties {
        delivery_mode: Some(3),
        expiration: Some("soon".to_owned()),
        ..Properties::default()
    };
    wire.publish_with("", "q", &odd, "m").await;
    let closed = wire.expect_channel_closed().await;
    assert!(closed.text.contains("no_integer"), "{}", closed.text);
}

#[tokio::test]
async fn an_application_learns_of_a_delivery_mode_that_means_nothing() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let publish = Publish {
        properties: Some(Properties {
            delivery_mode: Some(3),
            ..Properties::default()
        }),
        ..Publish::to_queue("q", b"m")
    };
    let error = client.publish(publish).await.unwrap_err();
    assert!(
        error.to_string().contains("{delivery_mode_unknown,3}"),
        "{error}"
    );
}

#[tokio::test]
async fn headers_keep_their_types_and_their_order() {
    let inner: Table = [("z", Value::Void), ("a", Value::from(true))]
        .into_iter()
        .collect();
    let headers = table([
        ("zulu", Value::Bool(false)),
        ("i8", Value::I8(-1)),
        ("u8", Value::U8(200)),
        ("i16", Value::I16(-300)),
        ("u16", Value::U16(60_000)),
        ("i32", Value::I32(5)),
        ("u32", Value::U32(4_000_000_000)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(-0.25)),
        (
            "decimal",
            Value::Decimal {
                scale: 2,
                value: 314,
            },
        ),
        ("text", Value::from("ü")),
        ("bytes", Value::ByteArray(vec![0, 255])),
        ("time", Value::Timestamp(7)),
        ("table", Value::Table(inner)),
        ("array", Value::Array(vec![Value::I64(1), Value::from("b")])),
        ("alpha", Value::Void),
    ]);
    let properties = Properties {
        headers: Some(headers),
        ..Properties::default()
    };
    let got = pass_through(&properties).await;
    assert_eq!(got, properties);
    assert_eq!(got.to_bytes(), properties.to_bytes(), "byte by byte");
}

#[tokio::test]
async fn a_header_that_stands_twice_is_passed_on_twice() {
    // Flags for headers alone, then a table with twice the name `a`: 1 and 2 as bytes.
    let bytes = b"\x20\x00\x00\x00\x00\x08\x01ab\x01\x01ab\x02";
    let raw = RawProperties::from_validated_bytes(bytes);
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let channel = leveret_amqp_codec::ChannelId(1);
    let publish = leveret_amqp_codec::method::basic::Publish {
        routing_key: support::short("q"),
        ..Default::default()
    };
    let mut sent = Vec::new();
    leveret_amqp_codec::write_method(&mut sent, channel, &publish);
    leveret_amqp_codec::write_content_header(&mut sent, channel, 60, 0, raw);
    wire.send_bytes(&sent).await;
    wire.quiet().await;
    let client = broker.client().unwrap();
    let messages = client.browse("q", 1).await.unwrap();
    assert_eq!(messages[0].properties(), raw.as_bytes());
}
