//! What the fuzz target runs: a client that says anything at all, to a broker without sockets, tasks or a runtime.
//!
//! Not part of the interface. It is compiled in normal builds so that it cannot rot, and a stable test runs it over the
//! seeds and over what becomes of them (`tests/any_client.rs`).

use std::time::Duration;

use leveret_amqp_codec::{Frame, Limits, ProtocolHeader};
#[cfg(feature = "stomp")]
use leveret_stomp_codec as stomp;

use crate::proxy_protocol::{Header, Progress};
use crate::sans_io::{Peer, handshake};

/// Low enough for an input of ordinary size to raise the memory alarm.
const MEMORY_LIMIT: usize = 16 * 1024;

/// A step of the clock: a few of them and heartbeats are missed, and the TTLs that inputs name have passed.
const TICK: Duration = Duration::from_secs(1);

/// Reads the header of a proxy as a listener does: as many bytes as are certain to belong to it, and no more.
///
/// # Panics
///
/// When the decoder asks for nothing, for more than any header has, or says otherwise of the bytes when it sees them
/// together.
pub fn proxy_header(data: &[u8]) {
    let mut have = 0;
    loop {
        match Header::decode(&data[..have]) {
            Ok(Progress::Needs(more)) => {
                assert!(more > 0 && have + more <= 4096, "{have} and {more} more");
                have += more;
                if have > data.len() {
                    return;
                }
            }
            outcome => {
                assert_eq!(Header::decode(&data[..have]), outcome);
                return;
            }
        }
    }
}

/// Plays a client and its connection. The first byte says whether a good handshake goes before all else (1), whether it
/// agrees upon heartbeats (2), and whether its rights have to be asked for (4); the second how the client's bytes are cut into pieces; all others are what it sends.
///
/// # Panics
///
/// When the broker says something that is not AMQP, or keeps something of a client that is gone.
pub fn amqp_session(data: &[u8]) {
    let [how, cuts, said @ ..] = data else { return };
    let mut peer = Peer::new(MEMORY_LIMIT);
    if how & 4 == 4 {
        peer = peer.asked();
    }
    if how & 1 == 1 {
        peer.hear(&handshake(how & 2 == 2));
        listen(&mut peer);
    }
    let mut cut = Cuts::new(*cuts);
    let mut rest = said;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut.next_size().min(rest.len()));
        peer.hear(piece);
        if cut.is_time_for_a_tick() {
            peer.tick(TICK);
        }
        listen(&mut peer);
        rest = behind;
    }
    peer.leave();
}

/// The client understands what was said to it.
fn listen(peer: &mut Peer) {
    if peer.said() == ProtocolHeader::AMQP_0_9_1 {
        assert!(peer.is_finished(), "nothing follows this refusal");
        return;
    }
    let mut start = 0;
    while let Some((_, size)) = Frame::decode(&peer.said()[start..], &Limits::default())
        .expect("the broker says nothing but frames")
    {
        start += size;
    }
    assert_eq!(start, peer.said().len(), "and frames are written whole");
    peer.forget_said();
}

/// Where the stream of a client is cut.
struct Cuts {
    state: u32,
}

impl Cuts {
    fn new(seed: u8) -> Self {
        Self {
            state: u32::from(seed),
        }
    }

    /// Seed 0 leaves the stream in one piece. The constants are those of a generator that C libraries use; any would
    /// do.
    fn next_size(&mut self) -> usize {
        if self.state == 0 {
            return usize::MAX;
        }
        self.state = self.state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        match self.state >> 16 & 3 {
            0 => 1,
            1 => 7,
            2 => 40,
            _ => 300,
        }
    }

    fn is_time_for_a_tick(&self) -> bool {
        self.state >> 20 & 3 == 3
    }
}

/// The same for a client of STOMP. The first byte says whether a CONNECT goes before all else (1), whether it agrees upon
/// heart-beats (2), and whether all of it happens within a WebSocket (4), whose frames the pieces are (8) or are wrapped
/// in; also whether topics have a history (16), and whether its rights have to be asked for (32).
///
/// # Panics
///
/// When the broker says something that is not STOMP, or keeps something of a client that is gone.
#[cfg(feature = "stomp")]
pub fn stomp_session(data: &[u8]) {
    let [how, cuts, said @ ..] = data else { return };
    let is_websocket = how & 4 == 4;
    let mut peer = if is_websocket {
        Peer::websocket(MEMORY_LIMIT)
    } else {
        Peer::stomp(MEMORY_LIMIT)
    };
    if how & 32 == 32 {
        peer = peer.asked();
    }
    // STOMP has no word for making one.
    peer.declare("rooms", "x-presence");
    if how & 16 == 16 {
        peer.keep_topic_history(3);
    }
    let mut ear = Ear::default();
    if is_websocket {
        peer.hear(UPGRADE);
        assert!(peer.said().starts_with(b"HTTP/1.1 101 "));
        peer.forget_said();
    }
    let wrap = |piece: &[u8], raw: bool| match (is_websocket, raw) {
        (true, false) => masked(piece),
        _ => piece.to_vec(),
    };
    if how & 1 == 1 {
        let heart_beat = if how & 2 == 2 { "4000,4000" } else { "0,0" };
        let connect = format!("CONNECT\naccept-version:1.2\nheart-beat:{heart_beat}\n\n\0");
        peer.hear(&wrap(connect.as_bytes(), false));
        ear.listen(&mut peer, is_websocket);
    }
    let mut cut = Cuts::new(*cuts);
    let mut rest = said;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut.next_size().min(rest.len()));
        peer.hear(&wrap(piece, how & 8 == 8));
        if cut.is_time_for_a_tick() {
            peer.tick(TICK);
        }
        ear.listen(&mut peer, is_websocket);
        rest = behind;
    }
    peer.leave();
}

/// Plays a client of WebSockets from its first byte on, the request included. The first byte says how what it sends is cut
/// into pieces, all others are what it sends.
///
/// # Panics
///
/// When the broker answers with something that is neither HTTP nor a whole, unmasked frame, or keeps something of a client
/// that is gone.
#[cfg(feature = "stomp")]
pub fn websocket(data: &[u8]) {
    let [cuts, said @ ..] = data else { return };
    let mut peer = Peer::websocket(MEMORY_LIMIT);
    let mut cut = Cuts::new(*cuts);
    let mut rest = said;
    let mut is_open = false;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut.next_size().min(rest.len()));
        peer.hear(piece);
        if cut.is_time_for_a_tick() {
            peer.tick(TICK);
        }
        let mut said = peer.said();
        if !is_open && !said.is_empty() {
            let head_len = said
                .windows(4)
                .position(|end| end == b"\r\n\r\n")
                .expect("the head of an answer is written whole");
            let (head, behind) = said.split_at(head_len + 4);
            assert!(head.starts_with(b"HTTP/1.1 "), "{head:?}");
            is_open = head.starts_with(b"HTTP/1.1 101 ");
            // What is refused may have a body, and is the end.
            said = if is_open { behind } else { &[] };
            assert!(is_open || peer.is_finished(), "nothing follows a refusal");
        }
        each_frame(said, |_, _| ());
        peer.forget_said();
        rest = behind;
    }
    peer.leave();
}

/// Takes whole, unmasked frames apart.
#[cfg(feature = "stomp")]
fn each_frame(mut said: &[u8], mut act: impl FnMut(u8, &[u8])) {
    while let [first, second, rest @ ..] = said {
        let (len, rest) = match second {
            126 => {
                let (len, rest) = rest.split_first_chunk().expect("a length");
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk().expect("a length");
                (u64::from_be_bytes(*len) as usize, rest)
            }
            len => (usize::from(*len), rest),
        };
        let (payload, behind) = rest.split_at(len);
        match first {
            0x81 | 0x82 | 0x88 | 0x8a => act(*first, payload),
            other => panic!("a server does not say {other:x}"),
        }
        said = behind;
    }
    assert!(said.is_empty(), "frames are written whole");
}

#[cfg(feature = "stomp")]
const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: v12.stomp\r\n\r\n";

/// A binary message in one frame, whose mask is all zeros.
#[cfg(feature = "stomp")]
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | 127];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Understands what a broker says in STOMP.
#[cfg(feature = "stomp")]
struct Ear {
    decoder: stomp::Decoder,
    heard: bytes::BytesMut,
}

#[cfg(feature = "stomp")]
impl Default for Ear {
    fn default() -> Self {
        let decoder = stomp::Decoder::new(stomp::Limits::default());
        Self {
            decoder: decoder.with_escaping(stomp::Escaping::RabbitMq),
            heard: bytes::BytesMut::new(),
        }
    }
}

#[cfg(feature = "stomp")]
impl Ear {
    fn listen(&mut self, peer: &mut Peer, is_websocket: bool) {
        if is_websocket {
            self.unwrap(peer.said());
        } else {
            self.heard.extend_from_slice(peer.said());
        }
        peer.forget_said();
        while let Some(frame) = self
            .decoder
            .decode(&mut self.heard)
            .expect("the broker says nothing but frames")
        {
            assert!(
                matches!(
                    frame.command,
                    stomp::Command::Connected
                        | stomp::Command::Message
                        | stomp::Command::Receipt
                        | stomp::Command::Error
                ),
                "{frame:?} is not for servers to say"
            );
        }
        assert!(self.heard.is_empty(), "frames are written whole");
    }

    /// Takes the payloads out of frames. Control frames say nothing.
    fn unwrap(&mut self, said: &[u8]) {
        each_frame(said, |first, payload| {
            if matches!(first, 0x81 | 0x82) {
                self.heard.extend_from_slice(payload);
            }
        });
    }
}
