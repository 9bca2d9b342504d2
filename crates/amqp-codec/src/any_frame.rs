//! Frames with their payload decoded.

use crate::encode::write_frame;
use crate::{ChannelId, ContentHeader, DecodeError, FrameKind, Limits, Method, RawFrame};

/// A frame and what is in it, for clients, proxies and tests.
///
/// A broker does better with [`RawFrame`]: it knows what it waits for on each channel and decodes only that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frame<'a> {
    /// A method.
    Method(ChannelId, Method<'a>),
    /// A content header.
    Header(ChannelId, ContentHeader<'a>),
    /// A piece of a body.
    Body(ChannelId, &'a [u8]),
    /// The sign that the peer is there.
    Heartbeat,
}

impl<'a> Frame<'a> {
    /// Takes the first frame of `input`, and says how many bytes of `input` it is. `None` means that the frame is not
    /// there whole: call again with the same bytes and more.
    ///
    /// # Errors
    ///
    /// When the frame or its payload is malformed.
    pub fn decode(input: &'a [u8], limits: &Limits) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some((
            RawFrame {
                kind,
                channel,
                payload,
            },
            size,
        )) = RawFrame::decode(input, limits)?
        else {
            return Ok(None);
        };
        let frame = match kind {
            FrameKind::Method => Self::Method(channel, Method::decode(payload, limits)?),
            FrameKind::Header => Self::Header(channel, ContentHeader::decode(payload, limits)?),
            FrameKind::Body => Self::Body(channel, payload),
            FrameKind::Heartbeat => Self::Heartbeat,
        };
        Ok(Some((frame, size)))
    }

    /// Writes the frame. A body is written as one frame, whatever its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Method(channel, method) => method.write_frame(out, *channel),
            Self::Header(channel, header) => {
                write_frame(out, FrameKind::Header, *channel, |out| header.encode(out));
            }
            Self::Body(channel, payload) => {
                write_frame(out, FrameKind::Body, *channel, |out| {
                    out.extend_from_slice(payload)
                });
            }
            Self::Heartbeat => {
                write_frame(out, FrameKind::Heartbeat, ChannelId::CONNECTION, |_| ())
            }
        }
    }
}
