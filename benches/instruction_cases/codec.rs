//! The AMQP codec: what a publisher sends, and what a consumer gets.

use std::hint::black_box;

use leveret_amqp_codec::{
    ContentHeader, FrameKind, Limits, Method, RawFrame, RawProperties, write_delivery,
};

use crate::amqp_traffic::{
    BODY_SIZES, CHANNEL, FRAME_SIZE_MAX, MESSAGES, delivery, plain_properties,
    properties_with_headers, published,
};
use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("amqp/decode publish", || decode(&plain_properties())),
    Case::new("amqp/decode publish with headers", || {
        decode(&properties_with_headers().to_bytes())
    }),
    Case::new("amqp/encode delivery", encode),
];

/// Reads three frames a message as a broker does: in place, and no further into properties than it has to.
fn decode(properties: &[u8]) -> usize {
    let input = published(properties, BODY_SIZES[0]);
    let bodies = measured(|| {
        let limits = Limits::default();
        let (mut rest, mut bodies) = (input.as_slice(), 0);
        while let Some((frame, size)) = RawFrame::decode(rest, &limits).expect("well formed") {
            match frame.kind {
                FrameKind::Method => {
                    black_box(Method::decode(frame.payload, &limits).expect("well formed"));
                }
                FrameKind::Header => {
                    let header = ContentHeader::decode(frame.payload, &limits);
                    black_box(header.expect("well formed").properties.peek());
                }
                FrameKind::Body => bodies += frame.payload.len(),
                FrameKind::Heartbeat => (),
            }
            rest = &rest[size..];
        }
        bodies
    });
    assert_eq!(bodies, MESSAGES * BODY_SIZES[0]);
    MESSAGES
}

fn encode() -> usize {
    let properties = plain_properties();
    let properties = RawProperties::from_validated_bytes(&properties);
    let body = [b'x'; BODY_SIZES[0]];
    let mut out = Vec::with_capacity(MESSAGES * 1024);
    let delivery = delivery(properties, &body);
    let write = |out: &mut Vec<u8>| {
        write_delivery(out, CHANNEL, black_box(&delivery), FRAME_SIZE_MAX);
    };
    write(&mut out);
    let size = out.len();
    out.clear();
    measured(|| (0..MESSAGES).for_each(|_| write(&mut out)));
    assert_eq!(out.len(), MESSAGES * size);
    MESSAGES
}
