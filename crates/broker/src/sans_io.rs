//! A connection without a socket: what a client sends goes straight to its session, and what the broker says is kept.
//!
//! Not part of the interface: it is here for the fuzz target, which says anything at all, and for the benches, which count
//! instructions and want nothing between the bytes and the broker.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use leveret_amqp_codec::method::{channel, connection};
use leveret_amqp_codec::{
    ChannelId, ProtocolHeader, RawProperties, RawTable, ShortStr, Table, Value, write_method,
};
use leveret_queue_store::Time;

use crate::access::{Caller, OwnedQuestion};
use crate::auth::{Authorizer, Identity, LoginRefused, Question, UserTable, VerdictFuture};
use crate::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::connection::{ConnectionId, Endpoints, Kind, Registration};
use crate::metadata::Metadata;
use crate::outbox::Outbox;
use crate::session::{Answer, Answered, Ask, Output, Protocol, amqp};
#[cfg(feature = "stomp")]
use crate::session::{stomp, websocket};
use crate::shared::Shared;
use crate::vhost::{ExchangeDeclare, HistoryLimits, RouteCache, VirtualHost};

/// What a good client says until channel 1 is open.
#[must_use]
pub fn handshake(with_heartbeats: bool) -> Vec<u8> {
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

/// A client of a broker of its own, with the session and all that `net` does for one. It reads everything at once.
#[derive(Debug)]
pub struct Peer {
    shared: Arc<Shared>,
    clock: VirtualClock,
    outbox: Arc<Outbox>,
    session: Box<dyn Protocol>,
    /// What the session has not consumed.
    unread: BytesMut,
    output: Output,
    said: Vec<u8>,
    /// Somebody has to be asked what the client may do.
    is_asked: bool,
    /// What has been asked, and will be answered when something happens next.
    open: Option<Ask>,
}

/// Says what the client may do, which the [`Peer`] does itself.
struct Silent;

impl Authorizer for Silent {
    fn authorize<'a>(&'a self, _: Question<'a>) -> VerdictFuture<'a> {
        Box::pin(std::future::pending())
    }
}

impl Peer {
    /// A client of AMQP that has not said anything, with a broker that may hold `memory_limit` bytes of messages.
    #[must_use]
    pub fn new(memory_limit: usize) -> Self {
        Self::start(
            memory_limit,
            |shared, registration, outbox, endpoints, now| {
                Box::new(amqp::Session::new(
                    shared,
                    registration,
                    outbox,
                    endpoints,
                    now,
                ))
            },
        )
    }

    /// The same for STOMP.
    #[cfg(feature = "stomp")]
    #[must_use]
    pub fn stomp(memory_limit: usize) -> Self {
        Self::start(
            memory_limit,
            |shared, registration, outbox, endpoints, now| {
                Box::new(stomp::Session::new(
                    shared,
                    registration,
                    outbox,
                    endpoints,
                    now,
                ))
            },
        )
    }

    /// The same for a client that has yet to ask for a WebSocket.
    #[cfg(feature = "stomp")]
    #[must_use]
    pub fn websocket(memory_limit: usize) -> Self {
        Self::start(
            memory_limit,
            |shared, registration, outbox, endpoints, now| {
                Box::new(websocket::WebSocket::new(
                    shared,
                    registration,
                    outbox,
                    endpoints,
                    now,
                ))
            },
        )
    }

    fn start(
        memory_limit: usize,
        session: impl FnOnce(
            Arc<Shared>,
            Registration,
            Arc<Outbox>,
            Option<Endpoints>,
            Time,
        ) -> Box<dyn Protocol>,
    ) -> Self {
        let clock = VirtualClock::new();
        let config = Config {
            memory_limit,
            name_seed: Some(0),
            ..Config::default()
        };
        let users = Arc::new(UserTable::guest());
        let clock_of_broker = Clock::Virtual(clock.clone());
        let metadata = Arc::new(Metadata::off());
        let shared = Shared::new(config, clock_of_broker, users, None, None, metadata, None);
        shared.begin();
        let outbox = Outbox::new(shared.busy.clone());
        let registration = shared
            .registry
            .register(&outbox, Kind::Socket, None)
            .expect("nobody shuts this broker down");
        let session = session(
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
            is_asked: false,
            open: None,
        }
    }

    /// The same client, whose rights have to be asked for when it logs in from now on. Answers come late: each when
    /// something happens next, and one in eight is no.
    #[must_use]
    pub fn asked(mut self) -> Self {
        self.is_asked = true;
        self
    }

    /// Somebody else declares an exchange.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn declare(&self, name: &str, kind: &str) {
        let vhost = self.shared.vhost("/");
        let declare = ExchangeDeclare {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: RawTable::EMPTY,
        };
        // Ids are counted from zero; this one is never reached.
        let caller = Caller::trusted(ConnectionId(u64::MAX));
        vhost
            .expect("nobody deletes this virtual host")
            .declare_exchange(&caller, &declare)
            .expect("the name is free");
    }

    /// The broker keeps the latest `length` messages of each topic, for subscriptions to come.
    ///
    /// # Panics
    /// After the virtual host has been deleted, which nobody can do here.
    pub fn keep_topic_history(&self, length: u64) {
        let vhost = self.shared.vhost("/");
        let limits = HistoryLimits::new(Some(length), None);
        if let Some(limits) = limits {
            vhost
                .expect("nobody deletes this virtual host")
                .keep_topic_history(limits);
        }
    }

    /// The client has sent something, of which the session takes what it can.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.answer();
        self.unread.extend_from_slice(bytes);
        self.work();
    }

    /// Time passes.
    pub fn tick(&mut self, time: Duration) {
        self.answer();
        self.clock.advance(time);
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
            if self.session.takes_input() && (before > 0 || self.session.has_paused()) {
                let consumed = self
                    .session
                    .handle_input(now, &self.unread, &mut self.output);
                self.unread.advance(consumed);
            }
            let ask = self.session.take_ask();
            let had_login = ask.is_some();
            match ask {
                Some(Ask::Login(login)) => {
                    let mut answer = self.shared.authenticator.authenticate(*login);
                    let Poll::Ready(result) = answer.as_mut().poll(&mut cx) else {
                        unreachable!("a table of users answers at once");
                    };
                    let result = result.map(|identity| self.identity(identity));
                    let answer = Answer::Login(result);
                    self.session.handle_answer(now, answer, &mut self.output);
                }
                Some(ask) => self.open = Some(ask),
                None => {}
            }
            let has_more = self
                .session
                .handle_outbox(now, usize::MAX, &mut self.output);
            assert!(!has_more, "there was room for everything");
            self.write();
            let was_idle = self.unread.len() == before
                && !had_login
                && !self.session.has_paused()
                && self.outbox.poll_ready(&cx).is_pending();
            if was_idle {
                return;
            }
        }
    }

    fn identity(&self, identity: Identity) -> Identity {
        match self.is_asked {
            true => identity.with_authorizer(Arc::new(Silent)),
            false => identity,
        }
    }

    /// Answers what is open.
    fn answer(&mut self) {
        let answer = match self.open.take() {
            None => return,
            Some(Ask::Rights(rights)) => {
                let mut answers: Vec<bool> = rights.questions.iter().map(may).collect();
                if rights.until_refused
                    && let Some(refused) = answers.iter().position(|may| !may)
                {
                    answers.truncate(refused + 1);
                }
                let questions = rights.questions;
                Answer::Rights(Answered { questions, answers })
            }
            Some(Ask::Secret(secret)) => Answer::Secret(match secret.secret.first() {
                None => Ok(None),
                Some(first) if first % 2 == 1 => Err(LoginRefused::new("odd")),
                Some(first) => {
                    let end = self.clock.now().saturating_add(u64::from(*first) * 1000);
                    let end = Duration::from_millis(end.as_millis());
                    let identity = Identity::new(secret.user.as_ref());
                    Ok(Some(self.identity(identity.valid_until(UNIX_EPOCH + end))))
                }
            }),
            Some(Ask::Login(_)) => unreachable!("logins are answered at once"),
        };
        let now = self.clock.now();
        self.session.handle_answer(now, answer, &mut self.output);
    }

    /// The client reads what is there for it.
    fn write(&mut self) {
        if self.output.is_empty() {
            return;
        }
        while !self.output.is_empty() {
            let written = match self.output.as_single() {
                Some(bytes) => {
                    self.said.extend_from_slice(bytes);
                    bytes.len()
                }
                None => {
                    let mut slices: Vec<IoSlice<'_>> = Vec::new();
                    self.output.slices(&mut slices);
                    slices
                        .iter()
                        .for_each(|slice| self.said.extend_from_slice(slice));
                    slices.iter().map(|slice| slice.len()).sum()
                }
            };
            self.output.advance(written);
        }
        self.session.handle_written(self.clock.now());
    }

    /// What the broker has said since [`Peer::forget_said`].
    #[must_use]
    pub fn said(&self) -> &[u8] {
        &self.said
    }

    /// Makes room for what the broker says next.
    pub fn forget_said(&mut self) {
        self.said.clear();
    }

    /// Whether the broker wants to hear nothing more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.session.is_finished()
    }

    /// Another publisher's memory of the routes in the same virtual host.
    ///
    /// # Panics
    /// After the virtual host has been deleted, which nobody can do here.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let vhost = self.shared.vhost("/");
        Routes {
            vhost: vhost.expect("nobody deletes this virtual host"),
            // Ids are counted from zero; this one is never reached.
            caller: Caller::trusted(ConnectionId(u64::MAX)),
            cache: RouteCache::counting(),
        }
    }

    /// The client is gone.
    ///
    /// # Panics
    /// When the broker keeps something of it.
    pub fn leave(mut self) {
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
        assert_eq!(vhost.present_connections(), 0, "somebody is still present");
        vhost.delete(now);
        assert_eq!(self.shared.services.memory.used(), 0, "memory is leaked");
    }
}

/// Seven of eight things may be done, and which never changes.
fn may(question: &OwnedQuestion) -> bool {
    let text = format!("{question:?}");
    text.bytes().fold(0_u8, u8::wrapping_add) % 8 != 7
}

/// Looks routes up as a publisher does.
pub struct Routes {
    vhost: Arc<VirtualHost>,
    caller: Caller,
    cache: RouteCache,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Routes {
    /// How many queues a message without headers reaches.
    ///
    /// # Panics
    /// When the exchange does not exist or cannot be published to.
    pub fn find(&mut self, exchange: &str, routing_key: &str) -> usize {
        let empty = RawProperties::from_validated_bytes(&[]);
        let route = self
            .vhost
            .route(
                &self.caller,
                &mut self.cache,
                exchange,
                routing_key,
                empty,
                None,
            )
            .expect("the exchange can be published to");
        route.queues.len()
    }
}

#[cfg(test)]
mod tests;
