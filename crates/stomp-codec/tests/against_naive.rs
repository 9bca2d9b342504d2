//! The decoder reads every stream as its plain twin does.

mod support;

use bytes::BytesMut;
use leveret_stomp_codec::{DecodeError, Decoder, Escaping, Limits, Version};
use proptest::prelude::*;
use support::naive::{self, First};
use support::{any_escaping, any_version, stomp_like_bytes};

/// The twin knows no limits.
const UNLIMITED: Limits = Limits {
    command_size_max: usize::MAX,
    header_count_max: usize::MAX,
    header_line_size_max: usize::MAX,
    body_size_max: usize::MAX,
    frame_size_max: usize::MAX,
};

#[track_caller]
fn check(stream: &[u8], version: Version, escaping: Escaping) {
    let mut decoder = Decoder::new(UNLIMITED).with_escaping(escaping);
    decoder.set_version(version);
    let mut input = BytesMut::from(stream);
    let mut rest = stream;
    loop {
        let (want, after) = naive::first(rest, version, escaping);
        match decoder.decode(&mut input) {
            Ok(None) => {
                assert_eq!(want, First::Incomplete, "{stream:?}");
                return;
            }
            Ok(Some(frame)) => assert_eq!(want, First::Frame(frame), "{stream:?}"),
            Err(DecodeError::UnknownCommand { command }) => {
                assert_eq!(want, First::UnknownCommand(command), "{stream:?}");
            }
            Err(error) => {
                assert_eq!(want, First::Malformed, "{error} in {stream:?}");
                return;
            }
        }
        assert_eq!(input, after, "after a frame of {stream:?}");
        rest = after;
    }
}

#[test]
fn handmade_streams_are_read_alike() {
    for stream in [
        "SEND\na:b\n\nbody\0\nACK\n\n\0",
        "SEND\ncontent-length:3\ncontent-length:x\n\na\0b\0",
        "SEND\ncontent-length:2\n\nabc\0",
        "CONNECT\naccept-version:1.1\nlogin: a\\\n\n\0",
        "ZORP\na:\\t\n\n\0SEND\n\\c:b\n\n\0",
    ] {
        for version in Version::ALL {
            check(stream.as_bytes(), version, Escaping::Standard);
            check(stream.as_bytes(), version, Escaping::RabbitMq);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_streams_are_read_alike(
        stream in stomp_like_bytes(),
        version in any_version(),
        escaping in any_escaping(),
    ) {
        check(&stream, version, escaping);
    }

    /// Most random streams are malformed early on; these begin with frames that are not.
    #[test]
    fn random_headers_and_bodies_are_read_alike(
        lines in proptest::collection::vec("[a-c\\\\nr: ]{0,6}(:|content-length:[0-4])[a-c\\\\nr: \r]{0,6}\r?\n", 0..4),
        body in "[a-c\0]{0,4}\0[\n\r]{0,2}",
        version in any_version(),
        escaping in any_escaping(),
    ) {
        let frame = format!("SEND\n{}\n{body}", lines.concat());
        check(frame.repeat(2).as_bytes(), version, escaping);
    }
}
