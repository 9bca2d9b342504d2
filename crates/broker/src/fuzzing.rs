//! What the fuzz target runs: a client that says anything at all, to a broker without sockets, tasks or a runtime.
//!
//! Not part of the interface. It is compiled in normal builds so that it cannot rot, and a stable test runs it over the
//! seeds and over what becomes of them (`tests/any_client.rs`).

use std::time::Duration;

use leveret_amqp_codec::{Frame, Limits, ProtocolHeader};

use crate::sans_io::{Peer, handshake};

/// Low enough for an input of ordinary size to raise the memory alarm.
const MEMORY_LIMIT: usize = 16 * 1024;

/// A step of the clock: a few of them and heartbeats are missed, and the TTLs that inputs name have passed.
const TICK: Duration = Duration::from_secs(1);

/// Plays a client and its connection. The first byte says whether a good handshake goes before all else, and whether it
/// agrees upon heartbeats; the second how the client's bytes are cut into pieces; all others are what it sends.
///
/// # Panics
///
/// When the broker says something that is not AMQP, or keeps something of a client that is gone.
pub fn amqp_session(data: &[u8]) {
    let [how, cuts, said @ ..] = data else { return };
    let mut peer = Peer::new(MEMORY_LIMIT);
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
