//! Whoever guesses passwords is slowed down, and nobody else.

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_broker::{
    Authenticator, Broker, Identity, Login, LoginFuture, LoginRefused, UserTable, VirtualClock,
};
use support::{Greeting, Wire, pass, start, until};
use tokio::sync::Semaphore;

/// Clients of this broker say by the PROXY protocol where they are.
async fn broker(clock: &VirtualClock) -> Broker {
    let users = UserTable::new()
        .with_user("ann", "secret")
        .with_user("bob", "secret");
    broker_with(clock, users).await
}

async fn broker_with(clock: &VirtualClock, users: impl Authenticator) -> Broker {
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

#[tokio::test]
async fn turns_of_clients_that_hang_up_are_for_those_who_stay() {
    let clock = VirtualClock::new();
    let broker = broker(&clock).await;
    guess(&broker, 1, "ann", 3).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(log_in(&broker, 1, "ann", "wrong").await);
    }
    until("they wait", || broker.connection_count() == 40).await;
    broker.wait_idle().await;
    drop(waiting);
    until("they are gone", || broker.connection_count() == 0).await;
    let mut wire = log_in(&broker, 1, "ann", "secret").await;
    pass(&broker, &clock, 250).await;
    wire.expect_on(0, "connection.tune").await;
}

/// Looks at passwords as often as a test lets it, and cannot look at one that is `unavailable`.
#[derive(Clone)]
struct Slow(Arc<Semaphore>);

impl Authenticator for Slow {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(async move {
            self.0.acquire().await.expect("never closed").forget();
            match &login.password[..] {
                b"secret" => Ok(Identity::new(login.username)),
                b"unavailable" => Err(LoginRefused::unavailable("no answer")),
                _ => Err(LoginRefused::new("wrong")),
            }
        })
    }
}

#[tokio::test]
async fn hanging_up_while_a_wrong_password_is_looked_at_hides_it_from_nobody() {
    let (clock, slow) = (VirtualClock::new(), Slow(Arc::new(Semaphore::new(0))));
    let broker = broker_with(&clock, slow.clone()).await;
    for _ in 0..3 {
        let wire = log_in(&broker, 1, "ann", "wrong").await;
        broker.wait_idle().await;
        drop(wire);
    }
    slow.0.add_permits(4);
    until("they are gone", || broker.connection_count() == 0).await;
    let mut wire = log_in(&broker, 1, "ann", "secret").await;
    pass(&broker, &clock, 249).await;
    assert_eq!(slow.0.available_permits(), 1, "three have been looked at");
    pass(&broker, &clock, 1).await;
    wire.expect_on(0, "connection.tune").await;
}

/// An authenticator that looks at passwords as often as a test lets it, and counts those that it has begun with.
#[derive(Clone)]
struct Counting {
    slow: Slow,
    begun: Arc<AtomicUsize>,
}

impl Counting {
    fn new() -> Self {
        Self {
            slow: Slow(Arc::new(Semaphore::new(0))),
            begun: Arc::default(),
        }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Authenticator for Counting {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.slow.authenticate(login)
    }
}

#[tokio::test]
async fn no_more_logins_of_an_address_are_under_way_than_may_fail_for_free() {
    let (clock, counting) = (VirtualClock::new(), Counting::new());
    let broker = broker_with(&clock, counting.clone()).await;
    let mut first = Vec::new();
    for n in 0..8 {
        first.push(log_in(&broker, 1, &format!("user{n}"), "wrong").await);
    }
    until("eight are looked at", || counting.begun() == 8).await;
    let mut more = Vec::new();
    for n in 8..20 {
        more.push(log_in(&broker, 1, &format!("user{n}"), "wrong").await);
    }
    until("all are there", || broker.connection_count() == 20).await;
    broker.wait_idle().await;
    assert_eq!(counting.begun(), 8);
    let mut elsewhere = log_in(&broker, 2, "ann", "secret").await;
    until("it is looked at at once", || counting.begun() == 9).await;

    // When these have failed, those that follow wait as they would have if they had come later.
    counting.slow.0.add_permits(9);
    elsewhere.expect_on(0, "connection.tune").await;
    for guess in &mut first {
        assert_eq!(guess.expect_connection_closed().await.code, 403);
    }
    counting.slow.0.add_permits(100);
    pass(&broker, &clock, 249).await;
    assert_eq!(counting.begun(), 9);
    pass(&broker, &clock, 1).await;
    until("one more is looked at", || counting.begun() == 10).await;
    pass(&broker, &clock, 249).await;
    assert_eq!(counting.begun(), 10);
}

#[tokio::test]
async fn who_hangs_up_while_others_are_looked_at_is_never_looked_at() {
    let (clock, counting) = (VirtualClock::new(), Counting::new());
    let broker = broker_with(&clock, counting.clone()).await;
    let mut first = Vec::new();
    for n in 0..8 {
        first.push(log_in(&broker, 1, &format!("user{n}"), "secret").await);
    }
    until("they are looked at", || counting.begun() == 8).await;
    let gone = log_in(&broker, 1, "gone", "wrong").await;
    let mut last = log_in(&broker, 1, "ann", "secret").await;
    until("all are there", || broker.connection_count() == 10).await;
    broker.wait_idle().await;
    drop(gone);
    until("it is gone", || broker.connection_count() == 9).await;
    counting.slow.0.add_permits(10);
    last.expect_on(0, "connection.tune").await;
    assert_eq!(counting.begun(), 9);
}

#[tokio::test]
async fn a_login_that_nobody_could_look_at_leaves_its_turn_to_the_next() {
    let (clock, slow) = (VirtualClock::new(), Slow(Arc::new(Semaphore::new(10))));
    let broker = broker_with(&clock, slow).await;
    guess(&broker, 1, "ann", 3).await;
    let mut unseen = log_in(&broker, 1, "ann", "unavailable").await;
    pass(&broker, &clock, 250).await;
    assert_eq!(unseen.expect_connection_closed().await.code, 403);
    is_let_in(&broker, 1, "ann").await;
}
