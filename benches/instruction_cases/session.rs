//! A connection without its socket: bytes in, through session, routes, queue and outbox, bytes out.

use std::ops::RangeInclusive;

use leveret_amqp_codec::method::{basic, confirm, queue};
use leveret_amqp_codec::{
    Frame, Limits, Method, RawProperties, RawTable, ShortStr, write_body, write_content_header,
    write_method,
};
use leveret_broker::sans_io::{Peer, handshake};

use crate::amqp_traffic::{BODY_SIZES, CHANNEL, FRAME_SIZE_MAX, plain_properties};
use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("session/publish and deliver, auto-ack", || through(false)),
    Case::new("session/publish, deliver, ack, confirm", || through(true)),
];

/// As many as one read of 64 KiB holds, about.
const MESSAGES: usize = 256;

const QUEUE: ShortStr<'static> = ShortStr::from_static("q");

/// A client that publishes to itself. With `careful` it also acknowledges and is confirmed to.
fn through(careful: bool) -> usize {
    let mut peer = Peer::new(usize::MAX);
    peer.hear(&handshake(false));
    peer.hear(&prepare(careful));
    peer.forget_said();
    let batch = publishes();
    // The first round finds out how long every list gets.
    let count = MESSAGES as u64;
    peer.hear(&batch);
    peer.hear(&acks(careful, 1..=count));
    assert_eq!(deliveries(peer.said()), MESSAGES);
    peer.forget_said();
    let acks = acks(careful, count + 1..=2 * count);
    measured(|| {
        peer.hear(&batch);
        peer.hear(&acks);
    });
    assert_eq!(deliveries(peer.said()), MESSAGES);
    peer.leave();
    MESSAGES
}

fn prepare(careful: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let declare = queue::Declare {
        queue: QUEUE,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        no_wait: true,
        arguments: RawTable::EMPTY,
    };
    let consume = basic::Consume {
        queue: QUEUE,
        consumer_tag: ShortStr::from_static("c"),
        no_local: false,
        no_ack: !careful,
        exclusive: false,
        no_wait: true,
        arguments: RawTable::EMPTY,
    };
    write_method(&mut bytes, CHANNEL, &declare);
    write_method(&mut bytes, CHANNEL, &consume);
    if careful {
        write_method(&mut bytes, CHANNEL, &confirm::Select { no_wait: true });
    }
    bytes
}

fn publishes() -> Vec<u8> {
    let properties = plain_properties();
    let properties = RawProperties::from_validated_bytes(&properties);
    let publish = basic::Publish {
        exchange: ShortStr::from_static(""),
        routing_key: QUEUE,
        mandatory: false,
        immediate: false,
    };
    let body = [b'x'; BODY_SIZES[0]];
    let mut bytes = Vec::new();
    for _ in 0..MESSAGES {
        write_method(&mut bytes, CHANNEL, &publish);
        write_content_header(&mut bytes, CHANNEL, 60, body.len() as u64, properties);
        write_body(&mut bytes, CHANNEL, &body, FRAME_SIZE_MAX);
    }
    bytes
}

/// An acknowledgement for each of these deliveries, one by one.
fn acks(careful: bool, tags: RangeInclusive<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for delivery_tag in tags.take_while(|_| careful) {
        let ack = basic::Ack {
            delivery_tag,
            multiple: false,
        };
        write_method(&mut bytes, CHANNEL, &ack);
    }
    bytes
}

fn deliveries(mut said: &[u8]) -> usize {
    let mut count = 0;
    while let Some((frame, size)) = Frame::decode(said, &Limits::default()).expect("well formed") {
        match frame {
            Frame::Method(_, Method::BasicDeliver(_)) => count += 1,
            Frame::Method(_, Method::ChannelClose(close)) => panic!("{close:?}"),
            _ => {}
        }
        said = &said[size..];
    }
    count
}
