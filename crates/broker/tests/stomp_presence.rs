//! Who is subscribed to a key of an `x-presence` exchange, over STOMP: browsers and phones.
#![cfg(feature = "stomp")]

mod support;

use std::time::Duration;

use leveret_broker::{
    AccountChange, Accounts, Broker, Client, ExchangeOptions, ExchangeType, Permissions, Publish,
    Tag, TopicPermissions, User, UserTable, UserTopicPermissions, VirtualClock,
};
use leveret_stomp_codec::Command;
use support::{Stomp, break_off, pass, start};

const GRACE_MS: u64 = 30_000;
const ROOM: &str = "/exchange/rooms/room.7";

async fn declare(client: &Client) {
    let options = ExchangeOptions {
        presence_grace: Some(Duration::from_millis(GRACE_MS)),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("rooms", ExchangeType::Presence, options)
        .await
        .unwrap();
}

async fn rooms() -> (Broker, VirtualClock) {
    let (broker, clock) = support::timed_broker().await;
    declare(&broker.client().unwrap()).await;
    (broker, clock)
}

/// A broker with accounts: ann, ben, and the gateway gate, which may speak for others.
async fn rooms_of_users() -> Broker {
    let everything = Permissions::everything();
    let mut accounts = Accounts::default();
    let mut users = UserTable::new();
    for name in ["ann", "ben", "gate"] {
        let mut user = User::new(name);
        if name == "gate" {
            user.tags.insert(Tag::Impersonator);
        }
        accounts = accounts.with_user(user, "/", everything.clone());
        users = users.with_user(name, "secret");
    }
    let broker = start(Broker::builder().authenticator(users).accounts(accounts)).await;
    declare(&broker.client().unwrap()).await;
    broker
}

async fn log_in(broker: &Broker, user: &str) -> Stomp {
    let headers = [
        ("accept-version", "1.2"),
        ("login", user),
        ("passcode", "secret"),
    ];
    Stomp::connect_with(broker, &headers).await
}

async fn subscribe(stomp: &mut Stomp, destination: &str, id: &str, headers: &[(&str, &str)]) {
    let headers = [&[("destination", destination), ("id", id)], headers].concat();
    stomp.tell(Command::Subscribe, &headers, b"").await;
}

/// A session that watches the room, in which nobody is yet.
async fn watcher(broker: &Broker) -> Stomp {
    let mut stomp = Stomp::connect(broker).await;
    subscribe(&mut stomp, ROOM, "w", &[("x-presence", "watch")]).await;
    stomp
}

/// The next frame, which must be this event.
async fn expect_event(stomp: &mut Stomp, event: &str, member: &str, user: &str) {
    let heard = stomp.expect(Command::Message).await;
    let header = |name| heard.header(name).unwrap_or_default();
    assert_eq!(
        (header("event"), header("member"), header("user")),
        (event, member, user)
    );
    assert_eq!(header("destination"), ROOM);
    assert_eq!(header("subscription"), "w");
    assert!(header("since").parse::<u64>().is_ok());
    assert!(heard.body.is_empty());
}

#[tokio::test]
async fn a_page_that_chats_and_watches() {
    let (broker, clock) = rooms().await;
    let mut ann = Stomp::connect(&broker).await;
    subscribe(&mut ann, ROOM, "m", &[("x-presence-member", "Ann")]).await;
    // A member that is there already is told after the receipt, as everything that waits in a queue.
    let headers = [
        ("destination", ROOM),
        ("id", "w"),
        ("x-presence", "watch"),
        ("receipt", "r"),
    ];
    ann.send(Command::Subscribe, &headers, b"").await;
    ann.expect(Command::Receipt).await;
    expect_event(&mut ann, "present", "guest/Ann", "guest").await;

    let mut ben = Stomp::connect(&broker).await;
    subscribe(&mut ben, ROOM, "m", &[("x-presence-member", "Ben")]).await;
    expect_event(&mut ann, "joined", "guest/Ben", "guest").await;
    ben.send(Command::Send, &[("destination", ROOM)], b"hello")
        .await;
    ben.expect_message("hello").await;
    let heard = ann.expect_message("hello").await;
    assert_eq!(heard.header("subscription"), Some("m"));

    break_off(&broker, ben).await;
    let mut ben = Stomp::connect(&broker).await;
    subscribe(&mut ben, ROOM, "m", &[("x-presence-member", "Ben")]).await;
    pass(&broker, &clock, GRACE_MS).await;
    ann.quiet().await;
    break_off(&broker, ben).await;
    pass(&broker, &clock, GRACE_MS).await;
    expect_event(&mut ann, "lost", "guest/Ben", "guest").await;
}

#[tokio::test]
async fn unsubscribing_and_disconnecting_is_leaving() {
    let (broker, _clock) = rooms().await;
    let mut watcher = watcher(&broker).await;
    let mut ann = Stomp::connect(&broker).await;
    for _ in 0..2 {
        subscribe(&mut ann, ROOM, "m", &[]).await;
        expect_event(&mut watcher, "joined", "guest", "guest").await;
        ann.tell(Command::Unsubscribe, &[("id", "m")], b"").await;
        expect_event(&mut watcher, "left", "guest", "guest").await;
    }
    subscribe(&mut ann, ROOM, "m", &[]).await;
    expect_event(&mut watcher, "joined", "guest", "guest").await;
    ann.tell(Command::Disconnect, &[], b"").await;
    expect_event(&mut watcher, "left", "guest", "guest").await;
}

/// The queue of a durable subscription stays, with its binding; its subscriber does not.
#[tokio::test]
async fn a_durable_subscriber_is_present_only_while_it_is_subscribed() {
    let (broker, clock) = rooms().await;
    let mut watcher = watcher(&broker).await;
    let durable = [("durable", "true"), ("auto-delete", "false")];
    let mut phone = Stomp::connect(&broker).await;
    subscribe(&mut phone, ROOM, "m", &durable).await;
    expect_event(&mut watcher, "joined", "guest", "guest").await;
    phone.tell(Command::Unsubscribe, &[("id", "m")], b"").await;
    expect_event(&mut watcher, "left", "guest", "guest").await;
    subscribe(&mut phone, ROOM, "m", &durable).await;
    expect_event(&mut watcher, "joined", "guest", "guest").await;
    break_off(&broker, phone).await;
    pass(&broker, &clock, GRACE_MS).await;
    expect_event(&mut watcher, "lost", "guest", "guest").await;
    let mut phone = Stomp::connect(&broker).await;
    subscribe(&mut phone, ROOM, "m", &durable).await;
    expect_event(&mut watcher, "joined", "guest", "guest").await;
}

#[tokio::test]
async fn nobody_takes_the_name_of_another_who_may_not_speak_for_others() {
    let broker = rooms_of_users().await;
    let mut watcher = log_in(&broker, "ann").await;
    subscribe(&mut watcher, ROOM, "w", &[("x-presence", "watch")]).await;

    let mut ben = log_in(&broker, "ben").await;
    subscribe(&mut ben, ROOM, "1", &[("x-presence-member", "ann")]).await;
    expect_event(&mut watcher, "joined", "ben/ann", "ben").await;
    subscribe(&mut ben, ROOM, "2", &[("x-presence-member", "ben")]).await;
    expect_event(&mut watcher, "joined", "ben", "ben").await;

    let mut gate = log_in(&broker, "gate").await;
    subscribe(&mut gate, ROOM, "1", &[("x-presence-member", "carl")]).await;
    expect_event(&mut watcher, "joined", "carl", "carl").await;
    // What the gateway says of ben is no other member than ben himself.
    subscribe(&mut gate, ROOM, "2", &[("x-presence-member", "ben")]).await;
    watcher.quiet().await;

    let demoted = AccountChange::PutUser(User::new("gate"));
    broker.change_accounts(demoted).unwrap();
    subscribe(&mut gate, ROOM, "3", &[("x-presence-member", "dora")]).await;
    expect_event(&mut watcher, "joined", "gate/dora", "gate").await;
}

#[tokio::test]
async fn watching_takes_the_right_to_read_the_key() {
    let broker = rooms_of_users().await;
    let change = AccountChange::SetTopicPermissions(UserTopicPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        exchange: "rooms".into(),
        permissions: TopicPermissions::new("^room\\.7$", "^room\\.7$").unwrap(),
    });
    broker.change_accounts(change).unwrap();
    let mut ann = log_in(&broker, "ann").await;
    subscribe(&mut ann, ROOM, "w", &[("x-presence", "watch")]).await;
    subscribe(&mut ann, ROOM, "h", &[("x-presence", "hidden")]).await;
    for (destination, mode) in [
        ("/exchange/rooms/room.8", "watch"),
        ("/exchange/rooms/#", "watch"),
        ("/exchange/rooms/room.8", "present"),
    ] {
        let mut ann = log_in(&broker, "ann").await;
        let headers = [
            ("destination", destination),
            ("id", "1"),
            ("x-presence", mode),
        ];
        ann.send(Command::Subscribe, &headers, b"").await;
        let text = ann.expect_error("access_refused").await;
        assert!(text.contains("access to topic"), "{text}");
        ann.expect_end().await;
    }
    let mut ann = log_in(&broker, "ann").await;
    let headers = [("destination", "/exchange/rooms/room.8")];
    ann.send(Command::Send, &headers, b"").await;
    ann.expect_error("access_refused").await;
}

#[tokio::test]
async fn headers_of_presence_belong_to_exchanges_that_know_it() {
    let (broker, _clock) = rooms().await;
    for (destination, header) in [
        ("/topic/a", ("x-presence", "watch")),
        ("/exchange/amq.topic/a", ("x-presence-member", "Ann")),
        (ROOM, ("x-presence", "here")),
    ] {
        let mut stomp = Stomp::connect(&broker).await;
        let headers = [("destination", destination), ("id", "1"), header];
        stomp.send(Command::Subscribe, &headers, b"").await;
        stomp.expect_error("precondition_failed").await;
        stomp.expect_end().await;
    }
}

/// A subscription that ends because it is slow, while its queue and binding stay, is not present either.
#[tokio::test]
async fn who_is_too_slow_has_left() {
    let (broker, _clock) = rooms().await;
    let mut watcher = watcher(&broker).await;
    let mut phone = Stomp::connect(&broker).await;
    let headers = [
        ("durable", "true"),
        ("auto-delete", "false"),
        ("ack", "client"),
        ("prefetch-count", "1"),
        ("x-slow-consumer", "close"),
        ("x-slow-limit", "1"),
    ];
    subscribe(&mut phone, ROOM, "m", &headers).await;
    expect_event(&mut watcher, "joined", "guest", "guest").await;
    let client = broker.client().unwrap();
    for _ in 0..3 {
        client
            .publish(Publish::to_exchange("rooms", "room.7", b"hi"))
            .await
            .unwrap();
    }
    expect_event(&mut watcher, "left", "guest", "guest").await;
    phone.expect_message("hi").await;
    phone.expect_error("Server cancelled subscription").await;
}
