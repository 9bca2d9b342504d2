//! Why bytes are not frames, in RabbitMQ's words.

use std::fmt::{self, Write as _};

use crate::{ChannelId, ReplyCode};

/// Why a run of bytes is not an AMQP frame. Each ends the connection.
///
/// The `Display` text is the explanation that RabbitMQ puts into the reply text of connection.close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// The announced payload is longer than the negotiated frame size allows.
    TooLarge {
        /// The first octet of the frame, whatever it is.
        kind: u8,
        /// The announced length of the payload.
        announced: u32,
        /// The length that a payload ought to have at most: frame-max less the overhead of 8 bytes.
        limit: u32,
    },
    /// The octet behind the payload is not 0xCE.
    InvalidEnd {
        /// The first octet of the frame, whatever it is.
        kind: u8,
        /// What stands in the place of 0xCE.
        end: u8,
        /// The beginning of the payload.
        payload: Excerpt,
    },
    /// The first octet names no kind of frame, or a heartbeat has a payload.
    UnknownKind {
        /// The first octet of the frame.
        kind: u8,
        /// The beginning of the payload.
        payload: Excerpt,
    },
    /// A heartbeat came on another channel than 0.
    HeartbeatOnChannel {
        /// The channel.
        channel: ChannelId,
    },
}

impl FrameError {
    /// The reply code to close the connection with.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::TooLarge { .. } | Self::InvalidEnd { .. } | Self::UnknownKind { .. } => {
                ReplyCode::FrameError
            }
            Self::HeartbeatOnChannel { .. } => ReplyCode::UnexpectedFrame,
        }
    }
}

impl std::error::Error for FrameError {}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge {
                kind,
                announced,
                limit,
            } => {
                write!(
                    f,
                    "type {kind}, {}: {{frame_too_large,{announced},{limit}}}",
                    Excerpt::EMPTY
                )
            }
            Self::InvalidEnd { kind, end, payload } => {
                write!(
                    f,
                    "type {kind}, {payload}: {{invalid_frame_end_marker,{end}}}"
                )
            }
            Self::UnknownKind { kind, payload } => {
                write!(f, "type {kind}, {payload}: unknown_frame")
            }
            Self::HeartbeatOnChannel { .. } => write!(f, "type 8, {}", Excerpt::EMPTY),
        }
    }
}

/// The first 16 bytes of a payload, or all of it, for an error text.
///
/// Displayed as RabbitMQ does, with the bytes as Erlang prints a binary: as a text when every byte is printable, as
/// numbers when not.
///
/// ```
/// use leveret_amqp_codec::Excerpt;
///
/// assert_eq!(Excerpt::of(b"abc").to_string(), r#"all octets = <<"abc">>"#);
/// assert_eq!(Excerpt::of(&[1, 2, 3]).to_string(), "all octets = <<1,2,3>>");
/// assert_eq!(Excerpt::of(&[b'x'; 99]).to_string(), r#"first 16 octets = <<"xxxxxxxxxxxxxxxx">>"#);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Excerpt {
    bytes: [u8; Self::SIZE_MAX],
    length: u8,
    is_whole: bool,
}

impl Excerpt {
    /// How many bytes are kept: as many as RabbitMQ shows.
    const SIZE_MAX: usize = 16;

    const EMPTY: Self = Self {
        bytes: [0; Self::SIZE_MAX],
        length: 0,
        is_whole: true,
    };

    /// The beginning of `payload`.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let mut excerpt = Self {
            is_whole: payload.len() <= Self::SIZE_MAX,
            ..Self::EMPTY
        };
        for (to, from) in excerpt.bytes.iter_mut().zip(payload) {
            *to = *from;
            excerpt.length += 1;
        }
        excerpt
    }

    /// The bytes that were kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or(&self.bytes)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.is_whole { "all" } else { "first 16" };
        write!(f, "{extent} octets = <<")?;
        let bytes = self.as_bytes();
        if !bytes.is_empty() && bytes.iter().all(|byte| erlang_escape(*byte).is_some()) {
            f.write_char('"')?;
            for (escape, character) in bytes.iter().filter_map(|byte| erlang_escape(*byte)) {
                f.write_str(escape)?;
                f.write_char(character)?;
            }
            f.write_char('"')?;
        } else {
            for (index, byte) in bytes.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma}{byte}")?;
            }
        }
        f.write_str(">>")
    }
}

/// How Erlang prints a byte in a text, `None` for one that keeps a binary from being printed as text. Of the bytes
/// beyond ASCII Erlang prints some as they are, which is not UTF-8 and so cannot stand in a reply text.
fn erlang_escape(byte: u8) -> Option<(&'static str, char)> {
    match byte {
        b'"' | b'\\' => Some(("\\", byte.into())),
        0x20..=0x7e => Some(("", byte.into())),
        0x08 => Some(("\\", 'b')),
        b'\t' => Some(("\\", 't')),
        b'\n' => Some(("\\", 'n')),
        0x0b => Some(("\\", 'v')),
        0x0c => Some(("\\", 'f')),
        b'\r' => Some(("\\", 'r')),
        0x1b => Some(("\\", 'e')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: FrameError, code: u16, text: &str) {
        assert_eq!(error.reply_code().code(), code);
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn texts_are_those_of_rabbitmq() {
        check(
            FrameError::TooLarge {
                kind: 3,
                announced: 131_073,
                limit: 131_064,
            },
            501,
            "type 3, all octets = <<>>: {frame_too_large,131073,131064}",
        );
        check(
            FrameError::InvalidEnd {
                kind: 1,
                end: 0,
                payload: Excerpt::of(&[0, 10, 0, 51]),
            },
            501,
            "type 1, all octets = <<0,10,0,51>>: {invalid_frame_end_marker,0}",
        );
        check(
            FrameError::UnknownKind {
                kind: 71,
                payload: Excerpt::of(b"HTTP/1.1 200 OK\r\n"),
            },
            501,
            r#"type 71, first 16 octets = <<"HTTP/1.1 200 OK\r">>: unknown_frame"#,
        );
        check(
            FrameError::HeartbeatOnChannel {
                channel: ChannelId(3),
            },
            505,
            "type 8, all octets = <<>>",
        );
    }

    #[test]
    fn sixteen_bytes_are_shown_whole() {
        assert_eq!(
            Excerpt::of(&[b'a'; 16]).to_string(),
            r#"all octets = <<"aaaaaaaaaaaaaaaa">>"#
        );
        assert_eq!(
            Excerpt::of(&[b'a'; 17]).to_string(),
            r#"first 16 octets = <<"aaaaaaaaaaaaaaaa">>"#
        );
        assert_eq!(
            Excerpt::of(br#"say "\""#).to_string(),
            r#"all octets = <<"say \"\\\"">>"#
        );
    }
}
