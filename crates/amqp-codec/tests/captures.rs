//! Literal bytes of every method and of whole exchanges, laid out by hand from the specification and RabbitMQ's
//! extensions to it, so that encoder and decoder cannot agree on a mistake.

use leveret_amqp_codec::method::{
    access, basic, channel, confirm, connection, exchange, queue, tx,
};
use leveret_amqp_codec::{
    ChannelId, ContentHeader, Delivery, Frame, Limits, Method, Properties, RawProperties, RawTable,
    ShortStr, Table, Value, write_delivery,
};

const fn s(text: &'static str) -> ShortStr<'static> {
    ShortStr::from_static(text)
}

/// The table `{k: true}` without its length, and with it in the literals below: `\0\0\0\x04\x01kt\x01`.
fn k_true() -> RawTable<'static> {
    RawTable::from_validated_bytes(b"\x01kt\x01")
}

/// The payload of a method frame is the method, and is written as it came.
#[track_caller]
fn check<'a>(payload: &[u8], want: impl Into<Method<'a>>) {
    let want = want.into();
    assert_eq!(Method::decode(payload, &Limits::default()), Ok(want));
    let mut out = Vec::new();
    want.encode(&mut out);
    assert_eq!(out, payload, "{} is written otherwise", want.name());
    let ids = [
        want.class_id().to_be_bytes(),
        want.method_id().to_be_bytes(),
    ]
    .concat();
    assert_eq!(ids, payload[..4]);
}

#[test]
fn connection_methods() {
    check(
        b"\0\x0a\0\x0a\0\x09\0\0\0\x04\x01kt\x01\0\0\0\x0ePLAIN AMQPLAIN\0\0\0\x05en_US",
        connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: k_true(),
            mechanisms: b"PLAIN AMQPLAIN",
            locales: b"en_US",
        },
    );
    check(
        b"\0\x0a\0\x0b\0\0\0\x04\x01kt\x01\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US",
        connection::StartOk {
            client_properties: k_true(),
            mechanism: s("PLAIN"),
            response: b"\0guest\0guest",
            locale: s("en_US"),
        },
    );
    check(
        b"\0\x0a\0\x14\0\0\0\x02hi",
        connection::Secure { challenge: b"hi" },
    );
    check(
        b"\0\x0a\0\x15\0\0\0\x02ho",
        connection::SecureOk { response: b"ho" },
    );
    check(
        b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c",
        connection::Tune {
            channel_max: 2_047,
            frame_max: 131_072,
            heartbeat: 60,
        },
    );
    check(
        b"\0\x0a\0\x1f\0\x01\0\0\x10\0\0\0",
        connection::TuneOk {
            channel_max: 1,
            frame_max: 4_096,
            heartbeat: 0,
        },
    );
    check(
        b"\0\x0a\0\x28\x01/\0\0",
        connection::Open {
            virtual_host: s("/"),
        },
    );
    check(b"\0\x0a\0\x29\0", connection::OpenOk);
    check(
        b"\0\x0a\0\x32\x01\x40\x03bye\0\x3c\0\x28",
        connection::Close {
            reply_code: 320,
            reply_text: s("bye"),
            class_id: 60,
            method_id: 40,
        },
    );
    check(b"\0\x0a\0\x33", connection::CloseOk);
    check(
        b"\0\x0a\0\x3c\x06memory",
        connection::Blocked {
            reason: s("memory"),
        },
    );
    check(b"\0\x0a\0\x3d", connection::Unblocked);
    check(
        b"\0\x0a\0\x46\0\0\0\x03jwt\x03old",
        connection::UpdateSecret {
            new_secret: b"jwt",
            reason: s("old"),
        },
    );
    check(b"\0\x0a\0\x47", connection::UpdateSecretOk);
}

#[test]
fn channel_and_access_methods() {
    check(b"\0\x14\0\x0a\0", channel::Open);
    check(b"\0\x14\0\x0b\0\0\0\0", channel::OpenOk);
    check(b"\0\x14\0\x14\x01", channel::Flow { active: true });
    check(b"\0\x14\0\x15\0", channel::FlowOk { active: false });
    check(
        b"\0\x14\0\x28\x01\x94\x09NOT_FOUND\0\x32\0\x0a",
        channel::Close {
            reply_code: 404,
            reply_text: s("NOT_FOUND"),
            class_id: 50,
            method_id: 10,
        },
    );
    check(b"\0\x14\0\x29", channel::CloseOk);
    check(
        b"\0\x1e\0\x0a\x05/data\x15",
        access::Request {
            realm: s("/data"),
            exclusive: true,
            passive: false,
            active: true,
            write: false,
            read: true,
        },
    );
    check(b"\0\x1e\0\x0b\0\x01", access::RequestOk { ticket: 1 });
}

#[test]
fn exchange_methods() {
    check(
        b"\0\x28\0\x0a\0\0\x01x\x05topic\x0a\0\0\0\x04\x01kt\x01",
        exchange::Declare {
            exchange: s("x"),
            kind: s("topic"),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: true,
            no_wait: false,
            arguments: k_true(),
        },
    );
    check(b"\0\x28\0\x0b", exchange::DeclareOk);
    check(
        b"\0\x28\0\x14\0\0\x01x\x02",
        exchange::Delete {
            exchange: s("x"),
            if_unused: false,
            no_wait: true,
        },
    );
    check(b"\0\x28\0\x15", exchange::DeleteOk);
    check(
        b"\0\x28\0\x1e\0\0\x02to\x04from\x03key\x01\0\0\0\x04\x01kt\x01",
        exchange::Bind {
            destination: s("to"),
            source: s("from"),
            routing_key: s("key"),
            no_wait: true,
            arguments: k_true(),
        },
    );
    check(b"\0\x28\0\x1f", exchange::BindOk);
    check(
        b"\0\x28\0\x28\0\0\x02to\x04from\x03key\0\0\0\0\0",
        exchange::Unbind {
            destination: s("to"),
            source: s("from"),
            routing_key: s("key"),
            no_wait: false,
            arguments: RawTable::EMPTY,
        },
    );
    check(b"\0\x28\0\x33", exchange::UnbindOk);
}

#[test]
fn queue_methods() {
    check(
        b"\0\x32\0\x0a\0\0\x01q\x06\0\0\0\x04\x01kt\x01",
        queue::Declare {
            queue: s("q"),
            passive: false,
            durable: true,
            exclusive: true,
            auto_delete: false,
            no_wait: false,
            arguments: k_true(),
        },
    );
    check(
        b"\0\x32\0\x0b\x01q\0\0\0\x05\0\0\0\x02",
        queue::DeclareOk {
            queue: s("q"),
            message_count: 5,
            consumer_count: 2,
        },
    );
    check(
        b"\0\x32\0\x14\0\0\x01q\x01x\x03key\x01\0\0\0\x04\x01kt\x01",
        queue::Bind {
            queue: s("q"),
            exchange: s("x"),
            routing_key: s("key"),
            no_wait: true,
            arguments: k_true(),
        },
    );
    check(b"\0\x32\0\x15", queue::BindOk);
    check(
        b"\0\x32\0\x1e\0\0\x01q\x01",
        queue::Purge {
            queue: s("q"),
            no_wait: true,
        },
    );
    check(
        b"\0\x32\0\x1f\0\x01\0\0",
        queue::PurgeOk {
            message_count: 65_536,
        },
    );
    check(
        b"\0\x32\0\x28\0\0\x01q\x05",
        queue::Delete {
            queue: s("q"),
            if_unused: true,
            if_empty: false,
            no_wait: true,
        },
    );
    check(
        b"\0\x32\0\x29\0\0\0\x03",
        queue::DeleteOk { message_count: 3 },
    );
    check(
        b"\0\x32\0\x32\0\0\x01q\x01x\x03key\0\0\0\x04\x01kt\x01",
        queue::Unbind {
            queue: s("q"),
            exchange: s("x"),
            routing_key: s("key"),
            arguments: k_true(),
        },
    );
    check(b"\0\x32\0\x33", queue::UnbindOk);
}

#[test]
fn basic_methods_of_consumers() {
    check(
        b"\0\x3c\0\x0a\0\0\0\x01\0\x0a\x01",
        basic::Qos {
            prefetch_size: 1,
            prefetch_count: 10,
            global: true,
        },
    );
    check(b"\0\x3c\0\x0b", basic::QosOk);
    check(
        b"\0\x3c\0\x14\0\0\x01q\x01t\x0a\0\0\0\x04\x01kt\x01",
        basic::Consume {
            queue: s("q"),
            consumer_tag: s("t"),
            no_local: false,
            no_ack: true,
            exclusive: false,
            no_wait: true,
            arguments: k_true(),
        },
    );
    check(
        b"\0\x3c\0\x15\x01t",
        basic::ConsumeOk {
            consumer_tag: s("t"),
        },
    );
    check(
        b"\0\x3c\0\x1e\x01t\x01",
        basic::Cancel {
            consumer_tag: s("t"),
            no_wait: true,
        },
    );
    check(
        b"\0\x3c\0\x1f\x01t",
        basic::CancelOk {
            consumer_tag: s("t"),
        },
    );
    check(
        b"\0\x3c\0\x3c\x01t\0\0\0\0\0\0\x01\0\x01\x01x\x03key",
        basic::Deliver {
            consumer_tag: s("t"),
            delivery_tag: 256,
            redelivered: true,
            exchange: s("x"),
            routing_key: s("key"),
        },
    );
    check(
        b"\0\x3c\0\x46\0\0\x01q\x01",
        basic::Get {
            queue: s("q"),
            no_ack: true,
        },
    );
    check(
        b"\0\x3c\0\x47\0\0\0\0\0\0\0\x02\0\x01x\x03key\0\0\0\x09",
        basic::GetOk {
            delivery_tag: 2,
            redelivered: false,
            exchange: s("x"),
            routing_key: s("key"),
            message_count: 9,
        },
    );
    check(b"\0\x3c\0\x48\0", basic::GetEmpty);
    check(
        b"\0\x3c\0\x50\0\0\0\0\0\0\0\x07\x01",
        basic::Ack {
            delivery_tag: 7,
            multiple: true,
        },
    );
    check(
        b"\0\x3c\0\x5a\0\0\0\0\0\0\0\x07\x01",
        basic::Reject {
            delivery_tag: 7,
            requeue: true,
        },
    );
    check(b"\0\x3c\0\x64\x01", basic::RecoverAsync { requeue: true });
    check(b"\0\x3c\0\x6e\0", basic::Recover { requeue: false });
    check(b"\0\x3c\0\x6f", basic::RecoverOk);
    check(
        b"\0\x3c\0\x78\0\0\0\0\0\0\0\x07\x02",
        basic::Nack {
            delivery_tag: 7,
            multiple: false,
            requeue: true,
        },
    );
}

#[test]
fn methods_of_publishers() {
    check(
        b"\0\x3c\0\x28\0\0\x01x\x03key\x01",
        basic::Publish {
            exchange: s("x"),
            routing_key: s("key"),
            mandatory: true,
            immediate: false,
        },
    );
    check(
        b"\0\x3c\0\x32\x01\x38\x08NO_ROUTE\x01x\x03key",
        basic::Return {
            reply_code: 312,
            reply_text: s("NO_ROUTE"),
            exchange: s("x"),
            routing_key: s("key"),
        },
    );
    check(b"\0\x55\0\x0a\x01", confirm::Select { no_wait: true });
    check(b"\0\x55\0\x0b", confirm::SelectOk);
    check(b"\0\x5a\0\x0a", tx::Select);
    check(b"\0\x5a\0\x0b", tx::SelectOk);
    check(b"\0\x5a\0\x14", tx::Commit);
    check(b"\0\x5a\0\x15", tx::CommitOk);
    check(b"\0\x5a\0\x1e", tx::Rollback);
    check(b"\0\x5a\0\x1f", tx::RollbackOk);
}

#[test]
fn reserved_arguments_are_ignored_and_written_empty() {
    let limits = Limits::default();
    let publish = Method::from(basic::Publish {
        routing_key: s("q"),
        ..basic::Publish::default()
    });
    assert_eq!(
        Method::decode(b"\0\x3c\0\x28\0\x01\0\x01q\0", &limits),
        Ok(publish),
        "a ticket"
    );
    let open = Method::from(connection::Open {
        virtual_host: s("/"),
    });
    assert_eq!(
        Method::decode(b"\0\x0a\0\x28\x01/\x04caps\x01", &limits),
        Ok(open),
        "capabilities and insist"
    );
    assert_eq!(
        Method::decode(b"\0\x14\0\x0a\x03out", &limits),
        Ok(channel::Open.into()),
        "out of band"
    );
}

/// A message with properties as a client publishes it, its frames one after the other.
#[test]
fn published_message() {
    let bytes = b"\
        \x01\0\x01\0\0\0\x0f\0\x3c\0\x28\0\0\x00\x06orders\0\xce\
        \x02\0\x01\0\0\0\x2c\0\x3c\0\0\0\0\0\0\0\0\0\x05\xb8\x00\
        \x0atext/plain\0\0\0\x0d\x05triesI\0\0\0\x03\x00V\x02\x04\xce\
        \x03\0\x01\0\0\0\x05hello\xce";
    let limits = Limits::default();
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((frame, size)) = Frame::decode(rest, &limits).unwrap() {
        frames.push(frame);
        rest = &rest[size..];
    }
    assert!(rest.is_empty());

    let channel = ChannelId(1);
    let properties = Properties {
        content_type: Some("text/plain".to_owned()),
        headers: Some(Table::from_iter([
            ("tries", Value::I32(3)),
            ("", Value::Void),
        ])),
        delivery_mode: Some(2),
        priority: Some(4),
        ..Properties::default()
    }
    .to_bytes();
    let publish = basic::Publish {
        routing_key: s("orders"),
        ..basic::Publish::default()
    };
    let properties = RawProperties::from_validated_bytes(&properties);
    let header = ContentHeader {
        class_id: 60,
        body_size: 5,
        properties,
    };
    let want = [
        Frame::Method(channel, publish.into()),
        Frame::Header(channel, header),
        Frame::Body(channel, b"hello"),
    ];
    assert_eq!(frames, want);

    let mut out = Vec::new();
    want.iter().for_each(|frame| frame.encode(&mut out));
    assert_eq!(out, bytes);
}

/// A delivery whose body takes two frames.
#[test]
fn delivered_message() {
    let delivery = Delivery {
        consumer_tag: s("c1"),
        delivery_tag: 3,
        redelivered: false,
        exchange: b"",
        routing_key: b"orders",
        properties: RawProperties::EMPTY,
        body: b"abcdef",
    };
    let mut out = Vec::new();
    write_delivery(&mut out, ChannelId(2), &delivery, 12);
    let want = b"\
        \x01\0\x02\0\0\0\x18\0\x3c\0\x3c\x02c1\0\0\0\0\0\0\0\x03\0\0\x06orders\xce\
        \x02\0\x02\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\x06\0\0\xce\
        \x03\0\x02\0\0\0\x04abcd\xce\
        \x03\0\x02\0\0\0\x02ef\xce";
    assert_eq!(
        out.escape_ascii().to_string(),
        want.escape_ascii().to_string()
    );
}
