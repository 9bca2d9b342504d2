//! Answers that go straight to the channel that asked.

mod support;

use leveret_amqp_codec::method::{basic, queue};
use leveret_amqp_codec::{RawTable, Value};
use leveret_broker::{Broker, Properties};
use support::{Wire, broker, short, table, until};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A channel that waits for answers.
async fn requester(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    let consume = basic::Consume {
        queue: short(REPLY_TO),
        consumer_tag: short("answers"),
        no_ack: true,
        ..basic::Consume::default()
    };
    wire.consume_with(&consume).await;
    wire
}

async fn ask(wire: &mut Wire, body: &str) {
    let properties = Properties {
        reply_to: Some(REPLY_TO.to_owned()),
        ..Properties::default()
    };
    wire.publish_with("", "service", &properties, body).await;
}

/// Asks, and takes the question: the responder and the address to answer to.
async fn asked(broker: &Broker, requester: &mut Wire) -> (Wire, String) {
    let mut responder = Wire::open(broker).await;
    responder.declare("service").await;
    ask(requester, "question").await;
    requester.quiet().await;
    let question = responder
        .get("service")
        .await
        .expect("the question was asked");
    responder.ack(question.tag).await;
    (
        responder,
        question
            .properties
            .reply_to
            .expect("it says where the answer goes"),
    )
}

#[tokio::test]
async fn an_answer_comes_to_the_channel_that_asked() {
    let broker = broker().await;
    let mut requester = requester(&broker).await;
    let (mut responder, address) = asked(&broker, &mut requester).await;
    assert!(
        address.starts_with("amq.rabbitmq.reply-to.") && address.len() > 40,
        "{address} can be guessed"
    );
    responder.publish_mandatory("", &address, "answer").await;
    responder.quiet().await;
    let answer = requester.delivery().await;
    assert_eq!(
        (&*answer.consumer_tag, answer.tag, answer.redelivered),
        ("answers", 1, false)
    );
    assert_eq!((&*answer.exchange, answer.text()), ("", "answer"));
}

#[tokio::test]
async fn an_address_is_no_queue_to_anybody() {
    let broker = broker().await;
    let mut requester = requester(&broker).await;
    let (mut responder, address) = asked(&broker, &mut requester).await;
    responder.delete(&address).await;
    responder
        .send(&basic::Get {
            queue: short(&address),
            no_ack: true,
        })
        .await;
    let closed = responder.expect_channel_closed().await;
    assert_eq!((closed.code, closed.method), (404, (60, 70)));
    responder.open_channel(1).await;
    responder
        .send(&queue::Bind {
            queue: short(&address),
            exchange: short("amq.fanout"),
            ..Default::default()
        })
        .await;
    assert_eq!(responder.expect_channel_closed().await.code, 404);
    responder.open_channel(1).await;
    responder.publish("", &address, "answer").await;
    responder.quiet().await;
    assert_eq!(requester.deliveries(1).await, ["answer"]);
}

#[tokio::test]
async fn another_consumer_may_have_the_tag_of_the_reply_consumer() {
    let broker = broker().await;
    let mut requester = requester(&broker).await;
    requester.declare("answers").await;
    requester.consume("answers").await;
    requester.cancel("answers").await;
    let (mut responder, address) = asked(&broker, &mut requester).await;
    responder.publish("", &address, "answer").await;
    responder.quiet().await;
    assert_eq!(requester.deliveries(1).await, ["answer"]);
    requester.cancel("answers").await;
    responder.publish_mandatory("", &address, "late").await;
    assert_eq!(responder.returned().await.text(), "late");
}

#[tokio::test]
async fn every_channel_has_an_address_of_its_own() {
    let broker = broker().await;
    let (mut one, mut two) = (requester(&broker).await, requester(&broker).await);
    let (mut responder, first) = asked(&broker, &mut one).await;
    let (_, second) = asked(&broker, &mut two).await;
    assert_ne!(first, second);
    responder.publish("", &second, "for two").await;
    responder.publish("", &first, "for one").await;
    responder.quiet().await;
    assert_eq!(one.deliveries(1).await, ["for one"]);
    assert_eq!(two.deliveries(1).await, ["for two"]);
    one.quiet().await;
}

#[tokio::test]
async fn an_answer_to_nobody_is_unroutable() {
    let broker = broker().await;
    let mut requester = requester(&broker).await;
    let (mut responder, address) = asked(&broker, &mut requester).await;
    drop(requester);
    until("the requester to be gone", || {
        broker.connection_count() == 1
    })
    .await;
    responder.publish_mandatory("", &address, "too late").await;
    assert_eq!(responder.returned().await.text(), "too late");
}

#[tokio::test]
async fn a_responder_may_ask_whether_an_answer_is_wanted() {
    let broker = broker().await;
    let mut requester = requester(&broker).await;
    let (mut responder, address) = asked(&broker, &mut requester).await;
    let declared = responder.look(&address).await;
    assert_eq!((declared.messages, declared.consumers), (0, 1));
    assert_eq!(responder.declare(REPLY_TO).await.consumers, 1);
    requester.cancel("answers").await;
    responder
        .send(&queue::Declare {
            queue: short(&address),
            passive: true,
            ..Default::default()
        })
        .await;
    assert_eq!(responder.expect_channel_closed().await.code, 404);
}

#[tokio::test]
async fn asking_needs_a_consumer_on_the_same_channel() {
    let broker = broker().await;
    let mut wire = requester(&broker).await;
    wire.open_channel(2).await;
    ask(&mut wire, "question").await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            406,
            "PRECONDITION_FAILED - fast reply consumer does not exist"
        )
    );
}

#[tokio::test]
async fn there_is_one_consumer_a_channel_and_it_does_not_acknowledge() {
    let broker = broker().await;
    let mut wire = requester(&broker).await;
    wire.send(&basic::Consume {
        queue: short(REPLY_TO),
        no_ack: true,
        ..Default::default()
    })
    .await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "PRECONDITION_FAILED - reply consumer already set"
    );
    wire.open_channel(1).await;
    wire.send(&basic::Consume {
        queue: short(REPLY_TO),
        ..Default::default()
    })
    .await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "PRECONDITION_FAILED - reply consumer cannot acknowledge"
    );
}

#[tokio::test]
async fn after_cancelling_one_may_consume_again_under_a_new_address() {
    let broker = broker().await;
    let mut wire = requester(&broker).await;
    let (mut responder, old) = asked(&broker, &mut wire).await;
    wire.cancel("answers").await;
    let consume = basic::Consume {
        queue: short(REPLY_TO),
        no_ack: true,
        ..Default::default()
    };
    wire.consume_with(&consume).await;
    let (_, new) = asked(&broker, &mut wire).await;
    assert_ne!(old, new);
    responder.publish("", &old, "to the old one").await;
    responder.publish("", &new, "to the new one").await;
    responder.quiet().await;
    assert_eq!(wire.deliveries(1).await, ["to the new one"]);
}

#[tokio::test]
async fn nothing_is_left_of_a_requester_that_is_gone() {
    let broker = broker().await;
    for _ in 0..100 {
        let mut wire = requester(&broker).await;
        wire.quiet().await;
        wire.close().await;
    }
    until("all to be gone", || broker.connection_count() == 0).await;
    assert_eq!(broker.memory_used(), 0);
}

/// Nobody would delete it before the connection ends, and no limit counts it.
#[tokio::test]
async fn who_may_not_wait_for_answers_leaves_no_queue_behind() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    let arguments = table([("x-priority", Value::from("high"))]).to_bytes();
    for channel in 2..5 {
        wire.open_channel(channel).await;
        let consume = basic::Consume {
            queue: short(REPLY_TO),
            no_ack: true,
            arguments: RawTable::from_validated_bytes(&arguments),
            ..basic::Consume::default()
        };
        wire.send(&consume).await;
        assert_eq!(wire.expect_channel_closed().await.code, 406);
    }
    let left = broker.queues("/").unwrap();
    assert!(left.is_empty(), "{left:?}");
}
