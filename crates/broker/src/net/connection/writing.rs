//! What the session says, on its way to the socket: held back while the disk is not done, kept while the peer is slow.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use leveret_queue_store::Time;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::traffic::Traffic;
use crate::metadata;
use crate::session::{Output, Protocol};

/// Deliveries are written when with another there would be more than about this many bytes, while more is being encoded. A
/// little less than goes through the system's network as one packet, 64 KiB with its headers: with a few bytes more there
/// are two packets, and the peer is woken for either.
const WRITE_SIZE: usize = 64_000;

/// How many writes of deliveries a step has at most: enough to empty a full [window](crate::outbox::WINDOW_BYTES), and few
/// enough that a client whose queue has no end, and who takes all of it, is read from in between.
const WRITES_PER_STEP: usize = 8;

/// How many bytes may wait for a peer that does not read before nothing more is read from it either. Until then it may
/// go on publishing: many clients send a lot before they look at what came back.
const UNWRITTEN_MAX: usize = 1024 * 1024;

/// How many bytes may wait for a change to be on the disk before nothing more is read: the answers to some ten thousand
/// declarations, which one or two commits let go.
const HELD_MAX: usize = 256 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protocol> Connection<S, P> {
    /// Whether something that was put out is not with the system yet.
    pub(super) fn is_writing(&self) -> bool {
        !self.unwritten.is_empty() || self.unflushed
    }

    /// Whether more may be read, as far as what waits to be written is concerned.
    pub(super) fn has_room(&self) -> bool {
        if self.unwritten.held_until().is_none() {
            return self.unwritten.len() < UNWRITTEN_MAX;
        }
        self.unwritten.len() < HELD_MAX
            && self.shared.services.metadata.backlog() < metadata::BACKLOG_MAX
    }

    /// For a connection that waits for something: ready when nobody is to wait for it. Pending while it is its peer who has
    /// to read on and may be expected to; the task is woken when that is over.
    pub(super) fn poll_at_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_writing() {
            self.patience.took_all();
            return Poll::Ready(());
        }
        // A test that moves the clock by hand would have publishers wait until it does.
        if self.unwritten.held_until().is_some() || self.shared.clock.is_virtual() {
            return Poll::Ready(());
        }
        let now = self.shared.now();
        self.patience.poll_lost(cx, now, &self.shared.clock)
    }

    /// Whether it is the peer that keeps something from being written, and not the disk that an answer waits for.
    pub(super) fn is_full(&self) -> bool {
        self.is_writing()
            && (self.unwritten.held_until().is_none() || self.unwritten.writable() > 0)
    }

    /// The peer has taken so many bytes.
    fn took(&mut self, now: Time, bytes: usize) {
        self.patience.took(now, bytes);
        if bytes > 0 {
            self.took_at = now;
        }
    }

    /// Encodes deliveries, and writes while there are more, as long as the peer takes them and a step may take. After as many
    /// as that it is the client's turn.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        output: &mut Output,
    ) -> io::Result<()> {
        for _ in 0..WRITES_PER_STEP {
            if self.is_writing() || !self.session.handle_outbox(now, WRITE_SIZE, output) {
                // What is left is written by whoever called, together with whatever else there is.
                return Ok(());
            }
            self.flush(cx, now, output)?;
        }
        self.reads_next = true;
        Ok(())
    }

    /// Writes the output; what the peer does not take, or what waits for the disk, is kept.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        output: &mut Output,
    ) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        if output.held_until().is_some() {
            output.release(self.shared.services.metadata.committed());
        }
        if self.unwritten.is_empty() {
            let before = output.len();
            let stream = Pin::new(&mut self.stream);
            let written = poll_write_all(stream, cx, output, &mut self.traffic)?;
            self.took(now, before - output.len());
            if written.is_ready() && output.is_empty() {
                self.unflushed = false;
                self.session.handle_written(now);
                return Ok(());
            }
        }
        self.unflushed = true;
        self.unwritten.append(output);
        Ok(())
    }

    pub(super) fn poll_write_rest(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
    ) -> io::Result<Poll<()>> {
        loop {
            let committed = self.poll_committed(cx, now);
            let before = self.unwritten.len();
            let (stream, output) = (Pin::new(&mut self.stream), &mut self.unwritten);
            let written = poll_write_all(stream, cx, output, &mut self.traffic)?;
            self.took(now, before - self.unwritten.len());
            if written.is_pending() {
                return Ok(Poll::Pending);
            }
            if self.unwritten.is_empty() {
                break;
            }
            if committed.is_pending() {
                return Ok(Poll::Pending);
            }
        }
        self.unwritten = Output::default();
        self.unflushed = false;
        self.session.handle_written(now);
        Ok(Poll::Ready(()))
    }

    /// Lets go what has waited for the disk for long enough; pending while something waits still. When it waits in vain
    /// the client is told of that instead.
    fn poll_committed(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<()> {
        while let Some(ticket) = self.unwritten.held_until() {
            let metadata = &self.shared.services.metadata;
            let commit = match &mut self.commit {
                Some(commit) if commit.ticket() == ticket => commit,
                other => other.insert(metadata.when_committed(ticket)),
            };
            match Pin::new(commit).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.unwritten.release(metadata.committed()),
                Poll::Ready(Err(refusal)) => {
                    self.unwritten.drop_held();
                    self.session
                        .handle_not_recorded(now, &refusal, &mut self.unwritten);
                }
            }
        }
        self.commit = None;
        Poll::Ready(())
    }
}

/// Ready when everything is with the system that may be.
fn poll_write_all<S: AsyncWrite>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    output: &mut Output,
    traffic: &mut Traffic,
) -> io::Result<Poll<()>> {
    while output.writable() > 0 {
        let written = match output.as_single() {
            Some(bytes) => stream.as_mut().poll_write(cx, bytes),
            None => {
                let mut slices: Vec<IoSlice<'_>> = Vec::new();
                output.slices(&mut slices);
                stream.as_mut().poll_write_vectored(cx, &slices)
            }
        };
        match written {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => {
                traffic.sent(written);
                output.advance(written);
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    // Nothing to do for a bare socket.
    Ok(match stream.poll_flush(cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(flushed) => Poll::Ready(flushed?),
    })
}
