//! How does our STOMP codec compare with stomp-parser on the same frames?
//!
//! stomp-parser takes one whole frame in a vector of its own, which it keeps; finding where a frame ends, as ours does, is
//! left to whoever calls it. It knows each command's headers and refuses a frame without those that must be there.

#[path = "../stomp/traffic.rs"]
mod traffic;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use leveret_stomp_codec::{Decoder, Encoder, Frame, Limits, Version};
use stomp_parser::client::ClientFrame;
use stomp_parser::server::ServerFrame;
use traffic::{message, send};

fn wire(frame: &Frame) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.set_version(Version::V1_2);
    let mut out = Vec::new();
    encoder.write_frame(&mut out, frame);
    // The line feed behind a frame is allowed to be there; stomp-parser wants none.
    if out.last() == Some(&b'\n') {
        out.pop();
    }
    out
}

/// Reads a frame from a buffer and asks it for its destination and its body.
fn decode(c: &mut Criterion) {
    for (name, frame) in [("SEND", send()), ("MESSAGE", message())] {
        let bytes = wire(&frame);
        let destination = frame.header("destination").expect("it has one");
        let mut group = c.benchmark_group(format!("stomp/decode {name}"));
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(Version::V1_2);
        group.bench_function("leveret", |b| {
            b.iter_batched(
                || bytes.as_slice().into(),
                |mut input| {
                    let frame = decoder.decode(&mut input).expect("well formed");
                    let frame = frame.expect("complete");
                    assert_eq!(frame.header("destination"), Some(destination));
                    black_box(frame)
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function("stomp-parser", |b| {
            b.iter_batched(
                || bytes.clone(),
                |input| theirs(input, destination),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// A frame of stomp-parser's.
enum Theirs {
    Client(#[expect(dead_code, reason = "it is kept from being dropped early")] ClientFrame),
    Server(#[expect(dead_code, reason = "it is kept from being dropped early")] ServerFrame),
}

fn theirs(input: Vec<u8>, destination: &str) -> Theirs {
    if input.starts_with(b"SEND") {
        let frame = ClientFrame::try_from(input).expect("well formed");
        let ClientFrame::Send(send) = &frame else {
            panic!("another frame than was sent");
        };
        assert_eq!(send.destination().value(), destination);
        assert!(black_box(send.body()).is_some());
        Theirs::Client(frame)
    } else {
        let frame = ServerFrame::try_from(input).expect("well formed");
        let ServerFrame::Message(message) = &frame else {
            panic!("another frame than was sent");
        };
        assert_eq!(message.destination().value(), destination);
        assert!(black_box(message.body()).is_some());
        Theirs::Server(frame)
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
