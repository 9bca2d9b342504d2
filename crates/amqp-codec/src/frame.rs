//! Frames: the units a connection is cut into.

use std::fmt;

use crate::Limits;
use crate::frame_error::{Excerpt, FrameError};

/// How many bytes stand before a frame's payload: kind, channel and size.
pub const FRAME_HEADER_SIZE: usize = 7;

/// How many bytes of a frame are not payload: the header and the end octet.
pub const FRAME_OVERHEAD: usize = 8;

/// The octet that ends each frame.
pub const FRAME_END: u8 = 0xCE;

/// The number of a channel within its connection.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChannelId(pub u16);

impl ChannelId {
    /// Channel 0, on which the connection itself is spoken about.
    pub const CONNECTION: Self = Self(0);
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a frame carries. AMQP 4.2.3.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum FrameKind {
    /// A method with its arguments.
    Method = 1,
    /// The header of a content: its size and properties.
    Header = 2,
    /// A piece of a content's body.
    Body = 3,
    /// Nothing but the sign that the peer is there.
    Heartbeat = 8,
}

impl FrameKind {
    /// The first octet of a frame of this kind.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self as u8
    }

    #[inline]
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// A frame whose payload has not been looked into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawFrame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it is for.
    pub channel: ChannelId,
    /// What stands between the header and the end octet.
    pub payload: &'a [u8],
}

impl<'a> RawFrame<'a> {
    /// Takes the first frame of `input`, and says how many bytes of `input` it is.
    ///
    /// `None` means that the frame is not there whole: call again with the same bytes and more. As soon as the
    /// seven bytes of the header are there, the announced size is compared with the limit, so that no caller ever
    /// has to hold more than `frame_size_max + 16` bytes for a frame.
    ///
    /// # Errors
    ///
    /// When the frame is larger than the limit (by more than the 8 bytes that RabbitMQ grants), does not end with the
    /// end octet, is of an unknown kind, or is a heartbeat that is not empty or not on channel 0. The connection cannot
    /// go on after any of these: where the next frame begins is not known.
    #[inline]
    pub fn decode(input: &'a [u8], limits: &Limits) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((&[octet, c0, c1, s0, s1, s2, s3], rest)) =
            input.split_first_chunk::<FRAME_HEADER_SIZE>()
        else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes([s0, s1, s2, s3]);
        // RabbitMQ: the limit of the payload is frame-max - 8, and 8 bytes more are let pass.
        if announced > limits.frame_size_max {
            let limit = limits.frame_size_max.saturating_sub(8);
            return Err(FrameError::TooLarge {
                kind: octet,
                announced,
                limit,
            });
        }
        let Some((payload, [end, ..])) = rest.split_at_checked(announced as usize) else {
            return Ok(None);
        };
        // AMQP 4.2.3: the end octet must be 0xCE, and must be checked before the payload is trusted.
        if *end != FRAME_END {
            return Err(FrameError::InvalidEnd {
                kind: octet,
                end: *end,
                payload: Excerpt::of(payload),
            });
        }
        let channel = ChannelId(u16::from_be_bytes([c0, c1]));
        let kind = match FrameKind::from_octet(octet) {
            Some(FrameKind::Heartbeat) => return Self::heartbeat(channel, payload),
            Some(kind) => kind,
            None => {
                return Err(FrameError::UnknownKind {
                    kind: octet,
                    payload: Excerpt::of(payload),
                });
            }
        };
        Ok(Some((
            Self {
                kind,
                channel,
                payload,
            },
            payload.len() + FRAME_OVERHEAD,
        )))
    }

    #[cold]
    fn heartbeat(
        channel: ChannelId,
        payload: &'a [u8],
    ) -> Result<Option<(Self, usize)>, FrameError> {
        let kind = FrameKind::Heartbeat;
        // AMQP 4.2.7: heartbeats are on channel 0 and empty. RabbitMQ looks at the payload first and calls a frame that
        // is not empty unknown.
        if !payload.is_empty() {
            return Err(FrameError::UnknownKind {
                kind: kind.octet(),
                payload: Excerpt::of(payload),
            });
        }
        if channel != ChannelId::CONNECTION {
            return Err(FrameError::HeartbeatOnChannel { channel });
        }
        Ok(Some((
            Self {
                kind,
                channel,
                payload,
            },
            FRAME_OVERHEAD,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8]) -> Result<Option<(RawFrame<'_>, usize)>, FrameError> {
        let limits = Limits {
            frame_size_max: 24,
            ..Limits::default()
        };
        RawFrame::decode(input, &limits)
    }

    fn body_frame(payload_size: usize) -> Vec<u8> {
        let mut frame = vec![3, 0, 1, 0, 0, 0, u8::try_from(payload_size).unwrap()];
        frame.resize(7 + payload_size, b'x');
        frame.push(FRAME_END);
        frame
    }

    #[test]
    fn first_frame_is_taken_and_measured() {
        let input = [body_frame(3), body_frame(1)].concat();
        let (frame, size) = decode(&input).unwrap().unwrap();
        assert_eq!(
            frame,
            RawFrame {
                kind: FrameKind::Body,
                channel: ChannelId(1),
                payload: b"xxx"
            }
        );
        assert_eq!(size, 11);
        assert_eq!(decode(&input[size..]).unwrap().unwrap().1, 9);
    }

    #[test]
    fn part_of_a_frame_is_not_taken() {
        let frame = body_frame(5);
        for end in 0..frame.len() {
            assert_eq!(decode(&frame[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn eight_bytes_beyond_the_limit_are_granted() {
        assert!(
            decode(&body_frame(16)).unwrap().is_some(),
            "exactly frame_size_max"
        );
        assert!(decode(&body_frame(24)).unwrap().is_some(), "8 bytes more");
        let error = decode(&body_frame(25)).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLarge {
                kind: 3,
                announced: 25,
                limit: 16
            }
        );
    }

    #[test]
    fn size_is_checked_when_announced() {
        let error = decode(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLarge {
                kind: 3,
                announced: u32::MAX,
                limit: 16
            }
        );
    }

    #[test]
    fn heartbeats_are_empty_and_on_channel_zero() {
        let (frame, size) = decode(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]).unwrap().unwrap();
        assert_eq!((frame.kind, size), (FrameKind::Heartbeat, 8));
        let error = decode(&[8, 0, 1, 0, 0, 0, 0, FRAME_END]).unwrap_err();
        assert_eq!(
            error,
            FrameError::HeartbeatOnChannel {
                channel: ChannelId(1)
            }
        );
        let error = decode(&[8, 0, 0, 0, 0, 0, 1, 7, FRAME_END]).unwrap_err();
        assert_eq!(
            error,
            FrameError::UnknownKind {
                kind: 8,
                payload: Excerpt::of(&[7])
            }
        );
    }
}
