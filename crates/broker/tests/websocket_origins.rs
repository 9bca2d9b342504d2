//! Which web pages may open WebSockets, and as whom.

#![cfg(feature = "stomp")]

mod support;

use leveret_broker::Broker;
use support::websocket::{BINARY, TEXT, WebSocket};
use support::{Greeting, start};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Somebody else's page.
const ELSEWHERE: &str = "https://elsewhere.example";

/// The status that a page of this origin gets; the host that it asks is `x`.
async fn check(broker: &Broker, origin: &str, status: u16) {
    let header = format!("Origin: {origin}\r\n");
    let (_, head) = WebSocket::request(broker, "/ws", &header).await;
    let start = format!("HTTP/1.1 {status} ");
    assert!(head.starts_with(&start), "{origin}: {head}");
}

#[tokio::test]
async fn pages_of_the_internet_have_no_business_on_loopback() {
    let broker = start(Broker::builder()).await;
    let (_, head) = WebSocket::request(&broker, "/ws", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "no page at all: {head}");
    for origin in [
        "http://x",
        "https://X:8080",
        "http://localhost:3000",
        "http://LOCALHOST",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://[::1]:8000",
    ] {
        check(&broker, origin, 101).await;
    }
    for origin in [
        ELSEWHERE,
        "https://x.elsewhere.example",
        "http://localhost.elsewhere.example",
        "http://127.0.0.1.elsewhere.example",
        "http://localhost@elsewhere.example",
        "http://192.0.2.1",
        "http://[2001:db8::1]",
        "null",
        "x",
        "",
    ] {
        check(&broker, origin, 403).await;
    }
}

#[tokio::test]
async fn pages_that_are_named_may_come_and_no_others() {
    let named = Broker::builder().websocket_origins([ELSEWHERE, "null"]);
    let broker = start(named).await;
    check(&broker, ELSEWHERE, 101).await;
    check(&broker, "null", 101).await;
    check(&broker, "http://localhost", 403).await;
    let any = start(Broker::builder().websocket_origins(["*"])).await;
    check(&any, ELSEWHERE, 101).await;
}

/// A WebSocket of a page from this origin, at an address that is not loopback, with these further headers.
async fn opens(broker: &Broker, origin: Option<&str>, headers: &str) -> WebSocket {
    let address = broker.websocket_addresses()[0];
    let mut stream = TcpStream::connect(address).await.expect("a listener");
    let proxied = b"PROXY TCP4 127.0.0.1 192.0.2.1 4711 15674\r\n";
    stream.write_all(proxied).await.expect("a socket");
    let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
    let headers = format!("{origin}{headers}");
    let (socket, head) = WebSocket::request_on(stream, "/ws", &headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

/// Whether a client of such a page is let in by a CONNECT with these headers.
async fn connects(broker: &Broker, origin: Option<&str>, headers: &str) -> bool {
    let mut socket = opens(broker, origin, "").await;
    let connect = format!("CONNECT\naccept-version:1.2\n{headers}\n\0");
    socket.send(TEXT, connect).await;
    let (_, answer) = socket.next().await.expect("an answer");
    answer.starts_with(b"CONNECTED\n")
}

#[tokio::test]
async fn who_does_not_log_in_is_nobody_for_pages_of_others() {
    let proxied = || Broker::builder().proxy_protocol_from(["127.0.0.1".parse().unwrap()]);
    let broker = start(proxied()).await;
    assert!(connects(&broker, None, "").await);
    assert!(connects(&broker, Some("https://x"), "").await);
    assert!(!connects(&broker, Some(ELSEWHERE), "").await);
    assert!(!connects(&broker, Some("null"), "").await);
    assert!(!connects(&broker, Some("http://localhost"), "").await);
    let login = "login:guest\npasscode:guest\n";
    assert!(connects(&broker, Some(ELSEWHERE), login).await);
    for allowed in [ELSEWHERE, "*"] {
        let broker = start(proxied().websocket_origins([allowed])).await;
        assert!(connects(&broker, Some(ELSEWHERE), "").await, "{allowed}");
    }
}

/// Whether a client of such a page is let in that speaks AMQP and does not say who it is.
async fn enters_anonymously(broker: &Broker, origin: Option<&str>) -> bool {
    const OPEN_OK: [u8; 4] = [0, 10, 0, 41];
    let anonymous = Greeting {
        mechanism: "ANONYMOUS",
        response: Vec::new(),
        ..Greeting::default()
    };
    let mut socket = opens(broker, origin, "Sec-WebSocket-Protocol: amqp\r\n").await;
    socket.send(BINARY, anonymous.bytes()).await;
    while let Some((BINARY, said)) = socket.next().await {
        if said.windows(OPEN_OK.len()).any(|part| part == OPEN_OK) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn who_is_anonymous_is_nobody_for_pages_of_others() {
    let visited = || {
        let builder = Broker::builder().anonymous_user("visitor");
        builder.proxy_protocol_from(["127.0.0.1".parse().unwrap()])
    };
    let broker = start(visited()).await;
    assert!(enters_anonymously(&broker, None).await);
    assert!(enters_anonymously(&broker, Some("https://x")).await);
    assert!(!enters_anonymously(&broker, Some(ELSEWHERE)).await);
    assert!(!enters_anonymously(&broker, Some("null")).await);
    let broker = start(visited().websocket_origins([ELSEWHERE])).await;
    assert!(enters_anonymously(&broker, Some(ELSEWHERE)).await);
}
