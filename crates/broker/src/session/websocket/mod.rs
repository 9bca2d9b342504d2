//! A WebSocket with a STOMP or AMQP session in it (RFC 6455; behaviour reference, section 21).
//!
//! ```text
//!              request agreed to          session ended
//!  ──────► Upgrade ───────────────► Open ────────────────► Closing ── close, or time ──► Closed
//!             │ refused               │ the client closes, or makes no sense               ▲
//!             └───────────────────────┴────────────────────────────────────────────────────┘
//! ```
//!
//! The messages of a client are one stream of bytes: where they begin and end means nothing. The other way, each STOMP
//! frame is a message.

mod inner;
mod lent;
mod open;
mod origin;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_queue_store::{Lsn, Time};

use crate::auth::Identity;
use crate::connection::{Endpoints, Registration};
use crate::error::Refusal;
use crate::memory::Held;
use crate::outbox::Outbox;
use crate::overview::ConnectionOverview;
use crate::session::stomp::Transport;
use crate::session::{Answer, Ask, Awaited, Newcomer, Output, Protocol, amqp, stomp};
use crate::shared::Shared;
use inner::Inner;
use open::Open;
use upgrade::Upgrade;
pub(crate) use upgrade::{Speaks, agree};

/// How long a client has to answer our close frame before the socket is closed. It has nothing to do but that.
const CLOSE_TIMEOUT_MS: u64 = 5000;

/// One WebSocket. See the module for its phases.
#[derive(Debug)]
pub(crate) struct WebSocket {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Upgrade(Box<Waiting>),
    Open(Box<Open>),
    /// We sent a close frame.
    Closing {
        socket: Box<Open>,
        until: Time,
    },
    Closed,
}

/// What a session will be made of once the request is there.
#[derive(Debug)]
struct Waiting {
    deadline: Time,
    shared: Arc<Shared>,
    registration: Registration,
    outbox: Arc<Outbox>,
    endpoints: Option<Endpoints>,
}

impl WebSocket {
    /// A connection whose client has yet to ask for a WebSocket.
    pub(crate) fn new(
        shared: Arc<Shared>,
        registration: Registration,
        outbox: Arc<Outbox>,
        endpoints: Option<Endpoints>,
        now: Time,
    ) -> Self {
        Self {
            phase: Phase::Upgrade(Box::new(Waiting {
                deadline: now.saturating_add(shared.config.handshake_timeout_ms()),
                shared,
                registration,
                outbox,
                endpoints,
            })),
        }
    }

    /// A WebSocket that somebody else has agreed to, and whose client is known.
    pub(crate) fn opened(
        shared: Arc<Shared>,
        registration: Registration,
        outbox: Arc<Outbox>,
        now: Time,
        speaks: Speaks,
        identity: Identity,
    ) -> Self {
        let waiting = Waiting {
            deadline: now.saturating_add(shared.config.handshake_timeout_ms()),
            shared,
            registration,
            outbox,
            endpoints: None,
        };
        Self {
            phase: Phase::Open(waiting.open(now, speaks, Newcomer::Known(identity))),
        }
    }

    /// The HTTP request, as soon as all of it is there.
    fn handle_request(&mut self, now: Time, input: &mut &[u8], out: &mut Output) {
        let Phase::Upgrade(waiting) = &self.phase else {
            return;
        };
        let config = &waiting.shared.config.websocket;
        match upgrade::upgrade(input, config, waiting.endpoints) {
            Upgrade::Incomplete => {}
            Upgrade::Refused(response) => {
                let status = response
                    .split(|byte| *byte == b'\r')
                    .next()
                    .unwrap_or_default();
                tracing::info!(
                    connection = %Endpoints::name_of(waiting.endpoints),
                    answer = %status.escape_ascii(),
                    "refused a WebSocket",
                );
                out.buffer().extend_from_slice(&response);
                self.finish(now);
            }
            Upgrade::Accepted(accepted) => {
                *input = &input[accepted.size..];
                out.buffer().extend_from_slice(&accepted.response);
                if let Phase::Upgrade(waiting) = std::mem::replace(&mut self.phase, Phase::Closed) {
                    let newcomer = Newcomer::Asked {
                        request: Box::new(accepted.request),
                        credentials: accepted.credentials,
                        is_foreign: accepted.is_foreign,
                    };
                    self.phase = Phase::Open(waiting.open(now, accepted.speaks, newcomer));
                }
            }
        }
    }

    /// Does something with the session, and what follows from that.
    fn with_session(
        &mut self,
        now: Time,
        out: &mut Output,
        work: impl FnOnce(&mut dyn Protocol, &mut Output),
    ) {
        if let Phase::Open(open) = &mut self.phase {
            open.with_session(now, out, work);
            if open.is_over() {
                self.finish(now);
            }
        }
        self.close_if_ended(now, out);
    }

    /// The session has nothing more to say: say so.
    fn close_if_ended(&mut self, now: Time, out: &mut Output) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if !open.is_finished() {
            return;
        }
        open.close(now, out);
        if let Phase::Open(socket) = std::mem::replace(&mut self.phase, Phase::Closed) {
            let until = now.saturating_add(CLOSE_TIMEOUT_MS);
            self.phase = Phase::Closing { socket, until };
        }
    }

    /// Nothing is left to be said or heard.
    fn finish(&mut self, now: Time) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(mut open) => open.handle_disconnect(now),
            Phase::Upgrade(waiting) => drop(waiting.outbox.close()),
            Phase::Closing { .. } | Phase::Closed => {}
        }
    }
}

impl Waiting {
    fn open(self, now: Time, speaks: Speaks, newcomer: Newcomer) -> Box<Open> {
        let Self {
            deadline,
            shared,
            registration,
            outbox,
            endpoints,
        } = self;
        let held = Held::new(&shared.services, &outbox);
        // Messages may be as large as a STOMP frame, which they seldom are for AMQP.
        let config = &shared.config;
        let message_sizes = (
            config.strangers_frame_size_max(),
            config.stomp_frame_size_max,
        );
        let binary = shared.config.websocket.binary;
        let newcomer = Some(Box::new(newcomer));
        let inner = match speaks {
            Speaks::Stomp | Speaks::Either => {
                Inner::Stomp(Box::new(stomp::Session::start(stomp::Start {
                    shared,
                    registration,
                    outbox,
                    endpoints,
                    now,
                    deadline,
                    transport: Transport::WebSocket { binary },
                    newcomer,
                })))
            }
            Speaks::Amqp => {
                let session = amqp::Session::new(shared, registration, outbox, endpoints, now);
                Inner::Amqp(Box::new(session.with_newcomer(newcomer, deadline)))
            }
        };
        let is_undecided = speaks == Speaks::Either;
        Box::new(Open::new(inner, is_undecided, message_sizes, held))
    }
}

impl Protocol for WebSocket {
    fn handle_input(&mut self, now: Time, input: &[u8], out: &mut Output) -> usize {
        let mut rest = input;
        self.handle_request(now, &mut rest, out);
        match &mut self.phase {
            Phase::Open(open) => {
                open.handle_input(now, &mut rest, out);
                if open.is_over() {
                    self.finish(now);
                }
            }
            Phase::Closing { socket, .. } => {
                if !socket.await_close(&mut rest, out) {
                    self.finish(now);
                }
            }
            Phase::Upgrade(_) => {}
            Phase::Closed => rest = &[],
        }
        self.close_if_ended(now, out);
        input.len() - rest.len()
    }

    fn has_paused(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.session().has_paused())
    }

    fn takes_input(&self) -> bool {
        match &self.phase {
            Phase::Upgrade(_) | Phase::Closing { .. } => true,
            Phase::Open(open) => open.takes_input(),
            Phase::Closed => false,
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn is_open(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.session().is_open())
    }

    /// The close frame has told so.
    fn had_broken_input(&self) -> bool {
        false
    }

    fn describe(&self) -> Option<ConnectionOverview> {
        let of_session = |open: &Open| {
            let mut overview = open.session().describe()?;
            overview.protocol.push_str(" over WebSocket");
            Some(overview)
        };
        match &self.phase {
            Phase::Upgrade(waiting) => {
                let registration = &waiting.registration;
                Some(ConnectionOverview::new(
                    registration,
                    waiting.endpoints,
                    "HTTP",
                ))
            }
            Phase::Open(open) | Phase::Closing { socket: open, .. } => of_session(open),
            Phase::Closed => None,
        }
    }

    fn published(&self) -> u32 {
        match &self.phase {
            Phase::Open(open) | Phase::Closing { socket: open, .. } => open.session().published(),
            _ => 0,
        }
    }

    fn take_ask(&mut self) -> Option<Ask> {
        match &mut self.phase {
            Phase::Open(open) => open.session_mut().take_ask(),
            _ => None,
        }
    }

    fn handle_answer(&mut self, now: Time, answer: Answer, out: &mut Output) {
        self.with_session(now, out, |session, out| {
            session.handle_answer(now, answer, out);
        });
    }

    fn handle_outbox(&mut self, now: Time, enough: usize, out: &mut Output) -> bool {
        if let Phase::Upgrade(waiting) = &self.phase {
            // Nothing is delivered yet: only the broker's end can be there.
            let mut items = VecDeque::new();
            waiting.outbox.take(&mut items);
            if !items.is_empty() {
                self.finish(now);
            }
            return false;
        }
        let mut has_more = false;
        self.with_session(now, out, |session, out| {
            has_more = session.handle_outbox(now, enough, out);
        });
        has_more
    }

    fn has_deliveries(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.session().has_deliveries())
    }

    fn awaited(&self) -> Option<Awaited> {
        match &self.phase {
            Phase::Open(open) => open.session().awaited(),
            _ => None,
        }
    }

    fn handle_safe(&mut self, now: Time, safe: Lsn, out: &mut Output) {
        self.with_session(now, out, |session, out| session.handle_safe(now, safe, out));
    }

    fn handle_journal_failure(&mut self, now: Time, out: &mut Output) {
        self.with_session(now, out, |session, out| {
            session.handle_journal_failure(now, out);
        });
    }

    fn handle_written(&mut self, now: Time) {
        if let Phase::Open(open) = &mut self.phase {
            open.session_mut().handle_written(now);
        }
    }

    fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        match &mut self.phase {
            Phase::Open(open) => open.session_mut().take_behind(),
            _ => None,
        }
    }

    fn handle_unheard(&mut self, there_at: Time) {
        if let Phase::Open(open) = &mut self.phase {
            open.session_mut().handle_unheard(there_at);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Upgrade(waiting) => Some(waiting.deadline),
            Phase::Open(open) => open.session().next_timeout(),
            Phase::Closing { until, .. } => Some(*until),
            Phase::Closed => None,
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Output) {
        if self.next_timeout().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &self.phase {
            Phase::Open(_) => self.with_session(now, out, |session, out| {
                session.handle_timeout(now, out);
            }),
            phase => {
                if let Phase::Upgrade(waiting) = phase {
                    let connection = Endpoints::name_of(waiting.endpoints);
                    tracing::info!(connection, "no WebSocket was asked for in time");
                }
                self.finish(now);
            }
        }
    }

    fn handle_not_recorded(&mut self, now: Time, refusal: &Refusal, out: &mut Output) {
        match self.phase {
            Phase::Open(_) => self.with_session(now, out, |session, out| {
                session.handle_not_recorded(now, refusal, out);
            }),
            // What it was told of the end has been taken back too.
            _ => self.finish(now),
        }
    }

    fn handle_disconnect(&mut self, now: Time) {
        self.finish(now);
    }
}
