//! How long does it take to read what a publisher sends, to write what a consumer gets, and to look into headers?

#[path = "codec/traffic.rs"]
mod traffic;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leveret_amqp_codec::method::basic::Ack;
use leveret_amqp_codec::{
    ContentHeader, FrameKind, Limits, Method, Properties, RawFrame, RawProperties, ValueRef,
    write_body, write_content_header, write_delivery, write_method,
};
use traffic::{
    BODY_SIZES, CHANNEL, DELIVER, FRAME_SIZE_MAX, MESSAGES, PUBLISH, delivery, plain_properties,
    properties_with_headers, published,
};

/// What a broker finds in a read buffer.
#[derive(Debug, Default, Eq, PartialEq)]
struct Found {
    publishes: usize,
    acks: u64,
    persistent: usize,
    body_bytes: usize,
}

/// Reads a buffer as a broker does.
fn read(mut input: &[u8], limits: &Limits) -> Found {
    let mut found = Found::default();
    while let Some((frame, size)) = RawFrame::decode(input, limits).expect("well formed") {
        match frame.kind {
            FrameKind::Method => {
                match Method::decode(frame.payload, limits).expect("well formed") {
                    Method::BasicPublish(publish) => {
                        found.publishes += usize::from(publish.exchange == PUBLISH.exchange)
                    }
                    Method::BasicAck(ack) => found.acks += ack.delivery_tag,
                    other => panic!("{} was not sent", other.name()),
                }
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload, limits).expect("well formed");
                found.persistent += usize::from(header.properties.peek().delivery_mode == Some(2));
            }
            FrameKind::Body => found.body_bytes += frame.payload.len(),
            FrameKind::Heartbeat => (),
        }
        input = &input[size..];
    }
    assert!(input.is_empty(), "the buffer ends with a frame");
    found
}

fn decode(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("codec/decode");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let everything = |body_size| Found {
        publishes: MESSAGES,
        persistent: MESSAGES,
        body_bytes: MESSAGES * body_size,
        ..Found::default()
    };

    for body_size in BODY_SIZES {
        let input = published(&plain_properties(), body_size);
        group.bench_with_input(
            BenchmarkId::new("publish", body_size),
            &input,
            |b, input| {
                b.iter(|| assert_eq!(read(black_box(input), &limits), everything(body_size)));
            },
        );
    }
    let input = published(&properties_with_headers().to_bytes(), 100);
    group.bench_with_input(
        BenchmarkId::new("publish_with_headers", 100),
        &input,
        |b, input| {
            b.iter(|| assert_eq!(read(black_box(input), &limits), everything(100)));
        },
    );

    let mut acks = Vec::new();
    for _ in 0..MESSAGES {
        write_method(
            &mut acks,
            CHANNEL,
            &Ack {
                delivery_tag: 1,
                multiple: false,
            },
        );
    }
    group.bench_with_input("ack", &acks, |b, acks| {
        b.iter(|| assert_eq!(read(black_box(acks), &limits).acks, MESSAGES as u64));
    });
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/encode");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let properties = plain_properties();
    let properties = RawProperties::from_validated_bytes(&properties);
    for body_size in BODY_SIZES {
        let body = vec![b'x'; body_size];
        let mut out = Vec::new();
        let delivery = delivery(properties, &body);
        write_delivery(&mut out, CHANNEL, &delivery, FRAME_SIZE_MAX);
        let delivery_size = out.len();
        group.bench_function(BenchmarkId::new("delivery", body_size), |b| {
            b.iter(|| {
                out.clear();
                for _ in 0..MESSAGES {
                    write_delivery(&mut out, CHANNEL, black_box(&delivery), FRAME_SIZE_MAX);
                }
                assert_eq!(out.len(), MESSAGES * delivery_size);
            });
        });
        group.bench_function(BenchmarkId::new("delivery_in_parts", body_size), |b| {
            b.iter(|| {
                out.clear();
                for _ in 0..MESSAGES {
                    write_method(&mut out, CHANNEL, black_box(&DELIVER));
                    write_content_header(&mut out, CHANNEL, 60, body.len() as u64, properties);
                    write_body(&mut out, CHANNEL, &body, FRAME_SIZE_MAX);
                }
                assert_eq!(out.len(), MESSAGES * delivery_size);
            });
        });
    }
    group.finish();
}

fn headers(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("codec/headers");
    let owned = properties_with_headers();
    let bytes = owned.to_bytes();
    group.bench_function("validate", |b| {
        b.iter(|| RawProperties::from_bytes(black_box(&bytes), &limits).expect("well formed"));
    });
    let raw = RawProperties::from_bytes(&bytes, &limits).expect("well formed");
    group.bench_function("look_up", |b| {
        b.iter(|| {
            let headers = black_box(raw).peek().headers.expect("set");
            let value = headers
                .get("application-header-9")
                .and_then(ValueRef::as_str);
            assert_eq!(value, Some("value 9"));
        });
    });
    group.bench_function("copy", |b| {
        b.iter(|| {
            let copy = Properties::from(black_box(raw));
            assert_eq!(copy.delivery_mode, Some(2));
            copy
        });
    });
    let mut out = Vec::new();
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            black_box(&owned).encode(&mut out);
            assert_eq!(out.len(), bytes.len());
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode, headers);
criterion_main!(benches);
