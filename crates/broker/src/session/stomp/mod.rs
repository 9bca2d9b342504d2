//! A STOMP session as RabbitMQ leads it, versions 1.0 to 1.2 (behaviour reference, section 20).
//!
//! ```text
//!            CONNECT, STOMP             login checked
//!  ──────► Connect ──────────► Login ──────────────────► Running
//!             │                  │                          │ DISCONNECT
//!             │                  │ refused                  ▼
//!             │                  ▼                       Leaving
//!             │ too late      Dropping                      │ all receipts given
//!             └──────────► Closed ◄── after a while ────────┴── also after a fatal error, or the broker's end
//! ```
//!
//! What stands in place of AMQP's channel is the session itself: deliveries are numbered and acknowledged across all of
//! its subscriptions.

mod asking;
mod closing;
mod connect;
mod consumer_timeout;
mod deliveries;
mod describe;
mod destination;
mod headers;
mod heart_beat;
mod problem;
mod protocol;
mod publisher;
mod queue;
mod reply;
mod send;
mod settle;
mod subscribe;
mod subscriptions;
mod transactions;
mod writer;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::BytesMut;
use leveret_queue_store::{Lsn, Time};
use leveret_stomp_codec::{Command, DecodeError, Decoder, Escaping, Frame, HeartBeat, Limits};

use crate::access::Caller;
use crate::auth::Identity;
use crate::connection::{Endpoints, Kind, Registration};
use crate::memory::Held;
use crate::metadata::Ticket;
use crate::outbox::{Outbox, Outgoing};
use crate::quota::Seat;
use crate::session::{Newcomer, Output, Protocol, TURN_OUTPUT_MAX, TURN_WORK_MAX, amqp};
use crate::shared::Shared;
use crate::slow::OwnWindows;
use crate::vhost::{QueueCell, VirtualHost};
use asking::Waiting;
use connect::Connecting;
use problem::Problem;
use publisher::Publisher;
use queue::KnownQueues;
use subscriptions::Subscriptions;
use transactions::{Committing, Transactions};
pub(crate) use writer::Transport;
use writer::Writer;

/// From this size on a frame of which not everything has arrived is gathered here, so that it is copied once. What is
/// shorter is cheap to hand in again.
const GATHERED_MIN: usize = 16 * 1024;

/// Title and detail of what a frame before CONNECT is answered with.
const NOT_CONNECTED: (&str, &str) = ("Illegal command", "You must log in using CONNECT first");

/// How many frames before CONNECT are answered: each takes a line of the log, and costs a stranger four bytes.
const MISTAKES_MAX: u8 = 8;

/// One session. See the module for its phases.
#[derive(Debug)]
pub(crate) struct Session {
    core: Core,
    phase: Phase,
    decoder: Decoder,
    writer: Writer,
    /// The beginning of a large frame.
    gathered: BytesMut,
    /// Counts it against the memory limit.
    held: Held,
    subscriptions: Subscriptions,
    transactions: Transactions,
    /// See [`TURN_WORK_MAX`]: what this turn has done beside what the batch counts.
    worked: usize,
    /// Before anything else is read.
    committing: Option<Box<Committing>>,
    publisher: Publisher,
    known_queues: KnownQueues,
    /// For subscriptions started from now on; 0 for no limit.
    prefetch: u16,
    /// Taken from the outbox and not sent yet.
    inbox: VecDeque<Outgoing>,
    /// It ended because what came was not STOMP.
    input_was_broken: bool,
    /// See [`Protocol::has_paused`].
    has_paused: bool,
    /// Where values of headers are put together. Empty between calls, and short.
    text: String,
}

/// What all parts of a session use.
#[derive(Debug)]
struct Core {
    shared: Arc<Shared>,
    endpoints: Option<Endpoints>,
    registration: Registration,
    outbox: Arc<Outbox>,
    /// What its web server knows of it, until it has said CONNECT.
    newcomer: Option<Box<Newcomer>>,
    identity: Option<Identity>,
    /// Nobody until a virtual host is open.
    caller: Caller,
    vhost: Option<Arc<VirtualHost>>,
    /// As in RabbitMQ, a session is a channel of its user and in its virtual host.
    seats: [Option<Seat>; 2],
    /// `session-` and a random text, from CONNECTED on; part of every message id.
    name: Arc<str>,
    /// Queues that go when this session does.
    exclusive: Vec<Weak<QueueCell>>,
    heart_beat: HeartBeat,
    /// What has to be stored before anything else is said.
    unstored: Ticket,
    /// Bytes of messages that have been encoded, but may not have been written.
    unwritten: usize,
    /// The same for subscriptions with a window of their own, from the first on.
    own_windows: Option<Box<OwnWindows>>,
    /// Reading has stopped at a SEND because of an alarm.
    blocked: bool,
    /// Reading has stopped because somebody has to be asked.
    waiting: Option<Box<Waiting>>,
    /// When the login ends, if it does.
    expires_at: Option<Time>,
    received_at: Time,
    sent_at: Time,
    /// When to look next for deliveries that are not acknowledged; never, without a timeout.
    consumer_timeout_at: Time,
}

/// What a session is made of.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) registration: Registration,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) endpoints: Option<Endpoints>,
    pub(crate) now: Time,
    /// When the client has to have logged in.
    pub(crate) deadline: Time,
    pub(crate) transport: Transport,
    pub(crate) newcomer: Option<Box<Newcomer>>,
}

#[derive(Debug)]
enum Phase {
    Connect {
        deadline: Time,
        /// How often the client has said something else.
        mistakes: u8,
    },
    /// Waits for [`Protocol::handle_login`].
    Login(Box<Connecting>),
    Running,
    /// The client has said DISCONNECT and wants this receipt. Others, for messages on their way to the disk, come first.
    Leaving {
        receipt: Option<Box<str>>,
    },
    /// All is said. What still comes is thrown away until that time, or until the client closes the socket.
    Dropping {
        until: Time,
    },
    Closed,
}

impl Core {
    /// Who the client has logged in as; empty before.
    fn username(&self) -> &str {
        let identity = self.identity.as_ref();
        identity.map_or("", |identity| identity.username())
    }
}

impl Session {
    /// A session on a socket of its own.
    pub(crate) fn new(
        shared: Arc<Shared>,
        registration: Registration,
        outbox: Arc<Outbox>,
        endpoints: Option<Endpoints>,
        now: Time,
    ) -> Self {
        let deadline = now.saturating_add(shared.config.handshake_timeout_ms());
        Self::start(Start {
            shared,
            registration,
            outbox,
            endpoints,
            now,
            deadline,
            transport: Transport::Stream,
            newcomer: None,
        })
    }

    /// A session that may travel in messages, and may know its user already.
    pub(crate) fn start(start: Start) -> Self {
        let Start {
            shared,
            registration,
            outbox,
            endpoints,
            now,
            deadline,
            transport,
            newcomer,
        } = start;
        let consumer_timeout_at = match shared.config.consumer_timeout_ms() {
            Some(timeout_ms) => now.saturating_add(timeout_ms),
            None => Time::MAX,
        };
        let caller = Caller::nobody(registration.id());
        let limits = Limits {
            frame_size_max: shared.config.strangers_frame_size_max(),
            ..Limits::BEFORE_LOGIN
        };
        Self {
            decoder: Decoder::new(limits).with_escaping(Escaping::RabbitMq),
            writer: Writer::new(transport),
            gathered: BytesMut::new(),
            held: Held::new(&shared.services, &outbox),
            core: Core {
                shared,
                endpoints,
                registration,
                outbox,
                newcomer,
                identity: None,
                caller,
                vhost: None,
                seats: [None, None],
                name: Arc::from(""),
                exclusive: Vec::new(),
                heart_beat: HeartBeat::default(),
                unstored: Ticket::NONE,
                unwritten: 0,
                own_windows: None,
                blocked: false,
                waiting: None,
                expires_at: None,
                received_at: now,
                sent_at: now,
                consumer_timeout_at,
            },
            phase: Phase::Connect {
                deadline,
                mistakes: 0,
            },
            subscriptions: Subscriptions::default(),
            transactions: Transactions::default(),
            worked: 0,
            committing: None,
            publisher: Publisher::default(),
            known_queues: KnownQueues::default(),
            prefetch: 0,
            inbox: VecDeque::new(),
            input_was_broken: false,
            has_paused: false,
            text: String::new(),
        }
    }

    /// A session of AMQP in the place of this one, which has heard nothing yet. None when the broker is shutting down.
    pub(crate) fn turn_into_amqp(&mut self, now: Time) -> Option<amqp::Session> {
        let Phase::Connect { deadline, .. } = self.phase else {
            return None;
        };
        let Core {
            shared,
            outbox,
            endpoints,
            newcomer,
            registration: old,
            ..
        } = &mut self.core;
        let mut registration = shared.registry.register(outbox, Kind::Socket, *endpoints)?;
        registration.replace(old);
        let (shared, outbox) = (Arc::clone(shared), Arc::clone(outbox));
        let session = amqp::Session::new(shared, registration, outbox, *endpoints, now);
        Some(session.with_newcomer(newcomer.take(), deadline))
    }

    /// Takes frames off the input until it is incomplete, must wait, or is enough for one turn, which one frame never is:
    /// a first frame that was begun before has been taken off afterwards, or is not whole still. An alarm does not stop
    /// that one: it takes memory already, which it gives back only once it is whole.
    fn consume(&mut self, now: Time, input: &mut BytesMut, mut is_begun: bool, out: &mut Output) {
        self.has_paused = false;
        self.publisher.cache.begin_turn();
        self.worked = 0;
        self.go_on_committing(now, out);
        if self.committing.is_some() {
            return;
        }
        while self.takes_input() {
            if matches!(self.phase, Phase::Dropping { .. }) {
                input.clear();
                return;
            }
            if !std::mem::take(&mut is_begun) && self.must_block(input) {
                return;
            }
            match self.decoder.decode(input) {
                Ok(None) => return,
                Ok(Some(frame)) => self.obey(now, frame, out),
                Err(error) => {
                    self.input_was_broken |= error.is_fatal();
                    let problem = self.undecodable(error);
                    self.fail(now, &problem, out);
                }
            }
            if self.has_done_enough(out) {
                self.has_paused = true;
                break;
            }
        }
        if self.is_finished() {
            input.clear();
        }
    }

    /// Whether others are to have their turn.
    fn has_done_enough(&self, out: &Output) -> bool {
        let Publisher { batch, cache, .. } = &self.publisher;
        batch.is_heavy()
            || cache.has_looked_far()
            || self.worked >= TURN_WORK_MAX
            || out.len() >= TURN_OUTPUT_MAX
    }

    /// Carries on with a COMMIT that has paused or waited.
    fn go_on_committing(&mut self, now: Time, out: &mut Output) {
        let result = self.continue_commit(now, out);
        self.hold_unstored(out);
        if let Err(problem) = result {
            self.fail(now, &problem, out);
        }
    }

    /// Does what a frame asks for, or has it wait.
    fn obey(&mut self, now: Time, frame: Frame, out: &mut Output) {
        let result = self.handle_frame(now, &frame, out);
        self.hold_unstored(out);
        if let Err(mut problem) = result {
            match problem.take_questions() {
                Some(questions) => self.suspend(questions, Some(frame)),
                None => self.fail(now, &problem, out),
            }
        }
    }

    fn undecodable(&self, error: DecodeError) -> Problem {
        match (&self.phase, error) {
            (Phase::Connect { .. }, DecodeError::UnknownCommand { command }) => {
                match command.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    true => not_connected(),
                    // Nothing that speaks STOMP: a request of HTTP, whose body a page of the web has chosen, perhaps as
                    // frames that would be obeyed.
                    false => Problem::fatal(NOT_CONNECTED.0, NOT_CONNECTED.1),
                }
            }
            (_, error) => error.into(),
        }
    }

    fn handle_frame(&mut self, now: Time, frame: &Frame, out: &mut Output) -> Result<(), Problem> {
        match (&self.phase, frame.command) {
            (Phase::Connect { deadline, .. }, Command::Connect | Command::Stomp) => {
                let deadline = *deadline;
                return self.connect(now, deadline, frame, out);
            }
            (Phase::Connect { .. }, _) => return Err(not_connected()),
            _ => {}
        }
        match frame.command {
            Command::Send => return self.send(now, frame, out),
            Command::Ack | Command::Nack => self.settle(now, frame)?,
            // Everything else must see what was published and acknowledged before it.
            command => {
                self.flush(now, out);
                match command {
                    Command::Subscribe => self.subscribe(now, frame, out)?,
                    Command::Unsubscribe => self.unsubscribe(now, frame, out)?,
                    Command::Begin => self.begin(frame)?,
                    // Gives the receipt itself, as DISCONNECT does.
                    Command::Commit => return self.commit(now, frame, out),
                    Command::Abort => self.abort(frame)?,
                    Command::Disconnect => self.disconnect(now, frame, out),
                    Command::Connect | Command::Stomp => {
                        return Err(Problem::fatal(
                            "Illegal command",
                            "The session is open already",
                        ));
                    }
                    // Frames that only servers send.
                    _ => {
                        let command = command.to_string();
                        return Err(DecodeError::UnknownCommand { command }.into());
                    }
                }
            }
        }
        if let Some(receipt) = frame.header("receipt")
            && frame.command != Command::Disconnect
        {
            self.subscriptions.flush_acks(now);
            self.hold_unstored(out);
            self.write_receipt(receipt, out);
        }
        Ok(())
    }

    /// What follows waits until everything that was declared and deleted is stored.
    fn hold_unstored(&mut self, out: &mut Output) {
        out.hold_until(std::mem::take(&mut self.core.unstored));
    }

    /// Hands over what the batch has gathered, so that what follows sees it: publishes first, then their receipts, then
    /// acknowledgements. Returns up to where the journal must be safe for the publishes.
    fn flush(&mut self, now: Time, out: &mut Output) -> Option<Lsn> {
        self.worked += self.publisher.batch.places_taken();
        let safe_at = self.publisher.flush(now, &self.writer, out);
        self.subscriptions.flush_acks(now);
        safe_at
    }

    fn write_receipt(&self, receipt: &str, out: &mut Output) {
        let headers = [("receipt-id", receipt)];
        self.writer.frame(out, Command::Receipt, &headers, b"");
    }

    /// The virtual host, which is open whenever frames other than CONNECT are handled.
    fn vhost(&self) -> Result<Arc<VirtualHost>, Problem> {
        self.core.vhost.clone().ok_or_else(not_connected)
    }
}

impl Core {
    /// How log lines name the connection.
    fn connection(&self) -> String {
        Endpoints::name_of(self.endpoints)
    }
}

fn not_connected() -> Problem {
    Problem::new(NOT_CONNECTED.0, NOT_CONNECTED.1)
}

#[cfg(all(test, feature = "journal"))]
mod tests;
