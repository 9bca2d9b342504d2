//! Publishes that differ in nothing but their bodies, and what changes between them: such are not decoded each time.

mod support;

use leveret_amqp_codec::method::tx;
use leveret_broker::{
    AccountChange, Accounts, Broker, Permissions, User, UserPermissions, UserTable, Value,
};
use support::{Greeting, Wire, broker, expiring, start, with_headers};

/// Publishes so often to the same place that it is known.
async fn publish_until_known(wire: &mut Wire, exchange: &str, key: &str) {
    for body in ["a", "bb", "ccc"] {
        wire.publish(exchange, key, body).await;
    }
}

#[tokio::test]
async fn a_right_that_is_withdrawn_is_missed_by_the_next() {
    let may_write = |write: &str| {
        AccountChange::SetPermissions(UserPermissions {
            user: "ann".into(),
            vhost: "/".into(),
            permissions: Permissions::new(".*", write, ".*").expect("these are patterns"),
        })
    };
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::everything());
    let users = UserTable::new().with_user("ann", "secret");
    let broker = start(Broker::builder().authenticator(users).accounts(accounts)).await;
    let greeting = Greeting {
        response: b"\0ann\0secret".to_vec(),
        ..Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    wire.declare("q").await;
    publish_until_known(&mut wire, "", "q").await;
    assert_eq!(wire.count("q").await, 3);
    broker
        .change_accounts(may_write("^other$"))
        .expect("ann is there");
    wire.publish("", "q", "d").await;
    assert!(wire.refused().await.contains("ACCESS_REFUSED"));
    broker
        .change_accounts(may_write(".*"))
        .expect("ann is there");
    assert_eq!(wire.drain("q").await, ["a", "bb", "ccc"]);
}

#[tokio::test]
async fn a_queue_that_is_declared_anew_gets_what_comes_then() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    publish_until_known(&mut wire, "", "q").await;
    wire.delete("q").await;
    wire.publish("", "q", "d").await;
    wire.declare("q").await;
    publish_until_known(&mut wire, "", "q").await;
    assert_eq!(wire.drain("q").await, ["a", "bb", "ccc"]);
}

#[tokio::test]
async fn a_new_binding_counts_from_the_next_on() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.declare("r").await;
    wire.bind("q", "amq.topic", "a.*").await;
    publish_until_known(&mut wire, "amq.topic", "a.b").await;
    wire.bind("r", "amq.topic", "#").await;
    wire.publish("amq.topic", "a.b", "d").await;
    assert_eq!(wire.drain("q").await, ["a", "bb", "ccc", "d"]);
    assert_eq!(wire.drain("r").await, ["d"]);
}

#[tokio::test]
async fn what_the_channel_promises_holds_for_each() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    publish_until_known(&mut wire, "", "q").await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    wire.publish("", "q", "no").await;
    wire.call(&tx::Rollback {}, "tx.rollback-ok").await;
    wire.publish("", "q", "yes").await;
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
    assert_eq!(wire.drain("q").await, ["a", "bb", "ccc", "yes"]);
}

#[tokio::test]
async fn each_is_confirmed() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.select_confirms().await;
    for tag in 1..=5 {
        wire.publish("", "q", "body").await;
        let confirmed = wire.confirmed().await;
        assert!(
            matches!(confirmed, support::Confirmed::Ack { tag: at, .. } if at == tag),
            "{confirmed:?}"
        );
    }
}

#[tokio::test]
async fn other_properties_are_those_of_their_message() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.declare("copy").await;
    let copied = with_headers([("CC", Value::Array(vec!["copy".into()]))]);
    for round in 0..4 {
        publish_until_known(&mut wire, "", "q").await;
        wire.publish_with("", "q", &copied, "copied").await;
        wire.publish_with("", "q", &expiring("0"), "gone").await;
        assert_eq!(
            wire.drain("q").await,
            ["a", "bb", "ccc", "copied"],
            "{round}"
        );
        assert_eq!(wire.drain("copy").await, ["copied"], "{round}");
    }
}

#[tokio::test]
async fn one_that_is_too_large_is_refused() {
    let broker = start(Broker::builder().message_size_max(1_000)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    publish_until_known(&mut wire, "", "q").await;
    wire.publish("", "q", &"x".repeat(1_000)).await;
    wire.publish("", "q", &"x".repeat(1_001)).await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    assert!(closed.text.contains("message size 1001"), "{}", closed.text);
    wire.open_channel(1).await;
    assert_eq!(wire.drain("q").await.len(), 4);
}

#[tokio::test]
async fn a_channel_of_the_same_number_is_another() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    publish_until_known(&mut wire, "", "q").await;
    wire.close_channel().await;
    wire.open_channel(1).await;
    wire.select_confirms().await;
    wire.publish("", "q", "d").await;
    assert!(matches!(
        wire.confirmed().await,
        support::Confirmed::Ack { tag: 1, .. }
    ));
    assert_eq!(wire.drain("q").await, ["a", "bb", "ccc", "d"]);
}
