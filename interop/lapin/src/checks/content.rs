//! Properties, headers and bodies come back as they were sent.

use std::sync::Arc;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use lapin::{BasicProperties, Result};

use crate::broker::Broker;
use crate::client::{publish, string, table};
use crate::harness::{Outcome, checks};
use crate::inbox::Inbox;

checks![
    every_property_comes_back,
    properties_that_were_not_set_stay_unset,
    headers_of_every_type_come_back,
    an_empty_body_comes_back_empty,
    a_body_of_many_frames_comes_back_whole,
    bodies_around_the_frame_size_come_back_whole,
];

/// Publishes one message and returns it as a consumer gets it.
async fn round_trip(broker: &Broker, body: &[u8], properties: BasicProperties) -> Result<Delivery> {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    publish(&channel, &"".into(), queue.as_str(), body, properties).await?;
    let mut deliveries = Inbox::of(&channel, &queue).await?.take(1).await?;
    Ok(deliveries.remove(0))
}

async fn every_property_comes_back(broker: Arc<Broker>) -> Outcome {
    let user = broker.uri().authority.userinfo.username;
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("gzip".into())
        .with_headers(table([("key", string("value"))]))
        .with_delivery_mode(2)
        .with_priority(9)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply.here".into())
        .with_expiration("60000".into())
        .with_message_id("message-1".into())
        .with_timestamp(1_700_000_000)
        .with_type("kind".into())
        .with_user_id(user.into())
        .with_app_id("interop".into())
        .with_cluster_id("reserved".into());
    let got = round_trip(&broker, b"x", properties.clone()).await?;
    assert_eq!(got.properties, properties);
    Ok(())
}

async fn properties_that_were_not_set_stay_unset(broker: Arc<Broker>) -> Outcome {
    let got = round_trip(&broker, b"x", BasicProperties::default()).await?;
    assert_eq!(got.properties, BasicProperties::default());
    Ok(())
}

async fn headers_of_every_type_come_back(broker: Arc<Broker>) -> Outcome {
    let longest = "a".repeat(255);
    let inner = table([
        ("depth", AMQPValue::LongInt(3)),
        ("empty", AMQPValue::FieldTable(FieldTable::default())),
    ]);
    let array = vec![
        AMQPValue::LongInt(1),
        string("two"),
        AMQPValue::Void,
        AMQPValue::FieldArray(vec![AMQPValue::Boolean(true)].into()),
        AMQPValue::FieldTable(table([("in", string("array"))])),
    ];
    // Compared with their types: a broker that widens an integer or turns bytes into text fails.
    let headers = table([
        ("yes", AMQPValue::Boolean(true)),
        ("no", AMQPValue::Boolean(false)),
        ("int8", AMQPValue::ShortShortInt(i8::MIN)),
        ("uint8", AMQPValue::ShortShortUInt(u8::MAX)),
        ("int16", AMQPValue::ShortInt(i16::MIN)),
        ("uint16", AMQPValue::ShortUInt(u16::MAX)),
        ("int32", AMQPValue::LongInt(i32::MIN)),
        ("uint32", AMQPValue::LongUInt(u32::MAX)),
        ("int64", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(0.1)),
        ("double", AMQPValue::Double(-0.1)),
        (
            "decimal",
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 12_345,
            }),
        ),
        ("text", string("čeština \u{1f407}")),
        (
            "not text",
            AMQPValue::LongString([0xff, 0x00].as_slice().into()),
        ),
        ("empty text", string("")),
        ("bytes", AMQPValue::ByteArray(vec![0x00, 0xff, 0xce].into())),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("nothing", AMQPValue::Void),
        ("table", AMQPValue::FieldTable(inner)),
        ("array", AMQPValue::FieldArray(array.into())),
        (longest.as_str(), string("the longest key there is")),
    ]);
    let got = round_trip(
        &broker,
        b"x",
        BasicProperties::default().with_headers(headers.clone()),
    )
    .await?;
    assert_eq!(got.properties.headers().as_ref(), Some(&headers));
    Ok(())
}

async fn an_empty_body_comes_back_empty(broker: Arc<Broker>) -> Outcome {
    let properties = BasicProperties::default().with_message_id("empty".into());
    let got = round_trip(&broker, b"", properties.clone()).await?;
    assert_eq!((got.properties, got.data), (properties, Vec::new()));
    Ok(())
}

async fn a_body_of_many_frames_comes_back_whole(broker: Arc<Broker>) -> Outcome {
    // 1 MiB, nine frames of RabbitMQ's 128 KiB.
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    let got = round_trip(&broker, &sent, BasicProperties::default()).await?;
    assert_eq!(got.data.len(), sent.len());
    assert!(got.data == sent, "the bytes are the same");
    Ok(())
}

async fn bodies_around_the_frame_size_come_back_whole(broker: Arc<Broker>) -> Outcome {
    let mut uri = broker.uri();
    uri.query.frame_max = Some(8192);
    let channel = broker
        .connect_to(uri, Default::default())
        .await?
        .create_channel()
        .await?;
    let queue = broker.queue(&channel).await?;
    let sizes = [1, 8183, 8184, 8185, 2 * 8184, 2 * 8184 + 1]; // a frame carries 8192 - 8 bytes
    for size in sizes {
        publish(
            &channel,
            &"".into(),
            queue.as_str(),
            &vec![b'b'; size],
            BasicProperties::default(),
        )
        .await?;
    }
    let deliveries = Inbox::of(&channel, &queue).await?.take(sizes.len()).await?;
    let got: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.data.len())
        .collect();
    assert_eq!(got, sizes);
    Ok(())
}
