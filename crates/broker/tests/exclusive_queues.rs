//! Queues that belong to one connection.

mod support;

use leveret_amqp_codec::EncodeMethod;
use leveret_amqp_codec::method::{basic, queue};
use leveret_broker::Broker;
use support::{Wire, broker, short, until};

async fn owner(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare_queue(&exclusive("mine")).await;
    wire
}

fn exclusive(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: short(name),
        exclusive: true,
        ..queue::Declare::default()
    }
}

/// Another connection tries this, and is told that the queue is locked.
async fn check_locked(method: impl EncodeMethod, name: &str) {
    let broker = broker().await;
    let _owner = owner(&broker).await;
    let mut other = Wire::open(&broker).await;
    other.send(&method).await;
    let closed = other.expect_channel_closed().await;
    assert_eq!(closed.code, 405, "{name}");
    assert_eq!(
        closed.text,
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original declaration."
    );
}

#[tokio::test]
async fn nobody_else_may_touch_them() {
    check_locked(exclusive("mine"), "declare").await;
    check_locked(
        queue::Declare {
            queue: short("mine"),
            ..Default::default()
        },
        "declare as shared",
    )
    .await;
    check_locked(
        queue::Declare {
            queue: short("mine"),
            passive: true,
            ..Default::default()
        },
        "passive",
    )
    .await;
    check_locked(
        queue::Purge {
            queue: short("mine"),
            no_wait: false,
        },
        "purge",
    )
    .await;
    check_locked(
        queue::Delete {
            queue: short("mine"),
            ..Default::default()
        },
        "delete",
    )
    .await;
    let exchange = short("amq.direct");
    check_locked(
        queue::Bind {
            queue: short("mine"),
            exchange,
            ..Default::default()
        },
        "bind",
    )
    .await;
    check_locked(
        basic::Consume {
            queue: short("mine"),
            ..Default::default()
        },
        "consume",
    )
    .await;
    check_locked(
        basic::Get {
            queue: short("mine"),
            no_ack: true,
        },
        "get",
    )
    .await;
}

#[tokio::test]
async fn others_may_unbind_what_is_not_bound_and_nothing_else() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    let mut other = Wire::open(&broker).await;
    let unbind = queue::Unbind {
        queue: short("mine"),
        exchange: short("amq.direct"),
        ..Default::default()
    };
    other.call(&unbind, "queue.unbind-ok").await;
    owner.bind("mine", "amq.direct", "").await;
    other.send(&unbind).await;
    assert_eq!(other.expect_channel_closed().await.code, 405);
}

#[tokio::test]
async fn anybody_may_publish_to_them() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    let mut other = Wire::open(&broker).await;
    other.publish_mandatory("", "mine", "hello").await;
    other.quiet().await;
    assert_eq!(owner.drain("mine").await, ["hello"]);
}

#[tokio::test]
async fn every_channel_of_the_owner_may_use_them() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    owner.open_channel(2).await;
    assert_eq!(owner.declare_queue(&exclusive("mine")).await.messages, 0);
    owner.consume("mine").await;
}

#[tokio::test]
async fn they_are_gone_when_their_connection_says_that_it_is_closed() {
    let broker = broker().await;
    let owner = owner(&broker).await;
    let mut other = Wire::open(&broker).await;
    owner.close().await;
    other.expect_no_queue("mine").await;
    other.declare("mine").await;
}

#[tokio::test]
async fn they_go_with_a_connection_that_breaks_and_their_messages_with_them() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    owner.publish("", "mine", "m").await;
    owner.quiet().await;
    assert!(broker.memory_used() > 0);
    drop(owner);
    until("the connection to go", || broker.connection_count() == 0).await;
    assert_eq!(broker.memory_used(), 0);
    Wire::open(&broker).await.expect_no_queue("mine").await;
}

#[tokio::test]
async fn they_outlive_the_channel_that_declared_them() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    owner.publish("", "mine", "m").await;
    owner.close_channel().await;
    owner.open_channel(2).await;
    assert_eq!(owner.drain("mine").await, ["m"]);
}

#[tokio::test]
async fn they_are_not_durable_whatever_their_owner_asks_for() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    let durable = queue::Declare {
        durable: true,
        ..exclusive("mine")
    };
    owner.declare_queue(&durable).await;
    owner.delete("mine").await;
    owner.declare_queue(&durable).await;
    owner.declare_queue(&exclusive("mine")).await;
}

#[tokio::test]
async fn a_shared_queue_cannot_be_claimed() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("shared").await;
    wire.send(&exclusive("shared")).await;
    assert_eq!(wire.expect_channel_closed().await.code, 405);
}

#[tokio::test]
async fn a_deleted_one_can_be_declared_by_another() {
    let broker = broker().await;
    let mut owner = owner(&broker).await;
    owner.delete("mine").await;
    let mut other = Wire::open(&broker).await;
    other.declare_queue(&exclusive("mine")).await;
    owner.close().await;
    assert_eq!(
        other.look("mine").await.consumers,
        0,
        "the first owner's end is not the second's"
    );
}

#[tokio::test]
async fn an_exclusive_consumer_keeps_the_others_out() {
    let broker = broker().await;
    let mut first = Wire::open(&broker).await;
    first.declare("q").await;
    first
        .consume_with(&basic::Consume {
            queue: short("q"),
            exclusive: true,
            ..Default::default()
        })
        .await;
    let mut second = Wire::open(&broker).await;
    for exclusive in [false, true] {
        second
            .send(&basic::Consume {
                queue: short("q"),
                exclusive,
                ..Default::default()
            })
            .await;
        let closed = second.expect_channel_closed().await;
        assert_eq!((closed.code, closed.method), (403, (60, 20)));
        assert_eq!(
            closed.text,
            "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"
        );
        second.open_channel(1).await;
    }
    first.close().await;
    second.consume("q").await;
}
