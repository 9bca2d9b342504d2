//! What does a STOMP frame cost to read and to write, and does a frame that arrives byte by byte stay linear?

#[path = "stomp/traffic.rs"]
mod traffic;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use leveret_stomp_codec::{Command, Decoder, Encoder, Frame, Limits, Version};
use traffic::{message, send};

/// Frames to a buffer: about what one read of a busy connection holds.
const BATCH: usize = 64;

/// A message with something to escape in half of its headers.
fn escaped() -> Frame {
    let mut headers: Vec<(String, String)> = message()
        .headers
        .iter()
        .map(|(n, v)| (n.into(), v.into()))
        .collect();
    for (name, value) in headers.iter_mut().step_by(2) {
        name.push_str(":x");
        value.push_str("\\ \n");
    }
    Frame::new(Command::Message, headers).with_body("hello")
}

fn encoder() -> Encoder {
    let mut encoder = Encoder::new();
    encoder.set_version(Version::V1_2);
    encoder
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    decoder
}

fn wire(frame: &Frame, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..count {
        encoder().write_frame(&mut out, frame);
    }
    out
}

/// The frames that are benchmarked come back as they were, apart from their `content-length`.
fn check(frame: &Frame) {
    let mut input = wire(frame, 1).as_slice().into();
    let again = decoder()
        .decode(&mut input)
        .expect("well formed")
        .expect("complete");
    assert_eq!((again.command, &again.body), (frame.command, &frame.body));
    assert!(
        again
            .headers
            .iter()
            .take(frame.headers.len())
            .eq(&frame.headers)
    );
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stomp_decode");
    for (name, frame) in [
        ("send", send()),
        ("message", message()),
        ("escaped", escaped()),
    ] {
        check(&frame);
        let stream = wire(&frame, BATCH);
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(name, |bencher| {
            let mut decoder = decoder();
            bencher.iter_batched(
                || stream.as_slice().into(),
                |mut input| {
                    let mut count = 0;
                    while let Some(frame) = decoder.decode(&mut input).expect("well formed") {
                        black_box(frame.header("destination"));
                        count += 1;
                    }
                    assert_eq!(count, BATCH);
                    input
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decode_in_pieces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stomp_decode_byte_by_byte");
    for size in [1024, 4096, 16 * 1024] {
        // Without content-length the end of the body has to be searched for.
        let stream = format!("SEND\ndestination:/queue/a\n\n{}\0", "x".repeat(size));
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(format!("body_{size}"), |bencher| {
            let mut decoder = decoder();
            let (first, rest) = stream.as_bytes().split_at(1);
            bencher.iter(|| {
                let mut input = first.into();
                let mut last = decoder.decode(&mut input);
                for octet in rest {
                    input.extend_from_slice(std::slice::from_ref(octet));
                    last = decoder.decode(&mut input);
                }
                assert_eq!(
                    last.expect("well formed").expect("complete").body.len(),
                    size
                );
            });
        });
    }
    group.finish();
}

fn decode_large_body(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stomp_decode_large_body");
    let size = 1024 * 1024;
    let body = "x".repeat(size);
    for (name, header) in [
        ("announced", format!("content-length:{size}\n")),
        ("searched", String::new()),
    ] {
        let stream = format!("SEND\n{header}\n{body}\0");
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |bencher| {
            let mut decoder = decoder();
            bencher.iter_batched(
                || stream.as_bytes().into(),
                |mut input| {
                    let frame = decoder
                        .decode(&mut input)
                        .expect("well formed")
                        .expect("complete");
                    assert_eq!(frame.body.len(), size);
                    frame
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stomp_encode");
    for (name, frame) in [
        ("send", send()),
        ("message", message()),
        ("escaped", escaped()),
    ] {
        check(&frame);
        let size = wire(&frame, BATCH).len();
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(name, |bencher| {
            let encoder = encoder();
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                for _ in 0..BATCH {
                    encoder.write_frame(&mut out, black_box(&frame));
                }
                assert_eq!(out.len(), size);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, decode_in_pieces, decode_large_body, encode);
criterion_main!(benches);
