//! Clients that come over TLS.

#![cfg(feature = "tls")]

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use leveret_amqp_codec::{Method, ProtocolHeader};
use leveret_broker::rustls::version::{TLS12, TLS13};
use leveret_broker::{
    Accounts, Authenticator, Broker, Builder, Identity, Login, LoginFuture, LoginRefused,
    Permissions, TlsPeer, User, VirtualClock,
};
use support::tls::{Authority, Client, mutual_config, server_config};
#[cfg(feature = "stomp")]
use support::websocket::{BINARY, TEXT, WebSocket};
use support::{Greeting, Wire, pass, soon, start, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// With a listener for each protocol over TLS.
fn listening(builder: Builder) -> Builder {
    let builder = builder.amqps(([127, 0, 0, 1], 0));
    #[cfg(feature = "stomp")]
    let builder = builder
        .stomps(([127, 0, 0, 1], 0))
        .secure_websocket(([127, 0, 0, 1], 0));
    builder
}

async fn broker(authority: &Authority) -> Broker {
    start(listening(
        Broker::builder().tls(server_config(authority.server())),
    ))
    .await
}

/// An AMQP client with channel 1 open.
async fn open(broker: &Broker, client: &Client) -> Wire {
    let mut wire = Wire::on(client.tunnel(broker.amqps_addresses()[0]).await);
    Greeting::default().shake_hands(&mut wire).await;
    wire
}

#[tokio::test]
async fn messages_pass_over_both_versions() {
    let authority = Authority::new("ours");
    let broker = broker(&authority).await;
    for version in [&TLS12, &TLS13] {
        let client = Client::of_version(&authority, None, &[version]);
        let mut wire = open(&broker, &client).await;
        wire.declare("q").await;
        // Many records, and more than the system's buffers hold.
        let body: Vec<u8> = (0..3_000_000_u32)
            .map(|n| n.to_le_bytes()[(n % 3) as usize])
            .collect();
        wire.publish("", "q", &body).await;
        wire.publish("", "q", "short").await;
        assert_eq!(wire.get("q").await.unwrap().body, body);
        assert_eq!(wire.get("q").await.unwrap().text(), "short");
        wire.delete("q").await;
        wire.close().await;
    }
}

/// What TLS has taken and the socket has not would stay where it is, if nobody came back to it.
#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let authority = Authority::new("ours");
    let broker = broker(&authority).await;
    let mut publisher = Wire::open(&broker).await;
    publisher.declare("q").await;
    let mut slow = open(&broker, &Client::new(&authority, None)).await;
    slow.consume_no_ack("q").await;
    const COUNT: usize = 120;
    let body = |n: usize| vec![n as u8; 100_000];
    for n in 0..COUNT {
        publisher.publish("", "q", body(n)).await;
    }
    // The broker has filled all that the reader lets it fill.
    publisher.quiet().await;
    for n in 0..COUNT {
        let delivery = soon("a delivery", slow.delivery()).await;
        assert_eq!(delivery.body, body(n), "{n}");
    }
    slow.quiet().await;
}

#[tokio::test]
async fn each_side_says_that_it_ends() {
    let authority = Authority::new("ours");
    let broker = broker(&authority).await;
    let client = Client::new(&authority, None);
    let address = broker.amqps_addresses()[0];
    {
        // The client ends: the broker answers in kind, and not with the end of the socket alone.
        let mut stream = client.connect(address).await.unwrap();
        stream.write_all(&ProtocolHeader::AMQP_0_9_1).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("close_notify");

        // The broker ends: it says so behind its last words.
        let mut stream = client.connect(address).await.unwrap();
        stream.write_all(b"AMQP\0\x01\0\0").await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.expect("close_notify");
        assert_eq!(said, ProtocolHeader::AMQP_0_9_1);
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_dropped() {
    let authority = Authority::new("ours");
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .tls(server_config(authority.server()));
    let broker = start(listening(builder)).await;
    let address = broker.amqps_addresses()[0];
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    // A record of a handshake that announces more than it has.
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252])
        .await
        .unwrap();
    let mut slow = Client::new(&authority, None)
        .connect(address)
        .await
        .unwrap();
    until("all to be there", || broker.connection_count() == 3).await;
    pass(&broker, &clock, 9_999).await;
    assert_eq!(broker.connection_count(), 3);
    pass(&broker, &clock, 1).await;
    until("all to be gone", || broker.connection_count() == 0).await;
    let mut byte = [0];
    assert_eq!(soon("the end", silent.read(&mut byte)).await.unwrap(), 0);
    // Reset, because what was sent last has not been read.
    let _ = soon("the end", half.read(&mut byte)).await;
    // One whose handshake is done, but not its login, has had the same time for both together.
    assert_eq!(soon("the end", slow.read(&mut byte)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_in_the_clear_is_sent_away() {
    let authority = Authority::new("ours");
    let broker = broker(&authority).await;
    let mut wire = Wire::on(
        TcpStream::connect(broker.amqps_addresses()[0])
            .await
            .unwrap(),
    );
    wire.send_bytes(&ProtocolHeader::AMQP_0_9_1).await;
    until("it to be gone", || broker.connection_count() == 0).await;
    // And a client of TLS from a port without it: it hears what is spoken there.
    let client = Client::new(&authority, None);
    let refused = client.connect(broker.amqp_addresses()[0]);
    let refused = soon("an answer", refused).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
}

#[tokio::test]
async fn shutting_down_does_not_wait_for_handshakes() {
    let authority = Authority::new("ours");
    let broker = broker(&authority).await;
    let mut silent = TcpStream::connect(broker.amqps_addresses()[0])
        .await
        .unwrap();
    until("it to be there", || broker.connection_count() == 1).await;
    soon("the end", broker.shutdown()).await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let broker = broker(&old).await;
    let mut wire = open(&broker, &Client::new(&old, None)).await;
    wire.declare("q").await;
    broker.set_tls(server_config(new.server()));
    let address = broker.amqps_addresses()[0];
    assert!(Client::new(&old, None).connect(address).await.is_err());
    let mut newcomer = open(&broker, &Client::new(&new, None)).await;
    newcomer.publish("", "q", "hello").await;
    newcomer.quiet().await;
    assert_eq!(wire.get("q").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn a_listener_without_a_certificate_does_not_start() {
    let started = listening(Broker::builder()).start().await;
    let refused = started.expect_err("there is nothing to show to clients");
    assert_eq!(
        refused.to_string(),
        "a listener for TLS has no configuration of TLS"
    );
}

/// Lets in whose certificate says `ann`, and remembers nothing else. Certificates are as long as their names.
struct ByCertificate;

impl Authenticator for ByCertificate {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        let is_right = match login.mechanism {
            "EXTERNAL" => {
                let tls = login.tls.expect("there is no certificate without TLS");
                assert_eq!(tls.username.as_deref(), Some(&*login.username));
                assert_eq!(tls.server_name.as_deref(), Some("localhost"));
                assert!(tls.version.is_some() && tls.cipher_suite.is_some());
                assert!(login.password.is_empty());
                login.account.is_some()
            }
            _ => login.username == "guest",
        };
        let answer = if is_right {
            Ok(Identity::new(login.username))
        } else {
            Err(LoginRefused::new("nobody"))
        };
        Box::pin(std::future::ready(answer))
    }

    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        // Reading certificates is not what is tested here.
        let der = &peer.certificates[0];
        let names = ["ann", "bob"];
        let found = names
            .iter()
            .find(|name| der.windows(3).any(|bytes| bytes == name.as_bytes()));
        found.map(|name| (*name).to_owned())
    }
}

async fn mutual_broker(ours: &Authority) -> Broker {
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::everything());
    start(listening(
        Broker::builder()
            .accounts(accounts)
            .authenticator(ByCertificate)
            .stomp_certificate_login(true)
            .tls(mutual_config(ours.server(), ours)),
    ))
    .await
}

async fn mechanisms(wire: &mut Wire) -> String {
    wire.send_bytes(&ProtocolHeader::AMQP_0_9_1).await;
    let heard = wire.expect_on(0, "connection.start").await;
    let Method::ConnectionStart(start) = heard.method() else {
        unreachable!()
    };
    String::from_utf8(start.mechanisms.to_vec()).unwrap()
}

#[tokio::test]
async fn who_shows_a_certificate_may_log_in_with_it() {
    let ours = Authority::new("ours");
    let broker = mutual_broker(&ours).await;
    let address = broker.amqps_addresses()[0];
    let external = Greeting {
        mechanism: "EXTERNAL",
        response: b"bob".to_vec(),
        ..Greeting::default()
    };
    let ann = Client::new(&ours, Some(ours.client("ann")));
    let mut wire = Wire::on(ann.tunnel(address).await);
    external.shake_hands(&mut wire).await;
    wire.declare("q").await;

    let mut wire = Wire::on(ann.tunnel(address).await);
    assert_eq!(mechanisms(&mut wire).await, "PLAIN AMQPLAIN EXTERNAL");

    // Known to the authority, and not to us.
    let bob = Client::new(&ours, Some(ours.client("bob")));
    let mut wire = Wire::on(bob.tunnel(address).await);
    external.log_in(&mut wire).await;
    assert_eq!(
        wire.expect_connection_closed().await.text,
        "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile."
    );
}

#[tokio::test]
async fn who_shows_none_is_not_offered_that() {
    let ours = Authority::new("ours");
    let broker = mutual_broker(&ours).await;
    let address = broker.amqps_addresses()[0];
    for client in [
        Client::new(&ours, None),
        // A name that means nothing.
        Client::new(&ours, Some(ours.client("zoe"))),
    ] {
        let mut wire = Wire::on(client.tunnel(address).await);
        assert_eq!(mechanisms(&mut wire).await, "PLAIN AMQPLAIN");
        let mut wire = Wire::on(client.tunnel(address).await);
        let external = Greeting {
            mechanism: "EXTERNAL",
            response: b"ann".to_vec(),
            ..Greeting::default()
        };
        external.log_in(&mut wire).await;
        wire.expect_end().await;
    }
}

#[tokio::test]
async fn foreign_and_expired_certificates_are_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let broker = mutual_broker(&ours).await;
    for identity in [theirs.client("ann"), ours.expired_client("ann")] {
        let client = Client::of_version(&ours, Some(identity), &[&TLS12]);
        let refused = client.connect(broker.amqps_addresses()[0]).await;
        assert!(refused.is_err(), "the broker was content with it");
    }
    until("them to be gone", || broker.connection_count() == 0).await;
}

#[cfg(feature = "stomp")]
mod stomp {
    use leveret_stomp_codec::Command;

    use super::support::Stomp;
    use super::support::websocket::WebSocket;
    use super::*;

    #[tokio::test]
    async fn stomp_passes_and_takes_the_certificate_for_a_login() {
        let ours = Authority::new("ours");
        let broker = mutual_broker(&ours).await;
        let ann = Client::new(&ours, Some(ours.client("ann")));
        let mut stomp = Stomp::on(ann.tunnel(broker.stomps_addresses()[0]).await);
        let version = ("accept-version", "1.2");
        stomp.send(Command::Connect, &[version], b"").await;
        stomp.expect(Command::Connected).await;
        stomp.publish("/queue/q", "hello").await;

        // Who gives a name has to have a password for it.
        let mut stomp = Stomp::on(ann.tunnel(broker.stomps_addresses()[0]).await);
        let login = [version, ("login", "ann"), ("passcode", "")];
        stomp.send(Command::Connect, &login, b"").await;
        stomp.expect(Command::Error).await;
    }

    #[tokio::test]
    async fn websockets_pass() {
        let authority = Authority::new("ours");
        let broker = broker(&authority).await;
        let client = Client::new(&authority, None);
        let stream = client.tunnel(broker.secure_websocket_addresses()[0]).await;
        let header = "Sec-WebSocket-Protocol: v12.stomp\r\n";
        let (mut socket, head) = WebSocket::request_on(stream, "/ws", header).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket.connect().await;

        let stream = client.tunnel(broker.secure_websocket_addresses()[0]).await;
        let header = "Sec-WebSocket-Protocol: amqp\r\n";
        let (mut socket, head) = WebSocket::request_on(stream, "/ws", header).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket.send(BINARY, ProtocolHeader::AMQP_0_9_1).await;
        let (_, start) = soon("connection.start", socket.next()).await.unwrap();
        assert_eq!(start[..7], [1, 0, 0, 0, 0, start[5], start[6]]);
    }
}

#[tokio::test]
async fn the_time_for_a_handshake_can_be_set() {
    let authority = Authority::new("ours");
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .handshake_timeout(Duration::from_millis(500))
        .tls(server_config(authority.server()));
    let broker = start(listening(builder)).await;
    let _silent = TcpStream::connect(broker.amqps_addresses()[0])
        .await
        .unwrap();
    until("it to be there", || broker.connection_count() == 1).await;
    pass(&broker, &clock, 500).await;
    until("it to be gone", || broker.connection_count() == 0).await;
}

/// What a page of this origin, in a browser that shows Ann's certificate, is answered to this subprotocol and what follows.
#[cfg(feature = "stomp")]
async fn page_hears(
    broker: &Broker,
    client: &Client,
    origin: &str,
    subprotocol: &str,
    said: &[&[u8]],
) -> Vec<u8> {
    let stream = client.tunnel(broker.secure_websocket_addresses()[0]).await;
    let headers = format!("Origin: {origin}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n");
    let (mut socket, head) = WebSocket::request_on(stream, "/ws", &headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut heard = Vec::new();
    for message in said {
        socket.send(BINARY, message).await;
        heard = match socket.next().await {
            Some((TEXT | BINARY, heard)) => heard,
            _ => return Vec::new(),
        };
    }
    heard
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn a_page_of_another_site_does_not_log_in_by_the_certificate_of_the_browser() {
    let ours = Authority::new("ours");
    let broker = mutual_broker(&ours).await;
    let ann = Client::new(&ours, Some(ours.client("ann")));
    let start_ok = b"\x01\0\0\0\0\0\x1b\0\x0a\0\x0b\0\0\0\0\x08EXTERNAL\0\0\0\0\x05en_US\xce";
    // The host that is asked is `x`.
    for (origin, is_let_in) in [("https://x", true), ("http://localhost", false)] {
        let connect: &[&[u8]] = &[b"CONNECT\naccept-version:1.2\n\n\0"];
        let heard = page_hears(&broker, &ann, origin, "v12.stomp", connect).await;
        assert_eq!(heard.starts_with(b"CONNECTED\n"), is_let_in, "{origin}");
        let external: &[&[u8]] = &[&ProtocolHeader::AMQP_0_9_1, start_ok];
        let heard = page_hears(&broker, &ann, origin, "amqp", external).await;
        // connection.tune
        let is_tuned = heard.get(7..11) == Some(&[0, 10, 0, 30]);
        assert_eq!(is_tuned, is_let_in, "{origin}: {heard:?}");
    }
}
