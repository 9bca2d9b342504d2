//! What the fuzz target runs: a client that says anything at all, to a broker without sockets, tasks or a runtime.
//!
//! Not part of the interface. It is compiled in normal builds so that it cannot rot, and a stable test runs it over the
//! seeds and over what becomes of them (`tests/any_client.rs`).

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use leveret_amqp_codec::method::{channel, connection};
use leveret_amqp_codec::{
    ChannelId, Frame, Limits, ProtocolHeader, RawTable, ShortStr, Table, Value, write_method,
};

use crate::auth::UserTable;
use crate::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::connection::Kind;
use crate::outbox::Outbox;
use crate::session::Output;
use crate::session::amqp::Session;
use crate::shared::Shared;

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
    let mut peer = Peer::new();
    if how & 1 == 1 {
        peer.hear(&handshake(how & 2 == 2));
    }
    let mut cut = Cuts::new(*cuts);
    let mut rest = said;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut.next_size().min(rest.len()));
        peer.hear(piece);
        if cut.is_time_for_a_tick() {
            peer.tick();
        }
        rest = behind;
    }
    peer.leave();
}

/// What a good client says until channel 1 is open.
fn handshake(with_heartbeats: bool) -> Vec<u8> {
    let capabilities: Table = ["connection.blocked", "consumer_cancel_notify"]
        .map(|name| (name, true))
        .into_iter()
        .collect();
    let properties = Table::from_iter([("capabilities", Value::Table(capabilities))]).to_bytes();
    let start_ok = connection::StartOk {
        client_properties: RawTable::from_validated_bytes(&properties),
        mechanism: ShortStr::from_static("PLAIN"),
        response: b"\0guest\0guest",
        locale: ShortStr::from_static("en_US"),
    };
    let tune_ok = connection::TuneOk {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: if with_heartbeats { 4 } else { 0 },
    };
    let open = connection::Open {
        virtual_host: ShortStr::from_static("/"),
    };
    let mut bytes = ProtocolHeader::AMQP_0_9_1.to_vec();
    write_method(&mut bytes, ChannelId::CONNECTION, &start_ok);
    write_method(&mut bytes, ChannelId::CONNECTION, &tune_ok);
    write_method(&mut bytes, ChannelId::CONNECTION, &open);
    write_method(&mut bytes, ChannelId(1), &channel::Open {});
    bytes
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

/// A session and all that `net` does for one, with a client that reads everything at once.
struct Peer {
    shared: Arc<Shared>,
    clock: VirtualClock,
    outbox: Arc<Outbox>,
    session: Session,
    /// What the session has not consumed.
    unread: BytesMut,
    output: Output,
    /// What was said to the client, up to the last whole frame.
    said: Vec<u8>,
}

impl Peer {
    fn new() -> Self {
        let clock = VirtualClock::new();
        let config = Config {
            memory_limit: MEMORY_LIMIT,
            name_seed: Some(0),
            ..Config::default()
        };
        let users = Arc::new(UserTable::guest());
        let shared = Shared::new(config, Clock::Virtual(clock.clone()), users, None, None);
        let outbox = Outbox::new(shared.busy.clone());
        let registration = shared
            .registry
            .register(&outbox, Kind::Socket, None)
            .expect("nobody shuts this broker down");
        let session = Session::new(
            Arc::clone(&shared),
            registration,
            Arc::clone(&outbox),
            None,
            clock.now(),
        );
        Self {
            shared,
            clock,
            outbox,
            session,
            unread: BytesMut::new(),
            output: Output::default(),
            said: Vec::new(),
        }
    }

    /// The client has sent something.
    fn hear(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.work();
    }

    /// Time passes.
    fn tick(&mut self) {
        self.clock.advance(TICK);
        let now = self.clock.now();
        self.shared.run_timers();
        if self.session.next_timeout().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now, &mut self.output);
        }
        self.work();
    }

    /// Goes on until the session waits.
    fn work(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let now = self.clock.now();
            let before = self.unread.len();
            if self.session.takes_input() && before > 0 {
                self.session
                    .handle_input(now, &mut self.unread, &mut self.output);
            }
            let login = self.session.take_login();
            let had_login = login.is_some();
            if let Some(login) = login {
                let mut answer = self.shared.authenticator.authenticate(login);
                let Poll::Ready(result) = answer.as_mut().poll(&mut cx) else {
                    unreachable!("a table of users answers at once");
                };
                self.session.handle_login(now, result, &mut self.output);
            }
            let has_more = self
                .session
                .handle_outbox(now, usize::MAX, &mut self.output);
            assert!(!has_more, "there was room for everything");
            self.write();
            let was_idle = self.unread.len() == before
                && !had_login
                && self.outbox.poll_ready(&cx).is_pending();
            if was_idle {
                return;
            }
        }
    }

    /// The client reads what is there for it.
    fn write(&mut self) {
        if self.output.is_empty() {
            return;
        }
        while !self.output.is_empty() {
            let mut slices: Vec<IoSlice<'_>> = Vec::new();
            self.output.slices(&mut slices);
            let written = slices.iter().map(|slice| slice.len()).sum();
            slices
                .iter()
                .for_each(|slice| self.said.extend_from_slice(slice));
            self.output.advance(written);
        }
        self.session.handle_written(self.clock.now());
        if self.said == ProtocolHeader::AMQP_0_9_1 {
            assert!(self.session.is_finished(), "nothing follows this refusal");
            return;
        }
        let mut start = 0;
        while let Some((_, size)) = Frame::decode(&self.said[start..], &Limits::default())
            .expect("the broker says nothing but frames")
        {
            start += size;
        }
        assert_eq!(start, self.said.len(), "and frames are written whole");
        self.said.clear();
    }

    /// The client is gone: nothing of it may be left.
    fn leave(mut self) {
        let now = self.clock.now();
        self.session.handle_disconnect(now);
        drop(self.session);
        assert_eq!(self.shared.registry.clients(), 0);
        assert!(self.shared.busy.is_idle(), "something waits for nobody");
        let vhost = self
            .shared
            .vhost("/")
            .expect("nobody deletes this virtual host");
        for queue in vhost.queues() {
            let counts = queue.counts();
            let name = queue.name();
            assert_eq!(counts.consumers, 0, "{name} has a consumer");
            assert_eq!(counts.unacked, 0, "{name} waits for acknowledgements");
            assert!(queue.definition().owner.is_none(), "{name} has an owner");
        }
        vhost.delete(now);
        assert_eq!(self.shared.services.memory.used(), 0, "memory is leaked");
    }
}
