//! A publish whose frames lie in the input in one piece, as nearly every one does.

use leveret_amqp_codec::{
    ChannelId, ContentHeader, DecodeMethod, EncodeMethod, FrameKind, Limits, RawFrame,
    RawProperties, method::basic,
};

/// How the payload of a basic.publish begins: class 60 and method 40 (AMQP 2.3.5 and 4.2.3).
const PUBLISH_IDS: [u8; 4] = [0, 60, 0, 40];

/// The three frames of a message that fits them, all there.
pub(super) struct Whole<'a> {
    pub(super) channel: ChannelId,
    /// The frame of the method, and that of the header.
    pub(super) method: &'a [u8],
    pub(super) header: &'a [u8],
    pub(super) publish: basic::Publish<'a>,
    pub(super) properties: RawProperties<'a>,
    pub(super) body: &'a [u8],
    pub(super) size: usize,
}

impl<'a> Whole<'a> {
    /// Takes a publish whose frames are all there, each of them whole. None for anything else, which is to be looked at frame by
    /// frame.
    pub(super) fn decode(input: &'a [u8], limits: &Limits) -> Option<Self> {
        // AMQP 2.3.5 and 4.2.3: a method frame, then class 60 and method 40. A look at five bytes spares everything else
        // the attempt.
        if input.first() != Some(&1) || input.get(7..11) != Some(&PUBLISH_IDS) {
            return None;
        }
        let (method, method_size) = RawFrame::decode(input, limits).ok()??;
        let publish = basic::Publish::decode_arguments(method.payload.get(4..)?, limits).ok()?;
        let (method_frame, input) = input.split_at_checked(method_size)?;
        let (header, header_size) = RawFrame::decode(input, limits).ok()??;
        if header.kind != FrameKind::Header || header.channel != method.channel {
            return None;
        }
        let content = ContentHeader::decode(header.payload, limits).ok()?;
        if content.class_id != basic::Publish::CLASS_ID {
            return None;
        }
        let mut size = method_size + header_size;
        let mut body: &[u8] = &[];
        if content.body_size > 0 {
            let (frame, body_size) = RawFrame::decode(input.get(header_size..)?, limits).ok()??;
            let is_all = frame.payload.len() as u64 == content.body_size;
            if frame.kind != FrameKind::Body || frame.channel != method.channel || !is_all {
                return None;
            }
            body = frame.payload;
            size += body_size;
        }
        Some(Self {
            channel: method.channel,
            method: method_frame,
            header: input.get(..header_size)?,
            publish,
            properties: content.properties,
            body,
            size,
        })
    }
}

/// Whether a frame is the first of a publish, on whatever channel.
pub(super) fn is_publish(frame: &RawFrame<'_>) -> bool {
    frame.kind == FrameKind::Method && frame.payload.starts_with(&PUBLISH_IDS)
}
