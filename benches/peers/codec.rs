//! How does our codec compare with amq-protocol, lapin's, on the same bytes? And with amqp_serde, amqprs's, which knows
//! values and tables, while frames are amqprs's own business?
//!
//! amq-protocol copies what it reads into owned strings, maps and vectors, which a client wants and a broker does not;
//! part of the difference is that. To read with ours and copy as much is `leveret_owned`. What it writes is made up
//! before the clock starts.

#[path = "../codec/traffic.rs"]
mod traffic;

use std::hint::black_box;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic::AMQPMethod};
use amqp_serde::types::FieldTable;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leveret_amqp_codec::{
    Frame, Limits, Method, Properties, RawProperties, RawTable, Table, write_delivery,
};
use traffic::{
    BODY_SIZES, CHANNEL, FRAME_SIZE_MAX, MESSAGES, delivery, plain_properties,
    properties_with_headers, published,
};

/// How many publishes and how many bytes of bodies a codec found.
type Found = (usize, usize);

/// Reads all messages and tells what it found.
type Reader = fn(&[u8]) -> Found;

fn read_ours(mut input: &[u8]) -> Found {
    let limits = Limits::default();
    let mut found = (0, 0);
    while let Some((frame, size)) = Frame::decode(input, &limits).expect("well formed") {
        match black_box(frame) {
            Frame::Method(_, Method::BasicPublish(_)) => found.0 += 1,
            Frame::Body(_, body) => found.1 += body.len(),
            _ => (),
        }
        input = &input[size..];
    }
    found
}

fn read_ours_owned(mut input: &[u8]) -> Found {
    let limits = Limits::default();
    let mut found = (0, 0);
    while let Some((frame, size)) = Frame::decode(input, &limits).expect("well formed") {
        match frame {
            Frame::Method(_, Method::BasicPublish(publish)) => {
                black_box((publish.exchange.to_owned(), publish.routing_key.to_owned()));
                found.0 += 1;
            }
            Frame::Header(_, header) => {
                black_box(Properties::from(header.properties));
            }
            Frame::Body(_, body) => found.1 += black_box(body.to_vec()).len(),
            other => panic!("{other:?} was not sent"),
        }
        input = &input[size..];
    }
    found
}

fn read_theirs(mut input: &[u8]) -> Found {
    let mut found = (0, 0);
    while !input.is_empty() {
        let (rest, frame) = parse_frame(input).expect("well formed");
        match black_box(frame) {
            AMQPFrame::Method(_, AMQPClass::Basic(AMQPMethod::Publish(_))) => found.0 += 1,
            AMQPFrame::Body(_, body) => found.1 += body.len(),
            _ => (),
        }
        input = rest;
    }
    found
}

fn decode(c: &mut Criterion) {
    let with_headers = properties_with_headers().to_bytes();
    let plain = plain_properties();
    let cases = [
        (
            "publish/100",
            published(&plain, BODY_SIZES[0]),
            BODY_SIZES[0],
        ),
        (
            "publish/1024",
            published(&plain, BODY_SIZES[1]),
            BODY_SIZES[1],
        ),
        (
            "publish_with_headers/100",
            published(&with_headers, BODY_SIZES[0]),
            BODY_SIZES[0],
        ),
    ];
    for (name, input, body_size) in &cases {
        let mut group = c.benchmark_group(format!("decode/{name}"));
        group.throughput(Throughput::Elements(MESSAGES as u64));
        let codecs: [(&str, Reader); 3] = [
            ("leveret", read_ours),
            ("leveret_owned", read_ours_owned),
            ("amq-protocol", read_theirs),
        ];
        for (codec, read) in codecs {
            group.bench_function(codec, |b| {
                b.iter(|| assert_eq!(read(black_box(input)), (MESSAGES, MESSAGES * body_size)));
            });
        }
        group.finish();
    }
}

/// The frames of one delivery as amq-protocol has them.
fn their_delivery(properties: RawProperties<'_>, body: &[u8]) -> (Vec<u8>, Vec<AMQPFrame>) {
    let mut bytes = Vec::new();
    write_delivery(
        &mut bytes,
        CHANNEL,
        &delivery(properties, body),
        FRAME_SIZE_MAX,
    );
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).expect("well formed");
        frames.push(frame);
        rest = after;
    }
    (bytes, frames)
}

fn encode(c: &mut Criterion) {
    let properties = plain_properties();
    let properties = RawProperties::from_validated_bytes(&properties);
    for body_size in BODY_SIZES {
        let body = vec![b'x'; body_size];
        let (bytes, frames) = their_delivery(properties, &body);
        let delivery = delivery(properties, &body);
        let want = bytes.repeat(MESSAGES);
        let mut group = c.benchmark_group(format!("encode/delivery/{body_size}"));
        group.throughput(Throughput::Elements(MESSAGES as u64));

        let mut out = Vec::new();
        group.bench_function("leveret", |b| {
            b.iter(|| {
                out.clear();
                for _ in 0..MESSAGES {
                    write_delivery(&mut out, CHANNEL, black_box(&delivery), FRAME_SIZE_MAX);
                }
            });
        });
        assert_eq!(out, want);

        let mut out = vec![0; want.len()];
        group.bench_function("amq-protocol", |b| {
            b.iter(|| {
                let mut context = WriteContext::from(out.as_mut_slice());
                for _ in 0..MESSAGES {
                    for frame in black_box(&frames) {
                        context = gen_frame(frame)(context).expect("it fits");
                    }
                }
                assert!(
                    context.write.is_empty(),
                    "the buffer is full to the last byte"
                );
            });
        });
        assert_eq!(out, want);
        group.finish();
    }
}

/// The headers of a message that has been dead-lettered twice, from bytes to a table that can be kept and back.
fn tables(c: &mut Criterion) {
    let table = properties_with_headers().headers.expect("they are set");
    let mut bytes = Vec::new();
    table.encode(&mut bytes);
    let limits = Limits::default();

    let mut group = c.benchmark_group("table/decode");
    group.bench_function("leveret, in place", |b| {
        b.iter(|| RawTable::decode(black_box(&bytes[4..]), &limits).expect("well formed"));
    });
    group.bench_function("leveret_owned", |b| {
        b.iter(|| {
            let raw = RawTable::decode(black_box(&bytes[4..]), &limits).expect("well formed");
            Table::from(raw)
        });
    });
    group.bench_function("amqp_serde", |b| {
        b.iter(|| {
            let table = amqp_serde::from_bytes::<FieldTable>(black_box(&bytes));
            table.expect("well formed")
        });
    });
    group.finish();

    let theirs: FieldTable = amqp_serde::from_bytes(&bytes).expect("well formed");
    let mut group = c.benchmark_group("table/encode");
    let mut out = Vec::new();
    group.bench_function("leveret", |b| {
        b.iter(|| {
            out.clear();
            black_box(&table).encode(&mut out);
            assert_eq!(out.len(), bytes.len());
        });
    });
    group.bench_function("amqp_serde", |b| {
        b.iter(|| {
            out.clear();
            amqp_serde::to_buffer(black_box(&theirs), &mut out).expect("it can be written");
            assert_eq!(out.len(), bytes.len());
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode, tables);
criterion_main!(benches);
