//! What the fuzz targets run, kept here so that a plain test can run it too. Not part of the API.

use crate::{
    ContentHeader, DecodeError, Delivery, Frame, FrameError, Limits, Method, Properties,
    ProtocolHeader, RawFrame, RawProperties, RawTable, Table, Value, ValueRef, write_body,
    write_content_header, write_delivery, write_method,
};

/// Small enough that short inputs reach every limit.
const TIGHT: Limits = Limits {
    frame_size_max: 64,
    table_depth_max: 3,
    body_size_max: 1_000,
};

/// No bytes make the decoder panic, every frame is measured right, and what was decoded can be looked at.
pub fn decode(data: &[u8]) {
    let _ = ProtocolHeader::parse(data);
    for limits in [Limits::default(), TIGHT] {
        frames(data, &limits, |frame, _| look_at(&frame));
    }
    // Also as bytes that nobody ever checked.
    look_at_table(RawTable::from_validated_bytes(data));
    look_at_properties(RawProperties::from_validated_bytes(data));
}

/// What was decoded is written as something that decodes to the same. The input is read as frames, and as the payload
/// of each kind of frame.
pub fn roundtrip(data: &[u8]) {
    let limits = Limits::default();
    frames(data, &limits, |frame, rest| {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let again = Frame::decode(&bytes, &limits);
        assert_eq!(again, Ok(Some((frame, bytes.len()))), "a frame changed");
        if let Frame::Method(channel, Method::BasicDeliver(deliver)) = frame {
            let properties = RawProperties::from_validated_bytes(rest);
            let mut at_once = Vec::new();
            let delivery = Delivery {
                consumer_tag: deliver.consumer_tag,
                delivery_tag: deliver.delivery_tag,
                redelivered: deliver.redelivered,
                exchange: deliver.exchange.as_bytes(),
                routing_key: deliver.routing_key.as_bytes(),
                properties,
                body: rest,
            };
            write_delivery(&mut at_once, channel, &delivery, 32);
            let mut in_parts = Vec::new();
            write_method(&mut in_parts, channel, &deliver);
            write_content_header(&mut in_parts, channel, 60, rest.len() as u64, properties);
            write_body(&mut in_parts, channel, rest, 32);
            assert_eq!(at_once, in_parts, "a delivery is not its parts");
        }
    });
    if let Ok(method) = Method::decode(data, &limits) {
        let mut bytes = Vec::new();
        method.encode(&mut bytes);
        assert_eq!(
            Method::decode(&bytes, &limits),
            Ok(method),
            "a method changed"
        );
    }
    if let Ok(header) = ContentHeader::decode(data, &limits) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes, data, "a content header changed");
    }
    if let Ok(properties) = Properties::decode(data, &limits) {
        // Texts that are not UTF-8 were replaced, so it is the second time from which nothing changes.
        let bytes = properties.to_bytes();
        let again = Properties::decode(&bytes, &limits).map(|properties| properties.to_bytes());
        assert_eq!(again, Ok(bytes), "properties changed");
    }
    if let Ok(raw) = RawTable::decode(data, &limits) {
        // Bytes, because a float that is not a number is not equal to itself.
        let bytes = raw.to_table().to_bytes();
        let again = RawTable::decode(&bytes, &limits).map(|raw| raw.to_table().to_bytes());
        assert_eq!(again.as_ref(), Ok(&bytes), "a table changed");
        assert_eq!(bytes.len(), data.len(), "a table lost something");
    }
}

/// Takes frames off `data` until the first error, and shows each with what follows it.
fn frames<'a>(mut data: &'a [u8], limits: &Limits, mut visit: impl FnMut(Frame<'a>, &'a [u8])) {
    loop {
        let raw = RawFrame::decode(data, limits);
        let decoded = Frame::decode(data, limits);
        let size = match raw {
            Ok(Some((_, size))) => size,
            Ok(None) => {
                assert_eq!(decoded, Ok(None));
                return;
            }
            Err(error) => {
                assert!(matches!(error.reply_code().code(), 501 | 505));
                assert_eq!(decoded, Err(DecodeError::Frame(error)));
                assert!(is_readable(&error), "{error}");
                return;
            }
        };
        let (frame, rest) = data.split_at(size);
        let part = frame.split_last().map_or(frame, |(_, part)| part);
        assert_eq!(
            RawFrame::decode(part, limits),
            Ok(None),
            "a frame was taken before its end"
        );
        match decoded {
            Ok(Some((frame, decoded_size))) => {
                assert_eq!(decoded_size, size);
                visit(frame, rest);
            }
            Ok(None) => panic!("a frame that is there whole was not taken"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        data = rest;
    }
}

/// Whether the text of an error can go into a reply text as it is.
fn is_readable(error: &FrameError) -> bool {
    let text = error.to_string();
    text.len() < 230
        && text
            .chars()
            .all(|character| character == ' ' || character.is_ascii_graphic())
}

fn look_at(frame: &Frame<'_>) {
    assert!(!format!("{frame:?}").is_empty());
    match frame {
        Frame::Method(_, method) => {
            assert!(method.name().contains('.'));
            if let Method::QueueDeclare(declare) = method {
                look_at_table(declare.arguments);
            }
        }
        Frame::Header(_, header) => {
            let properties = header.properties;
            assert_eq!(properties.is_empty(), properties.as_bytes() == [0, 0]);
            look_at_properties(properties);
        }
        Frame::Body(..) | Frame::Heartbeat => (),
    }
}

fn look_at_properties(properties: RawProperties<'_>) {
    let peek = properties.peek();
    let found = [
        properties.reply_to(),
        properties.expiration(),
        properties.user_id(),
    ];
    assert_eq!(found, [peek.reply_to, peek.expiration, peek.user_id]);
    assert_eq!(properties.headers(), peek.headers);
    assert_eq!(properties.delivery_mode(), peek.delivery_mode);
    assert_eq!(properties.priority(), peek.priority);
    let copy = Properties::from(properties);
    assert_eq!(copy.timestamp, properties.timestamp());
    assert_eq!(copy.headers.is_some(), properties.headers().is_some());
    if let Some(headers) = properties.headers() {
        look_at_table(headers);
    }
}

fn look_at_table(table: RawTable<'_>) {
    let copy: Table = table.to_table();
    assert_eq!(copy.len(), table.iter().count());
    assert!(table.canonical_bytes().len() <= table.len());
    for (name, value) in table {
        let first = table.get(name).map(ValueRef::to_value);
        assert_eq!(
            first.map(|value| value.to_string()),
            copy.get(name).map(Value::to_string)
        );
        assert!(value.as_str().is_none() || value.as_integer().is_none());
        // Only a float can be unequal to itself.
        assert!(value.matches(value) || value.as_float().is_some_and(f64::is_nan));
    }
    assert!(!table.to_string().is_empty());
}
