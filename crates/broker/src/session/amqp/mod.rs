//! An AMQP 0-9-1 connection as RabbitMQ leads it, from the protocol header to the last close-ok.
//!
//! ```text
//!  protocol header      start-ok        login checked        tune-ok            open
//!  ──────► Header ──► StartOk ──► Login ──────────► TuneOk ──────► Open ──────► Running
//!                        │           │                 │             │             │  connection.close from either side,
//!                        └───────────┴── refused ──────┴─────────────┴─────────────┤  or an error
//!                                          │                                       ▼
//!                                       Dropping ───── after a while ────────► Closing ── close-ok ──► Closed
//! ```

mod asking;
mod channel;
mod closing;
mod confirms;
mod consume;
mod consumer_timeout;
mod content;
mod deliveries;
mod describe;
mod handshake;
mod heartbeat;
mod introduction;
mod methods;
mod promises;
mod protocol;
mod publish;
mod repeat;
mod sasl;
mod tx;
mod whole;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use leveret_amqp_codec::{
    ChannelId, Excerpt, FrameKind, Limits, Method, RawFrame, method, write_method,
};
use leveret_queue_store::{Lsn, Time};

use crate::access::Caller;
use crate::auth::{Identity, Login};
use crate::connection::{Endpoints, Registration};
use crate::error::Refusal;
use crate::outbox::{Outbox, Outgoing};
#[cfg(feature = "stomp")]
use crate::session::Newcomer;
use crate::session::published::Published;
use crate::session::{Output, TURN_OUTPUT_MAX, TURN_WORK_MAX};
use crate::shared::Shared;
use crate::slow::OwnWindows;
use crate::vhost::{PublishBatch, QueueCell, RouteCache, VirtualHost};
use asking::Waiting;
use channel::{Channel, Mode};
use closing::{Failure, undecodable};
use handshake::Negotiated;
use introduction::Introduction;
use promises::{Promised, Promises};
use repeat::Repeat;

type Channels = HashMap<ChannelId, Box<Channel>, foldhash::fast::RandomState>;

/// One connection. See the module for its phases.
///
/// Feed it with [`Session::handle_input`], [`Session::handle_outbox`], [`Session::handle_answer`] and
/// [`Session::handle_timeout`]; each appends what is to be sent to an [`Output`]. Once [`Session::is_finished`], write
/// what is left and close the socket. [`Session::handle_disconnect`] must be called in the end, whatever happened.
#[derive(Debug)]
pub(crate) struct Session {
    core: Core,
    phase: Phase,
    channels: Channels,
    /// Channels with confirms or acknowledgements that wait for the end of the batch.
    unsettled: Vec<ChannelId>,
    /// Some of them have acknowledgements.
    has_acks: bool,
    /// Taken from the outbox and not sent yet.
    inbox: VecDeque<Outgoing>,
    /// See [`Protocol::has_paused`](crate::session::Protocol::has_paused).
    has_paused: bool,
}

/// What all channels of a connection use.
#[derive(Debug)]
struct Core {
    shared: Arc<Shared>,
    endpoints: Option<Endpoints>,
    registration: Registration,
    outbox: Arc<Outbox>,
    limits: Limits,
    negotiated: Negotiated,
    client: handshake::ClientCapabilities,
    /// None before connection.start-ok.
    introduction: Option<Box<Introduction>>,
    /// What its web server knows of it, until it logs in.
    #[cfg(feature = "stomp")]
    newcomer: Option<Box<Newcomer>>,
    identity: Option<Identity>,
    /// Nobody until a virtual host is open.
    caller: Caller,
    vhost: Option<Arc<VirtualHost>>,
    /// Queues that go when this connection does.
    exclusive: Vec<Weak<QueueCell>>,
    /// See [`TURN_WORK_MAX`]: what this turn has done beside what the batch counts.
    worked: usize,
    publisher: Publisher,
    promises: Promises,
    /// Bytes of messages that have been encoded, but may not have been written.
    unwritten: usize,
    /// The same for consumers with a window of their own, from the first on.
    own_windows: Option<Box<OwnWindows>>,
    /// Reading has stopped at a publish because of an alarm.
    blocked: Option<Blocked>,
    /// Reading has stopped because somebody has to be asked.
    waiting: Option<Box<Waiting>>,
    /// What has waited is next in the input.
    is_trying_again: bool,
    /// Whether the user may open the virtual host, once that has been asked.
    may_enter: Option<bool>,
    /// When the login ends, if it does.
    expires_at: Option<Time>,
    received_at: Time,
    sent_at: Time,
    /// When to look next for deliveries that are not acknowledged; never, without a timeout.
    consumer_timeout_at: Time,
}

/// How a connection is held up.
#[derive(Debug)]
struct Blocked {
    /// The client knows, and is to be told when it is over.
    told: bool,
}

/// The sending side of a connection.
#[derive(Debug, Default)]
struct Publisher {
    batch: PublishBatch,
    cache: RouteCache,
    /// From the first publish on.
    repeat: Option<Box<Repeat>>,
    /// Which channel and confirm number each ticket of the batch stands for.
    tickets: Vec<(ChannelId, u64)>,
    refused: Vec<u32>,
    scratch: Vec<u8>,
    /// Up to where the journal must be safe before exchanges have what they were given to keep since the last batch.
    captured: Option<Lsn>,
    published: Published,
}

impl Publisher {
    /// Gives the memory of one that has fallen silent back.
    fn rest(&mut self) {
        if self.published.has_paused() && self.batch.is_empty() {
            *self = Self {
                published: self.published,
                ..Self::default()
            };
        }
    }

    /// Gives the batch to its queues. Tells up to where the journal must be safe before all is that has to be.
    fn hand_over(&mut self, now: Time) -> Option<Lsn> {
        let safe_at = self.batch.flush(now, &mut self.refused);
        safe_at.max(self.captured.take())
    }
}

#[derive(Debug)]
enum Phase {
    Header {
        deadline: Time,
    },
    StartOk {
        deadline: Time,
    },
    /// Waits for [`Session::handle_answer`].
    Login {
        deadline: Time,
        asked: Option<Box<Login>>,
        mechanism: &'static str,
    },
    TuneOk {
        deadline: Time,
    },
    Open {
        deadline: Time,
    },
    Running,
    /// We sent connection.close; the client has until the deadline to answer.
    Closing {
        deadline: Time,
    },
    /// All is said. What still comes is thrown away until the client closes the socket, or we do at that time.
    Dropping {
        until: Time,
    },
    Closed,
}

/// What stops a session from taking more input for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Consumed this many bytes.
    Consumed(usize),
    /// The same, and that is enough for one turn.
    Paused(usize),
    /// The frame is not complete, or must wait.
    Wait,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        registration: Registration,
        outbox: Arc<Outbox>,
        endpoints: Option<Endpoints>,
        now: Time,
    ) -> Self {
        let deadline = now.saturating_add(shared.config.handshake_timeout_ms());
        let consumer_timeout_at = match shared.config.consumer_timeout_ms() {
            Some(timeout_ms) => now.saturating_add(timeout_ms),
            None => Time::MAX,
        };
        let limits = Limits {
            frame_size_max: shared.config.initial_frame_size_max,
            ..Limits::default()
        };
        let caller = Caller::nobody(registration.id());
        Self {
            core: Core {
                shared,
                endpoints,
                registration,
                outbox,
                limits,
                negotiated: Negotiated::default(),
                client: handshake::ClientCapabilities::default(),
                introduction: None,
                #[cfg(feature = "stomp")]
                newcomer: None,
                identity: None,
                caller,
                vhost: None,
                exclusive: Vec::new(),
                worked: 0,
                publisher: Publisher::default(),
                promises: Promises::default(),
                unwritten: 0,
                own_windows: None,
                blocked: None,
                waiting: None,
                is_trying_again: false,
                may_enter: None,
                expires_at: None,
                received_at: now,
                sent_at: now,
                consumer_timeout_at,
            },
            phase: Phase::Header { deadline },
            channels: HashMap::default(),
            unsettled: Vec::new(),
            has_acks: false,
            inbox: VecDeque::new(),
            has_paused: false,
        }
    }

    /// The same for a client of whom something is known before it logs in, which it has to do by the deadline as any other.
    #[cfg(feature = "stomp")]
    pub(crate) fn with_newcomer(mut self, newcomer: Option<Box<Newcomer>>, deadline: Time) -> Self {
        self.core.newcomer = newcomer;
        self.phase = Phase::Header { deadline };
        self
    }

    /// Consumes what it can of `input`, and says how much. What it leaves is an incomplete frame, or must wait: for the rest
    /// of it, for a login, for an answer, or for the end of an alarm.
    pub(crate) fn handle_input(&mut self, now: Time, input: &[u8], out: &mut Output) -> usize {
        self.core.received_at = now;
        if !self.core.is_trying_again {
            self.core.forget_stale(now);
        }
        self.has_paused = false;
        self.core.publisher.cache.begin_turn();
        self.core.worked = 0;
        let mut consumed = 0;
        while self.takes_input() && !self.has_paused {
            match self.step(now, &input[consumed..], out) {
                Ok(Progress::Consumed(n)) => consumed += n,
                Ok(Progress::Paused(n)) => {
                    consumed += n;
                    self.has_paused = true;
                }
                Ok(Progress::Wait) => break,
                Err(mut failure) => match failure.refusal.take_questions() {
                    Some(questions) => {
                        self.suspend_command(questions);
                        break;
                    }
                    None => {
                        self.fail(now, failure, out);
                        self.has_paused = out.len() >= TURN_OUTPUT_MAX;
                    }
                },
            }
            if self.core.is_trying_again {
                self.core.has_tried_again(now);
            }
        }
        if self.is_finished() || matches!(self.phase, Phase::Dropping { .. }) {
            consumed = input.len();
        }
        self.flush(now, out);
        consumed
    }

    /// Whether bytes should be read for it.
    pub(crate) fn takes_input(&self) -> bool {
        !self.core.is_held_up()
            && !self.core.is_committing()
            && !matches!(self.phase, Phase::Login { .. } | Phase::Closed)
    }

    /// Nothing is to be read or delivered any more: write what is left and close the socket.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn step(&mut self, now: Time, rest: &[u8], out: &mut Output) -> Result<Progress, Failure> {
        match self.phase {
            Phase::Header { deadline } => {
                return Ok(self.handle_protocol_header(rest, deadline, out));
            }
            Phase::Dropping { .. } => {
                return Ok(if rest.is_empty() {
                    Progress::Wait
                } else {
                    Progress::Consumed(rest.len())
                });
            }
            _ => {}
        }
        if matches!(self.phase, Phase::Running)
            && let Some(progress) = self.publish_whole(now, rest, out)?
        {
            return Ok(progress);
        }
        let decoded = RawFrame::decode(rest, &self.core.limits).map_err(|error| Failure {
            scope: ChannelId::CONNECTION,
            refusal: Refusal::new(error.reply_code(), error.to_string()),
            method: (0, 0),
        })?;
        let Some((frame, size)) = decoded else {
            return Ok(Progress::Wait);
        };
        // A publish in several pieces, which was not taken whole.
        if matches!(self.phase, Phase::Running) && whole::is_publish(&frame) && self.must_block(out)
        {
            return Ok(Progress::Wait);
        }
        self.handle_frame(now, frame, out)?;
        Ok(self.core.progress(size, out))
    }

    fn handle_frame(
        &mut self,
        now: Time,
        frame: RawFrame<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if let Phase::Closing { .. } = self.phase {
            self.handle_frame_while_closing(&frame, out);
            return Ok(());
        }
        match frame.kind {
            FrameKind::Heartbeat if frame.channel == ChannelId::CONNECTION => Ok(()),
            FrameKind::Heartbeat => Err(Failure::connection(Refusal::unexpected_frame(
                "type 8, all octets = <<>>",
            ))),
            FrameKind::Method => {
                let decoded = Method::decode(frame.payload, &self.core.limits)
                    .map_err(|error| undecodable(frame.payload, &error))?;
                let ids = (decoded.class_id(), decoded.method_id());
                let result = match (&self.phase, frame.channel) {
                    (Phase::Running, ChannelId::CONNECTION) => {
                        self.handle_connection_method(now, &decoded, out)
                    }
                    (Phase::Running, channel) => {
                        self.handle_channel_method(now, channel, &decoded, out)
                    }
                    (_, ChannelId::CONNECTION) => self.handle_handshake(now, &decoded, out),
                    _ => Err(Refusal::channel_error("expected 'channel.open'")),
                };
                result.map_err(|refusal| Failure {
                    scope: frame.channel,
                    method: refusal.method.unwrap_or(ids),
                    refusal,
                })
            }
            FrameKind::Header | FrameKind::Body => {
                if !matches!(self.phase, Phase::Running) || frame.channel == ChannelId::CONNECTION {
                    let kind = if frame.kind == FrameKind::Header {
                        2
                    } else {
                        3
                    };
                    let text = format!("type {kind}, {}", Excerpt::of(frame.payload));
                    return Err(Failure::connection(Refusal::unexpected_frame(text)));
                }
                self.handle_content_frame(now, &frame, out)
            }
        }
    }

    fn handle_frame_while_closing(&mut self, frame: &RawFrame<'_>, out: &mut Output) {
        if frame.kind != FrameKind::Method || frame.channel != ChannelId::CONNECTION {
            return;
        }
        match Method::decode(frame.payload, &self.core.limits) {
            Ok(Method::ConnectionCloseOk(_)) => self.phase = Phase::Closed,
            Ok(Method::ConnectionClose(_)) => {
                write_method(
                    out.buffer(),
                    ChannelId::CONNECTION,
                    &method::connection::CloseOk {},
                );
            }
            _ => {}
        }
    }

    /// Hands over what the batch has gathered, so that what follows sees it: publishes first, then confirms, then
    /// acknowledgements.
    fn flush(&mut self, now: Time, out: &mut Output) {
        let publisher = &mut self.core.publisher;
        self.core.worked += publisher.batch.places_taken();
        let safe_at = publisher.hand_over(now);
        for ticket in publisher.refused.drain(..) {
            // Tickets of publishers that do not want confirms lead nowhere.
            if let Some((channel, number)) = publisher.tickets.get(ticket as usize)
                && let Some(channel) = self.channels.get_mut(channel)
                && let Mode::Confirm(confirms) = &mut channel.mode
            {
                confirms.refuse(*number);
            }
        }
        publisher.tickets.clear();
        while let Some(id) = self.unsettled.pop() {
            let Some(channel) = self.channels.get_mut(&id) else {
                continue;
            };
            if let Mode::Confirm(confirms) = &mut channel.mode
                && !channel.closing
            {
                let before = confirms.next();
                let promised = Promised::Confirm { before };
                if !self.core.promises.add(safe_at, id, promised) {
                    confirms.settle_before(before, id, out.buffer());
                }
            }
            self.core.worked += channel.flush_acks(now);
        }
        self.has_acks = false;
    }

    /// When [`Session::handle_timeout`] must be called.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Header { deadline }
            | Phase::StartOk { deadline }
            | Phase::Login { deadline, .. }
            | Phase::TuneOk { deadline }
            | Phase::Open { deadline }
            | Phase::Closing { deadline } => Some(*deadline),
            Phase::Dropping { until } => Some(*until),
            Phase::Running => {
                let deadlines = [
                    self.core.heartbeat_deadline(),
                    self.core.consumer_deadline(),
                    self.core.expires_at,
                ];
                deadlines.into_iter().flatten().min()
            }
            Phase::Closed => None,
        }
    }

    /// A deadline has passed, perhaps.
    pub(crate) fn handle_timeout(&mut self, now: Time, out: &mut Output) {
        if self.next_timeout().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &self.phase {
            Phase::Running => {
                if self.expire(now, out) {
                    return;
                }
                if self.core.consumer_timeout_at <= now {
                    self.handle_consumer_timeout(now, out);
                }
                if self.core.heartbeat_deadline().is_some_and(|at| at <= now) {
                    self.handle_heartbeat(now, out);
                }
            }
            Phase::Closing { .. } | Phase::Dropping { .. } | Phase::Closed => {
                self.phase = Phase::Closed
            }
            _ => {
                tracing::info!(connection = %self.core.name(), "handshake took too long");
                self.phase = Phase::Closed;
            }
        }
    }

    /// Everything that was put out has been written; queues may fill the window again.
    pub(crate) fn handle_written(&mut self, now: Time) {
        self.core.sent_at = now;
        let written = std::mem::take(&mut self.core.unwritten);
        let has_room = written > 0 && self.core.outbox.window().leave(written);
        if let Some(own_windows) = &mut self.core.own_windows {
            own_windows.leave(now);
        }
        if has_room {
            self.poll_queues(now);
        }
        self.core.outbox.wrote(written);
    }

    /// Has the queues of all consumers hand out what they can.
    fn poll_queues(&self, now: Time) {
        for channel in self.channels.values() {
            channel.poll_queues(now);
        }
    }

    /// See [`PublishBatch::take_behind`].
    pub(crate) fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        self.core.publisher.batch.take_behind()
    }
}

impl Core {
    /// So much of the input has been dealt with.
    fn progress(&self, consumed: usize, out: &Output) -> Progress {
        let Publisher { batch, cache, .. } = &self.publisher;
        let is_enough = batch.is_heavy()
            || cache.has_looked_far()
            || self.worked >= TURN_WORK_MAX
            || out.len() >= TURN_OUTPUT_MAX;
        match is_enough {
            true => Progress::Paused(consumed),
            false => Progress::Consumed(consumed),
        }
    }

    fn name(&self) -> String {
        Endpoints::name_of(self.endpoints)
    }
}
