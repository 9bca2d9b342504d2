//! Whatever a client sends, or does not send or read: the broker stays as it was, and serves the others.

mod support;

use leveret_amqp_codec::method::{basic, channel, connection, queue};
use leveret_amqp_codec::{ChannelId, write_method};
use leveret_broker::{Broker, Client, Properties, Publish, QueueOptions};
use support::{Greeting, Wire, broker, short, start, until};

/// A frame of any kind, well formed or not.
fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(0xCE);
    bytes
}

fn method(channel: u16, method: &impl leveret_amqp_codec::EncodeMethod) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_method(&mut bytes, ChannelId(channel), method);
    bytes
}

fn publish(channel: u16) -> Vec<u8> {
    method(
        channel,
        &basic::Publish {
            routing_key: short("q"),
            ..basic::Publish::default()
        },
    )
}

/// A content header for a body of this size.
fn header(channel: u16, body_size: u64) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend_from_slice(&body_size.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    frame(2, channel, &payload)
}

fn body(channel: u16, bytes: &[u8]) -> Vec<u8> {
    frame(3, channel, bytes)
}

/// What a client says that publishes `first` and `second` to the queue `q`, and what it has said when the first, the
/// second is complete.
fn conversation() -> (Vec<u8>, [usize; 2]) {
    let mut bytes = Greeting::default().bytes();
    let exclusive = queue::Declare {
        queue: short("mine"),
        exclusive: true,
        ..queue::Declare::default()
    };
    bytes.extend(method(1, &exclusive));
    let consume = basic::Consume {
        queue: short("mine"),
        ..basic::Consume::default()
    };
    bytes.extend(method(1, &consume));
    bytes.extend([publish(1), header(1, 5), body(1, b"first")].concat());
    let first = bytes.len();
    bytes.extend([publish(1), header(1, 6), body(1, b"sec"), body(1, b"ond")].concat());
    let second = bytes.len();
    bytes.extend(method(
        1,
        &basic::Get {
            queue: short("q"),
            no_ack: false,
        },
    ));
    (bytes, [first, second])
}

/// Bytes without a pattern, the same ones for the same seed.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

async fn with_queue(broker: &Broker) -> Client {
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    client
}

/// Says all this, then nothing more, and listens until the broker has closed the connection.
async fn say(broker: &Broker, bytes: &[u8]) {
    let mut wire = Wire::dial(broker).await;
    // A broker that has heard enough may close the socket while we speak.
    let _ = wire.try_send_bytes(bytes).await;
    let _ = wire.try_send_end().await;
    wire.wait_for_end().await;
}

#[tokio::test]
async fn a_conversation_may_end_anywhere_and_nothing_half_said_counts() {
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let (bytes, complete) = conversation();
    for end in 0..=bytes.len() {
        say(&broker, &bytes[..end]).await;
        until("the connection to go", || broker.connection_count() == 1).await;
        broker.wait_idle().await;
        let messages = client.browse("q", 10).await.unwrap();
        let bodies: Vec<_> = messages.iter().map(|message| message.body()).collect();
        let want = complete.iter().filter(|at| **at <= end).count();
        assert_eq!(
            bodies,
            [&b"first"[..], b"second"][..want],
            "after {end} bytes"
        );
        assert!(
            client.queue_info("mine").await.unwrap_err().is_not_found(),
            "after {end} bytes"
        );
        let info = client.queue_info("q").await.unwrap();
        assert_eq!((info.unacked, info.consumers), (0, 0), "after {end} bytes");
        client.purge_queue("q").await.unwrap();
        assert_eq!(broker.memory_used(), 0);
    }
}

#[tokio::test]
async fn a_conversation_may_come_in_pieces_of_any_size() {
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let (bytes, _) = conversation();
    for size in [1, 2, 3, 7, 50, bytes.len()] {
        let mut wire = Wire::dial(&broker).await;
        for piece in bytes.chunks(size) {
            wire.send_bytes(piece).await;
            tokio::task::yield_now().await;
        }
        wire.send_end().await;
        while wire.hear().await.is_some() {}
        until("the connection to go", || broker.connection_count() == 1).await;
        assert_eq!(
            client.purge_queue("q").await.unwrap(),
            2,
            "in pieces of {size}"
        );
    }
}

#[tokio::test]
async fn one_wrong_byte_anywhere_harms_nobody_else() {
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let (bytes, _) = conversation();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut wrong = bytes.clone();
            wrong[at] ^= flip;
            say(&broker, &wrong).await;
        }
        until("the connections to go", || broker.connection_count() == 1).await;
        assert!(
            client.queue_info("mine").await.unwrap_err().is_not_found(),
            "byte {at}"
        );
        let info = client.queue_info("q").await.unwrap();
        assert_eq!((info.unacked, info.consumers), (0, 0), "byte {at}");
    }
    Wire::open(&broker).await.quiet().await;
}

#[tokio::test]
async fn noise_is_refused() {
    let broker = broker().await;
    for seed in 0..200 {
        let mut bytes = if seed % 2 == 0 {
            Vec::new()
        } else {
            Greeting::default().bytes()
        };
        bytes.extend(noise(seed, 2000));
        say(&broker, &bytes).await;
    }
    until("the connections to go", || broker.connection_count() == 0).await;
    assert_eq!(broker.memory_used(), 0);
    Wire::open(&broker).await.quiet().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_when_it_is_announced() {
    let broker = broker().await;
    for (kind, size) in [
        (1, u32::MAX),
        (3, i32::MAX as u32),
        (2, 131_073),
        (8, 200_000),
    ] {
        let mut wire = Wire::open(&broker).await;
        let mut announced = vec![kind, 0, 1];
        announced.extend_from_slice(&size.to_be_bytes());
        wire.send_bytes(&announced).await;
        let closed = wire.expect_connection_closed().await;
        assert_eq!(closed.code, 501);
        assert_eq!(
            closed.text,
            format!(
                "FRAME_ERROR - type {kind}, all octets = <<>>: {{frame_too_large,{size},131064}}"
            )
        );
    }
}

#[tokio::test]
async fn before_the_limits_are_agreed_upon_frames_are_small() {
    refuses_first_frame(&broker().await, 8193).await;
}

#[tokio::test]
async fn how_large_frames_before_the_login_may_be_can_be_set_within_bounds() {
    for (set, largest) in [(100, 8192), (16_384, 16_384), (1 << 20, 65_536)] {
        let broker = start(Broker::builder().initial_frame_size_max(set)).await;
        // The name is what the other fields of start-ok leave room for.
        let login_of = |name_size: usize| Greeting {
            response: [b"\0", "a".repeat(name_size).as_bytes(), b"\0guest"].concat(),
            ..Greeting::default()
        };
        let login = login_of(largest - first_frame_size(&login_of(0)));
        assert_eq!(first_frame_size(&login), largest);
        let mut wire = login.authenticate(&broker).await;
        assert_eq!(wire.expect_connection_closed().await.code, 403, "{set}");
        refuses_first_frame(&broker, largest + 1).await;
    }
}

/// The size that the first frame of this client announces, behind the protocol header, type and channel.
fn first_frame_size(greeting: &Greeting) -> usize {
    let bytes = greeting.bytes();
    let size = bytes[8 + 3..].first_chunk().unwrap();
    u32::from_be_bytes(*size) as usize
}

/// Announces a frame of this size before the login.
async fn refuses_first_frame(broker: &Broker, size: usize) {
    let mut wire = Wire::dial(broker).await;
    wire.send_bytes(&Greeting::default().header).await;
    wire.expect_on(0, "connection.start").await;
    let size = u32::try_from(size).unwrap().to_be_bytes();
    wire.send_bytes(&[&[1, 0, 0][..], &size].concat()).await;
    wire.expect_end().await;
}

/// Sends these bytes on an open channel, and hears how the connection is closed.
async fn check(bytes: Vec<u8>, code: u16, text: &str) {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.send_bytes(&bytes).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, &*closed.text), (code, text), "to {bytes:?}");
    until("the connection to go", || broker.connection_count() == 0).await;
}

#[tokio::test]
async fn frames_that_are_none_close_the_connection() {
    check(
        frame(7, 1, b""),
        501,
        "FRAME_ERROR - type 7, all octets = <<>>: unknown_frame",
    )
    .await;
    let mut wrong_end = frame(1, 1, &[0, 20, 0, 10, 0]);
    *wrong_end.last_mut().unwrap() = 0xCD;
    let text = "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,205}";
    check(wrong_end, 501, text).await;
    check(
        frame(8, 1, b""),
        505,
        "UNEXPECTED_FRAME - type 8, all octets = <<>>",
    )
    .await;
}

#[tokio::test]
async fn content_must_follow_its_publish_and_nothing_else() {
    let header_expected = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    let body_expected =
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let method_expected = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    let flow = || method(1, &channel::Flow { active: true });
    check(header(1, 5), 505, method_expected).await;
    check(body(1, b"x"), 505, method_expected).await;
    check([publish(1), publish(1)].concat(), 505, header_expected).await;
    check([publish(1), body(1, b"x")].concat(), 505, header_expected).await;
    check([publish(1), flow()].concat(), 505, header_expected).await;
    check(
        [publish(1), header(1, 5), header(1, 5)].concat(),
        505,
        body_expected,
    )
    .await;
    check(
        [publish(1), header(1, 5), flow()].concat(),
        505,
        body_expected,
    )
    .await;
    let too_much = "FRAME_ERROR - content body frame exceeds remaining content size";
    check(
        [publish(1), header(1, 5), body(1, b"sixsix")].concat(),
        501,
        too_much,
    )
    .await;
    check(
        [publish(1), header(1, 0), body(1, b"x")].concat(),
        505,
        method_expected,
    )
    .await;
}

#[tokio::test]
async fn methods_must_be_known_and_in_their_place() {
    let not_open = "CHANNEL_ERROR - expected 'channel.open'";
    check(method(9, &basic::Qos::default()), 504, not_open).await;
    let second = "CHANNEL_ERROR - second 'channel.open' seen";
    check(method(1, &channel::Open {}), 504, second).await;
    let state = "CHANNEL_ERROR - unexpected method in connection state running";
    check(method(0, &basic::Qos::default()), 504, state).await;
    // Answers to nothing that was asked.
    check(method(0, &connection::CloseOk {}), 504, state).await;
    let unimplemented = "COMMAND_INVALID - unimplemented method";
    for answer in [
        method(1, &basic::CancelOk::default()),
        method(1, &channel::FlowOk { active: true }),
        frame(1, 1, &[0, 60, 0, 99]),
    ] {
        check(answer, 503, unimplemented).await;
    }
    let utf8 = "FRAME_ERROR - Malformed UTF-8 in shortstr";
    check(frame(1, 1, &[0, 50, 0, 30, 0, 0, 1, 0xFF, 0]), 501, utf8).await;
}

#[tokio::test]
async fn messages_on_different_channels_may_interleave() {
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let mut wire = Wire::open(&broker).await;
    wire.open_channel(2).await;
    let frames = [
        publish(1),
        publish(2),
        header(2, 6),
        header(1, 4),
        body(1, b"on"),
        body(2, b"sec"),
        frame(8, 0, b""),
        body(2, b"ond"),
        body(1, b"e."),
    ];
    wire.send_bytes(&frames.concat()).await;
    wire.quiet().await;
    let messages = client.browse("q", 10).await.unwrap();
    let bodies: Vec<_> = messages.iter().map(|message| message.body()).collect();
    assert_eq!(bodies, [&b"second"[..], b"one."]);
}

#[tokio::test]
async fn a_message_that_is_cut_off_by_its_channel_is_forgotten() {
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let mut wire = Wire::open(&broker).await;
    wire.open_channel(2).await;
    wire.send_bytes(&[publish(2), header(2, 10), body(2, b"half")].concat())
        .await;
    let closed = {
        wire.channel = 1;
        wire.publish("zorp", "", "m").await;
        wire.expect_channel_closed().await
    };
    assert_eq!(closed.code, 404);
    wire.channel = 2;
    wire.send_bytes(&body(2, b" whole")).await;
    wire.quiet().await;
    assert_eq!(
        client.browse("q", 10).await.unwrap()[0].body(),
        b"half whole",
        "the other channel is not concerned"
    );
}

#[tokio::test]
async fn what_comes_on_a_channel_that_was_closed_is_passed_over_until_the_answer() {
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("zorp", "", "m").await;
    let lost = [
        publish(1),
        header(1, 4),
        body(1, b"lo"),
        body(1, b"st"),
        body(1, b"and not even well formed"),
    ];
    wire.send_bytes(&lost.concat()).await;
    assert_eq!(wire.expect_channel_closed().await.code, 404);
    wire.open_channel(1).await;
    wire.quiet().await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 0);
}

#[tokio::test]
async fn a_body_that_is_announced_but_does_not_come_takes_no_memory() {
    let broker = broker().await;
    let mut wires = Vec::new();
    for _ in 0..100 {
        let mut wire = Wire::open(&broker).await;
        wire.send_bytes(&[publish(1), header(1, 128 * 1024 * 1024), body(1, b"x")].concat())
            .await;
        wires.push(wire);
    }
    broker.wait_idle().await;
    // What has arrived counts, a few bytes each, and what was announced does not.
    assert!(broker.memory_used() <= 1000, "{}", broker.memory_used());
    assert_eq!(broker.connection_count(), 100);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_a_window_and_no_more() {
    const MESSAGES: u64 = 1024;
    const SIZE: usize = 32 * 1024;
    /// The window of 512 KiB, and what the system buffers of a socket hold at most on usual machines.
    const BUFFERED_MAX: usize = 12 * 1024 * 1024;
    let broker = broker().await;
    let client = with_queue(&broker).await;
    let mut wire = Wire::dial_narrow(&broker).await;
    Greeting::default().shake_hands(&mut wire).await;
    wire.consume_no_ack("q").await;
    let body = vec![0; SIZE];
    for _ in 0..MESSAGES {
        client.publish(Publish::to_queue("q", &body)).await.unwrap();
    }
    // The broker is not idle while it has something to write, so it is given turns until it puts no more aside.
    let (mut ready, mut turns) = (MESSAGES, 0);
    while turns < 20_000 {
        tokio::task::yield_now().await;
        let now_ready = client.queue_info("q").await.unwrap().ready;
        turns = if now_ready == ready { turns + 1 } else { 0 };
        ready = now_ready;
    }
    let taken = usize::try_from(MESSAGES - ready).unwrap() * SIZE;
    assert!(
        taken <= BUFFERED_MAX,
        "{taken} bytes were put aside for a client that does not read"
    );
    // It was only slow: everything is there when it comes to read.
    for _ in 0..MESSAGES {
        assert_eq!(wire.delivery().await.body.len(), SIZE);
    }
    wire.quiet().await;
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_the_answers_is_not_read_either() {
    const LIMIT: usize = 64 * 1024 * 1024;
    let broker = broker().await;
    let mut wire = Wire::dial_narrow(&broker).await;
    Greeting::default().shake_hands(&mut wire).await;
    let mandatory = basic::Publish {
        routing_key: short("nowhere"),
        mandatory: true,
        ..basic::Publish::default()
    };
    // Each comes back as large as it was.
    let bytes = wire.publish_bytes(&mandatory, &Properties::default(), &[0; 50_000]);
    let sent = wire.send_until_full(&bytes, LIMIT).await;
    assert!(
        sent < LIMIT,
        "the broker took everything, and has it somewhere"
    );
    Wire::open(&broker).await.quiet().await;
}
