//! The fuzz targets on a stable compiler: over their corpus, and over random input.

mod support;

use std::fs;
use std::path::Path;

use leveret_stomp_codec::fuzzing;
use proptest::prelude::*;
use support::stomp_like_bytes;

/// Runs a target over the files of its corpus.
fn run_corpus(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let mut count = 0;
    for file in fs::read_dir(&folder).expect("the corpus lies beside the crates") {
        target(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

#[test]
fn decode_holds_over_its_corpus() {
    run_corpus("stomp_decode", fuzzing::decode);
}

#[test]
fn roundtrip_holds_over_its_corpus() {
    run_corpus("stomp_roundtrip", fuzzing::roundtrip);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn decode_holds_over_random_input(setup in any::<[u8; 2]>(), stream in stomp_like_bytes()) {
        fuzzing::decode(&[&setup, stream.as_slice()].concat());
    }

    #[test]
    fn roundtrip_holds_over_random_input(setup in any::<u8>(), stream in stomp_like_bytes()) {
        fuzzing::roundtrip(&[&[setup], stream.as_slice()].concat());
    }

    #[test]
    fn roundtrip_holds_over_random_strings(setup in any::<u8>(), strings in proptest::collection::vec("[\\PC\n\r\0:\\\\ ]{0,8}", 0..8)) {
        let parts: Vec<_> = strings.iter().map(String::as_bytes).collect();
        fuzzing::roundtrip(&[&[setup], parts.join(&0xff).as_slice()].concat());
    }
}
