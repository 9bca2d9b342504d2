//! What is written is read back as it was, and what is read is written back as it came.

mod support;

use leveret_amqp_codec::method::basic;
use leveret_amqp_codec::{
    ChannelId, ContentHeader, Delivery, Frame, FrameKind, Limits, Method, Properties, RawFrame,
    RawProperties, RawTable, ShortStr, Table, write_body, write_body_frame_header,
    write_content_header, write_delivery, write_frame_end, write_heartbeat, write_method,
};
use proptest::prelude::*;
use support::{any_ingredients, any_properties, any_short, any_table, every_method};

/// All the frames in `input`, which must be nothing else.
fn decode_all<'a>(mut input: &'a [u8], limits: &Limits) -> Vec<Frame<'a>> {
    let mut frames = Vec::new();
    while let Some((frame, size)) = Frame::decode(input, limits).unwrap() {
        frames.push(frame);
        input = &input[size..];
    }
    assert!(input.is_empty(), "{} bytes are left", input.len());
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_method_is_read_as_it_was_written(from in any_ingredients(), channel in any::<u16>()) {
        let limits = Limits::default();
        let channel = ChannelId(channel);
        for method in every_method(&from) {
            let mut payload = Vec::new();
            method.encode(&mut payload);
            prop_assert_eq!(Method::decode(&payload, &limits), Ok(method));
            let mut frame = Vec::new();
            method.write_frame(&mut frame, channel);
            let want = RawFrame { kind: FrameKind::Method, channel, payload: &payload };
            prop_assert_eq!(RawFrame::decode(&frame, &limits), Ok(Some((want, frame.len()))));
            let mut again = Vec::new();
            Frame::Method(channel, method).encode(&mut again);
            prop_assert_eq!(again, frame);
        }
    }

    #[test]
    fn tables_come_back_as_they_were(table in any_table()) {
        let bytes = table.to_bytes();
        let raw = RawTable::decode(&bytes, &Limits::default()).unwrap();
        prop_assert_eq!(raw.as_bytes(), &bytes);
        prop_assert_eq!(raw.iter().count(), table.len());
        // Compared as bytes: a float that is not a number is not equal to itself.
        prop_assert_eq!(&raw.to_table().to_bytes(), &bytes);
        for (name, value) in raw {
            prop_assert!(raw.get(name).is_some());
            let mut out = Vec::new();
            value.to_value().encode(&mut out);
            prop_assert!(bytes.windows(out.len()).any(|window| window == out));
        }
    }

    #[test]
    fn canonical_bytes_do_not_depend_on_the_order(table in any_table(), seed in any::<usize>()) {
        // Of the same name the first counts, so only different names may change places.
        let mut entries: Vec<_> = table.iter().map(|(name, value)| (name.to_vec(), value.clone())).collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.dedup_by(|one, other| one.0 == other.0);
        let sorted = Table::from_iter(entries.clone());
        let middle = seed % entries.len().max(1);
        entries.rotate_left(middle);
        let rotated = Table::from_iter(entries);
        prop_assert_eq!(sorted.canonical_bytes(), rotated.canonical_bytes());
        prop_assert_eq!(sorted.canonical_bytes(), sorted.to_bytes());
    }

    #[test]
    fn properties_come_back_as_they_were(properties in any_properties(), body_size in 0..1_000_u64) {
        let limits = Limits::default();
        let bytes = properties.to_bytes();
        let raw = RawProperties::from_bytes(&bytes, &limits).unwrap();
        prop_assert_eq!(raw.as_bytes(), &bytes);
        prop_assert_eq!(Properties::from(raw).to_bytes(), bytes.clone());
        prop_assert_eq!(raw.content_type().map(ShortStr::as_str), properties.content_type.as_deref());
        prop_assert_eq!(raw.kind().map(ShortStr::as_str), properties.kind.as_deref());
        prop_assert_eq!(raw.timestamp(), properties.timestamp);
        prop_assert_eq!(raw.cluster_id().map(ShortStr::as_str), properties.cluster_id.as_deref());
        let peek = raw.peek();
        let headers = properties.headers.map(|headers| headers.to_bytes());
        prop_assert_eq!(peek.headers.map(RawTable::as_bytes), headers.as_deref());
        prop_assert_eq!(peek.delivery_mode, properties.delivery_mode);
        prop_assert_eq!(peek.priority, properties.priority);
        prop_assert_eq!(peek.reply_to.as_deref(), properties.reply_to.as_deref());
        prop_assert_eq!(peek.expiration.as_deref(), properties.expiration.as_deref());
        prop_assert_eq!(peek.user_id.as_deref(), properties.user_id.as_deref());

        let mut frame = Vec::new();
        write_content_header(&mut frame, ChannelId(3), 60, body_size, raw);
        let header = ContentHeader { class_id: 60, body_size, properties: raw };
        prop_assert_eq!(decode_all(&frame, &limits), [Frame::Header(ChannelId(3), header)]);
    }

    #[test]
    fn bodies_are_cut_to_the_frame_size(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        frame_size_max in 0..80_u32,
    ) {
        let mut out = Vec::new();
        write_body(&mut out, ChannelId(1), &body, frame_size_max);
        let payload_max = match frame_size_max {
            0 => usize::MAX,
            // There is no body frame of less than nine bytes.
            limit => (limit as usize).max(9) - 8,
        };
        let mut joined = Vec::new();
        let mut count = 0;
        for frame in decode_all(&out, &Limits::default()) {
            let Frame::Body(ChannelId(1), payload) = frame else { panic!("{frame:?} is no body") };
            prop_assert!(!payload.is_empty() && payload.len() <= payload_max);
            joined.extend_from_slice(payload);
            count += 1;
        }
        prop_assert_eq!(joined, body.clone());
        prop_assert_eq!(count, body.len().div_ceil(payload_max));
    }

    #[test]
    fn delivery_is_its_three_parts(
        names in [any_short(), any_short(), any_short()],
        delivery_tag in any::<u64>(),
        redelivered in any::<bool>(),
        properties in any_properties(),
        body in proptest::collection::vec(any::<u8>(), 0..100),
        frame_size_max in 0..80_u32,
    ) {
        let [consumer_tag, exchange, routing_key] = names.each_ref().map(|name| ShortStr::new(name).unwrap());
        let deliver = basic::Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key };
        let properties = properties.to_bytes();
        let properties = RawProperties::from_validated_bytes(&properties);
        let mut at_once = vec![1, 2, 3];
        let delivery = Delivery {
            consumer_tag,
            delivery_tag,
            redelivered,
            exchange: exchange.as_bytes(),
            routing_key: routing_key.as_bytes(),
            properties,
            body: &body,
        };
        write_delivery(&mut at_once, ChannelId(9), &delivery, frame_size_max);
        let mut in_parts = vec![1, 2, 3];
        write_method(&mut in_parts, ChannelId(9), &deliver);
        write_content_header(&mut in_parts, ChannelId(9), 60, body.len() as u64, properties);
        write_body(&mut in_parts, ChannelId(9), &body, frame_size_max);
        prop_assert_eq!(at_once, in_parts);
    }
}

#[test]
fn names_of_a_delivery_that_are_too_long_are_cut() {
    let name = [b'n'; 300];
    let mut cut = Vec::new();
    let mut delivery = Delivery {
        consumer_tag: ShortStr::EMPTY,
        delivery_tag: 1,
        redelivered: false,
        exchange: &name,
        routing_key: &name,
        properties: RawProperties::EMPTY,
        body: &[],
    };
    write_delivery(&mut cut, ChannelId(9), &delivery, 0);
    let mut whole = Vec::new();
    delivery.exchange = &name[..255];
    delivery.routing_key = &name[..255];
    write_delivery(&mut whole, ChannelId(9), &delivery, 0);
    assert_eq!(cut, whole);
}

#[test]
fn body_frame_can_be_written_around_a_body() {
    let body = b"kept elsewhere";
    let mut head = Vec::new();
    write_body_frame_header(&mut head, ChannelId(2), 14);
    let mut end = Vec::new();
    write_frame_end(&mut end);
    let mut whole = Vec::new();
    write_body(&mut whole, ChannelId(2), body, 131_072);
    assert_eq!([head.as_slice(), body, &end].concat(), whole);
}

#[test]
fn heartbeat_comes_back() {
    let mut out = Vec::new();
    write_heartbeat(&mut out);
    assert_eq!(decode_all(&out, &Limits::default()), [Frame::Heartbeat]);
}
