//! A WebSocket after the upgrade: messages in, messages out.

use bytes::{Buf, BytesMut};
use leveret_queue_store::Time;
use tungstenite::error::CapacityError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message, Utf8Bytes};

use super::inner::Inner;
use super::lent::Lent;
use crate::memory::Held;
use crate::session::{Output, Protocol};

/// How much the library reads at once, and keeps while nothing happens: little, because it copies from what was read
/// already, and because there are many who are silent.
const READ_SIZE: usize = 1024;

/// What stands before the payload of a client's ping or pong, which has 125 bytes at most: two bytes and the mask (RFC 6455,
/// section 5.2).
const CONTROL_HEADER_SIZE: usize = 2 + 4;

/// The opcode of binary messages (RFC 6455, section 11.8).
const BINARY: u8 = 2;

/// See the module.
///
/// The library takes frames apart, puts fragments together, answers pings and closes; what is put out goes past it,
/// because a server's frames are a few bytes before the payload.
pub(super) struct Open {
    context: WebSocketContext,
    inner: Inner,
    /// The first bytes will tell whether it is AMQP after all.
    is_undecided: bool,
    /// What came in messages and the session has not consumed.
    unread: BytesMut,
    /// Close frames were sent and, if the client still makes sense, received: nothing more is read, or may be said.
    is_closed: bool,
    /// How much came of a message that is not whole.
    begun: usize,
    /// Counts it against the memory limit.
    held: Held,
    /// Once the client has logged in.
    message_size_max: usize,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Open {
    /// A socket whose messages may be so large before the login and after it. The library reserves room for what a frame
    /// announces before it is there; strangers are not to make much of that.
    pub(super) fn new(
        inner: Inner,
        is_undecided: bool,
        (strangers_message_size_max, message_size_max): (usize, usize),
        held: Held,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_SIZE)
            // What the library writes is there at once.
            .write_buffer_size(0)
            .max_message_size(Some(strangers_message_size_max))
            .max_frame_size(Some(strangers_message_size_max));
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            inner,
            is_undecided,
            unread: BytesMut::new(),
            is_closed: false,
            begun: 0,
            held,
            message_size_max: message_size_max.max(strangers_message_size_max),
        }
    }

    pub(super) fn session(&self) -> &dyn Protocol {
        self.inner.protocol()
    }

    pub(super) fn session_mut(&mut self) -> &mut dyn Protocol {
        self.inner.protocol_mut()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.session().is_finished()
    }

    pub(super) fn takes_input(&self) -> bool {
        self.session().takes_input()
    }

    /// Takes in what came, and tells the client if it makes no sense.
    pub(super) fn handle_input(&mut self, now: Time, input: &mut &[u8], out: &mut Output) {
        if self.is_closed {
            *input = &[];
            self.work(now, out, true, |_, _| {});
            return;
        }
        let outcome = self.read_messages(input, out);
        if self.is_undecided {
            self.decide(now);
        }
        // What came before the end counts.
        self.work(now, out, true, |_, _| {});
        if let Err(error) = outcome {
            if !matches!(error, Error::ConnectionClosed) {
                tracing::info!(%error, "closing a WebSocket");
                self.fail(&error, out);
            }
            self.is_closed = true;
        }
    }

    /// Whether the client has closed, or made no sense, and the session has read all that came before. One that has paused,
    /// or is held up by an alarm or a question, has not.
    pub(super) fn is_over(&self) -> bool {
        let session = self.session();
        let reads_on = session.has_paused() || !session.takes_input();
        self.is_closed && !(session.is_open() && reads_on)
    }

    /// Replaces a session that has heard nothing yet, if the first bytes are the protocol header of AMQP. No frame of STOMP
    /// begins with them.
    fn decide(&mut self, now: Time) {
        const HEADER: &[u8] = b"AMQP";
        let size = self.unread.len().min(HEADER.len());
        if self.unread[..size] != HEADER[..size] {
            self.is_undecided = false;
        } else if size == HEADER.len() {
            self.is_undecided = false;
            if let Inner::Stomp(session) = &mut self.inner
                && let Some(session) = session.turn_into_amqp(now)
            {
                self.inner = Inner::Amqp(Box::new(session));
            }
        }
    }

    /// Appends the payloads of all complete messages to what the session is to read.
    fn read_messages(&mut self, input: &mut &[u8], out: &mut Output) -> Result<(), Error> {
        loop {
            let before = input.len();
            let read = self.context.read(&mut Lent { input, out });
            self.begun += before - input.len();
            match read {
                Ok(Message::Text(text)) => {
                    self.begun = 0;
                    self.unread.extend_from_slice(text.as_bytes());
                }
                Ok(Message::Binary(bytes)) => {
                    self.begun = 0;
                    self.unread.extend_from_slice(&bytes);
                }
                // They come between the fragments of a message, which goes on.
                Ok(Message::Ping(bytes) | Message::Pong(bytes)) => {
                    let frame = CONTROL_HEADER_SIZE + bytes.len();
                    self.begun = self.begun.saturating_sub(frame);
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.held.set(self.begun);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does something with the session, then has it read what waits for it, unless it has paused.
    pub(super) fn with_session(
        &mut self,
        now: Time,
        out: &mut Output,
        work: impl FnOnce(&mut dyn Protocol, &mut Output),
    ) {
        self.work(now, out, false, work);
    }

    fn work(
        &mut self,
        now: Time,
        out: &mut Output,
        may_resume: bool,
        work: impl FnOnce(&mut dyn Protocol, &mut Output),
    ) {
        let mut unheard = Output::default();
        let out = match self.is_closed {
            true => &mut unheard,
            false => out,
        };
        let unread = &mut self.unread;
        let was_open = self.inner.protocol().is_open();
        let work_and_read = |session: &mut dyn Protocol, out: &mut Output| {
            work(session, out);
            let is_due = match session.has_paused() {
                true => may_resume,
                false => !unread.is_empty(),
            };
            if is_due && session.takes_input() {
                let consumed = session.handle_input(now, unread, out);
                unread.advance(consumed);
            }
        };
        match &mut self.inner {
            Inner::Stomp(session) => work_and_read(&mut **session, out),
            Inner::Amqp(session) => {
                out.begin_message(BINARY);
                work_and_read(&mut **session, out);
                out.end_message();
            }
        }
        if self.unread.is_empty() {
            // An idle connection holds no buffer.
            self.unread = BytesMut::new();
        }
        if !was_open && self.session().is_open() {
            let limit = Some(self.message_size_max);
            self.context.set_config(|config| {
                config.max_message_size = limit;
                config.max_frame_size = limit;
            });
        }
    }

    /// The session is over: tells the client why.
    pub(super) fn close(&mut self, now: Time, out: &mut Output) {
        let code = if self.session().had_broken_input() {
            CloseCode::Invalid
        } else {
            CloseCode::Normal
        };
        self.session_mut().handle_disconnect(now);
        self.send_close(code, "", out);
    }

    /// After our close frame, only the client's counts. False once it is there, or cannot be any more.
    pub(super) fn await_close(&mut self, input: &mut &[u8], out: &mut Output) -> bool {
        let outcome = self.read_messages(input, out);
        self.unread.clear();
        outcome.is_ok()
    }

    pub(super) fn handle_disconnect(&mut self, now: Time) {
        self.session_mut().handle_disconnect(now);
    }

    fn fail(&mut self, error: &Error, out: &mut Output) {
        let code = match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseCode::Size,
            Error::Utf8(_) => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        };
        self.send_close(code, "", out);
    }

    fn send_close(&mut self, code: CloseCode, reason: &'static str, out: &mut Output) {
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        let mut lent = Lent {
            input: &mut &[][..],
            out,
        };
        // An error can only say that the client has closed before.
        let _ = self.context.close(&mut lent, Some(frame));
    }
}
