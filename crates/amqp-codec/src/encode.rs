//! Writing whole frames to the end of a buffer.

use crate::frame::FRAME_END;
use crate::method::basic::Deliver;
use crate::write::length_u32;
use crate::{ChannelId, EncodeMethod, FRAME_OVERHEAD, FrameKind, RawProperties, ShortStr};

/// Writes a method frame.
///
/// A method is always one frame, so nothing can be done here if it exceeds the peer's frame-max. That is at least 4096,
/// which only a long table or secret could fill.
#[inline]
pub fn write_method<M: EncodeMethod>(out: &mut Vec<u8>, channel: ChannelId, method: &M) {
    write_frame(out, FrameKind::Method, channel, |out| {
        out.extend_from_slice(&M::CLASS_ID.to_be_bytes());
        out.extend_from_slice(&M::METHOD_ID.to_be_bytes());
        method.encode_arguments(out);
    });
}

/// Writes the header frame that follows a method with content.
#[inline]
pub fn write_content_header(
    out: &mut Vec<u8>,
    channel: ChannelId,
    class_id: u16,
    body_size: u64,
    properties: RawProperties<'_>,
) {
    let header = crate::ContentHeader {
        class_id,
        body_size,
        properties,
    };
    write_frame(out, FrameKind::Header, channel, |out| header.encode(out));
}

/// Writes a body in as many frames as it takes when none is longer than `frame_size_max`, overhead included.
///
/// An empty body is no frame at all, as AMQP 4.2.6.2 and RabbitMQ have it. A `frame_size_max` of 0 means no limit, as
/// it does in connection.tune.
#[inline]
pub fn write_body(out: &mut Vec<u8>, channel: ChannelId, body: &[u8], frame_size_max: u32) {
    let payload_max = body_payload_max(frame_size_max);
    out.reserve(body.len() + body.len().div_ceil(payload_max) * FRAME_OVERHEAD);
    for payload in body.chunks(payload_max) {
        write_body_frame_header(out, channel, length_u32(payload.len()));
        out.extend_from_slice(payload);
        write_frame_end(out);
    }
}

/// Writes what stands before the payload of a body frame of `payload_size` bytes. With [`write_frame_end`] it lets
/// a caller send a large body from where it is, as one of several slices of a vectored write.
///
/// To keep to a frame-max the caller cuts the body into pieces of at most `frame_size_max - 8` bytes.
#[inline]
pub fn write_body_frame_header(out: &mut Vec<u8>, channel: ChannelId, payload_size: u32) {
    out.extend_from_slice(&frame_header(FrameKind::Body, channel, payload_size));
}

/// Writes the octet that ends a frame.
#[inline]
pub fn write_frame_end(out: &mut Vec<u8>) {
    out.push(FRAME_END);
}

/// Writes a heartbeat frame.
#[inline]
pub fn write_heartbeat(out: &mut Vec<u8>) {
    write_frame(out, FrameKind::Heartbeat, ChannelId::CONNECTION, |_| ());
}

/// A message on its way to a consumer, with everything that belongs to it.
///
/// Its names are bytes of UTF-8 and not texts: who keeps them as bytes has had them checked when they came, and would pay
/// for another look with each delivery. Of longer ones the first 255 bytes are written, as many as a [`ShortStr`] has.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Which consumer of the channel it is for.
    pub consumer_tag: ShortStr<'a>,
    /// What the consumer calls it when it acknowledges it.
    pub delivery_tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Where it was published.
    pub exchange: &'a [u8],
    /// The routing key it was published with.
    pub routing_key: &'a [u8],
    /// Its properties.
    pub properties: RawProperties<'a>,
    /// Its body.
    pub body: &'a [u8],
}

/// Writes a delivery: basic.deliver, the content header and the body in frames of at most `frame_size_max` bytes.
///
/// The same bytes as [`write_method`], [`write_content_header`] and [`write_body`] one after the other, but this is
/// what a broker does most often: lengths are computed instead of patched in later, the buffer grows once, and fixed
/// fields that stand side by side are written together.
pub fn write_delivery(
    out: &mut Vec<u8>,
    channel: ChannelId,
    delivery: &Delivery<'_>,
    frame_size_max: u32,
) {
    /// Class and method id, three length octets, the delivery tag and the redelivered bit.
    const FIXED_ARGUMENTS_SIZE: usize = 4 + 3 + 8 + 1;
    /// Class, weight and body size.
    const FIXED_HEADER_SIZE: usize = 2 + 2 + 8;

    let Delivery {
        consumer_tag,
        delivery_tag,
        redelivered,
        properties,
        body,
        ..
    } = *delivery;
    let (exchange_length, exchange) = short_string(delivery.exchange);
    let (routing_key_length, routing_key) = short_string(delivery.routing_key);
    let properties = properties.as_bytes();
    let method_size =
        FIXED_ARGUMENTS_SIZE + consumer_tag.len() + exchange.len() + routing_key.len();
    let header_size = FIXED_HEADER_SIZE + properties.len();
    let payload_max = body_payload_max(frame_size_max);
    let body_frames = body.len().div_ceil(payload_max);
    out.reserve(method_size + header_size + body.len() + (2 + body_frames) * FRAME_OVERHEAD);

    let [k, c0, c1, s0, s1, s2, s3] =
        frame_header(FrameKind::Method, channel, length_u32(method_size));
    let [class0, class1] = Deliver::CLASS_ID.to_be_bytes();
    let [method0, method1] = Deliver::METHOD_ID.to_be_bytes();
    let tag_length = consumer_tag.length_octet();
    out.extend_from_slice(&[
        k, c0, c1, s0, s1, s2, s3, class0, class1, method0, method1, tag_length,
    ]);
    out.extend_from_slice(consumer_tag.as_bytes());
    let [t0, t1, t2, t3, t4, t5, t6, t7] = delivery_tag.to_be_bytes();
    out.extend_from_slice(&[
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        u8::from(redelivered),
        exchange_length,
    ]);
    out.extend_from_slice(exchange);
    out.push(routing_key_length);
    out.extend_from_slice(routing_key);

    let [k, c0, c1, s0, s1, s2, s3] =
        frame_header(FrameKind::Header, channel, length_u32(header_size));
    let [b0, b1, b2, b3, b4, b5, b6, b7] = (body.len() as u64).to_be_bytes();
    out.extend_from_slice(&[
        FRAME_END, k, c0, c1, s0, s1, s2, s3, class0, class1, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7,
    ]);
    out.extend_from_slice(properties);
    write_frame_end(out);

    for payload in body.chunks(payload_max) {
        write_body_frame_header(out, channel, length_u32(payload.len()));
        out.extend_from_slice(payload);
        write_frame_end(out);
    }
}

/// Writes a frame around what `payload` writes.
#[inline]
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    kind: FrameKind,
    channel: ChannelId,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&frame_header(kind, channel, 0));
    let payload_start = out.len();
    payload(out);
    let size = length_u32(out.len() - payload_start);
    if let Some(place) = out.get_mut(start + 3..payload_start) {
        place.copy_from_slice(&size.to_be_bytes());
    }
    out.push(FRAME_END);
}

#[inline]
fn frame_header(kind: FrameKind, channel: ChannelId, payload_size: u32) -> [u8; 7] {
    let [c0, c1] = channel.0.to_be_bytes();
    let [s0, s1, s2, s3] = payload_size.to_be_bytes();
    [kind.octet(), c0, c1, s0, s1, s2, s3]
}

/// What of these bytes a short string has room for, and its length as it stands on the wire.
#[inline]
fn short_string(bytes: &[u8]) -> (u8, &[u8]) {
    let bytes = bytes.get(..ShortStr::SIZE_MAX).unwrap_or(bytes);
    (u8::try_from(bytes.len()).unwrap_or(u8::MAX), bytes)
}

/// How much of a body fits into one frame. At least one byte, so that writing a body comes to an end.
#[inline]
fn body_payload_max(frame_size_max: u32) -> usize {
    let frame_size_max = if frame_size_max == 0 {
        u32::MAX
    } else {
        frame_size_max
    };
    (frame_size_max as usize)
        .saturating_sub(FRAME_OVERHEAD)
        .max(1)
}
