//! The STOMP codec: what browsers send, and what they get.

use std::hint::black_box;

use leveret_stomp_codec::{Decoder, Encoder, Limits, Version};

use crate::stomp_traffic::{message, send};
use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("stomp/decode SEND", decode),
    Case::new("stomp/encode MESSAGE", encode),
];

/// About what one read of a busy connection holds.
const FRAMES: usize = 64;

fn encoder() -> Encoder {
    let mut encoder = Encoder::new();
    encoder.set_version(Version::V1_2);
    encoder
}

fn decode() -> usize {
    let mut wire = Vec::new();
    (0..FRAMES).for_each(|_| encoder().write_frame(&mut wire, &send()));
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    let mut input = wire.as_slice().into();
    let count = measured(|| {
        let mut count = 0;
        while let Some(frame) = decoder.decode(&mut input).expect("well formed") {
            black_box(frame.header("destination"));
            count += 1;
        }
        count
    });
    assert_eq!(count, FRAMES);
    FRAMES
}

fn encode() -> usize {
    let frame = message();
    let mut out = Vec::new();
    encoder().write_frame(&mut out, &frame);
    let size = out.len();
    out.clear();
    out.reserve(FRAMES * size);
    let encoder = encoder();
    measured(|| (0..FRAMES).for_each(|_| encoder.write_frame(&mut out, black_box(&frame))));
    assert_eq!(out.len(), FRAMES * size);
    FRAMES
}
