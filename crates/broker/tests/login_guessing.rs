//! Whoever guesses passwords is slowed down, and nobody else.

mod support;

use std::net::Ipv4Addr;

use leveret_broker::{Broker, UserTable, VirtualClock};
use support::{Greeting, Wire, pass, start, until};

/// Clients of this broker say by the PROXY protocol where they are.
async fn broker(clock: &VirtualClock) -> Broker {
    let users = UserTable::new()
        .with_user("ann", "secret")
        .with_user("bob", "secret");
    start(
        Broker::builder()
            .virtual_clock(clock.clone())
            .authenticator(users)
            .free_login_failures(3)
            .free_login_failures_per_address(8)
            .proxy_protocol_from(["127.0.0.0/8".parse().unwrap()]),
    )
    .await
}

/// Logs in from an address, and does not wait for the answer.
async fn log_in(broker: &Broker, address: u8, user: &str, password: &str) -> Wire {
    let mut wire = Wire::dial(broker).await;
    let peer = Ipv4Addr::new(192, 0, 2, address);
    let header = format!("PROXY TCP4 {peer} 192.0.2.200 1 2\r\n");
    wire.send_bytes(header.as_bytes()).await;
    let greeting = Greeting {
        response: format!("\0{user}\0{password}").into_bytes(),
        ..Greeting::default()
    };
    greeting.log_in(&mut wire).await;
    wire
}

async fn guess(broker: &Broker, address: u8, user: &str, times: usize) {
    for _ in 0..times {
        let mut wire = log_in(broker, address, user, "wrong").await;
        assert_eq!(wire.expect_connection_closed().await.code, 403);
    }
}

async fn is_let_in(broker: &Broker, address: u8, user: &str) {
    let mut wire = log_in(broker, address, user, "secret").await;
    wire.expect_on(0, "connection.tune").await;
}

#[tokio::test]
async fn who_has_guessed_waits_and_is_let_in_with_the_right_password() {
    let clock = VirtualClock::new();
    let broker = broker(&clock).await;
    guess(&broker, 1, "ann", 3).await;
    let mut wire = log_in(&broker, 1, "ann", "secret").await;
    pass(&broker, &clock, 249).await;
    // Others do not wait: not the same user from elsewhere, nor another one from here.
    is_let_in(&broker, 2, "ann").await;
    is_let_in(&broker, 1, "bob").await;
    pass(&broker, &clock, 1).await;
    wire.expect_on(0, "connection.tune").await;
    // Forgiven.
    guess(&broker, 1, "ann", 2).await;
    is_let_in(&broker, 1, "ann").await;
}

#[tokio::test]
async fn guesses_that_would_wait_too_long_are_refused_unseen() {
    let clock = VirtualClock::new();
    let broker = broker(&clock).await;
    guess(&broker, 1, "ann", 3).await;
    // Each takes a turn; after ten seconds none is left.
    let mut waiting = Vec::new();
    for _ in 0..41 {
        waiting.push(log_in(&broker, 1, "ann", "wrong").await);
    }
    let before = broker.connection_count();
    let mut late = log_in(&broker, 1, "ann", "secret").await;
    assert_eq!(late.expect_connection_closed().await.code, 403);
    assert!(before >= 40);
    is_let_in(&broker, 2, "ann").await;
    // Two minutes later a quarter of the failures is left, and then an eighth.
    pass(&broker, &clock, 10_000).await;
    until("they are gone", || broker.connection_count() == 0).await;
    drop(waiting);
    pass(&broker, &clock, 240_000).await;
    is_let_in(&broker, 1, "ann").await;
}

#[tokio::test]
async fn who_tries_many_names_waits_whatever_the_name() {
    let clock = VirtualClock::new();
    let broker = broker(&clock).await;
    for n in 0..8 {
        guess(&broker, 1, &format!("user{n}"), 1).await;
    }
    let mut wire = log_in(&broker, 1, "bob", "secret").await;
    is_let_in(&broker, 2, "bob").await;
    pass(&broker, &clock, 250).await;
    wire.expect_on(0, "connection.tune").await;
}
