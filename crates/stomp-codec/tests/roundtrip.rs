//! What the encoder writes, the decoder reads back.

mod support;

use leveret_stomp_codec::{Command, Decoder, Escaping, Frame, Limits, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{
    any_escaping, any_version, decode_all, encode, encoder, frame_of, plain_text, special_text,
    with_content_length,
};

/// Sends frames from an encoder to a decoder of the same version, in pieces of the given size.
#[track_caller]
fn check(frames: &[Frame], version: Version, escaping: Escaping, piece_size: usize) {
    let wire = encode(&encoder(version, escaping), frames);
    let mut decoder = Decoder::new(Limits::default()).with_escaping(escaping);
    decoder.set_version(version);
    let want: Vec<_> = frames.iter().map(with_content_length).map(Ok).collect();
    assert_eq!(decode_all(&mut decoder, wire.chunks(piece_size)), want);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn plain_headers_survive_in_every_version(
        frames in vec(frame_of(plain_text), 0..4),
        version in any_version(),
        escaping in any_escaping(),
        piece_size in 1_usize..100,
    ) {
        check(&frames, version, escaping, piece_size);
    }

    #[test]
    fn every_octet_but_nul_survives_in_version_1_2(frames in vec(frame_of(special_text), 0..4)) {
        check(&frames, Version::V1_2, Escaping::Standard, usize::MAX);
    }

    #[test]
    fn every_octet_but_nul_survives_version_1_1_between_rabbitmq_modes(frames in vec(frame_of(special_text), 0..4)) {
        check(&frames, Version::V1_1, Escaping::RabbitMq, usize::MAX);
    }

    /// Whatever a header contains, the reader finds as many frames and as many headers as were written.
    #[test]
    fn nothing_can_be_injected_into_any_version(
        headers in vec(("\\PC{0,3}[\n\r\0:\\\\]{0,3}", "[\n\r\0:\\\\a ]{0,10}"), 0..6),
        version in any_version(),
        escaping in any_escaping(),
    ) {
        let frame = Frame::new(Command::Message, headers).with_body("\0\n\0");
        let written = frame.headers.iter().filter(|(name, _)| !name.is_empty()).count();
        let wire = encode(&encoder(version, escaping), &[frame.clone(), frame.clone()]);
        let mut decoder = Decoder::new(Limits::default()).with_escaping(escaping);
        decoder.set_version(version);
        let results = decode_all(&mut decoder, [wire.as_slice()]);
        prop_assert_eq!(results.len(), 2);
        for result in results {
            let again = result.unwrap();
            prop_assert_eq!(again.headers.len(), written + 1);
            prop_assert_eq!(&again.body, &frame.body);
        }
    }
}

#[test]
fn handshake_between_both_ends_settles_on_the_highest_version() {
    let offer = Frame::new(
        Command::Connect,
        [("accept-version", "1.0,1.1,1.2"), ("passcode", " a:b\\c")],
    );
    let wire = encode(
        &encoder(Version::V1_0, Escaping::Standard),
        std::slice::from_ref(&offer),
    );
    let mut server = Decoder::new(Limits::BEFORE_LOGIN);
    assert_eq!(
        decode_all(&mut server, [wire.as_slice()]),
        [Ok(offer.clone())]
    );

    let version = Version::negotiate(offer.header("accept-version")).unwrap();
    let answer = Frame::new(
        Command::Connected,
        [("version", version.as_str()), ("session", " a:b")],
    );
    let wire = encode(
        &encoder(version, Escaping::Standard),
        std::slice::from_ref(&answer),
    );
    let mut client = Decoder::new(Limits::default());
    assert_eq!(decode_all(&mut client, [wire.as_slice()]), [Ok(answer)]);
}

#[test]
fn large_body_passes_in_pieces() {
    let body: Vec<u8> = (0..1_000_000_u32)
        .map(|number| number.to_le_bytes()[1])
        .collect();
    let frame = Frame::new(Command::Send, [("destination", "/queue/a")]).with_body(body);
    check(
        &[frame.clone(), frame],
        Version::V1_2,
        Escaping::Standard,
        1460,
    );
}
