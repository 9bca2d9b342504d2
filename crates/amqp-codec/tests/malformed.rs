//! Bytes that no sane peer sends.

mod support;

use leveret_amqp_codec::{
    ChannelId, ContentError, ContentHeader, DecodeError, Frame, FrameError, Limits, Method,
    MethodError, RawProperties, RawTable, TableError, Value,
};
use proptest::prelude::*;
use support::{any_ingredients, any_properties, every_method};

/// Tables in tables, `levels` of them.
fn nested(levels: usize) -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 1..levels {
        let length = u32::try_from(entries.len()).unwrap();
        entries = [b"\x01tF".as_slice(), &length.to_be_bytes(), &entries].concat();
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn part_of_a_frame_is_never_taken(from in any_ingredients()) {
        let limits = Limits::default();
        for method in every_method(&from) {
            let mut frame = Vec::new();
            method.write_frame(&mut frame, ChannelId(1));
            for end in 0..frame.len() {
                prop_assert_eq!(Frame::decode(&frame[..end], &limits), Ok(None));
            }
        }
    }

    #[test]
    fn method_without_its_end_is_malformed(from in any_ingredients()) {
        let limits = Limits::default();
        for method in every_method(&from) {
            let mut payload = Vec::new();
            method.encode(&mut payload);
            for end in 0..payload.len() {
                match Method::decode(&payload[..end], &limits) {
                    Err(MethodError::NoMethod { length }) => prop_assert_eq!(length, end),
                    Err(MethodError::Truncated { method: name }) => prop_assert_eq!(name, method.name()),
                    other => prop_assert!(false, "{} cut to {end}: {other:?}", method.name()),
                }
            }
            payload.push(0);
            let want = MethodError::TrailingBytes { method: method.name(), count: 1 };
            prop_assert_eq!(Method::decode(&payload, &limits), Err(want));
        }
    }

    #[test]
    fn content_header_without_its_end_is_malformed(properties in any_properties()) {
        let limits = Limits::default();
        let bytes = properties.to_bytes();
        let properties = RawProperties::from_validated_bytes(&bytes);
        let header = ContentHeader { class_id: 60, body_size: 1, properties };
        let mut payload = Vec::new();
        header.encode(&mut payload);
        for end in 0..payload.len() {
            prop_assert_eq!(ContentHeader::decode(&payload[..end], &limits), Err(ContentError::Truncated));
        }
        payload.push(0);
        prop_assert_eq!(ContentHeader::decode(&payload, &limits), Err(ContentError::TrailingBytes { count: 1 }));
    }

    #[test]
    fn one_wrong_byte_is_an_error_or_another_method(
        from in any_ingredients(),
        place in any::<usize>(),
        byte in any::<u8>(),
    ) {
        let limits = Limits::default();
        for method in every_method(&from) {
            let mut payload = Vec::new();
            method.encode(&mut payload);
            let place = place % payload.len();
            payload[place] = byte;
            match Method::decode(&payload, &limits) {
                // Whatever it is now, it can be written and read again.
                Ok(other) => {
                    let mut again = Vec::new();
                    other.encode(&mut again);
                    prop_assert_eq!(Method::decode(&again, &limits), Ok(other));
                }
                Err(error) => prop_assert!(matches!(error.reply_code().code(), 501..=503)),
            }
        }
    }
}

#[test]
fn depth_is_limited_wherever_a_table_stands() {
    let limits = Limits {
        table_depth_max: 5,
        ..Limits::default()
    };
    assert!(RawTable::decode(&nested(5), &limits).is_ok());
    let too_deep = nested(6);
    let error = TableError::TooDeep { limit: 5 };
    assert_eq!(RawTable::decode(&too_deep, &limits), Err(error));

    let length = u32::try_from(too_deep.len()).unwrap().to_be_bytes();
    let headers = [[0x20, 0].as_slice(), &length, &too_deep].concat();
    assert_eq!(
        RawProperties::from_bytes(&headers, &limits),
        Err(ContentError::Table(error))
    );

    let unbind = [[0, 50, 0, 50, 0, 0, 0, 0, 0].as_slice(), &length, &too_deep].concat();
    let method = "queue.unbind";
    assert_eq!(
        Method::decode(&unbind, &limits),
        Err(MethodError::Table { method, error })
    );
    assert_eq!(error.to_string(), "field table nests deeper than 5 levels");
}

#[test]
fn deepest_nesting_does_not_exhaust_the_stack() {
    let limits = Limits {
        table_depth_max: u8::MAX,
        ..Limits::default()
    };
    // As deep as a frame of the usual size can nest.
    let abyss = nested(131_072 / 7);
    assert_eq!(
        RawTable::decode(&abyss, &limits),
        Err(TableError::TooDeep { limit: 255 })
    );
    let allowed = nested(255);
    assert_eq!(
        RawTable::decode(&allowed, &limits)
            .unwrap()
            .to_table()
            .to_bytes(),
        allowed
    );

    // Nor do bytes that were never decoded: what is too deep is left out.
    let unchecked = RawTable::from_validated_bytes(&abyss);
    let mut levels = 0;
    let mut table = unchecked.to_table();
    while let Some(Value::Table(inside)) = table.remove("t") {
        table = inside;
        levels += 1;
    }
    assert_eq!(levels, 255);
    assert!(!format!("{unchecked} {unchecked:?}").is_empty());
}

#[test]
fn unknown_methods_are_named() {
    let limits = Limits::default();
    for (class_id, method_id) in [(0, 0), (60, 41), (40, 41), (10, 0), (u16::MAX, u16::MAX)] {
        let payload = [u16::to_be_bytes(class_id), u16::to_be_bytes(method_id)].concat();
        let error = Method::decode(&payload, &limits).unwrap_err();
        assert_eq!(
            error,
            MethodError::UnknownMethod {
                class_id,
                method_id
            }
        );
        assert_eq!(
            (error.reply_code().code(), error.to_string().as_str()),
            (503, "unimplemented method")
        );
    }
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    let publish = b"\x00\x3c\x00\x28\x00\x00\x01\xe9\x00\x00";
    let error = Method::decode(publish, &Limits::default()).unwrap_err();
    assert_eq!(
        error,
        MethodError::MalformedUtf8 {
            method: "basic.publish"
        }
    );
    assert_eq!(
        (error.reply_code().code(), error.to_string().as_str()),
        (501, "Malformed UTF-8 in shortstr")
    );
}

#[test]
fn frame_that_is_too_large_is_refused_by_its_header() {
    let limits = Limits {
        frame_size_max: 4_096,
        ..Limits::default()
    };
    let header = [3, 0, 1, 0, 0, 0x10, 0x01];
    let error = Frame::decode(&header, &limits).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Frame(FrameError::TooLarge {
            kind: 3,
            announced: 4_097,
            limit: 4_088
        })
    );
    assert_eq!(
        error.to_string(),
        "type 3, all octets = <<>>: {frame_too_large,4097,4088}"
    );
    assert_eq!(error.reply_code().code(), 501);
}

#[test]
fn announced_lengths_allocate_nothing() {
    // Each announces 4 GiB; had anything been reserved for them, this would not be over at once.
    let limits = Limits::default();
    let table = b"\x00\x32\x00\x32\x00\x00\x00\x00\x00\xff\xff\xff\xff";
    assert_eq!(
        Method::decode(table, &limits),
        Err(MethodError::Truncated {
            method: "queue.unbind"
        })
    );
    let array = b"\x01aA\xff\xff\xff\xff";
    assert_eq!(RawTable::decode(array, &limits), Err(TableError::Truncated));
    let headers = b"\x20\x00\xff\xff\xff\xff";
    assert_eq!(
        RawProperties::from_bytes(headers, &limits),
        Err(ContentError::Truncated)
    );
}
