//! One loop per connection: wait for bytes, deliveries, room or a deadline; feed the session; write what it says.

#[cfg(all(test, feature = "journal"))]
pub(super) mod by_hand;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::ops::{Deref, DerefMut};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use leveret_queue_store::{Lsn, Time};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::busy::BusyCount;
use crate::clock::Sleep;
use crate::connection::{Endpoints, Registration};
use crate::metadata::{self, Commit};
use crate::net::login;
use crate::net::seat::Seat;
use crate::net::throttle::{self, Throttle};
use crate::outbox::{Inquiry, Outbox, Round};
use crate::session::{Output, Protocol};
use crate::shared::Shared;
use crate::store::JournalFailed;

/// How much is read at once. Large enough that a busy publisher's frames come by the hundred, small enough to stay in
/// the processor's cache until they are routed.
const READ_SIZE: usize = 64 * 1024;

/// Output is written once it has grown to about this size, while more is being encoded. Sockets on one machine move
/// 16 KiB a write about as fast as anything, and the cache still holds them.
const WRITE_SIZE: usize = 32 * 1024;

/// How many reads or batches of deliveries a connection may handle before others get their turn.
const STEPS_PER_TURN: usize = 8;

/// How many bytes may wait for a peer that does not read before nothing more is read from it either. Until then it may
/// go on publishing: many clients send a lot before they look at what came back.
const UNWRITTEN_MAX: usize = 1024 * 1024;

/// How many bytes may wait for a change to be on the disk before nothing more is read: the answers to some ten thousand
/// declarations, which one or two commits let go.
const HELD_MAX: usize = 256 * 1024;

/// How long a connection that we have ended waits for the peer's end. It counts for no limit meanwhile, so not for long.
const LINGER: Duration = Duration::from_secs(1);

/// A client's socket with its session.
///
/// Idle connections hold no buffers: reading and writing borrow the thread's, and only what could not be consumed or
/// written is kept here.
pub(super) struct Connection<S, P: Protocol> {
    stream: S,
    session: Hosted<P>,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    /// Read but not consumed: part of a frame, or input that must wait.
    unread: BytesMut,
    /// Encoded but not written: the peer is slow.
    unwritten: Output,
    /// The transport has taken everything and not passed all of it on, as TLS does when the socket is full.
    unflushed: bool,
    /// What the next bytes wait for, when they wait for the disk.
    commit: Option<Commit>,
    login: Option<login::Check>,
    /// Only where rates are limited.
    throttle: Option<Box<Throttle>>,
    /// Up to where the journal has to be safe before this task is woken.
    asked: Option<Asked>,
    /// Whom this connection lets catch up before it reads on.
    behind: Option<Behind>,
    /// Set for `alarm`. It is only moved when it has fired, or must fire earlier.
    sleep: Option<Sleep>,
    alarm: Option<Time>,
}

/// The buffers of a thread, lent to the connection that is at work on it.
#[derive(Default)]
struct Buffers {
    input: BytesMut,
    output: Output,
}

thread_local! {
    /// Taken out while a connection is at work, so that nothing is borrowed while an authenticator of the embedding
    /// program runs.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

impl<S, P: Protocol> Connection<S, P> {
    /// A connection whose session is made by `start`.
    pub(super) fn new(
        stream: S,
        seat: Seat,
        shared: &Arc<Shared>,
        start: impl FnOnce(Arc<Shared>, Registration, Arc<Outbox>, Option<Endpoints>, Time) -> P,
    ) -> Self {
        let Seat {
            registration,
            outbox,
            endpoints,
            since,
        } = seat;
        let session = start(
            Arc::clone(shared),
            registration,
            Arc::clone(&outbox),
            endpoints,
            since,
        );
        Self {
            stream,
            session: Hosted {
                session,
                shared: Arc::clone(shared),
            },
            outbox,
            shared: Arc::clone(shared),
            unread: BytesMut::new(),
            unwritten: Output::default(),
            unflushed: false,
            commit: None,
            login: None,
            throttle: Throttle::new(&shared.config.rate_limits),
            asked: None,
            behind: None,
            sleep: None,
            alarm: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protocol> Connection<S, P> {
    pub(super) async fn run(mut self) {
        match poll_fn(|cx| self.poll(cx)).await {
            Ok(Ended::BySession) => {
                let Self {
                    mut stream,
                    session,
                    ..
                } = self;
                drop(session);
                linger(&mut stream).await;
            }
            Ok(Ended::ByPeer) => {
                let Self {
                    mut stream,
                    session,
                    ..
                } = self;
                drop(session);
                say_goodbye(&mut stream).await;
            }
            Err(error) => tracing::debug!(%error, "connection lost"),
        }
    }

    /// Does what there is to do, then waits. Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ended>> {
        let shared = Arc::clone(&self.shared);
        let _busy = shared.busy.during();
        let mut buffers = BUFFERS.take();
        let result = self.poll_turn(cx, &mut buffers);
        buffers.output.clear();
        BUFFERS.set(buffers);
        result
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Poll<io::Result<Ended>> {
        for _ in 0..STEPS_PER_TURN {
            let step = self.poll_step(cx, buffers)?;
            if self.session.is_finished() && !self.is_writing() {
                return Poll::Ready(Ok(Ended::BySession));
            }
            match step {
                Poll::Ready(Step::Done) => {}
                Poll::Ready(Step::PeerClosed) => return Poll::Ready(Ok(Ended::ByPeer)),
                Poll::Pending => {
                    self.outbox.rest();
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> io::Result<Poll<Step>> {
        let now = self.shared.now();
        if let Some(login) = &mut self.login
            && let Poll::Ready(result) = login.as_mut().poll(cx)
        {
            self.login = None;
            self.session.handle_login(now, result, &mut buffers.output);
            self.consume_unread(cx, now, buffers)?;
            return Ok(Poll::Ready(Step::Done));
        }
        if let Some(lsn) = self.session.awaited()
            && let Poll::Ready(safe) = self.poll_safe(cx, lsn)
        {
            match safe {
                Ok(safe) => self.session.handle_safe(now, safe, &mut buffers.output),
                Err(JournalFailed) => self
                    .session
                    .handle_journal_failure(now, &mut buffers.output),
            }
            self.consume_unread(cx, now, buffers)?;
            return Ok(Poll::Ready(Step::Done));
        }
        if self.is_writing() {
            // Until it is pending, so that the next question wakes this task too.
            while let Poll::Ready(inquiry) = self.outbox.poll_inquiry(cx) {
                self.answer(&inquiry);
                if inquiry.end {
                    let why = "closed by the operator, and the peer does not read";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
                }
            }
            // A peer that does not read is given no deliveries.
            if self.poll_write_rest(cx, now)?.is_ready() {
                return Ok(Poll::Ready(Step::Done));
            }
        } else if let Poll::Ready(inquiry) = self.poll_outbox(cx) {
            // An end that is asked for is among what is delivered.
            if let Some(inquiry) = inquiry {
                self.answer(&inquiry);
            }
            // Also those that were taken out of the outbox when the socket had no room for them.
            self.deliver(cx, now, &mut buffers.output)?;
            self.consume_unread(cx, now, buffers)?;
            return Ok(Poll::Ready(Step::Done));
        }
        if self.session.takes_input()
            && self.has_room()
            && self.poll_caught_up(cx).is_ready()
            && self.may_read(cx, now)
            && let Poll::Ready(step) = self.poll_read(cx, now, buffers)?
        {
            return Ok(Poll::Ready(step));
        }
        if self.poll_timeout(cx).is_ready() {
            self.session.handle_timeout(now, &mut buffers.output);
            self.flush(cx, now, &mut buffers.output)?;
            return Ok(Poll::Ready(Step::Done));
        }
        Ok(Poll::Pending)
    }

    /// Whether there is something to deliver, and what else is asked.
    fn poll_outbox(&self, cx: &Context<'_>) -> Poll<Option<Box<Inquiry>>> {
        if self.session.has_deliveries() {
            return Poll::Ready(None);
        }
        self.outbox.poll_ready(cx)
    }

    /// Says what this connection is.
    fn answer(&self, inquiry: &Inquiry) {
        for survey in &inquiry.surveys {
            if let Some(mut overview) = self.session.describe() {
                overview.is_unread = !self.unwritten.is_empty();
                survey.answer(overview);
            }
        }
    }

    /// Whether something that was put out is not with the system yet.
    fn is_writing(&self) -> bool {
        !self.unwritten.is_empty() || self.unflushed
    }

    /// Whether more may be read, as far as what waits to be written is concerned.
    fn has_room(&self) -> bool {
        if self.unwritten.held_until().is_none() {
            return self.unwritten.len() < UNWRITTEN_MAX;
        }
        self.unwritten.len() < HELD_MAX
            && self.shared.services.metadata.backlog() < metadata::BACKLOG_MAX
    }

    /// Whether the client's rate, where it is limited, lets more be read.
    fn may_read(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
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
    fn poll_read(
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
        self.session.handle_input(now, input, output);
        if let Some(throttle) = &mut self.throttle {
            let messages = u64::from(self.session.take_published());
            throttle.charge(now, received as u64, messages);
        }
        self.keep_unread(input);
        self.behind = self.behind();
        self.start_login();
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
        let round = outbox.pace().round()?;
        Some(Behind { outbox, round })
    }

    /// Ready when this connection need not wait for another one that consumes what it publishes.
    fn poll_caught_up(&mut self, cx: &Context<'_>) -> Poll<()> {
        if let Some(Behind { outbox, round }) = &self.behind
            && outbox.pace().poll_round(cx, *round).is_pending()
        {
            return Poll::Pending;
        }
        self.behind = None;
        Poll::Ready(())
    }

    /// Input that had to wait for a login or for the end of an alarm may be taken now. Writes the output.
    fn consume_unread(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let output = &mut buffers.output;
        if !self.unread.is_empty() && self.session.takes_input() {
            let mut unread = std::mem::take(&mut self.unread);
            self.session.handle_input(now, &mut unread, output);
            self.keep_unread(&unread);
            self.start_login();
            self.deliver(cx, now, output)?;
        }
        self.flush(cx, now, output)
    }

    fn keep_unread(&mut self, input: &[u8]) {
        self.unread = BytesMut::from(input);
    }

    fn start_login(&mut self) {
        if let Some(login) = self.session.take_login() {
            self.login = Some(login::check(Arc::clone(&self.shared), login));
        }
    }

    /// Encodes deliveries, and writes while there are more, as long as the peer takes them.
    fn deliver(&mut self, cx: &mut Context<'_>, now: Time, output: &mut Output) -> io::Result<()> {
        while !self.is_writing() && self.session.handle_outbox(now, WRITE_SIZE, output) {
            self.flush(cx, now, output)?;
        }
        // What is left is written by whoever called, together with whatever else there is.
        Ok(())
    }

    /// Writes the output; what the peer does not take, or what waits for the disk, is kept.
    fn flush(&mut self, cx: &mut Context<'_>, now: Time, output: &mut Output) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        if output.held_until().is_some() {
            output.release(self.shared.services.metadata.committed());
        }
        if self.unwritten.is_empty()
            && poll_write_all(Pin::new(&mut self.stream), cx, output)?.is_ready()
            && output.is_empty()
        {
            self.unflushed = false;
            self.session.handle_written(now);
            return Ok(());
        }
        self.unflushed = true;
        self.unwritten.append(output);
        Ok(())
    }

    fn poll_write_rest(&mut self, cx: &mut Context<'_>, now: Time) -> io::Result<Poll<()>> {
        loop {
            let committed = self.poll_committed(cx, now);
            if poll_write_all(Pin::new(&mut self.stream), cx, &mut self.unwritten)?.is_pending() {
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

    /// Ready when what the session waits for is on disk, or never will be.
    fn poll_safe(&mut self, cx: &Context<'_>, lsn: Lsn) -> Poll<Result<Lsn, JournalFailed>> {
        let Some(store) = &self.shared.services.store else {
            return Poll::Pending;
        };
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.lsn == lsn);
        if is_asked && !store.is_settled(lsn) {
            return Poll::Pending;
        }
        let safe = store.poll_safe(lsn, cx);
        self.asked = safe
            .is_pending()
            .then(|| Asked::new(lsn, &self.shared.busy));
        safe
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

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.session.next_timeout() else {
            return Poll::Pending;
        };
        if self.alarm.is_none_or(|alarm| deadline < alarm) {
            self.alarm = Some(deadline);
            self.sleep = Some(self.shared.clock.sleep_until(deadline));
        }
        loop {
            let Some(sleep) = &mut self.sleep else {
                return Poll::Pending;
            };
            if Pin::new(sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
            self.alarm = None;
            if deadline <= self.shared.now() {
                return Poll::Ready(());
            }
            // It was set before the deadline moved on.
            self.alarm = Some(deadline);
            self.sleep = Some(self.shared.clock.sleep_until(deadline));
        }
    }
}

/// A connection that is behind, and the round of its pace that is waited for.
struct Behind {
    outbox: Arc<Outbox>,
    round: Round,
}

/// What has been asked of the journal. Until the client has been told, something is under way.
struct Asked {
    lsn: Lsn,
    busy: BusyCount,
}

impl Asked {
    fn new(lsn: Lsn, busy: &BusyCount) -> Self {
        busy.enter();
        Self {
            lsn,
            busy: busy.clone(),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.busy.leave();
    }
}

/// A session that is told of its end.
struct Hosted<P: Protocol> {
    session: P,
    shared: Arc<Shared>,
}

impl<P: Protocol> Deref for Hosted<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.session
    }
}

impl<P: Protocol> DerefMut for Hosted<P> {
    fn deref_mut(&mut self) -> &mut P {
        &mut self.session
    }
}

impl<P: Protocol> Drop for Hosted<P> {
    /// However the connection ended, also when its task is dropped with the runtime: nothing it held is lost.
    fn drop(&mut self) {
        self.session.handle_disconnect(self.shared.now());
    }
}

/// Ends our side of the connection, and waits for the peer to end its own. If the socket were closed while something that
/// it sent is unread, the system would answer with a reset, and the peer might lose our last words.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let end = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut thrown_away = [0; 1024];
        while matches!(stream.read(&mut thrown_away).await, Ok(1..)) {}
    };
    // Whoever goes on for longer may lose them.
    let _ = tokio::time::timeout(LINGER, end).await;
}

/// Ends our side of a connection that the peer has ended: TLS has a word for that.
async fn say_goodbye<S: AsyncWrite + Unpin>(stream: &mut S) {
    // A peer that is gone hears nothing.
    let _ = tokio::time::timeout(LINGER, stream.shutdown()).await;
}

/// Ready when everything is with the system that may be.
fn poll_write_all<S: AsyncWrite>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    output: &mut Output,
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
            Poll::Ready(Ok(written)) => output.advance(written),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    // Nothing to do for a bare socket.
    Ok(match stream.poll_flush(cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(flushed) => Poll::Ready(flushed?),
    })
}

/// Who ended a connection.
enum Ended {
    BySession,
    ByPeer,
}

/// What a step came to.
enum Step {
    Done,
    PeerClosed,
}
