//! Channels: opening, closing and what is asked on them (behaviour reference, section 4).

mod support;

use leveret_amqp_codec::Method;
use leveret_amqp_codec::method::{access, basic, channel, connection, exchange, queue};
use support::{Greeting, Wire, broker, short};

fn close() -> channel::Close<'static> {
    channel::Close {
        reply_code: 200,
        reply_text: short("bye"),
        class_id: 0,
        method_id: 0,
    }
}

#[tokio::test]
async fn a_channel_of_any_number_can_be_opened_as_long_as_there_are_not_too_many() {
    let broker = broker().await;
    let greeting = Greeting {
        channel_max: 2,
        ..Greeting::default()
    };
    let mut wire = greeting.connect(&broker).await;
    wire.open_channel(700).await;
    wire.open_channel(1).await;
    wire.send_on(2, &channel::Open {}).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.code, 530);
    assert_eq!(
        closed.text,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    );
}

#[tokio::test]
async fn a_number_is_free_again_after_close_ok() {
    let broker = broker().await;
    let greeting = Greeting {
        channel_max: 1,
        ..Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    for _ in 0..3 {
        wire.call(&close(), "channel.close-ok").await;
        wire.open_channel(1).await;
    }
    wire.quiet().await;
}

#[tokio::test]
async fn both_sides_may_close_at_once() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    // The broker closes because of the first, and has not heard of that when the second is sent.
    wire.publish("missing", "", "m").await;
    wire.send(&close()).await;
    let heard = wire.expect("channel.close").await;
    assert_eq!(heard.into_closed().code, 404);
    wire.expect("channel.close-ok").await;
    wire.send(&channel::CloseOk {}).await;
    wire.open_channel(1).await;
    wire.quiet().await;
}

#[tokio::test]
async fn flow_can_be_asked_for_and_not_be_stopped() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let heard = wire
        .call(&channel::Flow { active: true }, "channel.flow-ok")
        .await;
    let Method::ChannelFlowOk(ok) = heard.method() else {
        unreachable!()
    };
    assert!(ok.active);
    wire.send(&channel::Flow { active: false }).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (540, (20, 20)));
    assert_eq!(closed.text, "NOT_IMPLEMENTED - active=false");
}

#[tokio::test]
async fn rights_of_old_are_granted_with_ticket_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let heard = wire
        .call(&access::Request::default(), "access.request-ok")
        .await;
    let Method::AccessRequestOk(ok) = heard.method() else {
        unreachable!()
    };
    assert_eq!(ok.ticket, 1);
}

#[tokio::test]
async fn a_secret_that_does_not_expire_may_be_renewed() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let update = connection::UpdateSecret {
        new_secret: b"guest",
        reason: short("it is time"),
    };
    wire.send_on(0, &update).await;
    wire.expect_on(0, "connection.update-secret-ok").await;
    wire.quiet().await;
}

#[tokio::test]
async fn answers_keep_the_order_of_what_was_asked_without_waiting() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&queue::Declare {
        queue: short("q"),
        ..Default::default()
    })
    .await;
    wire.send(&basic::Qos::default()).await;
    wire.send(&basic::Consume {
        queue: short("q"),
        ..Default::default()
    })
    .await;
    wire.send(&queue::Purge {
        queue: short("q"),
        ..Default::default()
    })
    .await;
    for answer in [
        "queue.declare-ok",
        "basic.qos-ok",
        "basic.consume-ok",
        "queue.purge-ok",
    ] {
        wire.expect(answer).await;
    }
}

#[tokio::test]
async fn what_wants_no_answer_gets_none_unless_it_fails() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let declare = |passive| queue::Declare {
        queue: short("q"),
        passive,
        no_wait: true,
        ..Default::default()
    };
    wire.send(&declare(false)).await;
    wire.send(&exchange::Declare {
        exchange: short("x"),
        kind: short("fanout"),
        no_wait: true,
        ..Default::default()
    })
    .await;
    wire.send(&queue::Bind {
        queue: short("q"),
        exchange: short("x"),
        no_wait: true,
        ..Default::default()
    })
    .await;
    wire.send(&basic::Consume {
        queue: short("q"),
        consumer_tag: short("tag"),
        no_wait: true,
        ..Default::default()
    })
    .await;
    wire.publish("x", "", "m").await;
    assert_eq!(wire.delivery().await.consumer_tag, "tag");
    wire.send(&basic::Cancel {
        consumer_tag: short("tag"),
        no_wait: true,
    })
    .await;
    wire.send(&queue::Purge {
        queue: short("q"),
        no_wait: true,
    })
    .await;
    wire.send(&queue::Delete {
        queue: short("q"),
        no_wait: true,
        ..Default::default()
    })
    .await;
    wire.quiet().await;
    wire.send(&declare(true)).await;
    assert_eq!(wire.expect_channel_closed().await.code, 404);
}

#[tokio::test]
async fn what_the_server_alone_says_is_refused() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&basic::QosOk {}).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (503, (60, 11)));
}
