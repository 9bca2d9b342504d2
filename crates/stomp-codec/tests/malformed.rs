//! What a peer should not send, and the limits: refused as early as possible, and never with a panic.

mod support;

use bytes::BytesMut;
use leveret_stomp_codec::{Command, DecodeError, Decoder, Frame, Limits, Version};
use proptest::prelude::*;
use support::{any_escaping, any_version, decode_all, stomp_like_bytes};

const TIGHT: Limits = Limits {
    command_size_max: 12,
    header_count_max: 3,
    header_line_size_max: 20,
    body_size_max: 30,
    frame_size_max: 80,
};

/// Feeds a version 1.2 decoder byte by byte. The error must come with the last of the bytes, not before.
#[track_caller]
fn check_at_last_byte(limits: Limits, wire: impl AsRef<[u8]>, want: &DecodeError) {
    let wire = wire.as_ref();
    let shown = wire.escape_ascii();
    let mut decoder = Decoder::new(limits);
    decoder.set_version(Version::V1_2);
    let mut input = BytesMut::new();
    let (last, before) = wire.split_last().unwrap();
    for octet in before {
        input.extend_from_slice(&[*octet]);
        assert_eq!(
            decoder.decode(&mut input),
            Ok(None),
            "before the end of {shown}"
        );
    }
    input.extend_from_slice(&[*last]);
    assert_eq!(decoder.decode(&mut input).as_ref(), Err(want), "{shown}");

    let mut decoder = Decoder::new(limits);
    decoder.set_version(Version::V1_2);
    assert_eq!(
        decoder.decode(&mut BytesMut::from(wire)).as_ref(),
        Err(want),
        "{shown} at once"
    );
}

#[track_caller]
fn check_accepted(limits: Limits, wire: impl AsRef<[u8]>) {
    let wire = wire.as_ref();
    let mut decoder = Decoder::new(limits);
    let results = decode_all(&mut decoder, wire.chunks(1));
    assert!(
        matches!(results.as_slice(), [Ok(_)]),
        "{}: {results:?}",
        wire.escape_ascii()
    );
}

#[test]
fn command_limit_counts_until_the_line_feed() {
    check_accepted(TIGHT, "DISCONNECT\r\n\n\0");
    check_at_last_byte(
        TIGHT,
        "ZORPZORPZORPZ",
        &DecodeError::CommandTooLong { limit: 12 },
    );
}

#[test]
fn header_limit_applies_before_the_line_is_complete() {
    check_accepted(TIGHT, "SEND\na:345678901234567890\n\n\0");
    check_at_last_byte(
        TIGHT,
        "SEND\na:3456789012345678901",
        &DecodeError::HeaderTooLong { limit: 20 },
    );
}

#[test]
fn header_count_is_limited() {
    check_accepted(TIGHT, "SEND\na:1\na:2\na:3\n\n\0");
    check_at_last_byte(
        TIGHT,
        "SEND\na:1\na:2\na:3\na:4\n",
        &DecodeError::TooManyHeaders { limit: 3 },
    );
}

#[test]
fn announced_body_is_refused_with_its_header() {
    check_accepted(
        TIGHT,
        format!("SEND\ncontent-length:30\n\n{}\0", "x".repeat(30)),
    );
    let error = DecodeError::ContentLengthTooLarge {
        announced: 31,
        limit: 30,
    };
    check_at_last_byte(TIGHT, "SEND\ncontent-length:31\n", &error);
}

#[test]
fn body_of_unknown_length_is_refused_one_byte_above_the_limit() {
    check_accepted(TIGHT, format!("SEND\n\n{}\0", "x".repeat(30)));
    check_at_last_byte(
        TIGHT,
        format!("SEND\n\n{}", "x".repeat(31)),
        &DecodeError::BodyTooLarge { limit: 30 },
    );
}

#[test]
fn frame_limit_counts_the_nul() {
    let limits = Limits {
        body_size_max: usize::MAX,
        ..TIGHT
    };
    check_accepted(limits, format!("SEND\n\n{}\0", "x".repeat(73)));
    check_at_last_byte(
        limits,
        format!("SEND\n\n{}", "x".repeat(74)),
        &DecodeError::FrameTooLarge { limit: 80 },
    );
    check_accepted(
        limits,
        format!("SEND\ncontent-length:55\n\n{}\0", "x".repeat(55)),
    );
    check_at_last_byte(
        limits,
        "SEND\ncontent-length:56\n\n",
        &DecodeError::FrameTooLarge { limit: 80 },
    );
}

#[test]
fn frame_limit_holds_within_the_head() {
    let limits = Limits {
        header_line_size_max: usize::MAX,
        ..TIGHT
    };
    let wire = format!("SEND\na:{}", "x".repeat(74));
    check_at_last_byte(limits, wire, &DecodeError::FrameTooLarge { limit: 80 });
    let wire = format!("SEND\na:{}\n\n", "x".repeat(71));
    check_at_last_byte(limits, wire, &DecodeError::FrameTooLarge { limit: 80 });
}

#[test]
fn limits_of_the_largest_numbers_do_not_overflow() {
    let limits = Limits {
        command_size_max: usize::MAX,
        header_count_max: usize::MAX,
        header_line_size_max: usize::MAX,
        body_size_max: usize::MAX,
        frame_size_max: usize::MAX,
    };
    check_accepted(limits, "SEND\na:b\n\nhello\0");
    let mut decoder = Decoder::new(limits);
    let mut input =
        BytesMut::from(format!("SEND\ncontent-length:{}\n\nhello\0", usize::MAX).as_str());
    assert_eq!(decoder.decode(&mut input), Ok(None));
    input.extend_from_slice(b"more");
    assert_eq!(decoder.decode(&mut input), Ok(None));
}

#[test]
fn zero_limits_refuse_everything() {
    let limits = Limits {
        command_size_max: 0,
        header_count_max: 0,
        header_line_size_max: 0,
        body_size_max: 0,
        frame_size_max: 0,
    };
    check_at_last_byte(limits, "S", &DecodeError::FrameTooLarge { limit: 0 });
}

#[test]
fn header_lines_need_a_name_and_a_colon() {
    let limits = Limits::default();
    check_at_last_byte(
        limits,
        "SEND\ndestination\n",
        &DecodeError::HeaderWithoutColon,
    );
    check_at_last_byte(limits, "SEND\n:value\n", &DecodeError::HeaderWithoutName);
}

#[test]
fn nul_before_the_body_is_noticed_at_once() {
    let limits = Limits::default();
    check_at_last_byte(limits, "\0C\0", &DecodeError::NulInHead);
    check_at_last_byte(limits, "CONNECT\0", &DecodeError::NulInHead);
    check_at_last_byte(limits, "CONNECT\nlogin:guest\n\0", &DecodeError::NulInHead);
    check_at_last_byte(limits, "SEND\na:b\0", &DecodeError::NulInHead);
}

#[test]
fn content_length_that_is_no_number_is_refused_with_its_header() {
    for value in ["", "-1", "+5", "5 5", "0x5", "5\\n", "five"] {
        let wire = format!("SEND\ncontent-length:{value}\n");
        check_at_last_byte(Limits::default(), wire, &DecodeError::InvalidContentLength);
    }
}

#[test]
fn announced_body_must_be_followed_by_nul() {
    let limits = Limits::default();
    check_at_last_byte(
        limits,
        "SEND\ncontent-length:2\n\nabc",
        &DecodeError::MissingNul { length: 2 },
    );
    check_at_last_byte(
        limits,
        "SEND\ncontent-length:0\n\n\n",
        &DecodeError::MissingNul { length: 0 },
    );
}

#[test]
fn headers_that_are_not_utf8_are_refused() {
    check_at_last_byte(
        Limits::default(),
        b"SEND\na:\xff\n\n\0",
        &DecodeError::InvalidUtf8,
    );
    check_at_last_byte(
        Limits::default(),
        b"SEND\n\xc5:\xbc\n\n\0",
        &DecodeError::InvalidUtf8,
    );
}

#[test]
fn unknown_command_need_not_be_utf8() {
    let unknown = DecodeError::UnknownCommand {
        command: "SEND\u{fffd}".into(),
    };
    check_at_last_byte(Limits::default(), b"SEND\xff\n\n\0", &unknown);
}

#[test]
fn other_protocols_get_nowhere() {
    let mut decoder = Decoder::new(Limits::BEFORE_LOGIN);
    let mut http = BytesMut::from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(decoder.decode(&mut http), Ok(None));
    let mut decoder = Decoder::new(Limits::BEFORE_LOGIN);
    let mut tls = BytesMut::from(b"\x16\x03\x01\x00\xa5".as_slice());
    assert_eq!(decoder.decode(&mut tls), Err(DecodeError::NulInHead));
    let mut decoder = Decoder::new(Limits::BEFORE_LOGIN);
    let mut amqp = BytesMut::from(b"AMQP\x00\x00\x09\x01".as_slice());
    assert_eq!(decoder.decode(&mut amqp), Err(DecodeError::NulInHead));
}

/// Cuts a stream of three frames into three pieces at every pair of places.
#[test]
fn every_cut_of_a_stream_gives_the_same_frames() {
    let stream = b"\r\nSEND\r\na:b\\cc\r\n\r\nx\0\r\nZORP\n\n\0SEND\ncontent-length:3\n\n\0\0\0\0\nACK\nid:1\n\n\0\n";
    let want = [
        Ok(Frame::new(Command::Send, [("a", "b:c")]).with_body("x")),
        Err(DecodeError::UnknownCommand {
            command: "ZORP".into(),
        }),
        Ok(Frame::new(Command::Send, [("content-length", "3")]).with_body("\0\0\0")),
        Ok(Frame::new(Command::Ack, [("id", "1")])),
    ];
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            let mut decoder = Decoder::new(Limits::default());
            decoder.set_version(Version::V1_2);
            assert_eq!(
                decode_all(&mut decoder, pieces),
                want,
                "cut at {first} and {second}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Errors too are the same, so that nobody can steer a check by how a stream is cut.
    #[test]
    fn random_streams_mean_the_same_in_pieces(
        stream in stomp_like_bytes(),
        piece_size in 1_usize..20,
        tight in any::<bool>(),
        version in any_version(),
        escaping in any_escaping(),
    ) {
        let decoder = || {
            let limits = if tight { TIGHT } else { Limits::default() };
            let mut decoder = Decoder::new(limits).with_escaping(escaping);
            decoder.set_version(version);
            decoder
        };
        let whole = decode_all(&mut decoder(), [stream.as_slice()]);
        prop_assert_eq!(whole, decode_all(&mut decoder(), stream.chunks(piece_size)));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in any_version()) {
        let mut decoder = Decoder::new(TIGHT);
        decoder.set_version(version);
        // At most one frame or error for each byte: the loop in there ends.
        prop_assert!(decode_all(&mut decoder, bytes.chunks(7)).len() <= bytes.len());
    }
}
