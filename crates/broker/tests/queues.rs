//! Declaring, looking at, emptying and deleting queues (behaviour reference, section 6).

mod support;

use leveret_amqp_codec::method::queue;
use leveret_amqp_codec::{Method, RawTable};
use leveret_broker::{Broker, Table, Value};
use support::{Closed, Wire, broker, declare, short, start, table};

/// Declares `q` with the first arguments, then with the second, and returns what that is answered with.
async fn redeclare(first: &Table, second: &Table) -> Option<Closed> {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare_with("q", first).await;
    let arguments = second.to_bytes();
    wire.send(&queue::Declare {
        arguments: RawTable::from_validated_bytes(&arguments),
        ..declare("q")
    })
    .await;
    let heard = wire.hear().await.unwrap();
    match heard.method() {
        Method::QueueDeclareOk(_) => None,
        _ => Some(heard.into_closed()),
    }
}

async fn refused(declare: &queue::Declare<'_>) -> String {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(declare).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (406, (50, 10)), "{closed:?}");
    let (name, problem) = closed.text.split_once(" - ").unwrap();
    assert_eq!(name, "PRECONDITION_FAILED");
    problem.to_owned()
}

/// What is said of one argument that is wrong.
async fn fault(argument: &str, value: Value) -> String {
    let arguments = table([(argument, value)]).to_bytes();
    let declare = queue::Declare {
        arguments: RawTable::from_validated_bytes(&arguments),
        ..declare("q")
    };
    let problem = refused(&declare).await;
    let start = format!("invalid arg '{argument}' for queue 'q' in vhost '/': ");
    match problem.strip_prefix(&start) {
        Some(fault) => fault.to_owned(),
        None => problem,
    }
}

#[tokio::test]
async fn a_queue_without_a_name_is_given_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let names = [wire.declare("").await.name, wire.declare("").await.name];
    for name in &names {
        let random = name.strip_prefix("amq.gen-").expect("RabbitMQ's prefix");
        assert_eq!(random.len(), 22, "16 bytes in base64");
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn reserved_names_may_be_looked_at_and_not_declared() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let name = wire.declare("").await.name;
    wire.look(&name).await;
    for reserved in ["amq.mine", &name] {
        wire.send(&declare(reserved)).await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!(closed.code, 403);
        assert_eq!(
            closed.text,
            format!("ACCESS_REFUSED - queue name '{reserved}' contains reserved prefix 'amq.*'")
        );
        wire.open_channel(1).await;
    }
}

#[tokio::test]
async fn line_ends_are_taken_out_of_names() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    assert_eq!(wire.declare("a\r\nb\n").await.name, "ab");
    wire.look("ab").await;
}

#[tokio::test]
async fn declaring_tells_what_is_ready_and_who_consumes() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..3).await;
    wire.get("q").await.unwrap();
    let looked = wire.look("q").await;
    assert_eq!((looked.messages, looked.consumers), (2, 0));
    wire.consume("q").await;
    wire.deliveries(2).await;
    let again = wire.declare("q").await;
    assert_eq!((again.messages, again.consumers), (0, 1));
}

#[tokio::test]
async fn a_difference_in_durability_is_noticed_before_one_in_life() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for (durable, auto_delete, difference) in [
        (true, true, "durable"),
        (true, false, "durable"),
        (false, true, "auto_delete"),
    ] {
        wire.send(&queue::Declare {
            durable,
            auto_delete,
            ..declare("q")
        })
        .await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!(
            closed.text,
            format!(
                "PRECONDITION_FAILED - inequivalent arg '{difference}' for queue 'q' in vhost '/': received 'true' but \
                 current is 'false'"
            )
        );
        wire.open_channel(1).await;
    }
}

#[tokio::test]
async fn looking_passes_over_everything_but_the_name() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let arguments = table([("x-message-ttl", Value::from("nonsense"))]).to_bytes();
    wire.declare_queue(&queue::Declare {
        passive: true,
        durable: true,
        auto_delete: true,
        exclusive: true,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..declare("q")
    })
    .await;
}

#[tokio::test]
async fn arguments_that_say_the_same_are_the_same() {
    let none = Table::default();
    let ttl = |value| table([("x-message-ttl", value)]);
    assert_eq!(
        redeclare(&ttl(Value::I32(100)), &ttl(Value::I64(100))).await,
        None
    );
    assert_eq!(
        redeclare(&ttl(Value::I32(100)), &ttl(Value::I8(100))).await,
        None
    );
    let unknown = table([("x-zorp", Value::I32(1))]);
    assert_eq!(redeclare(&none, &unknown).await, None);
    assert_eq!(redeclare(&unknown, &none).await, None);
    let classic = table([("x-queue-type", Value::from("classic"))]);
    assert_eq!(redeclare(&none, &classic).await, None);
    assert_eq!(redeclare(&classic, &none).await, None);
}

#[tokio::test]
async fn an_integer_is_no_float_that_says_the_same() {
    let length = |value| table([("x-max-length", value)]);
    let closed = redeclare(&length(Value::I32(5)), &length(Value::F64(5.0))).await;
    assert_eq!(
        closed.unwrap().text,
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '5.0' but current is '5'"
    );
}

#[tokio::test]
async fn known_arguments_must_be_there_on_both_sides() {
    let none = Table::default();
    let ttl = table([("x-message-ttl", Value::I32(100))]);
    let closed = redeclare(&none, &ttl).await.unwrap();
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '100' of \
         type 'signedint' but current is none"
    );
    let closed = redeclare(&ttl, &none).await.unwrap();
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is \
         the value '100' of type 'signedint'"
    );
    let shorter = table([("x-message-ttl", Value::I64(99))]);
    let closed = redeclare(&ttl, &shorter).await.unwrap();
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '99' but current is \
         '100'"
    );
}

#[tokio::test]
async fn numbers_must_be_numbers_and_not_negative() {
    for argument in [
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
    ] {
        assert_eq!(
            fault(argument, Value::from("many")).await,
            "\"expected integer, got longstr\""
        );
        assert_eq!(fault(argument, Value::I32(-1)).await, "{value_negative,-1}");
    }
    assert_eq!(fault("x-expires", Value::I32(0)).await, "{value_zero,0}");
    assert_eq!(
        fault("x-max-priority", Value::I32(256)).await,
        "{max_value_exceeded,256}"
    );
    assert_eq!(
        fault("x-message-ttl", Value::I64(315_360_000_001)).await,
        "{value_too_large,315360000001}"
    );
    assert_eq!(
        fault("x-expires", Value::I64(315_360_000_001)).await,
        "{value_too_large,315360000001}"
    );
}

#[tokio::test]
async fn words_must_be_known_ones() {
    assert_eq!(
        fault("x-overflow", Value::from("zorp")).await,
        "invalid_overflow"
    );
    assert_eq!(
        fault("x-queue-type", Value::from("zorp")).await,
        "\"unsupported queue type 'zorp'\""
    );
    for version in [0, 3] {
        assert_eq!(
            fault("x-queue-version", Value::I32(version)).await,
            format!("\"unsupported queue version '{version}'\"")
        );
    }
    assert_eq!(
        fault("x-dead-letter-routing-key", Value::from("q")).await,
        "routing_key_but_no_dlx_defined"
    );
    assert_eq!(
        fault("x-dead-letter-exchange", Value::I32(1)).await,
        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"
    );
    // These are for quorum queues.
    for (argument, problem) in [
        ("x-dead-letter-strategy", ": invalid_dlx_strategy"),
        ("x-queue-leader-locator", ": invalid_queue_locator_arg"),
    ] {
        let arguments = table([
            ("x-queue-type", Value::from("quorum")),
            (argument, Value::from("zorp")),
        ])
        .to_bytes();
        let quorum = queue::Declare {
            durable: true,
            arguments: RawTable::from_validated_bytes(&arguments),
            ..declare("q")
        };
        let text = refused(&quorum).await;
        assert!(text.ends_with(problem), "{text}");
        let text = fault(argument, Value::from("random")).await;
        assert!(
            text.ends_with("of queue type rabbit_classic_queue"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn every_argument_of_a_classic_queue_is_taken() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([
        ("x-message-ttl", Value::I64(60_000)),
        ("x-expires", Value::U32(60_000)),
        ("x-max-length", Value::U8(10)),
        ("x-max-length-bytes", Value::I16(1000)),
        ("x-overflow", Value::from("reject-publish-dlx")),
        ("x-dead-letter-exchange", Value::from("not there yet")),
        ("x-dead-letter-routing-key", Value::from("key")),
        ("x-max-priority", Value::I8(10)),
        ("x-single-active-consumer", Value::from(true)),
        ("x-queue-type", Value::from("classic")),
        ("x-queue-mode", Value::from("lazy")),
        ("x-queue-version", Value::I32(2)),
        ("x-zorp", Value::Void),
    ]);
    wire.declare_with("q", &arguments).await;
    wire.declare_with("q", &arguments).await;
}

#[tokio::test]
async fn purging_takes_what_is_ready_and_nothing_else() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..3).await;
    let held = wire.get("q").await.unwrap();
    let purge = queue::Purge {
        queue: short("q"),
        no_wait: false,
    };
    let heard = wire.call(&purge, "queue.purge-ok").await;
    let Method::QueuePurgeOk(ok) = heard.method() else {
        unreachable!()
    };
    assert_eq!(ok.message_count, 2);
    wire.nack(held.tag, true).await;
    assert_eq!(wire.drain("q").await, ["0"]);
    wire.send(&queue::Purge {
        queue: short("missing"),
        no_wait: false,
    })
    .await;
    assert_eq!(wire.expect_channel_closed().await.code, 404);
}

async fn delete(wire: &mut Wire, delete: &queue::Delete<'_>) -> u32 {
    let heard = wire.call(delete, "queue.delete-ok").await;
    let Method::QueueDeleteOk(ok) = heard.method() else {
        unreachable!()
    };
    ok.message_count
}

async fn with_messages(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare("q").await;
    wire.publish_all("q", 0..3).await;
    wire
}

#[tokio::test]
async fn deleting_tells_how_many_were_ready_and_what_is_missing_has_none() {
    let broker = broker().await;
    let mut wire = with_messages(&broker).await;
    wire.get("q").await.unwrap();
    let plainly = queue::Delete {
        queue: short("q"),
        ..Default::default()
    };
    assert_eq!(delete(&mut wire, &plainly).await, 2);
    assert_eq!(delete(&mut wire, &plainly).await, 0);
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn a_queue_can_be_deleted_only_if_it_is_empty_or_unused() {
    let broker = broker().await;
    let mut wire = with_messages(&broker).await;
    let empty = queue::Delete {
        queue: short("q"),
        if_empty: true,
        ..Default::default()
    };
    wire.send(&empty).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (406, (50, 40)));
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty"
    );
    wire.open_channel(1).await;
    wire.consume("q").await;
    wire.deliveries(3).await;
    let unused = queue::Delete {
        queue: short("q"),
        if_unused: true,
        ..Default::default()
    };
    wire.send(&unused).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' in use"
    );
    wire.open_channel(1).await;
    // The channel's end gave everything back.
    assert_eq!(delete(&mut wire, &unused).await, 3);
}

#[tokio::test]
async fn without_a_queue_declared_before_an_empty_name_means_nothing() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&queue::Purge::default()).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 404);
    assert_eq!(closed.text, "NOT_FOUND - no previously declared queue");
}

#[tokio::test]
async fn of_queues_there_may_be_so_many_and_no_more() {
    let broker = start(Broker::builder().queues_max(2)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("a").await;
    wire.declare("b").await;
    wire.declare("b").await;
    wire.send(&declare("c")).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (406, (50, 10)));
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in vhost '/' (2) is reached"
    );
    wire.open_channel(1).await;
    wire.delete("a").await;
    wire.declare("c").await;
}
