//! The messages that the benches of the AMQP codec send to and fro, shared with the workspace of the peers.

use leveret_amqp_codec::method::basic::{Deliver, Publish};
use leveret_amqp_codec::{
    ChannelId, Delivery, Properties, RawProperties, ShortStr, Table, Value, write_body,
    write_content_header, write_method,
};

/// As many messages as a busy connection reads at once: 100 of 100 bytes are some 20 KiB.
pub(crate) const MESSAGES: usize = 100;

/// A notification, and a document.
pub(crate) const BODY_SIZES: [usize; 2] = [100, 1_024];

/// What RabbitMQ proposes in connection.tune.
pub(crate) const FRAME_SIZE_MAX: u32 = 131_072;

pub(crate) const CHANNEL: ChannelId = ChannelId(1);

pub(crate) const PUBLISH: Publish<'static> = Publish {
    exchange: ShortStr::from_static("amq.topic"),
    routing_key: ShortStr::from_static("shop.berlin.order.created"),
    mandatory: false,
    immediate: false,
};

pub(crate) const DELIVER: Deliver<'static> = Deliver {
    consumer_tag: ShortStr::from_static("amq.ctag-2dtCmLm1VtLC8gxkpYZkZg"),
    delivery_tag: 4_711,
    redelivered: false,
    exchange: PUBLISH.exchange,
    routing_key: PUBLISH.routing_key,
};

/// The same with what belongs to it.
pub(crate) fn delivery<'a>(properties: RawProperties<'a>, body: &'a [u8]) -> Delivery<'a> {
    Delivery {
        consumer_tag: DELIVER.consumer_tag,
        delivery_tag: DELIVER.delivery_tag,
        redelivered: DELIVER.redelivered,
        exchange: DELIVER.exchange.as_str().as_bytes(),
        routing_key: DELIVER.routing_key.as_str().as_bytes(),
        properties,
        body,
    }
}

/// What most clients set: the type of the body, and whether to keep it.
pub(crate) fn plain_properties() -> Vec<u8> {
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    properties.to_bytes()
}

/// Ten headers of an application, and two rounds of dead-lettering.
pub(crate) fn properties_with_headers() -> Properties {
    let mut headers: Table = (0..10)
        .map(|n| (format!("application-header-{n}"), format!("value {n}")))
        .collect();
    for count in 1_i64..=2 {
        let death = Table::from_iter([
            ("count", Value::from(count)),
            ("reason", Value::from("expired")),
            ("queue", Value::from("orders.retry")),
            ("exchange", Value::from("amq.topic")),
            (
                "routing-keys",
                Value::from(vec![Value::from("shop.berlin.order.created")]),
            ),
            ("time", Value::Timestamp(1_700_000_000)),
        ]);
        headers.push_front("x-death", death);
    }
    Properties {
        headers: Some(headers),
        delivery_mode: Some(2),
        ..Properties::default()
    }
}

/// Published messages as they stand in a read buffer.
pub(crate) fn published(properties: &[u8], body_size: usize) -> Vec<u8> {
    let body = vec![b'x'; body_size];
    let mut out = Vec::new();
    for _ in 0..MESSAGES {
        write_method(&mut out, CHANNEL, &PUBLISH);
        write_content_header(
            &mut out,
            CHANNEL,
            60,
            body_size as u64,
            RawProperties::from_validated_bytes(properties),
        );
        write_body(&mut out, CHANNEL, &body, FRAME_SIZE_MAX);
    }
    out
}
