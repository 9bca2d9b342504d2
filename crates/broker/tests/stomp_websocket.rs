//! STOMP and AMQP within WebSockets.
#![cfg(feature = "stomp")]

mod support;

use leveret_amqp_codec::ProtocolHeader;
use leveret_broker::{
    Authenticator, Broker, Identity, Login, LoginFuture, LoginRefused, Publish, UserTable,
};
use support::websocket::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket};
use support::{Stomp, broker, pass, soon, start, timed_broker, until};

const SUBSCRIBE: &str = "SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\nreceipt:s\n\n\0";

#[tokio::test]
async fn each_frame_is_a_message() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.connect().await;
    socket.send(TEXT, SUBSCRIBE).await;
    socket.expect_text("RECEIPT\n").await;
    for size in [0, 20, 200, 70_000] {
        client
            .publish(Publish::to_queue("q", &vec![b'x'; size]))
            .await
            .unwrap();
        client
            .publish(Publish::to_queue("q", b"next"))
            .await
            .unwrap();
        let message = socket.expect_text("MESSAGE\nsubscription:1\n").await;
        assert!(message.ends_with(&format!("\n\n{}\0\n", "x".repeat(size))));
        socket.expect_text("MESSAGE\n").await;
    }
    // What is no text cannot be sent as one.
    client
        .publish(Publish::to_queue("q", b"\xff"))
        .await
        .unwrap();
    let (opcode, _) = socket.next().await.unwrap();
    assert_eq!(opcode, BINARY);
}

#[tokio::test]
async fn all_messages_are_binary_where_that_is_wanted() {
    let broker = start(Broker::builder().websocket_binary(true)).await;
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.send(BINARY, "CONNECT\n\n\0").await;
    let (opcode, payload) = socket.next().await.unwrap();
    assert_eq!(opcode, BINARY);
    assert!(payload.starts_with(b"CONNECTED\n"));
}

#[tokio::test]
async fn messages_are_a_stream_of_bytes() {
    let broker = broker().await;
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.connect().await;
    let send = "SEND\ndestination:/queue/q\nreceipt:1\n\nbody\0\n";
    socket.send(TEXT, send.repeat(3)).await;
    for _ in 0..3 {
        socket.expect_text("RECEIPT\n").await;
    }
    for byte in send.bytes() {
        socket.send(BINARY, [byte]).await;
    }
    socket.expect_text("RECEIPT\n").await;
    let (start, end) = send.split_at(11);
    socket.send_fragment(false, TEXT, start.as_bytes()).await;
    // A ping may come between the fragments of a message.
    socket.send(PING, "there?").await;
    assert_eq!(socket.next().await, Some((PONG, b"there?".to_vec())));
    socket.send_fragment(false, CONTINUATION, b"").await;
    socket
        .send_fragment(true, CONTINUATION, end.as_bytes())
        .await;
    socket.expect_text("RECEIPT\n").await;
    let client = broker.client().unwrap();
    assert_eq!(client.queue_info("q").await.unwrap().ready, 5);
}

#[tokio::test]
async fn a_large_frame_may_come_in_one_message_or_in_many() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.connect().await;
    let frame = format!(
        "SEND\ndestination:/queue/q\nreceipt:1\n\n{}\0",
        "x".repeat(1_000_000)
    );
    socket.send(TEXT, &frame).await;
    socket.expect_text("RECEIPT\n").await;
    for part in frame.as_bytes().chunks(10_000) {
        socket.send(BINARY, part).await;
    }
    socket.expect_text("RECEIPT\n").await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 2);
}

#[tokio::test]
async fn the_end_of_a_session_is_the_end_of_its_websocket() {
    let broker = broker().await;
    for (frame, answer, code) in [
        ("DISCONNECT\nreceipt:1\n\n\0", None, 1000),
        (
            "SEND\ndestination:/exchange/none\n\n\0",
            Some("ERROR\nmessage:not_found\n"),
            1000,
        ),
        (
            "SEND\nno colon\n\n\0",
            Some("ERROR\nmessage:Invalid frame\n"),
            1007,
        ),
    ] {
        let mut socket = WebSocket::open(&broker, "v12.stomp").await;
        socket.connect().await;
        socket.send(TEXT, frame).await;
        if let Some(answer) = answer {
            socket.expect_text(answer).await;
        }
        socket.expect_close(code).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_is_dropped() {
    let (broker, clock) = timed_broker().await;
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.connect().await;
    socket.send(TEXT, "DISCONNECT\n\n\0").await;
    assert_eq!(socket.next().await, Some((CLOSE, vec![3, 232])));
    pass(&broker, &clock, 4999).await;
    assert_eq!(broker.connection_count(), 1);
    pass(&broker, &clock, 1).await;
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn a_close_of_the_client_is_answered_and_gives_everything_back() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.connect().await;
    socket.send(TEXT, SUBSCRIBE).await;
    socket.expect_text("RECEIPT\n").await;
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    socket.expect_text("MESSAGE\n").await;
    socket.send(CLOSE, 1001_u16.to_be_bytes()).await;
    assert_eq!(
        socket.next().await,
        Some((CLOSE, 1001_u16.to_be_bytes().to_vec()))
    );
    assert_eq!(socket.next().await, None);
    until("the end of the connection", || {
        broker.connection_count() == 1
    })
    .await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_by_the_code() {
    let broker = broker().await;
    for (frame, code) in [
        (&[0x81, 0x01, b'x'][..], 1002),
        (&[0xc1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        (&[0x89, 0xfe, 0, 200, 0, 0, 0, 0], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        let mut socket = WebSocket::open(&broker, "v12.stomp").await;
        // A frame that is only announced counts as well; more bytes make it complete where it is not.
        socket.send_raw(frame).await;
        socket.send_raw(&[0; 200]).await;
        let sent = socket.next().await;
        assert_eq!(
            sent,
            Some((CLOSE, u16::to_be_bytes(code).to_vec())),
            "{frame:?}"
        );
        assert_eq!(socket.next().await, None);
    }
}

#[tokio::test]
async fn who_has_not_logged_in_is_held_to_small_messages() {
    let broker = broker().await;
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.send(TEXT, "\n".repeat(16 * 1024 + 1)).await;
    socket.expect_close(1009).await;
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.send(TEXT, "\n".repeat(16 * 1024)).await;
    socket.connect().await;
    socket.send(TEXT, "\n".repeat(4 * 1024 * 1024)).await;
    socket.send(TEXT, "\n".repeat(4 * 1024 * 1024 + 1)).await;
    socket.expect_close(1009).await;
}

#[tokio::test]
async fn requests_for_something_else_are_refused() {
    let broker = start(
        Broker::builder()
            .websocket_path("/stomp")
            .websocket_origins(["https://a.example"]),
    )
    .await;
    for (path, headers, status) in [
        ("/ws", "", "404"),
        ("/stomp", "Origin: https://b.example\r\n", "403"),
        ("/stomp", "Origin: https://a.example\r\n", "101"),
        ("/stomp/", "", "101"),
    ] {
        let (mut socket, head) = WebSocket::request(&broker, path, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if status != "101" {
            assert_eq!(socket.next().await, None);
        }
    }
}

#[tokio::test]
async fn a_client_that_never_asks_is_dropped() {
    let (broker, clock) = timed_broker().await;
    let address = broker.websocket_addresses()[0];
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut socket = WebSocket::on(stream);
    socket.send_raw(b"GET /ws HTTP/1.1\r\n").await;
    until("the connection", || broker.connection_count() == 1).await;
    pass(&broker, &clock, 10_000).await;
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn credentials_of_the_request_replace_those_of_connect() {
    let users = UserTable::new().with_user("ann", "a:b");
    let builder = Broker::builder()
        .authenticator(users)
        .websocket_http_auth(true);
    let broker = start(builder).await;
    // "ann:a:b" and "ann:x"
    for (basic, answer) in [
        ("YW5uOmE6Yg==", "CONNECTED\n"),
        ("YW5uOng=", "ERROR\nmessage:Bad CONNECT\n"),
    ] {
        let header = format!("Authorization: Basic {basic}\r\n");
        let (mut socket, _) = WebSocket::request(&broker, "/ws", &header).await;
        socket
            .send(TEXT, "CONNECT\nlogin:zorp\npasscode:zorp\n\n\0")
            .await;
        socket.expect_text(answer).await;
    }
    // Without the header the frame counts.
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket
        .send(TEXT, "CONNECT\nlogin:ann\npasscode:a\\cb\n\n\0")
        .await;
    socket.expect_text("CONNECTED\n").await;
}

#[tokio::test]
async fn heart_beats_are_messages() {
    let (broker, clock) = timed_broker().await;
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket
        .send(TEXT, "CONNECT\nheart-beat:1000,1000\n\n\0")
        .await;
    socket.expect_text("CONNECTED\n").await;
    pass(&broker, &clock, 500).await;
    assert_eq!(socket.expect_text("").await, "\n");
    pass(&broker, &clock, 500).await;
    assert_eq!(socket.expect_text("").await, "\n");
    // Two intervals in which nothing came.
    pass(&broker, &clock, 1000).await;
    socket.expect_close(1000).await;
}

#[tokio::test]
async fn amqp_is_spoken_by_who_asks_for_it() {
    let broker = broker().await;
    let (mut socket, head) =
        WebSocket::request(&broker, "/ws", "Sec-WebSocket-Protocol: amqp\r\n").await;
    assert!(
        head.to_ascii_lowercase()
            .contains("sec-websocket-protocol: amqp\r\n"),
        "{head}"
    );
    socket.send(BINARY, &ProtocolHeader::AMQP_0_9_1[..3]).await;
    socket.send(BINARY, &ProtocolHeader::AMQP_0_9_1[3..]).await;
    let (opcode, start) = socket.next().await.unwrap();
    assert_eq!(opcode, BINARY);
    // A method frame on channel 0 with connection.start.
    assert_eq!(
        (&start[..3], &start[7..11]),
        (&[1, 0, 0][..], &[0, 10, 0, 10][..])
    );
}

#[tokio::test]
async fn of_who_asks_for_nothing_the_first_bytes_tell() {
    let broker = broker().await;
    let (mut socket, head) = WebSocket::request(&broker, "/ws", "").await;
    assert!(!head.to_ascii_lowercase().contains("protocol:"), "{head}");
    let (start, end) = ProtocolHeader::AMQP_0_9_1.split_at(2);
    socket.send(BINARY, start).await;
    socket.send(BINARY, end).await;
    let (opcode, start) = socket.next().await.unwrap();
    assert_eq!((opcode, &start[7..11]), (BINARY, &[0, 10, 0, 10][..]));
    assert_eq!(broker.connection_count(), 1);

    let (mut socket, _) = WebSocket::request(&broker, "/ws", "").await;
    socket.send(TEXT, "A").await;
    socket.send(TEXT, "CK\n\n\0").await;
    socket.expect_text("ERROR\nmessage:Illegal command\n").await;
    socket.connect().await;
}

#[tokio::test]
async fn a_stream_of_the_application_is_served_as_the_user_it_names() {
    let broker = start(Broker::builder().authenticator(UserTable::new())).await;
    let (near, far) = tokio::io::duplex(1024);
    let serving = broker.serve_stomp_websocket(far, Identity::new("ann"));
    let mut socket = WebSocket::on(near);
    tokio::join!(serving, async {
        socket
            .send(TEXT, "CONNECT\nlogin:bob\npasscode:x\n\n\0")
            .await;
        socket.expect_text("CONNECTED\n").await;
        socket
            .send(
                TEXT,
                "SEND\ndestination:/queue/q\nuser-id:ann\nreceipt:1\n\nm\0",
            )
            .await;
        socket.expect_text("RECEIPT\n").await;
        assert_eq!(broker.connection_count(), 1);
        socket.send(TEXT, "DISCONNECT\n\n\0").await;
        socket.expect_close(1000).await;
    });
    assert_eq!(broker.connection_count(), 0);
}

/// Lets in by what a browser shows: a cookie, a token in the address, or a header of CONNECT.
#[derive(Debug)]
struct ByBrowser;

impl ByBrowser {
    fn who(login: &Login) -> Option<String> {
        let request = login.request.as_ref()?;
        let by_cookie = request.cookie("user").map(str::to_owned);
        let by_token = request.query_value("token");
        let by_header = login.connect_header("token").map(str::to_owned);
        assert_eq!(login.connect_header("passcode"), None);
        by_cookie.or(by_token).or(by_header)
    }
}

impl Authenticator for ByBrowser {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        let who = Self::who(&login).ok_or_else(|| LoginRefused::new("nothing shown"));
        Box::pin(std::future::ready(who.map(Identity::new)))
    }
}

#[tokio::test]
async fn an_authenticator_sees_what_a_browser_shows() {
    let broker = start(Broker::builder().authenticator(ByBrowser)).await;
    for (path, headers, connect, user) in [
        ("/ws", "Cookie: a=b; user=ann\r\n", "", Some("ann")),
        ("/ws?x=1&token=b%6fb", "", "", Some("bob")),
        ("/ws", "", "token:eve\n", Some("eve")),
        ("/ws", "", "login:guest\npasscode:guest\n", None),
    ] {
        let (mut socket, _) = WebSocket::request(&broker, path, headers).await;
        socket.send(TEXT, format!("CONNECT\n{connect}\n\0")).await;
        let Some(user) = user else {
            socket.expect_text("ERROR\nmessage:Bad CONNECT\n").await;
            continue;
        };
        socket.expect_text("CONNECTED\n").await;
        let send = format!("SEND\ndestination:/queue/q\nuser-id:{user}\nreceipt:1\n\n\0");
        socket.send(TEXT, send).await;
        socket.expect_text("RECEIPT\n").await;
    }
}

#[tokio::test]
async fn an_authenticator_sees_the_request_of_amqp_clients_too() {
    let broker = start(Broker::builder().authenticator(ByBrowser)).await;
    for (subprotocol, path) in [
        ("Sec-WebSocket-Protocol: amqp\r\n", "/ws?token=ann"),
        // Of these the first bytes tell.
        ("", "/ws?token=ann"),
    ] {
        let (mut socket, _) = WebSocket::request(&broker, path, subprotocol).await;
        socket.send(BINARY, ProtocolHeader::AMQP_0_9_1).await;
        socket.next().await.expect("connection.start");
        socket.send(BINARY, start_ok(b"\0guest\0guest")).await;
        expect_tune(&mut socket).await;
    }
}

/// connection.start-ok with this response of the mechanism PLAIN, as a frame.
fn start_ok(response: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 10, 0, 11];
    // No client properties.
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(b"\x05PLAIN");
    payload.extend_from_slice(&(response.len() as u32).to_be_bytes());
    payload.extend_from_slice(response);
    payload.extend_from_slice(b"\x05en_US");
    let mut frame = vec![1, 0, 0];
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(&payload);
    frame.push(0xce);
    frame
}

async fn expect_tune<S>(socket: &mut WebSocket<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (opcode, tune) = socket.next().await.expect("an answer to start-ok");
    assert_eq!((opcode, &tune[7..11]), (BINARY, &[0, 10, 0, 30][..]));
}

#[tokio::test]
async fn a_stream_of_the_application_may_speak_amqp_as_the_user_it_names() {
    let broker = start(Broker::builder().authenticator(UserTable::new())).await;
    let (near, far) = tokio::io::duplex(1024);
    let serving = broker.serve_websocket(far, Identity::new("ann"));
    let mut socket = WebSocket::on(near);
    tokio::join!(serving, async {
        socket.send(BINARY, ProtocolHeader::AMQP_0_9_1).await;
        socket.next().await.expect("connection.start");
        socket.send(BINARY, start_ok(b"\0bob\0wrong")).await;
        expect_tune(&mut socket).await;
        drop(socket);
    });

    let (near, far) = tokio::io::duplex(1024);
    let serving = broker.serve_websocket(far, Identity::new("ann"));
    let mut socket = WebSocket::on(near);
    tokio::join!(serving, async {
        socket.send(TEXT, "CONNECT\n\n\0").await;
        socket.expect_text("CONNECTED\n").await;
        let send = "SEND\ndestination:/queue/q\nuser-id:bob\n\nm\0";
        socket.send(TEXT, send).await;
        socket
            .expect_text("ERROR\nmessage:precondition_failed\n")
            .await;
        socket.expect_close(1000).await;
    });
}

#[tokio::test]
async fn a_stream_of_the_application_counts_as_a_connection() {
    let broker = start(Broker::builder().connections_max(1)).await;
    let open = || {
        let (near, far) = tokio::io::duplex(1024);
        (
            WebSocket::on(near),
            broker.serve_websocket(far, Identity::new("ann")),
        )
    };
    let (mut first, serving) = open();
    tokio::join!(serving, async {
        first.send(TEXT, "CONNECT\n\n\0").await;
        first.expect_text("CONNECTED\n").await;
        // One too many is closed without a word.
        let (mut second, serving) = open();
        soon("the end", serving).await;
        assert_eq!(second.next().await, None);
        drop(first);
    });
    let (mut third, serving) = open();
    tokio::join!(serving, async {
        third.send(TEXT, "CONNECT\n\n\0").await;
        third.expect_text("CONNECTED\n").await;
        drop(third);
    });
}

#[tokio::test]
async fn a_broker_that_stops_says_so_to_whoever_is_there() {
    let broker = broker().await;
    let mut asking = WebSocket::on(
        tokio::net::TcpStream::connect(broker.websocket_addresses()[0])
            .await
            .unwrap(),
    );
    let mut socket = WebSocket::open(&broker, "v12.stomp").await;
    socket.connect().await;
    let stomp = Stomp::connect(&broker).await;
    drop(stomp);
    tokio::join!(broker.shutdown(), async {
        assert_eq!(asking.next().await, None);
        socket
            .expect_text("ERROR\nmessage:connection_forced\n")
            .await;
        socket.expect_close(1000).await;
    });
}

#[tokio::test]
async fn the_time_to_log_in_does_not_begin_anew_with_the_websocket() {
    for subprotocol in ["v12.stomp", "amqp", ""] {
        let (broker, clock) = timed_broker().await;
        let stream = tokio::net::TcpStream::connect(broker.websocket_addresses()[0]).await;
        let stream = stream.unwrap();
        until("a connection", || broker.connection_count() == 1).await;
        pass(&broker, &clock, 9_900).await;
        let header = match subprotocol {
            "" => String::new(),
            name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
        };
        let (mut socket, head) = WebSocket::request_on(stream, "/ws", &header).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        if subprotocol.is_empty() {
            // It was undecided until now.
            socket.send(BINARY, b"AMQP\0\0\x09\x01").await;
            assert!(socket.next().await.is_some(), "connection.start");
        }
        pass(&broker, &clock, 100).await;
        socket.expect_close(1000).await;
    }
}
