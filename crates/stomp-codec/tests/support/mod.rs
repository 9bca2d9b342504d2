//! What several test files share: random frames, and ways to push bytes through a decoder.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use bytes::BytesMut;
use leveret_stomp_codec::{Command, DecodeError, Decoder, Encoder, Escaping, Frame, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) mod naive;

/// Feeds a decoder piece by piece and returns all it has to say, up to the first fatal error.
pub(crate) fn decode_all<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Result<Frame, DecodeError>> {
    let mut input = BytesMut::new();
    let mut results = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(result) = decoder.decode(&mut input).transpose() {
            let over = result.as_ref().is_err_and(DecodeError::is_fatal);
            results.push(result);
            if over {
                return results;
            }
        }
    }
    results
}

pub(crate) fn encode(encoder: &Encoder, frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        encoder.write_frame(&mut out, frame);
    }
    out
}

pub(crate) fn encoder(version: Version, escaping: Escaping) -> Encoder {
    let mut encoder = Encoder::new().with_escaping(escaping);
    encoder.set_version(version);
    encoder
}

pub(crate) fn any_version() -> impl Strategy<Value = Version> {
    select(Version::ALL.as_slice())
}

pub(crate) fn any_escaping() -> impl Strategy<Value = Escaping> {
    select([Escaping::Standard, Escaping::RabbitMq].as_slice())
}

/// Pieces of frames, right and wrong.
const FRAGMENTS: &[&str] = &[
    "SEND",
    "CONNECT",
    "ACK",
    "ZORP",
    "\n",
    "\r\n",
    "\n\n",
    "\r",
    "\0",
    "\0\n",
    ":",
    "\\",
    "\\n",
    "\\c",
    "\\r",
    "\\t",
    "content-length:",
    "content-length:3\n",
    "accept-version:1.2\n",
    "3",
    "-1",
    " ",
    "a:b\n",
    "destination:/queue/a\n",
    "żółw",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Bytes that are likelier than random ones to mean something to a decoder.
pub(crate) fn stomp_like_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = select(FRAGMENTS).prop_map(|text| text.as_bytes().to_vec());
    vec(
        prop_oneof![9 => fragment, 1 => vec(any::<u8>(), 1..4)],
        0..24,
    )
    .prop_map(|parts| parts.concat())
}

/// A text that any version can carry in a header: nothing that needs an escape, no space in front.
pub(crate) fn plain_text() -> impl Strategy<Value = String> {
    "([!-9;-\\[\\]-~żó✓]([ -9;-\\[\\]-~żó✓]{0,20}))?"
}

/// A text full of what needs escapes, but without NUL, which no version can carry.
pub(crate) fn special_text() -> impl Strategy<Value = String> {
    "[a-c:\\\\\n\r ✓]{0,12}"
}

/// A frame whose headers are made of such texts. It opens no session, so that it is read by the version in use.
pub(crate) fn frame_of<S: Strategy<Value = String>>(
    text: impl Fn() -> S,
) -> impl Strategy<Value = Frame> {
    let commands: Vec<_> = Command::ALL
        .into_iter()
        .filter(|command| {
            !matches!(
                command,
                Command::Connect | Command::Stomp | Command::Connected
            )
        })
        .collect();
    let name = text().prop_filter("names are not empty", |name| !name.is_empty());
    let headers = vec((name, text()), 0..8);
    let body = prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..64)];
    (select(commands), headers, body)
        .prop_map(|(command, headers, body)| Frame::new(command, headers).with_body(body))
}

/// The frame as it is read back: with the header that tells the length of its body.
pub(crate) fn with_content_length(frame: &Frame) -> Frame {
    let mut headers: Vec<(String, String)> = frame
        .headers
        .iter()
        .map(|(n, v)| (n.into(), v.into()))
        .collect();
    if !frame.body.is_empty() {
        headers.push(("content-length".into(), frame.body.len().to_string()));
    }
    Frame::new(frame.command, headers).with_body(frame.body.clone())
}
