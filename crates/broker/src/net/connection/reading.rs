//! What the peer sends, on its way to the session: no faster than the client's rate, the broker's login and those who
//! consume what it publishes allow.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use leveret_queue_store::Time;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{Buffers, Connection, Step};
use crate::net::{asking, throttle};
use crate::outbox::{Outbox, Round};
use crate::session::{Output, Protocol};

/// How much is read at once. Large enough that a busy publisher's frames come by the hundred, small enough to stay in
/// the processor's cache until they are routed.
const READ_SIZE: usize = 64 * 1024;

/// How much is read of what follows a question, and kept until that is answered: enough that the end of a client that goes
/// away is seen, unless it has said more before.
const READ_AHEAD: usize = 4 * 1024;

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

    /// Reads what is there, at most as much as a throttle lets through at once.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if self.throttle.is_none() {
            return pin!(self.stream.read_buf(input)).poll(cx);
        }
        let mut little = (&mut self.stream).take(throttle::READ_SIZE);
        pin!(little.read_buf(input)).poll(cx)
    }

    /// Reads once, has the session take what it can, and writes what it says.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<Poll<Step>> {
        let Buffers { input, output, .. } = buffers;
        input.clear();
        input.reserve(self.unread.len() + READ_SIZE);
        input.extend_from_slice(&self.unread);
        let Poll::Ready(received) = self.poll_receive(cx, input) else {
            return Ok(Poll::Pending);
        };
        let received = received?;
        if received == 0 {
            return Ok(Poll::Ready(Step::PeerClosed));
        }
        self.traffic.received(received);
        self.session.handle_input(now, input, output);
        self.ask(cx, now, input, output);
        if let Some(throttle) = &mut self.throttle {
            let messages = u64::from(self.session.take_published());
            throttle.charge(now, received as u64, messages);
        }
        self.keep_unread(input);
        self.is_stopped = !self.session.takes_input();
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
        let input = &mut buffers.input;
        input.clear();
        let mut little = (&mut self.stream).take(READ_AHEAD as u64);
        let Poll::Ready(received) = pin!(little.read_buf(input)).poll(cx) else {
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
        self.unread.extend_from_slice(input);
        Ok(Poll::Ready(Step::Done))
    }

    /// Input that had to wait for an answer or for the end of an alarm may be taken now. Writes the output.
    pub(super) fn consume_unread(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let output = &mut buffers.output;
        let mut unread = std::mem::take(&mut self.unread);
        let size = unread.len();
        let reads = size > 0 && self.session.takes_input();
        if reads {
            self.session.handle_input(now, &mut unread, output);
        }
        self.ask(cx, now, &mut unread, output);
        if unread.len() == size {
            self.unread = unread;
        } else {
            self.keep_unread(&unread);
        }
        self.is_stopped = !self.session.takes_input();
        if reads {
            self.deliver(cx, now, output)?;
        }
        self.flush(cx, now, output)
    }

    fn keep_unread(&mut self, input: &[u8]) {
        self.unread = BytesMut::from(input);
    }

    /// Has what the session asks answered. An answer that is there at once holds nothing up.
    fn ask(&mut self, cx: &mut Context<'_>, now: Time, input: &mut BytesMut, output: &mut Output) {
        while let Some(ask) = self.session.take_ask() {
            let mut asking = asking::ask(Arc::clone(&self.shared), ask);
            let Poll::Ready(answer) = asking.poll(cx) else {
                self.asking = Some(Box::new(asking));
                return;
            };
            self.session.handle_answer(now, answer, output);
            if !input.is_empty() && self.session.takes_input() {
                self.session.handle_input(now, input, output);
            }
        }
    }
}
