//! Nobody gets more out of a history than a live subscriber would.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{
    AccountChange, Accounts, Broker, ExchangeOptions, ExchangeType, Permissions, Publish,
    TopicPermissions, User, UserTable, UserTopicPermissions,
};
use leveret_stomp_codec::Command;
use support::{Stomp, start};

/// A broker with an exchange `chat` whose history has one message in each of two rooms. Ann may read from it where the
/// room is hers, bob may not read from it.
async fn chat() -> Broker {
    let queues = "^stomp-subscription-";
    let ann = Permissions::new(queues, queues, "^(chat|stomp-subscription-.*)$");
    let bob = Permissions::new(queues, queues, queues);
    let rooms = TopicPermissions::new("", r"^room\.{username}$");
    let accounts = Accounts::default()
        .with_user(User::new("ann"), "/", ann.unwrap())
        .with_user(User::new("bob"), "/", bob.unwrap());
    let users = UserTable::new().with_user("ann", "a").with_user("bob", "b");
    let broker = start(Broker::builder().accounts(accounts).authenticator(users)).await;
    let change = AccountChange::SetTopicPermissions(UserTopicPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        exchange: "chat".into(),
        permissions: rooms.unwrap(),
    });
    broker.change_accounts(change).unwrap();
    let client = broker.client().unwrap();
    let options = ExchangeOptions {
        history_length: Some(5),
        ..ExchangeOptions::default()
    };
    let declared = client.declare_exchange("chat", ExchangeType::Topic, options);
    declared.await.unwrap();
    for room in ["room.ann", "room.bob"] {
        let message = Publish::to_exchange("chat", room, room.as_bytes());
        client.publish(message).await.unwrap();
    }
    broker
}

async fn subscribe(broker: &Broker, user: [(&str, &str); 2], key: &str) -> Stomp {
    let mut stomp = Stomp::connect_with(broker, &user).await;
    let destination = format!("/exchange/chat/{key}");
    let headers = [
        ("destination", &*destination),
        ("id", "1"),
        ("resume-from", "first"),
    ];
    stomp.send(Command::Subscribe, &headers, b"").await;
    stomp
}

const ANN: [(&str, &str); 2] = [("login", "ann"), ("passcode", "a")];
const BOB: [(&str, &str); 2] = [("login", "bob"), ("passcode", "b")];

#[tokio::test]
async fn history_takes_the_rights_that_a_binding_takes() {
    let broker = chat().await;
    let mut ann = subscribe(&broker, ANN, "room.ann").await;
    ann.expect_message("room.ann").await;
    for (user, key, words) in [
        (ANN, "room.bob", "access to topic 'room.bob'"),
        (ANN, "#", "access to topic '#'"),
        (BOB, "room.bob", "access to exchange 'chat'"),
    ] {
        let mut stomp = subscribe(&broker, user, key).await;
        let text = stomp.expect_error("access_refused").await;
        assert!(text.contains(words), "{text}");
        stomp.expect_end().await;
    }
}

#[tokio::test]
async fn a_refused_wish_leaves_no_queue_behind() {
    let broker = chat().await;
    let mut stomp = subscribe(&broker, ANN, "#").await;
    stomp.expect_error("access_refused").await;
    stomp.expect_end().await;
    broker.wait_idle().await;
    let message = Publish::to_exchange("chat", "room.ann", b"");
    let mandatory = Publish {
        mandatory: true,
        ..message
    };
    let published = broker.client().unwrap().publish(mandatory).await;
    assert!(published.unwrap_err().is_unroutable());
}
