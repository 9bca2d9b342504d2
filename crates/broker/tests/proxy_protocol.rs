//! Clients that a load balancer speaks for.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_broker::{
    Authenticator, Broker, Identity, Login, LoginFuture, UserTable, VirtualClock, fuzzing,
};
use parking_lot::Mutex;
use support::seeds::{Random, run, seeds};
use support::{Greeting, Wire, pass, start, until};

/// The server's proxy is this machine.
fn proxied() -> leveret_broker::Builder {
    Broker::builder().proxy_protocol_from(["127.0.0.0/8".parse().unwrap()])
}

async fn dial(broker: &Broker, header: &[u8]) -> Wire {
    let mut wire = Wire::dial(broker).await;
    wire.send_bytes(header).await;
    wire
}

/// Version 2, of a connection to 192.0.2.7:5672.
fn binary(peer: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(peer);
    header.extend([192, 0, 2, 7, 0x1f, 0x90, 0x16, 0x28]);
    header
}

/// Lets everybody in, and remembers where they were.
#[derive(Clone, Default)]
struct Visitors(Arc<Mutex<Vec<Option<SocketAddr>>>>);

impl Authenticator for Visitors {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        self.0.lock().push(login.peer);
        Box::pin(std::future::ready(Ok(Identity::new(login.username))))
    }
}

#[tokio::test]
async fn the_address_is_that_of_the_header() {
    let visitors = Visitors::default();
    let broker = start(proxied().authenticator(visitors.clone())).await;
    let headers: [&[u8]; 4] = [
        b"PROXY TCP4 198.51.100.1 192.0.2.7 8080 5672\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::7 8080 5672\r\n",
        &binary([203, 0, 113, 9]),
        // The proxy's own.
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    for header in headers {
        let mut wire = dial(&broker, header).await;
        Greeting::default().shake_hands(&mut wire).await;
    }
    let seen = visitors.0.lock().clone();
    let seen: Vec<_> = seen.into_iter().flatten().collect();
    assert_eq!(
        seen[..3],
        [
            "198.51.100.1:8080".parse().unwrap(),
            "[2001:db8::1]:8080".parse().unwrap(),
            "203.0.113.9:8080".parse().unwrap(),
        ]
    );
    assert!(seen[3].ip().is_loopback());
}

#[tokio::test]
async fn guest_does_not_come_in_through_a_proxy() {
    let broker = start(proxied().authenticator(UserTable::guest())).await;
    let mut wire = dial(&broker, b"PROXY TCP4 198.51.100.1 192.0.2.7 1 2\r\n").await;
    Greeting::default().log_in(&mut wire).await;
    assert_eq!(wire.expect_connection_closed().await.code, 403);
}

#[tokio::test]
async fn a_trusted_proxy_has_to_say_whom_it_speaks_for() {
    let broker = start(proxied()).await;
    let mut wire = dial(&broker, b"AMQP\0\0\x09\x01........").await;
    wire.expect_end().await;
    let mut wire = dial(&broker, b"PROXY TCP4 here there 1 2\r\n       ").await;
    wire.expect_end().await;
    until("both to be gone", || broker.connection_count() == 0).await;
}

#[tokio::test]
async fn nobody_else_says_so() {
    let elsewhere = Broker::builder().proxy_protocol_from(["192.0.2.0/24".parse().unwrap()]);
    let broker = start(elsewhere).await;
    let mut wire = dial(&broker, b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n").await;
    // Answered as anything is that is not AMQP.
    assert_eq!(wire.rest().await, b"AMQP\0\0\x09\x01");
    Wire::open(&broker).await;
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_dropped() {
    let clock = VirtualClock::new();
    let broker = start(proxied().virtual_clock(clock.clone())).await;
    let mut silent = dial(&broker, b"").await;
    let mut slow = dial(&broker, b"PROXY TCP4 198.51").await;
    until("both to be there", || broker.connection_count() == 2).await;
    pass(&broker, &clock, 10_000).await;
    silent.expect_end().await;
    slow.expect_end().await;
}

#[tokio::test]
async fn limits_count_whom_it_speaks_for() {
    let everybody = Visitors::default();
    let builder = proxied()
        .authenticator(everybody)
        .strangers_per_address_max(1);
    let broker = start(builder).await;
    let _first = dial(&broker, &binary([203, 0, 113, 1])).await;
    let _second = dial(&broker, &binary([203, 0, 113, 2])).await;
    until("both to be there", || broker.connection_count() == 2).await;
    let mut third = dial(&broker, &binary([203, 0, 113, 1])).await;
    third.expect_end().await;
    // Who has logged in is no stranger.
    let mut known = Vec::new();
    for _ in 0..2 {
        let mut wire = dial(&broker, &binary([203, 0, 113, 3])).await;
        Greeting::default().shake_hands(&mut wire).await;
        known.push(wire);
    }
}

#[test]
fn the_decoder_holds_over_seeds_and_what_becomes_of_them() {
    let mut random = Random(1);
    for (name, data) in seeds("proxy_header") {
        for end in 0..=data.len() {
            run(&name, &data[..end], fuzzing::proxy_header);
        }
        for _ in 0..2000 {
            let mut data = data.clone();
            for _ in 0..=random.below(3) {
                let place = random.below(data.len());
                data[place] = random.next().to_le_bytes()[0];
            }
            run(&name, &data, fuzzing::proxy_header);
        }
    }
}
