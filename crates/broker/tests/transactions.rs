//! Publishes and acknowledgements that take effect together.

mod support;

use leveret_amqp_codec::method::tx;
use leveret_broker::Broker;
use support::{Wire, broker, start, table, until};

async fn with_transaction(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare("q").await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire
}

async fn commit(wire: &mut Wire) {
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
}

async fn roll_back(wire: &mut Wire) {
    wire.call(&tx::Rollback {}, "tx.rollback-ok").await;
}

#[tokio::test]
async fn publishes_arrive_with_the_commit_and_in_order() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish_all("q", 0..3).await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 0);
    commit(&mut wire).await;
    assert_eq!(wire.count("q").await, 3);
    assert_eq!(Wire::open(&broker).await.drain("q").await, ["0", "1", "2"]);
}

#[tokio::test]
async fn publishes_that_are_rolled_back_never_were() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("", "q", "no").await;
    roll_back(&mut wire).await;
    wire.publish("", "q", "yes").await;
    commit(&mut wire).await;
    assert_eq!(Wire::open(&broker).await.drain("q").await, ["yes"]);
}

#[tokio::test]
async fn acknowledgements_count_from_the_commit_on() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish_all("q", 0..4).await;
    commit(&mut wire).await;
    wire.prefetch(2, false).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(2).await, ["0", "1"]);
    wire.ack(1).await;
    wire.nack(2, false).await;
    wire.quiet().await;
    wire.send(&tx::Commit {}).await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        let heard = wire.hear().await.unwrap();
        if heard.method().name() != "tx.commit-ok" {
            texts.push(heard.into_delivered().text().to_owned());
        }
    }
    assert_eq!(texts, ["2", "3"]);
}

#[tokio::test]
async fn acknowledgements_that_are_rolled_back_leave_the_deliveries_outstanding() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish_all("q", 0..2).await;
    commit(&mut wire).await;
    wire.consume("q").await;
    wire.deliveries(2).await;
    wire.ack_up_to(2).await;
    roll_back(&mut wire).await;
    wire.quiet().await;
    wire.ack(1).await;
    commit(&mut wire).await;
    wire.close_channel().await;
    wire.open_channel(1).await;
    assert_eq!(wire.drain("q").await, ["1"]);
}

#[tokio::test]
async fn a_tag_is_settled_once_within_a_transaction_too() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("", "q", "m").await;
    commit(&mut wire).await;
    wire.get("q").await.unwrap();
    wire.ack(1).await;
    wire.ack(1).await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "PRECONDITION_FAILED - unknown delivery tag 1"
    );
    wire.open_channel(1).await;
    assert_eq!(
        wire.drain("q").await,
        ["m"],
        "the first one was not committed"
    );
}

#[tokio::test]
async fn what_a_closing_channel_has_not_committed_is_undone() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("", "q", "kept").await;
    commit(&mut wire).await;
    wire.get("q").await.unwrap();
    wire.ack(1).await;
    wire.publish("", "q", "lost").await;
    wire.close_channel().await;
    wire.open_channel(1).await;
    assert_eq!(wire.drain("q").await, ["kept"]);
}

#[tokio::test]
async fn mandatory_messages_come_back_before_the_commit_is_answered() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish_mandatory("", "nowhere", "m").await;
    wire.quiet().await;
    wire.send(&tx::Commit {}).await;
    assert_eq!(wire.returned().await.text(), "m");
    wire.expect("tx.commit-ok").await;
}

#[tokio::test]
async fn an_exchange_is_looked_for_when_the_message_is_published() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("zorp", "", "m").await;
    assert_eq!(wire.expect_channel_closed().await.code, 404);
}

#[tokio::test]
async fn a_message_goes_where_it_would_have_gone_when_it_was_published() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("amq.fanout", "", "before the binding").await;
    wire.bind("q", "amq.fanout", "").await;
    wire.publish("amq.fanout", "", "after it").await;
    commit(&mut wire).await;
    assert_eq!(Wire::open(&broker).await.drain("q").await, ["after it"]);
}

#[tokio::test]
async fn a_target_that_refuses_makes_the_commit_fail() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.declare_with(
        "full",
        &table([
            ("x-max-length", 0.into()),
            ("x-overflow", "reject-publish".into()),
        ]),
    )
    .await;
    wire.publish("", "full", "m").await;
    wire.send(&tx::Commit {}).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (406, "PRECONDITION_FAILED - partial tx completion")
    );
}

#[tokio::test]
async fn without_select_there_is_nothing_to_commit_or_roll_back() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send(&tx::Commit {}).await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "PRECONDITION_FAILED - channel is not transactional"
    );
    wire.open_channel(1).await;
    wire.send(&tx::Rollback {}).await;
    assert_eq!(
        wire.expect_channel_closed().await.text,
        "PRECONDITION_FAILED - channel is not transactional"
    );
}

#[tokio::test]
async fn a_mandatory_message_is_returned_when_its_queue_has_gone_before_the_commit() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish_mandatory("", "q", "m").await;
    wire.delete("q").await;
    wire.send(&tx::Commit {}).await;
    assert_eq!(wire.returned().await.text(), "m");
    wire.expect("tx.commit-ok").await;
}

#[tokio::test]
async fn a_message_arrives_in_the_queue_that_has_the_name_at_the_commit() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("", "q", "m").await;
    wire.delete("q").await;
    wire.declare("q").await;
    commit(&mut wire).await;
    assert_eq!(wire.count("q").await, 1);
}

#[tokio::test]
async fn what_it_holds_counts_against_the_memory_limit() {
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    wire.publish("", "q", vec![0; 10_000]).await;
    wire.publish("", "q", vec![0; 10_000]).await;
    wire.quiet().await;
    assert!(broker.memory_used() >= 20_000);
    roll_back(&mut wire).await;
    assert_eq!(broker.memory_used(), 0);
    wire.publish("", "q", vec![0; 10_000]).await;
    wire.quiet().await;
    let held = broker.memory_used();
    commit(&mut wire).await;
    assert!(
        (10_000..=held).contains(&broker.memory_used()),
        "it is not counted twice"
    );
    wire.publish("", "q", vec![0; 50_000]).await;
    drop(wire);
    until("the rest to be forgotten", || broker.memory_used() <= held).await;
}

#[tokio::test]
async fn the_ways_of_what_it_holds_count_each_once() {
    const QUEUES: usize = 200;
    let broker = broker().await;
    let mut wire = with_transaction(&broker).await;
    for n in 0..QUEUES {
        let queue = n.to_string();
        wire.declare(&queue).await;
        wire.bind(&queue, "amq.fanout", "").await;
    }
    let size = QUEUES * size_of::<usize>();
    // What each will be in each queue.
    let places = QUEUES * 64;
    wire.publish("amq.fanout", "same", "").await;
    wire.quiet().await;
    let first = broker.memory_used();
    assert!(first >= size + places, "{first}");
    for _ in 0..10 {
        wire.publish("amq.fanout", "same", "").await;
    }
    wire.quiet().await;
    let same = broker.memory_used();
    assert!(
        (10 * places..10 * places + size).contains(&(same - first)),
        "{same}"
    );
    for n in 0..10 {
        wire.publish("amq.fanout", &n.to_string(), "").await;
    }
    wire.quiet().await;
    let other = broker.memory_used();
    assert!(other - same >= 10 * (size + places), "{other}");
    roll_back(&mut wire).await;
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn one_that_alone_would_block_everybody_is_refused() {
    let broker = start(Broker::builder().memory_limit(100_000)).await;
    let mut wire = with_transaction(&broker).await;
    for _ in 0..9 {
        wire.publish("", "q", vec![0; 9_000]).await;
    }
    wire.quiet().await;
    wire.publish("", "q", vec![0; 9_000]).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - the transaction holds more than the memory limit allows"
    );
    assert_eq!(broker.memory_used(), 0);
    assert_eq!(broker.alarms(), []);
}
