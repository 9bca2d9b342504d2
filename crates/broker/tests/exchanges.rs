//! Which messages go where.

mod support;

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::{exchange, queue};
use leveret_broker::{Broker, Properties, Table, Value};
use support::{Wire, broker, short, table, with_headers};

async fn with_queues(broker: &Broker, queues: &[&str]) -> Wire {
    let mut wire = Wire::open(broker).await;
    for queue in queues {
        wire.declare(queue).await;
    }
    wire
}

/// Sends a declaration that is refused, and hears why.
async fn refusal(wire: &mut Wire, name: &str, kind: &str) -> (u16, String) {
    wire.send(&exchange::Declare {
        exchange: short(name),
        kind: short(kind),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    wire.open_channel(1).await;
    (closed.code, closed.text)
}

#[tokio::test]
async fn the_default_exchange_knows_every_queue_by_its_name() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["a", "b"]).await;
    wire.publish("", "a", "for a").await;
    assert_eq!(wire.drain("a").await, ["for a"]);
    assert_eq!(wire.count("b").await, 0);
    wire.delete("a").await;
    wire.publish_mandatory("", "a", "too late").await;
    assert_eq!(wire.returned().await.text(), "too late");
}

#[tokio::test]
async fn a_direct_exchange_compares_keys() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["a", "b", "both"]).await;
    for (queue, key) in [("a", "a"), ("b", "b"), ("both", "a"), ("both", "b")] {
        wire.bind(queue, "amq.direct", key).await;
    }
    for key in ["a", "b", "c"] {
        wire.publish("amq.direct", key, key).await;
    }
    assert_eq!(wire.drain("a").await, ["a"]);
    assert_eq!(wire.drain("b").await, ["b"]);
    assert_eq!(wire.drain("both").await, ["a", "b"]);
}

#[tokio::test]
async fn a_fanout_exchange_takes_every_key_and_gives_each_queue_one_copy() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["a", "b"]).await;
    for (queue, key) in [("a", "x"), ("a", "y"), ("b", "")] {
        wire.bind(queue, "amq.fanout", key).await;
    }
    wire.publish("amq.fanout", "whatever", "m").await;
    assert_eq!(wire.drain("a").await, ["m"]);
    assert_eq!(wire.drain("b").await, ["m"]);
}

#[tokio::test]
async fn a_topic_exchange_matches_patterns_word_by_word() {
    let broker = broker().await;
    let patterns = ["a.*.b", "#", "a.#", "*", "*.#", "#.b.#", "", "..", "a*"];
    let mut wire = Wire::open(&broker).await;
    for (at, pattern) in patterns.iter().enumerate() {
        let queue = format!("q{at}");
        wire.declare(&queue).await;
        wire.bind(&queue, "amq.topic", pattern).await;
    }
    let cases: [(&str, &[&str]); 9] = [
        ("a.x.b", &["a.*.b", "#", "a.#", "*.#", "#.b.#"]),
        ("a..b", &["a.*.b", "#", "a.#", "*.#", "#.b.#"]),
        ("a.b", &["#", "a.#", "*.#", "#.b.#"]),
        ("a", &["#", "a.#", "*", "*.#"]),
        ("", &["#", ""]),
        ("..", &["#", "*.#", ".."]),
        ("ab", &["#", "*", "*.#"]),
        ("a*", &["#", "*", "*.#", "a*"]),
        (".a", &["#", "*.#"]),
    ];
    for (key, want) in cases {
        wire.publish("amq.topic", key, "m").await;
        let mut got = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            if !wire.drain(&format!("q{at}")).await.is_empty() {
                got.push(*pattern);
            }
        }
        assert_eq!(got, want, "for the key '{key}'");
    }
}

/// Publishes with these headers to a headers exchange with one binding, and tells whether the message went through it.
async fn matches(binding: Table, headers: Option<Table>) -> bool {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    wire.bind_with("q", "amq.headers", "", &binding).await;
    let properties = Properties {
        headers,
        ..Properties::default()
    };
    wire.publish_with("amq.headers", "", &properties, "m").await;
    wire.quiet().await;
    wire.count("q").await == 1
}

#[tokio::test]
async fn a_headers_exchange_compares_all_or_any() {
    let ab = || table([("a", 1.into()), ("b", "x".into())]);
    let with = |mode: &str| {
        let mut binding = ab();
        binding.insert("x-match", mode);
        binding
    };
    assert!(matches(ab(), Some(ab())).await);
    assert!(!matches(with("all"), Some(table([("a", 1.into())]))).await);
    assert!(matches(with("any"), Some(table([("a", 1.into())]))).await);
    assert!(!matches(with("any"), Some(table([("c", 1.into())]))).await);
    assert!(!matches(with("any"), None).await);
}

#[tokio::test]
async fn a_headers_exchange_looks_at_kinds_but_not_at_widths() {
    let one = |value: Value| table([("a", value)]);
    assert!(matches(one(Value::I32(1)), Some(one(Value::I64(1)))).await);
    assert!(!matches(one(Value::I32(1)), Some(one("1".into()))).await);
    assert!(!matches(one(Value::I32(1)), Some(one(true.into()))).await);
    assert!(matches(one(Value::Void), Some(one("anything".into()))).await);
    assert!(!matches(one(Value::Void), None).await);
}

#[tokio::test]
async fn names_with_x_and_empty_bindings_are_special_to_a_headers_exchange() {
    let x = |mode: &str| table([("x-match", mode.into()), ("x-a", 1.into())]);
    assert!(matches(x("all"), None).await);
    assert!(!matches(x("any"), Some(table([("x-a", 1.into())]))).await);
    assert!(!matches(x("all-with-x"), None).await);
    assert!(matches(x("any-with-x"), Some(table([("x-a", 1.into())]))).await);
    assert!(matches(Table::default(), None).await);
    assert!(
        !matches(
            table([("x-match", "any".into())]),
            Some(table([("a", 1.into())]))
        )
        .await
    );
}

#[tokio::test]
async fn an_unknown_way_of_matching_is_refused() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    let arguments = table([("x-match", "zorp".into())]).to_bytes();
    let arguments = RawTable::from_validated_bytes(&arguments);
    let bind = queue::Bind {
        queue: short("q"),
        exchange: short("amq.headers"),
        arguments,
        ..Default::default()
    };
    wire.send(&bind).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    assert!(closed.text.contains("x-match"), "{}", closed.text);
}

#[tokio::test]
async fn bindings_between_exchanges_may_go_in_circles_and_deliver_once() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    for exchange in ["a", "b", "c"] {
        wire.declare_exchange(exchange, "fanout").await;
        wire.bind("q", exchange, "").await;
    }
    for (destination, source) in [("b", "a"), ("c", "b"), ("a", "c"), ("a", "a")] {
        wire.bind_exchange(destination, source, "").await;
    }
    wire.publish("a", "key", "m").await;
    let delivered = wire.get("q").await.unwrap();
    assert_eq!(
        (&*delivered.exchange, &*delivered.routing_key),
        ("a", "key")
    );
    assert!(wire.get("q").await.is_none());
}

#[tokio::test]
async fn every_exchange_on_the_way_applies_its_own_rule() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    wire.declare_exchange("topics", "topic").await;
    wire.declare_exchange("keys", "direct").await;
    wire.bind_exchange("keys", "topics", "a.#").await;
    wire.bind("q", "keys", "a.b").await;
    for key in ["a.b", "a.c", "b.b"] {
        wire.publish("topics", key, key).await;
    }
    assert_eq!(wire.drain("q").await, ["a.b"]);
    let unbind = exchange::Unbind {
        destination: short("keys"),
        source: short("topics"),
        routing_key: short("a.#"),
        ..Default::default()
    };
    wire.call(&unbind, "exchange.unbind-ok").await;
    wire.publish("topics", "a.b", "after").await;
    assert_eq!(wire.drain("q").await, Vec::<String>::new());
}

#[tokio::test]
async fn the_default_exchange_is_nobodys_alternate() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let alternate = table([("alternate-exchange", "".into())]);
    wire.declare("q").await;
    for _ in 0..2 {
        wire.declare_exchange_with("x", "direct", &alternate).await;
    }
    wire.publish_mandatory("x", "q", "m").await;
    assert_eq!(wire.returned().await.text(), "m");
    assert_eq!(wire.count("q").await, 0);
}

#[tokio::test]
async fn what_an_exchange_cannot_place_goes_to_its_alternate_and_on() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["known", "rest"]).await;
    let alternate = |name: &str| table([("alternate-exchange", name.into())]);
    wire.declare_exchange_with("a", "direct", &alternate("b"))
        .await;
    wire.declare_exchange_with("b", "direct", &alternate("c"))
        .await;
    wire.declare_exchange_with("c", "fanout", &alternate("a"))
        .await;
    wire.publish_mandatory("a", "key", "in a circle").await;
    assert_eq!(wire.returned().await.text(), "in a circle");
    wire.bind("known", "a", "known").await;
    wire.bind("rest", "c", "").await;
    wire.publish_mandatory("a", "known", "known").await;
    wire.publish_mandatory("a", "other", "other").await;
    let delivered = wire.get("rest").await.unwrap();
    assert_eq!(
        (
            &*delivered.exchange,
            &*delivered.routing_key,
            delivered.text()
        ),
        ("a", "other", "other")
    );
    assert_eq!(wire.drain("known").await, ["known"]);
    assert!(wire.get("rest").await.is_none());
}

#[tokio::test]
async fn copies_go_to_further_keys_and_blind_ones_are_hidden() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["to", "cc", "bcc"]).await;
    let keys = |key: &str| Value::Array(vec![key.into(), 5.into()]);
    let properties = with_headers([("CC", keys("cc")), ("BCC", keys("bcc")), ("mine", 1.into())]);
    wire.publish_with("", "to", &properties, "m").await;
    for queue in ["to", "cc", "bcc"] {
        let delivered = wire.get(queue).await.unwrap();
        assert_eq!(delivered.routing_key, "to");
        assert_eq!(
            delivered.properties,
            with_headers([("CC", keys("cc")), ("mine", 1.into())])
        );
    }
    wire.publish_with("", "to", &with_headers([("CC", "cc".into())]), "m")
        .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}"
    );
}

#[tokio::test]
async fn a_message_goes_to_so_many_further_keys_and_each_counts_once() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["to", "999"]).await;
    let keys = |count: u32| {
        let keys = (0..count).chain(0..500).map(|n| n.to_string());
        Value::Array(keys.map(|key| key.as_str().into()).collect())
    };
    wire.publish_with("", "to", &with_headers([("CC", keys(1000))]), "m")
        .await;
    assert_eq!(wire.drain("to").await, ["m"]);
    assert_eq!(wire.drain("999").await, ["m"]);
    wire.publish_with("", "to", &with_headers([("CC", keys(1001))]), "m")
        .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - message has 1001 routing keys in its headers CC and BCC, which is more than the maximum (1000)"
    );
}

#[tokio::test]
async fn a_route_with_further_keys_is_not_taken_for_the_one_before() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["to", "cc"]).await;
    // Nobody gets these, so that what is remembered of their way is still out when another is found.
    for body in ["0", "1", "2"] {
        wire.publish("", "nobody", body).await;
    }
    let copies = with_headers([("CC", Value::Array(vec!["cc".into()]))]);
    wire.publish_with("", "to", &copies, "3").await;
    wire.publish("", "nobody", "4").await;
    wire.publish("", "to", "5").await;
    assert_eq!(wire.drain("to").await, ["3", "5"]);
    assert_eq!(wire.drain("cc").await, ["3"]);
}

#[tokio::test]
async fn a_binding_is_there_once_and_gone_when_it_is_unbound() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    wire.bind("q", "amq.direct", "k").await;
    wire.bind("q", "amq.direct", "k").await;
    let unbind = |key| queue::Unbind {
        queue: short("q"),
        exchange: short("amq.direct"),
        routing_key: short(key),
        ..Default::default()
    };
    wire.call(&unbind("another"), "queue.unbind-ok").await;
    wire.publish("amq.direct", "k", "m").await;
    assert_eq!(wire.drain("q").await, ["m"]);
    wire.call(&unbind("k"), "queue.unbind-ok").await;
    wire.publish_mandatory("amq.direct", "k", "m").await;
    wire.returned().await;
}

#[tokio::test]
async fn a_route_is_forgotten_when_the_topology_changes() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["a"]).await;
    wire.bind("a", "amq.fanout", "").await;
    wire.publish("amq.fanout", "", "0").await;
    let mut other = with_queues(&broker, &["b"]).await;
    other.bind("b", "amq.fanout", "").await;
    wire.publish("amq.fanout", "", "1").await;
    wire.quiet().await;
    other.delete("a").await;
    other.declare("a").await;
    wire.publish("amq.fanout", "", "2").await;
    wire.quiet().await;
    assert_eq!(other.drain("b").await, ["1", "2"]);
    assert_eq!(other.count("a").await, 0);
}

#[tokio::test]
async fn what_is_reserved_or_different_is_refused() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let cases = [
        (
            "",
            "direct",
            403,
            "ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "amq.mine",
            "direct",
            403,
            "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        (
            "amq.topic",
            "fanout",
            406,
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'fanout' but \
             current is 'topic'",
        ),
    ];
    for (name, kind, code, text) in cases {
        assert_eq!(
            refusal(&mut wire, name, kind).await,
            (code, text.to_owned())
        );
    }
    wire.send(&exchange::Delete {
        exchange: short("amq.topic"),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 403);
    wire.open_channel(1).await;
    wire.send(&exchange::Declare {
        exchange: short("x"),
        kind: short("zorp"),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (503, "COMMAND_INVALID - unknown exchange type 'zorp'")
    );
}

#[tokio::test]
async fn clients_cannot_publish_to_an_internal_exchange_but_exchanges_can() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    let declare = exchange::Declare {
        exchange: short("inner"),
        kind: short("fanout"),
        internal: true,
        ..Default::default()
    };
    wire.call(&declare, "exchange.declare-ok").await;
    wire.bind("q", "inner", "").await;
    wire.bind_exchange("inner", "amq.fanout", "").await;
    wire.publish("amq.fanout", "", "m").await;
    assert_eq!(wire.drain("q").await, ["m"]);
    wire.publish("inner", "", "m").await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 403);
    assert_eq!(
        closed.text,
        "ACCESS_REFUSED - cannot publish to internal exchange 'inner' in vhost '/'"
    );
}

#[tokio::test]
async fn deleting_is_for_what_is_there_and_for_what_is_not() {
    let broker = broker().await;
    let mut wire = with_queues(&broker, &["q"]).await;
    wire.declare_exchange("x", "fanout").await;
    wire.bind("q", "x", "").await;
    wire.send(&exchange::Delete {
        exchange: short("x"),
        if_unused: true,
        no_wait: false,
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            406,
            "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use"
        )
    );
    wire.open_channel(1).await;
    for name in ["x", "x", "never was"] {
        let delete = exchange::Delete {
            exchange: short(name),
            ..Default::default()
        };
        wire.call(&delete, "exchange.delete-ok").await;
    }
    wire.publish("x", "", "m").await;
    assert_eq!(wire.expect_channel_closed().await.code, 404);
}

#[tokio::test]
async fn an_empty_name_stands_for_the_queue_declared_last() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&queue::Purge {
        queue: short(""),
        no_wait: false,
    })
    .await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "NOT_FOUND - no previously declared queue"
    );
    wire.open_channel(1).await;
    let name = wire.declare("").await.name;
    assert!(name.starts_with("amq.gen-"), "{name}");
    wire.bind("", "amq.direct", "").await;
    wire.publish_mandatory("amq.direct", &name, "bound by its name")
        .await;
    assert_eq!(wire.drain("").await, ["bound by its name"]);
}
