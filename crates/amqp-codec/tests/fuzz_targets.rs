//! The fuzz targets on a stable compiler: over their corpus, and over random input.

mod support;

use std::fs;
use std::path::Path;

use leveret_amqp_codec::{
    ChannelId, RawProperties, fuzzing, write_body, write_content_header, write_heartbeat,
};
use proptest::prelude::*;
use support::{any_ingredients, any_properties, every_method};

/// Runs a target over the files of the corpus, which both targets share.
fn run_corpus(target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/amqp_decode");
    let mut count = 0;
    for file in fs::read_dir(&folder).expect("the corpus lies beside the crates") {
        target(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

/// A stream of frames as a peer might send it, with some bytes changed.
fn damaged_stream() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3);
    let body = proptest::collection::vec(any::<u8>(), 0..40);
    (
        any_ingredients(),
        any_properties(),
        body,
        any::<usize>(),
        damage,
    )
        .prop_map(|(from, properties, body, which, damage)| {
            let methods = every_method(&from);
            let channel = ChannelId(1);
            let mut stream = Vec::new();
            methods[which % methods.len()].write_frame(&mut stream, channel);
            let properties = properties.to_bytes();
            let properties = RawProperties::from_validated_bytes(&properties);
            write_content_header(&mut stream, channel, 60, body.len() as u64, properties);
            write_body(&mut stream, channel, &body, 30);
            write_heartbeat(&mut stream);
            for (place, byte) in damage {
                *place.get_mut(&mut stream) = byte;
            }
            stream
        })
}

#[test]
fn decode_holds_over_its_corpus() {
    run_corpus(fuzzing::decode);
}

#[test]
fn roundtrip_holds_over_the_corpus() {
    run_corpus(fuzzing::roundtrip);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn decode_holds_over_damaged_streams(stream in damaged_stream()) {
        fuzzing::decode(&stream);
    }

    #[test]
    fn roundtrip_holds_over_damaged_streams(stream in damaged_stream()) {
        fuzzing::roundtrip(&stream);
    }

    #[test]
    fn both_hold_over_random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        fuzzing::decode(&bytes);
        fuzzing::roundtrip(&bytes);
    }
}
