//! What the fuzz targets run, kept here so that a plain test can run it too. Not part of the API.

use bytes::BytesMut;

use crate::decoder::version_of;
use crate::escape::Escapes;
use crate::{Command, DecodeError, Decoder, Encoder, Escaping, Frame, Headers, Limits, Version};

/// Small enough that short inputs reach every limit.
const TIGHT: Limits = Limits {
    command_size_max: 12,
    header_count_max: 4,
    header_line_size_max: 24,
    body_size_max: 32,
    frame_size_max: 96,
};

/// How one input is read, chosen by its first byte.
#[derive(Clone, Copy, Debug)]
struct Setup {
    version: Version,
    escaping: Escaping,
    limits: Limits,
}

impl Setup {
    fn new(choice: u8) -> Self {
        Self {
            version: match choice % 3 {
                0 => Version::V1_0,
                1 => Version::V1_1,
                _ => Version::V1_2,
            },
            escaping: if choice & 64 == 0 {
                Escaping::Standard
            } else {
                Escaping::RabbitMq
            },
            limits: if choice & 128 == 0 {
                Limits::default()
            } else {
                TIGHT
            },
        }
    }

    fn decoder(self) -> Decoder {
        let mut decoder = Decoder::new(self.limits).with_escaping(self.escaping);
        decoder.set_version(self.version);
        decoder
    }

    /// Everything that a stream decodes to when it arrives in pieces of this size, and what is left of it.
    fn decode(
        self,
        stream: &[u8],
        piece_size: usize,
    ) -> (Vec<Result<Frame, DecodeError>>, BytesMut) {
        let mut decoder = self.decoder();
        let mut input = BytesMut::new();
        let mut results = Vec::new();
        for piece in stream.chunks(piece_size.max(1)) {
            input.extend_from_slice(piece);
            loop {
                let before = input.len();
                match decoder.decode(&mut input) {
                    Ok(None) => break,
                    Ok(Some(frame)) => results.push(Ok(frame)),
                    Err(error) => {
                        let fatal = error.is_fatal();
                        results.push(Err(error));
                        if fatal {
                            return (results, BytesMut::new());
                        }
                    }
                }
                assert!(
                    input.len() < before,
                    "a frame was returned that took nothing off the input"
                );
            }
        }
        (results, input)
    }
}

/// A stream means the same however it is cut into pieces. The first byte chooses versions and limits, the second the
/// size of the pieces.
pub fn decode(data: &[u8]) {
    let [choice, piece_size, stream @ ..] = data else {
        return;
    };
    let setup = Setup::new(*choice);
    let whole = setup.decode(stream, stream.len());
    let pieces = setup.decode(stream, usize::from(*piece_size));
    assert_eq!(whole, pieces);
}

/// What was decoded and is encoded decodes to the same again, up to what the version cannot express; and whatever
/// strings are encoded, one frame with as many headers comes out. The first byte chooses the version.
pub fn roundtrip(data: &[u8]) {
    let [choice, stream @ ..] = data else {
        return;
    };
    let setup = Setup::new(choice & 127);
    let (frames, _) = setup.decode(stream, stream.len());
    for frame in frames.into_iter().flatten() {
        let again = encode_and_decode(setup, &frame);
        assert_eq!((again.command, &again.body), (frame.command, &frame.body));
        assert_eq!(
            without_content_length(&again.headers),
            expressible(setup, &frame)
        );
    }
    encode_strings(setup, stream);
}

/// Makes a frame of each command out of arbitrary strings, which lie between bytes that are not UTF-8.
fn encode_strings(setup: Setup, data: &[u8]) {
    let parts: Vec<_> = data
        .split(|octet| *octet == 0xff)
        .map(String::from_utf8_lossy)
        .collect();
    let pairs = parts.chunks_exact(2).filter_map(|pair| match pair {
        [name, value] => Some((name, value)),
        _ => None,
    });
    let headers: Vec<_> = pairs
        .filter(|(name, _)| !name.is_empty() && *name != "content-length")
        .take(setup.limits.header_count_max - 1)
        .collect();
    // How a STOMP frame is read depends on its own accept-version, which must not be an arbitrary string.
    for command in Command::ALL
        .into_iter()
        .filter(|command| *command != Command::Stomp)
    {
        let frame = Frame::new(command, headers.iter().copied()).with_body(data.to_vec());
        let again = encode_and_decode(setup, &frame);
        assert_eq!((again.command, &again.body), (command, &frame.body));
        assert_eq!(without_content_length(&again.headers).len(), headers.len());
    }
}

/// Sends a frame to itself, in one piece.
fn encode_and_decode(setup: Setup, frame: &Frame) -> Frame {
    let mut wire = Vec::new();
    let mut encoder = Encoder::new().with_escaping(setup.escaping);
    encoder.set_version(version_of(frame.command, &frame.headers, setup.version));
    encoder.write_frame(&mut wire, frame);
    // Escaping makes headers longer: what is written may be above limits that hold for what is read.
    let unlimited = Limits {
        command_size_max: usize::MAX,
        header_count_max: usize::MAX,
        header_line_size_max: usize::MAX,
        body_size_max: usize::MAX,
        frame_size_max: usize::MAX,
    };
    let setup = Setup {
        limits: unlimited,
        ..setup
    };
    let (mut frames, rest) = setup.decode(&wire, wire.len());
    assert!(rest.is_empty(), "{rest:?} is left of {wire:?}");
    assert_eq!(frames.len(), 1, "{wire:?} is not one frame");
    match frames.pop() {
        Some(Ok(frame)) => frame,
        other => panic!("{wire:?} decodes to {other:?}"),
    }
}

fn without_content_length(headers: &Headers) -> Headers {
    headers
        .iter()
        .filter(|(name, _)| *name != "content-length")
        .collect()
}

/// The headers of a decoded frame as they come back after being written by the same version.
fn expressible(setup: Setup, frame: &Frame) -> Headers {
    let version = version_of(frame.command, &frame.headers, setup.version);
    let escapes = setup.escaping.of_frame(version, frame.command);
    let express = |text: &str| match escapes {
        Escapes::All => text.to_owned(),
        Escapes::None | Escapes::AllButReturn => text.replace('\r', " "),
    };
    without_content_length(&frame.headers)
        .iter()
        .map(|(name, value)| {
            let value = express(value);
            let value = match version {
                Version::V1_0 => value.trim_start_matches(' ').to_owned(),
                Version::V1_1 | Version::V1_2 => value,
            };
            (express(name), value)
        })
        .collect()
}
