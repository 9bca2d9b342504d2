//! Durable subscriptions of one user's own, and how long they are kept.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{Accounts, Broker, Permissions, User, UserTable};
use leveret_stomp_codec::Command;
use support::{Stomp, pass, start, timed_broker};

const ANN: [(&str, &str); 2] = [("login", "ann"), ("passcode", "a")];
const BOB: [(&str, &str); 2] = [("login", "bob"), ("passcode", "b")];

const OWN: [(&str, &str); 5] = [
    ("destination", "/topic/news"),
    ("id", "phone"),
    ("durable", "true"),
    ("per-user", "true"),
    ("expires", "1d"),
];

fn users() -> UserTable {
    UserTable::new().with_user("ann", "a").with_user("bob", "b")
}

async fn subscribed(broker: &Broker, user: [(&str, &str); 2], headers: &[(&str, &str)]) -> Stomp {
    let mut stomp = Stomp::connect_with(broker, &user).await;
    stomp.tell(Command::Subscribe, headers, b"").await;
    stomp
}

#[tokio::test]
async fn the_same_id_of_two_users_is_two_subscriptions() {
    let broker = start(Broker::builder().authenticator(users())).await;
    for user in [ANN, BOB] {
        let mut stomp = subscribed(&broker, user, &OWN).await;
        stomp.tell(Command::Disconnect, &[], b"").await;
    }
    let mut sender = Stomp::connect_with(&broker, &ANN).await;
    sender.publish("/topic/news", "one").await;
    for user in [ANN, BOB] {
        let mut stomp = Stomp::connect_with(&broker, &user).await;
        stomp.send(Command::Subscribe, &OWN, b"").await;
        stomp.expect_message("one").await;
    }
    // Ended by one user, it goes on for the other.
    let mut ann = Stomp::connect_with(&broker, &ANN).await;
    ann.tell(Command::Subscribe, &OWN, b"").await;
    let end = [("id", "phone"), ("durable", "true"), ("per-user", "true")];
    ann.tell(Command::Unsubscribe, &end, b"").await;
    sender.publish("/topic/news", "two").await;
    ann.tell(Command::Subscribe, &OWN, b"").await;
    ann.quiet().await;
    let mut bob = Stomp::connect_with(&broker, &BOB).await;
    bob.send(Command::Subscribe, &OWN, b"").await;
    bob.expect_message("two").await;
}

#[tokio::test]
async fn permissions_can_tell_whose_it_is() {
    let rights = |user: &str| {
        let own = format!(r"^stomp-subscription-[\w-]{{22}}\.{user}$");
        Permissions::new(
            &own,
            &format!("{own}|^amq.topic$"),
            &format!("{own}|^amq.topic$"),
        )
    };
    let accounts = Accounts::default()
        .with_user(User::new("ann"), "/", rights("ann").unwrap())
        .with_user(User::new("bob"), "/", rights("bob").unwrap());
    let broker = start(Broker::builder().authenticator(users()).accounts(accounts)).await;
    let mut ann = subscribed(&broker, ANN, &OWN).await;
    ann.tell(Command::Disconnect, &[], b"").await;
    let client = broker.client().unwrap();
    let explained = client
        .explain("amq.topic", "news", &Default::default())
        .await;
    let queue = explained.unwrap().queues[0].to_string();
    assert!(queue.ends_with(".ann"), "{queue}");
    for headers in [
        [
            ("destination", "/topic/news"),
            ("id", "1"),
            ("x-queue-name", &*queue),
        ],
        [
            ("destination", "/topic/news"),
            ("id", "phone"),
            ("durable", "true"),
        ],
    ] {
        let mut bob = Stomp::connect_with(&broker, &BOB).await;
        bob.send(Command::Subscribe, &headers, b"").await;
        bob.expect_error("access_refused").await;
    }
    let consume = [
        ("destination", &*format!("/amq/queue/{queue}")),
        ("id", "1"),
    ];
    let mut bob = Stomp::connect_with(&broker, &BOB).await;
    bob.send(Command::Subscribe, &consume, b"").await;
    bob.expect_error("access_refused").await;
}

#[tokio::test]
async fn one_header_keeps_a_durable_subscription_for_a_day_of_absence() {
    let (broker, clock) = timed_broker().await;
    let client = broker.client().unwrap();
    let headers = [
        ("destination", "/topic/news"),
        ("id", "phone"),
        ("durable", "true"),
        ("expires", "1d"),
    ];
    let guest = [
        ("accept-version", "1.2"),
        ("login", "guest"),
        ("passcode", "guest"),
    ];
    let day_ms = 86_400_000;
    let reaches = async || {
        let explained = client
            .explain("amq.topic", "news", &Default::default())
            .await;
        explained.unwrap().queues.len()
    };
    for _ in 0..2 {
        let mut stomp = Stomp::connect_with(&broker, &guest).await;
        stomp.tell(Command::Subscribe, &headers, b"").await;
        stomp.tell(Command::Disconnect, &[], b"").await;
        pass(&broker, &clock, day_ms - 1).await;
        assert_eq!(reaches().await, 1, "it counts from the last use");
    }
    pass(&broker, &clock, 1).await;
    assert_eq!(reaches().await, 0);
}

#[tokio::test]
async fn in_a_send_it_is_a_header_like_any_other() {
    let broker = start(Broker::builder()).await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "auto").await;
    let headers = [("destination", "/queue/q"), ("expires", "1700000000000")];
    stomp.send(Command::Send, &headers, b"m").await;
    let message = stomp.expect_message("m").await;
    assert_eq!(message.header("expires"), Some("1700000000000"));
}
