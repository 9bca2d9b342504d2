//! Anything that can be written, for property tests.

#![allow(dead_code, reason = "each test file uses a part")]

use leveret_amqp_codec::method::{
    access, basic, channel, confirm, connection, exchange, queue, tx,
};
use leveret_amqp_codec::{Method, Properties, RawTable, ShortStr, Table, Value};
use proptest::prelude::*;

/// What the arguments of methods are made of.
#[derive(Clone, Debug)]
pub(crate) struct Ingredients {
    pub(crate) shorts: [String; 3],
    pub(crate) longs: [Vec<u8>; 2],
    pub(crate) table: Vec<u8>,
    pub(crate) number: u64,
    pub(crate) bits: [bool; 5],
}

pub(crate) fn any_ingredients() -> impl Strategy<Value = Ingredients> {
    let shorts = [any_short(), any_short(), any_short()];
    let longs = [any_bytes(), any_bytes()];
    let table = any_table().prop_map(|table| table.to_bytes());
    (shorts, longs, table, any::<u64>(), any::<[bool; 5]>()).prop_map(
        |(shorts, longs, table, number, bits)| Ingredients {
            shorts,
            longs,
            table,
            number,
            bits,
        },
    )
}

/// Texts as short strings have them, now and then as long as they can be.
pub(crate) fn any_short() -> impl Strategy<Value = String> {
    prop_oneof![8 => "\\PC{0,12}", 1 => "[a-z]{255}", 1 => "[é]{127}"]
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..20)
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<u16>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        "\\PC{0,12}".prop_map(Value::from),
        any_bytes().prop_map(Value::LongString),
        any_bytes().prop_map(Value::ByteArray),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
    ];
    leaf.prop_recursive(6, 24, 4, |inside| {
        prop_oneof![
            proptest::collection::vec(inside.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((any_name(), inside), 0..4)
                .prop_map(|entries| Value::Table(entries.into_iter().collect())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c-]{0,6}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..4)
    ]
}

pub(crate) fn any_table() -> impl Strategy<Value = Table> {
    proptest::collection::vec((any_name(), any_value()), 0..5).prop_map(Table::from_iter)
}

pub(crate) fn any_properties() -> impl Strategy<Value = Properties> {
    let text = || proptest::option::of(any_short());
    let octet = || proptest::option::of(any::<u8>());
    let first = (
        text(),
        text(),
        proptest::option::of(any_table()),
        octet(),
        octet(),
        text(),
        text(),
    );
    let second = (
        text(),
        text(),
        proptest::option::of(any::<u64>()),
        text(),
        text(),
        text(),
        text(),
    );
    (first, second).prop_map(|(first, second)| Properties {
        content_type: first.0,
        content_encoding: first.1,
        headers: first.2,
        delivery_mode: first.3,
        priority: first.4,
        correlation_id: first.5,
        reply_to: first.6,
        expiration: second.0,
        message_id: second.1,
        timestamp: second.2,
        kind: second.3,
        user_id: second.4,
        app_id: second.5,
        cluster_id: second.6,
    })
}

/// One of each method, in the order of class and method number.
pub(crate) fn every_method(from: &Ingredients) -> Vec<Method<'_>> {
    let mut methods = connection_and_channel_methods(from);
    methods.extend(exchange_and_queue_methods(from));
    methods.extend(basic_methods(from));
    methods.extend::<[Method<'_>; 8]>([
        confirm::Select {
            no_wait: from.bits[0],
        }
        .into(),
        confirm::SelectOk.into(),
        tx::Select.into(),
        tx::SelectOk.into(),
        tx::Commit.into(),
        tx::CommitOk.into(),
        tx::Rollback.into(),
        tx::RollbackOk.into(),
    ]);
    methods
}

fn connection_and_channel_methods(from: &Ingredients) -> Vec<Method<'_>> {
    let [s0, s1, _] = shorts(from);
    let [l0, l1] = [from.longs[0].as_slice(), from.longs[1].as_slice()];
    let [b0, b1, b2, b3, b4] = from.bits;
    let table = RawTable::from_validated_bytes(&from.table);
    let (n8, n16, n32) = numbers(from);
    vec![
        connection::Start {
            version_major: n8,
            version_minor: 9,
            server_properties: table,
            mechanisms: l0,
            locales: l1,
        }
        .into(),
        connection::StartOk {
            client_properties: table,
            mechanism: s0,
            response: l0,
            locale: s1,
        }
        .into(),
        connection::Secure { challenge: l0 }.into(),
        connection::SecureOk { response: l0 }.into(),
        connection::Tune {
            channel_max: n16,
            frame_max: n32,
            heartbeat: 60,
        }
        .into(),
        connection::TuneOk {
            channel_max: n16,
            frame_max: n32,
            heartbeat: 60,
        }
        .into(),
        connection::Open { virtual_host: s0 }.into(),
        connection::OpenOk.into(),
        connection::Close {
            reply_code: n16,
            reply_text: s0,
            class_id: 60,
            method_id: 40,
        }
        .into(),
        connection::CloseOk.into(),
        connection::Blocked { reason: s0 }.into(),
        connection::Unblocked.into(),
        connection::UpdateSecret {
            new_secret: l0,
            reason: s0,
        }
        .into(),
        connection::UpdateSecretOk.into(),
        channel::Open.into(),
        channel::OpenOk.into(),
        channel::Flow { active: b0 }.into(),
        channel::FlowOk { active: b0 }.into(),
        channel::Close {
            reply_code: n16,
            reply_text: s0,
            class_id: 60,
            method_id: 40,
        }
        .into(),
        channel::CloseOk.into(),
        access::Request {
            realm: s0,
            exclusive: b0,
            passive: b1,
            active: b2,
            write: b3,
            read: b4,
        }
        .into(),
        access::RequestOk { ticket: n16 }.into(),
    ]
}

fn exchange_and_queue_methods(from: &Ingredients) -> Vec<Method<'_>> {
    let [s0, s1, s2] = shorts(from);
    let [b0, b1, b2, b3, b4] = from.bits;
    let arguments = RawTable::from_validated_bytes(&from.table);
    let (_, _, n32) = numbers(from);
    vec![
        exchange::Declare {
            exchange: s0,
            kind: s1,
            passive: b0,
            durable: b1,
            auto_delete: b2,
            internal: b3,
            no_wait: b4,
            arguments,
        }
        .into(),
        exchange::DeclareOk.into(),
        exchange::Delete {
            exchange: s0,
            if_unused: b0,
            no_wait: b1,
        }
        .into(),
        exchange::DeleteOk.into(),
        exchange::Bind {
            destination: s0,
            source: s1,
            routing_key: s2,
            no_wait: b0,
            arguments,
        }
        .into(),
        exchange::BindOk.into(),
        exchange::Unbind {
            destination: s0,
            source: s1,
            routing_key: s2,
            no_wait: b0,
            arguments,
        }
        .into(),
        exchange::UnbindOk.into(),
        queue::Declare {
            queue: s0,
            passive: b0,
            durable: b1,
            exclusive: b2,
            auto_delete: b3,
            no_wait: b4,
            arguments,
        }
        .into(),
        queue::DeclareOk {
            queue: s0,
            message_count: n32,
            consumer_count: 7,
        }
        .into(),
        queue::Bind {
            queue: s0,
            exchange: s1,
            routing_key: s2,
            no_wait: b0,
            arguments,
        }
        .into(),
        queue::BindOk.into(),
        queue::Purge {
            queue: s0,
            no_wait: b0,
        }
        .into(),
        queue::PurgeOk { message_count: n32 }.into(),
        queue::Delete {
            queue: s0,
            if_unused: b0,
            if_empty: b1,
            no_wait: b2,
        }
        .into(),
        queue::DeleteOk { message_count: n32 }.into(),
        queue::Unbind {
            queue: s0,
            exchange: s1,
            routing_key: s2,
            arguments,
        }
        .into(),
        queue::UnbindOk.into(),
    ]
}

fn basic_methods(from: &Ingredients) -> Vec<Method<'_>> {
    let [s0, s1, s2] = shorts(from);
    let [b0, b1, b2, b3, _] = from.bits;
    let arguments = RawTable::from_validated_bytes(&from.table);
    let (_, n16, n32) = numbers(from);
    let delivery_tag = from.number;
    vec![
        basic::Qos {
            prefetch_size: n32,
            prefetch_count: n16,
            global: b0,
        }
        .into(),
        basic::QosOk.into(),
        basic::Consume {
            queue: s0,
            consumer_tag: s1,
            no_local: b0,
            no_ack: b1,
            exclusive: b2,
            no_wait: b3,
            arguments,
        }
        .into(),
        basic::ConsumeOk { consumer_tag: s0 }.into(),
        basic::Cancel {
            consumer_tag: s0,
            no_wait: b0,
        }
        .into(),
        basic::CancelOk { consumer_tag: s0 }.into(),
        basic::Publish {
            exchange: s0,
            routing_key: s1,
            mandatory: b0,
            immediate: b1,
        }
        .into(),
        basic::Return {
            reply_code: n16,
            reply_text: s0,
            exchange: s1,
            routing_key: s2,
        }
        .into(),
        basic::Deliver {
            consumer_tag: s0,
            delivery_tag,
            redelivered: b0,
            exchange: s1,
            routing_key: s2,
        }
        .into(),
        basic::Get {
            queue: s0,
            no_ack: b0,
        }
        .into(),
        basic::GetOk {
            delivery_tag,
            redelivered: b0,
            exchange: s0,
            routing_key: s1,
            message_count: n32,
        }
        .into(),
        basic::GetEmpty.into(),
        basic::Ack {
            delivery_tag,
            multiple: b0,
        }
        .into(),
        basic::Reject {
            delivery_tag,
            requeue: b0,
        }
        .into(),
        basic::RecoverAsync { requeue: b0 }.into(),
        basic::Recover { requeue: b0 }.into(),
        basic::RecoverOk.into(),
        basic::Nack {
            delivery_tag,
            multiple: b0,
            requeue: b1,
        }
        .into(),
    ]
}

fn shorts(from: &Ingredients) -> [ShortStr<'_>; 3] {
    from.shorts
        .each_ref()
        .map(|text| ShortStr::new(text).expect("made short"))
}

/// Three sizes of one number: its lowest bytes.
fn numbers(from: &Ingredients) -> (u8, u16, u32) {
    let [.., b3, b2, b1, b0] = from.number.to_be_bytes();
    (
        b0,
        u16::from_be_bytes([b1, b0]),
        u32::from_be_bytes([b3, b2, b1, b0]),
    )
}
