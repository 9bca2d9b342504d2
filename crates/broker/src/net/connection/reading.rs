//! What the peer sends, on its way to the session: no faster than the client's rate, the broker's login and those who
//! consume what it publishes allow.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use leveret_queue_store::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Buffers, Connection, Step};
use crate::net::{asking, throttle};
use crate::outbox::{Outbox, Round};
use crate::session::{Output, Protocol};

/// How much is read at once at most. Large enough that a busy publisher's frames come by the hundred, small enough to stay in
/// the processor's cache until they are routed.
const READ_SIZE: usize = 256 * 1024;

/// How much is read at once of messages that are [long](LONG_MESSAGE): some hundreds of these take as much time as a thousand
/// small ones, and so nobody waits longer for it.
const LONG_READ_SIZE: usize = 512 * 1024;

/// From this length on a message is long, with all its frames.
const LONG_MESSAGE: usize = 512;

/// How much is read at once of a client that has not logged in: what it says until then is short, and what follows would be
/// kept for it, who may be anybody, until its login has been looked at.
const STRANGERS_READ_SIZE: usize = 8 * 1024;

/// How much is read of what follows a question, and kept until that is answered: enough that the end of a client that goes
/// away is seen, unless it has said more before.
const READ_AHEAD: usize = 4 * 1024;

/// Room for what is read, of a thread: used again and again, so that it need not be filled with zeros again and again.
#[derive(Default)]
pub(super) struct Input(Vec<u8>);

impl Input {
    /// Begins with what was read and not taken before. Gives the room behind it, of this size.
    fn behind(&mut self, unread: &[u8], size: usize) -> &mut [u8] {
        let end = unread.len() + size;
        // What one large frame needed is not kept for small ones.
        let is_enough = end..=2 * end.max(LONG_READ_SIZE);
        if !is_enough.contains(&self.0.len()) {
            // The system gives what is zero already, and takes no memory for it before it is used.
            self.0 = vec![0; end];
        }
        let (before, room) = self.0.split_at_mut(unread.len());
        before.copy_from_slice(unread);
        &mut room[..size]
    }

    /// What it begins with.
    fn first(&self, size: usize) -> &[u8] {
        &self.0[..size]
    }
}

/// A connection that is behind, and the round of its pace that is waited for.
pub(super) struct Behind {
    outbox: Arc<Outbox>,
    round: Round,
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protocol> Connection<S, P> {
    /// Whether the client's rate, where it is limited, lets more be read.
    pub(super) fn may_read(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        let Some(throttle) = &mut self.throttle else {
            return true;
        };
        throttle.poll_ready(cx, now, &self.shared.clock).is_ready()
    }

    /// Reads what is there into this room, and says how much that was.
    fn poll_receive(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Reads once, has the session take what it can, and writes what it says.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<Poll<Step>> {
        let Buffers { input, output, .. } = buffers;
        // No more than a throttle lets through at once.
        let size = match self.throttle {
            Some(_) => throttle::READ_SIZE,
            None if self.reads_long => LONG_READ_SIZE,
            None if self.session.is_open() => READ_SIZE,
            None => STRANGERS_READ_SIZE,
        };
        let kept = self.unread.len();
        let room = input.behind(&self.unread, size);
        let Poll::Ready(received) = self.poll_receive(cx, room) else {
            return Ok(Poll::Pending);
        };
        let received = received?;
        if received == 0 {
            return Ok(Poll::Ready(Step::PeerClosed));
        }
        self.traffic.received(received);
        let mut input = input.first(kept + received);
        self.hear(now, &mut input, output);
        self.ask(cx, now, &mut input, output);
        let published = self.session.published();
        // Less than before when it has begun anew, or the session is no more what it was.
        let messages = published.saturating_sub(self.published);
        self.published = published;
        if messages > 0 {
            self.reads_long = received / LONG_MESSAGE >= messages as usize;
        }
        if let Some(throttle) = &mut self.throttle {
            throttle.charge(now, received as u64, u64::from(messages));
        }
        self.keep_unread(input);
        self.is_stopped = !self.session.takes_input() || self.session.has_paused();
        self.behind = self.behind();
        self.deliver(cx, now, output)?;
        self.flush(cx, now, output)?;
        Ok(Poll::Ready(Step::Done))
    }

    /// Who has more of what was just published than it can take. Not this connection itself, which writes before it reads.
    fn behind(&mut self) -> Option<Behind> {
        let outbox = self.session.take_behind()?;
        if Arc::ptr_eq(&outbox, &self.outbox) {
            return None;
        }
        let round = outbox.pace()?.round()?;
        Some(Behind { outbox, round })
    }

    /// Ready when this connection need not wait for another one that consumes what it publishes.
    pub(super) fn poll_caught_up(&mut self, cx: &Context<'_>) -> Poll<()> {
        if let Some(Behind { outbox, round }) = &self.behind
            && let Some(pace) = outbox.pace()
            && pace.poll_round(cx, *round).is_pending()
        {
            return Poll::Pending;
        }
        self.behind = None;
        Poll::Ready(())
    }

    /// Reads a little of what the session does not take before its question is answered.
    pub(super) fn poll_read_ahead(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<Poll<Step>> {
        if self.unread.len() >= READ_AHEAD {
            return Ok(Poll::Pending);
        }
        let room = buffers.input.behind(&[], READ_AHEAD);
        let Poll::Ready(received) = self.poll_receive(cx, room) else {
            return Ok(Poll::Pending);
        };
        let received = received?;
        if received == 0 {
            return Ok(Poll::Ready(Step::PeerClosed));
        }
        self.traffic.received(received);
        if let Some(throttle) = &mut self.throttle {
            throttle.charge(now, received as u64, 0);
        }
        let ahead = buffers.input.first(received);
        self.unread.extend_from_slice(ahead);
        Ok(Poll::Ready(Step::Done))
    }

    /// Input that had to wait for an answer, for the end of an alarm, or for room or for others after a
    /// [pause](Protocol::has_paused), may be taken now. Writes the output.
    pub(super) fn consume_unread(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let output = &mut buffers.output;
        let unread = std::mem::take(&mut self.unread);
        let mut input = &unread[..];
        let is_due = !input.is_empty() || self.session.has_paused();
        let may_read = self.session.takes_input() && self.has_room();
        let reads = is_due && may_read;
        if reads {
            self.hear(now, &mut input, output);
        }
        self.ask(cx, now, &mut input, output);
        if input.len() == unread.len() {
            self.unread = unread;
        } else {
            self.keep_unread(input);
        }
        self.is_stopped =
            is_due && !may_read || !self.session.takes_input() || self.session.has_paused();
        if reads {
            self.deliver(cx, now, output)?;
        }
        self.flush(cx, now, output)
    }

    /// Has the session take what it can off the front of the input.
    fn hear(&mut self, now: Time, input: &mut &[u8], output: &mut Output) {
        let consumed = self.session.handle_input(now, input, output);
        *input = &input[consumed..];
    }

    fn keep_unread(&mut self, input: &[u8]) {
        self.unread = input.to_vec();
    }

    /// Has what the session asks answered. An answer that is there at once holds nothing up.
    fn ask(&mut self, cx: &mut Context<'_>, now: Time, input: &mut &[u8], output: &mut Output) {
        while let Some(ask) = self.session.take_ask() {
            let mut asking = asking::ask(Arc::clone(&self.shared), ask);
            let Poll::Ready(answer) = asking.poll(cx) else {
                self.asking = Some(Box::new(asking));
                return;
            };
            self.session.handle_answer(now, answer, output);
            if !input.is_empty() && self.session.takes_input() {
                self.hear(now, input, output);
            }
        }
    }
}
