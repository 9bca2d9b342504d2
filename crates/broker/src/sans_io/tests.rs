//! Sessions at work without a socket.

use leveret_amqp_codec::method::{basic, queue, tx};
use leveret_amqp_codec::{EncodeMethod, Properties, write_body, write_content_header};

use super::*;
use crate::outbox::{Outgoing, WINDOW_BYTES};
use crate::session::TURN_OUTPUT_MAX;

const BODY: &[u8] = b"held back";

fn publish(out: &mut Vec<u8>, routing_key: &str) {
    publish_body(out, "", routing_key, BODY);
}

fn publish_body(out: &mut Vec<u8>, exchange: &str, routing_key: &str, body: &[u8]) {
    publish_with(out, (exchange, routing_key), "", body);
}

/// A publish with this message id, unless it is empty.
fn publish_with(out: &mut Vec<u8>, to: (&str, &str), message_id: &str, body: &[u8]) {
    let channel = ChannelId(1);
    let publish = basic::Publish {
        exchange: ShortStr::truncated(to.0),
        routing_key: ShortStr::truncated(to.1),
        ..basic::Publish::default()
    };
    write_method(out, channel, &publish);
    let properties = Properties {
        message_id: (!message_id.is_empty()).then(|| message_id.to_owned()),
        ..Properties::default()
    };
    let properties = properties.to_bytes();
    let properties = RawProperties::from_validated_bytes(&properties);
    let class = basic::Publish::CLASS_ID;
    write_content_header(out, channel, class, body.len() as u64, properties);
    write_body(out, channel, body, 131_072);
}

fn is_told(peer: &Peer, what: &[u8]) -> bool {
    peer.said().windows(what.len()).any(|said| said == what)
}

/// A message is held back because its consumer's window is full, and the window opens without the connection having
/// written anything.
fn comes_when_the_window_opens(mut peer: Peer, consume: &[u8], publish: &[u8]) {
    peer.hear(consume);
    assert!(peer.outbox.window().try_enter(WINDOW_BYTES));
    peer.hear(publish);
    assert!(!is_told(&peer, BODY));

    // The queue that gave the room back tells the connection, and nobody else does.
    let _ = peer.outbox.window().leave(WINDOW_BYTES);
    peer.tick(Duration::ZERO);
    assert!(!is_told(&peer, BODY));
    let _ = peer.outbox.push([Outgoing::WindowOpened]);
    peer.tick(Duration::ZERO);
    assert!(is_told(&peer, BODY));
    peer.leave();
}

#[test]
fn an_opened_window_of_amqp_is_filled() {
    let mut consume = handshake(false);
    let name = ShortStr::from_static("letters");
    let declare = queue::Declare {
        queue: name,
        ..queue::Declare::default()
    };
    let letters = basic::Consume {
        queue: name,
        no_ack: true,
        ..basic::Consume::default()
    };
    write_method(&mut consume, ChannelId(1), &declare);
    write_method(&mut consume, ChannelId(1), &letters);
    let mut letter = Vec::new();
    publish(&mut letter, "letters");
    comes_when_the_window_opens(Peer::new(1 << 20), &consume, &letter);
}

#[cfg(feature = "stomp")]
#[test]
fn an_opened_window_of_stomp_is_filled() {
    let consume = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0\
        SUBSCRIBE\nid:0\ndestination:/queue/letters\n\n\0";
    let letter = b"SEND\ndestination:/queue/letters\n\nheld back\0";
    comes_when_the_window_opens(Peer::stomp(1 << 20), consume, letter);
}

/// Has the session hear this once. Nothing is written.
fn first_turn(peer: &mut Peer, bytes: &[u8]) {
    peer.unread.extend_from_slice(bytes);
    let now = peer.clock.now();
    let consumed = peer
        .session
        .handle_input(now, &peer.unread, &mut peer.output);
    peer.unread.advance(consumed);
}

fn declare(out: &mut Vec<u8>, name: &str) {
    let declare = queue::Declare {
        queue: ShortStr::truncated(name),
        ..queue::Declare::default()
    };
    write_method(out, ChannelId(1), &declare);
}

#[test]
fn what_is_asked_for_in_few_bytes_is_not_all_put_out_at_once() {
    const LETTER: &[u8] = &[7; 300_000];
    const TIMES: usize = 64;
    let mut peer = Peer::new(1 << 30);
    let mut begin = handshake(false);
    declare(&mut begin, "letters");
    publish_body(&mut begin, "", "letters", LETTER);
    peer.hear(&begin);
    peer.forget_said();
    let mut again = Vec::new();
    for tag in 1..=TIMES as u64 {
        let get = basic::Get {
            queue: ShortStr::from_static("letters"),
            no_ack: false,
        };
        write_method(&mut again, ChannelId(1), &get);
        let back = basic::Nack {
            delivery_tag: tag,
            multiple: false,
            requeue: true,
        };
        write_method(&mut again, ChannelId(1), &back);
    }
    first_turn(&mut peer, &again);
    assert!(peer.session.has_paused());
    let put_out = peer.output.len();
    assert!(
        put_out < TURN_OUTPUT_MAX + LETTER.len() + 1000,
        "{put_out} bytes"
    );
    peer.work();
    let said = peer.said().len();
    assert_eq!(said / LETTER.len(), TIMES, "{said} bytes");
    peer.leave();
}

/// Messages for many queues are handed over in parts, and all of them are.
fn is_handed_over_in_parts(mut peer: Peer, begin: &[u8], publishes: &[u8]) {
    peer.hear(begin);
    let queues = peer.shared.vhost("/").unwrap().queues();
    assert_eq!(queues.len(), QUEUES);
    let has = |queue: &crate::vhost::QueueCell| {
        let counts = queue.counts();
        counts.ready + counts.unacked
    };
    first_turn(&mut peer, publishes);
    assert!(peer.session.has_paused());
    let few = has(&queues[0]);
    assert!((1..TIMES as u64 / 2).contains(&few), "{few} at once");
    peer.work();
    for queue in &queues {
        assert_eq!(has(queue), TIMES as u64);
    }
    peer.session.handle_disconnect(peer.clock.now());
}

const QUEUES: usize = 200;
const TIMES: usize = 1000;

/// A handshake, and queues that are bound to a fanout exchange.
fn fan_out() -> Vec<u8> {
    let mut begin = handshake(false);
    for number in 0..QUEUES {
        let name = number.to_string();
        declare(&mut begin, &name);
        let bind = queue::Bind {
            queue: ShortStr::truncated(&name),
            exchange: ShortStr::from_static("amq.fanout"),
            ..queue::Bind::default()
        };
        write_method(&mut begin, ChannelId(1), &bind);
    }
    begin
}

#[test]
fn a_fan_out_of_amqp_is_handed_over_in_parts() {
    let begin = fan_out();
    let mut publishes = Vec::new();
    for _ in 0..TIMES {
        publish_body(&mut publishes, "amq.fanout", "", BODY);
    }
    is_handed_over_in_parts(Peer::new(1 << 30), &begin, &publishes);
    // Each with properties of its own, so that all are decoded.
    publishes.clear();
    for number in 0..TIMES {
        publish_with(
            &mut publishes,
            ("amq.fanout", ""),
            &number.to_string(),
            BODY,
        );
    }
    is_handed_over_in_parts(Peer::new(1 << 30), &begin, &publishes);
}

/// What is asked for in few bytes and is much work, after a beginning, is not all done in one turn.
#[track_caller]
fn takes_several_turns(begin: &[u8], bytes: &[u8]) {
    let mut peer = Peer::new(1 << 30);
    peer.hear(begin);
    first_turn(&mut peer, bytes);
    assert!(peer.session.has_paused());
    peer.work();
    assert!(peer.unread.is_empty() && !peer.session.is_finished());
    peer.session.handle_disconnect(peer.clock.now());
}

#[test]
fn acknowledgements_between_the_messages_of_a_fan_out_do_not_hide_how_many_there_are() {
    let mut begin = fan_out();
    let consume = basic::Consume {
        queue: ShortStr::from_static("0"),
        ..basic::Consume::default()
    };
    write_method(&mut begin, ChannelId(1), &consume);
    let mut bytes = Vec::new();
    for delivery_tag in 1..=TIMES as u64 {
        publish(&mut begin, "0");
        let ack = basic::Ack {
            delivery_tag,
            multiple: false,
        };
        write_method(&mut bytes, ChannelId(1), &ack);
        publish_body(&mut bytes, "amq.fanout", "", BODY);
    }
    takes_several_turns(&begin, &bytes);
}

#[test]
fn so_many_consumers_are_told_of_room_in_one_turn() {
    let mut begin = handshake(false);
    declare(&mut begin, "letters");
    for number in 0..300 {
        // Each of them from a queue of its own, but for the first.
        let name = match number {
            0 => "letters".to_owned(),
            other => format!("others {other}"),
        };
        declare(&mut begin, &name);
        let consume = basic::Consume {
            queue: ShortStr::truncated(&name),
            ..basic::Consume::default()
        };
        write_method(&mut begin, ChannelId(1), &consume);
    }
    let qos = |out: &mut Vec<u8>, prefetch_count| {
        let qos = basic::Qos {
            prefetch_count,
            global: true,
            ..basic::Qos::default()
        };
        write_method(out, ChannelId(1), &qos);
    };
    qos(&mut begin, 1);
    let mut limits = Vec::new();
    for limit in 2..300 {
        publish(&mut begin, "letters");
        qos(&mut limits, limit);
    }
    takes_several_turns(&begin, &limits);
}

#[test]
fn a_transaction_counts_what_it_will_be_in_each_queue() {
    let mut begin = fan_out();
    write_method(&mut begin, ChannelId(1), &tx::Select {});
    let mut publishes = Vec::new();
    for _ in 0..TIMES {
        publish_body(&mut publishes, "amq.fanout", "", BODY);
    }
    let mut peer = Peer::new(QUEUES * TIMES * 32);
    peer.hear(&begin);
    peer.hear(&publishes);
    assert!(is_told(&peer, b"the transaction holds more"));
    peer.leave();
}

#[test]
fn so_many_bindings_are_looked_at_in_one_turn() {
    const BINDINGS: i32 = 2000;
    let mut peer = Peer::new(1 << 30);
    let mut begin = handshake(false);
    declare(&mut begin, "letters");
    for number in 0..BINDINGS {
        let arguments = Table::from_iter([("number", Value::from(number))]).to_bytes();
        let bind = queue::Bind {
            queue: ShortStr::from_static("letters"),
            exchange: ShortStr::from_static("amq.headers"),
            arguments: RawTable::from_validated_bytes(&arguments),
            no_wait: true,
            ..queue::Bind::default()
        };
        write_method(&mut begin, ChannelId(1), &bind);
    }
    peer.hear(&begin);
    let mut publishes = Vec::new();
    for _ in 0..100 {
        publish_body(&mut publishes, "amq.headers", "", BODY);
    }
    first_turn(&mut peer, &publishes);
    assert!(peer.session.has_paused());
    let left = peer.unread.len();
    let taken = publishes.len() - left;
    assert!(
        (publishes.len() / 4..publishes.len() / 2).contains(&taken),
        "{taken}"
    );
    peer.work();
    assert!(peer.unread.is_empty());
    peer.leave();
}

#[cfg(feature = "stomp")]
mod stomp {
    use super::*;

    fn begin() -> String {
        let mut begin =
            "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0".to_owned();
        for number in 0..QUEUES {
            begin += &format!(
                "SUBSCRIBE\nid:{number}\ndestination:/exchange/amq.fanout\nack:client\n\n\0"
            );
        }
        begin
    }

    const SEND: &str = "SEND\ndestination:/exchange/amq.fanout\n\nbody\0";

    #[test]
    fn a_fan_out_of_stomp_is_handed_over_in_parts() {
        let publishes = SEND.repeat(TIMES);
        is_handed_over_in_parts(
            Peer::stomp(1 << 30),
            begin().as_bytes(),
            publishes.as_bytes(),
        );
    }

    /// How many messages each queue has, which is the same for all.
    fn count(peer: &Peer) -> u64 {
        let queues = peer.shared.vhost("/").unwrap().queues();
        let counts: Vec<_> = queues.iter().map(|queue| queue.counts()).collect();
        let has = counts.iter().map(|counts| counts.ready + counts.unacked);
        let has: Vec<_> = has.collect();
        assert!(has.iter().all(|some| *some == has[0]), "{has:?}");
        has[0]
    }

    #[test]
    fn a_frame_that_was_cut_in_a_read_with_a_pause_is_not_lost() {
        let mut peer = Peer::stomp(1 << 30);
        peer.hear(begin().as_bytes());
        let (start, rest) = SEND.split_at(20);
        let publishes = SEND.repeat(TIMES) + start;
        first_turn(&mut peer, publishes.as_bytes());
        assert!(peer.session.has_paused());
        peer.work();
        assert_eq!(count(&peer), TIMES as u64);
        peer.hear(rest.as_bytes());
        assert_eq!(count(&peer), TIMES as u64 + 1);
        peer.session.handle_disconnect(peer.clock.now());
    }

    #[test]
    fn an_alarm_during_a_pause_puts_off_what_is_left_of_the_read() {
        let mut peer = Peer::stomp(1 << 30);
        peer.hear(begin().as_bytes());
        first_turn(&mut peer, SEND.repeat(TIMES).as_bytes());
        assert!(peer.session.has_paused());
        let services = Arc::clone(&peer.shared.services);
        services.account(0, 1 << 31);
        peer.work();
        assert!(!peer.session.takes_input());
        let before = count(&peer);
        assert!(before < TIMES as u64, "{before}");
        services.account(1 << 31, 0);
        // It is told, and goes on.
        peer.work();
        peer.work();
        assert_eq!(count(&peer), TIMES as u64);
        peer.session.handle_disconnect(peer.clock.now());
    }

    #[test]
    fn what_comes_before_the_end_of_a_websocket_is_published_after_a_pause_too() {
        const CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];
        const NONSENSE: [u8; 6] = [0x8f, 0x80, 0, 0, 0, 0];
        for end in [CLOSE, NONSENSE] {
            let mut peer = Peer::websocket(1 << 30);
            peer.hear(UPGRADE);
            peer.hear(&message(true, begin().as_bytes()));
            let last = "SEND\ndestination:/queue/kept\n\nlast\0";
            let mut bytes = message(true, (SEND.repeat(TIMES) + last).as_bytes());
            bytes.extend_from_slice(&end);
            first_turn(&mut peer, &bytes);
            assert!(peer.session.has_paused());
            assert!(!peer.session.is_finished());
            peer.work();
            assert!(peer.session.is_finished());
            let queues = peer.shared.vhost("/").unwrap().queues();
            let [kept] = &queues[..] else {
                panic!("{queues:?}")
            };
            assert_eq!(kept.counts().ready, 1);
        }
    }

    /// A message of a client, whose mask changes nothing.
    fn message(last: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![if last { 0x82 } else { 0x02 }, 0x80 | 127];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        frame
    }

    const UPGRADE: &[u8] =
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: v12.stomp\r\n\r\n";

    #[test]
    fn a_fan_out_of_a_websocket_is_handed_over_in_parts() {
        let mut begin_bytes = UPGRADE.to_vec();
        begin_bytes.extend(message(true, begin().as_bytes()));
        let publishes = message(true, SEND.repeat(TIMES).as_bytes());
        is_handed_over_in_parts(Peer::websocket(1 << 30), &begin_bytes, &publishes);
    }

    #[test]
    fn what_came_of_a_message_counts_until_it_is_whole() {
        let mut peer = Peer::websocket(1 << 30);
        peer.hear(UPGRADE);
        let connect = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0";
        peer.hear(&message(true, connect));
        let used = |peer: &Peer| peer.shared.services.memory.used();
        let part = [b'\n'; 100_000];
        peer.hear(&message(false, &part));
        assert!(used(&peer) >= part.len());
        // One frame of several, and of that again only the beginning.
        let mut rest = message(true, &part);
        rest[0] = 0x80;
        let (first, last) = rest.split_at(50_000);
        peer.hear(first);
        assert!(used(&peer) >= part.len() + 40_000, "{}", used(&peer));
        peer.hear(last);
        assert_eq!(used(&peer), 0);

        // What comes between the parts is none of them, and does not hide them.
        let ping = [0x89, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
        peer.hear(&ping.repeat(10_000));
        assert!(used(&peer) <= 1024, "{}", used(&peer));
        peer.hear(&message(false, &part[..1000]));
        let mut next = message(false, &part[..1000]);
        next[0] = 0;
        next.extend_from_slice(&ping);
        for _ in 0..100 {
            peer.hear(&next);
        }
        assert!(used(&peer) >= 100_000, "{}", used(&peer));
        peer.leave();
    }
}
