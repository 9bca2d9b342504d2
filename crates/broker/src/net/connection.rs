//! One loop per connection: wait for bytes, deliveries, room or a deadline; feed the session; write what it says.

#[cfg(all(test, feature = "journal"))]
pub(super) mod by_hand;
mod ending;
mod patience;
mod reading;
#[cfg(test)]
mod tests;
mod traffic;
mod writing;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use leveret_queue_store::{Lsn, Time};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::busy::BusyCount;
use crate::clock::Sleep;
use crate::connection::{Endpoints, Registration};
use crate::metadata::Commit;
use crate::net::asking::Asking;
use crate::net::seat::Seat;
use crate::net::throttle::Throttle;
use crate::outbox::{Inquiry, Outbox};
use crate::session::{Awaited, Output, Protocol};
use crate::shared::Shared;
use crate::store::JournalFailed;

use ending::{Farewell, Hosted, linger, say_goodbye};
use patience::Patience;
use reading::{Behind, Input};
use traffic::Traffic;

/// How many reads or batches of deliveries a connection may handle before others get their turn.
const STEPS_PER_TURN: usize = 16;

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
    unread: Vec<u8>,
    /// The session did not take what it was given to the end, because it had to wait or has paused. What it left may be
    /// whole, and nobody may say anything more: it is offered again as soon as the session takes input and there is room.
    is_stopped: bool,
    /// Encoded but not written: the peer is slow.
    unwritten: Output,
    /// The transport has taken everything and not passed all of it on, as TLS does when the socket is full.
    unflushed: bool,
    /// What the next bytes wait for, when they wait for the disk.
    commit: Option<Commit>,
    /// What the session waits for, when it waits for the embedding program, which is seldom.
    asking: Option<Box<Asking>>,
    /// Only where rates are limited.
    throttle: Option<Box<Throttle>>,
    /// How many messages were published by what was read.
    published: u32,
    /// What was read last was of long messages.
    reads_long: bool,
    /// Up to where the journal has to be safe before this task is woken.
    asked: Option<Asked>,
    /// Whom this connection lets catch up before it reads on.
    behind: Option<Behind>,
    /// For how long others let this one catch up while its peer does not read.
    patience: Patience,
    traffic: Traffic,
    /// When it was accepted.
    since: Time,
    /// When the peer last took something.
    took_at: Time,
    /// Once it is to end: the peer is not waited for without end to take what is left.
    farewell: Option<Box<Farewell>>,
    /// The peer has taken as much as a step may give it: what it sends is next, or nobody would hear one that always takes all
    /// there is and is always given more.
    reads_next: bool,
    /// Set for `alarm`. It is only moved when it has fired, or must fire earlier.
    sleep: Option<Sleep>,
    alarm: Option<Time>,
}

/// The buffers of a thread, lent to the connection that is at work on it.
#[derive(Default)]
struct Buffers {
    input: Input,
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
            unread: Vec::new(),
            is_stopped: false,
            unwritten: Output::default(),
            unflushed: false,
            commit: None,
            asking: None,
            throttle: Throttle::new(&shared.config.rate_limits),
            published: 0,
            reads_long: false,
            asked: None,
            behind: None,
            patience: Patience::default(),
            traffic: Traffic::default(),
            since,
            took_at: since,
            farewell: None,
            reads_next: false,
            sleep: None,
            alarm: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protocol> Connection<S, P> {
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an async function has room for its arguments twice"
    )]
    pub(super) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            match poll_fn(|cx| self.poll(cx)).await {
                // Boxed, or every connection would have room for what its end takes as long as it lives.
                Ok(ended) => Box::pin(self.finish(ended)).await,
                Err(error) => tracing::debug!(%error, "connection lost"),
            }
        }
    }

    async fn finish(self, ended: Ended) {
        let Self {
            mut stream,
            session,
            ..
        } = self;
        drop(session);
        match ended {
            Ended::BySession => linger(&mut stream).await,
            Ended::ByPeer => say_goodbye(&mut stream).await,
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
            if self.session.is_finished() {
                return self.poll_last_words(cx);
            }
            match self.poll_step(cx, buffers)? {
                Poll::Ready(Step::Done) => {}
                Poll::Ready(Step::PeerClosed) => return Poll::Ready(Ok(Ended::ByPeer)),
                // What it has waited for was in vain.
                Poll::Pending if self.session.is_finished() => {}
                Poll::Pending => {
                    if self.poll_at_rest(cx).is_ready() {
                        self.outbox.rest();
                    }
                    return Poll::Pending;
                }
            }
        }
        // A client that always has something to say would put its end off for ever. Its heartbeat is in what has been read.
        let now = self.shared.now();
        if self.session.next_timeout().is_some_and(|at| at <= now) {
            self.handle_timeout(cx, now, &mut buffers.output)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Of a session that is finished: gives back what it held at once, writes what is left, and gives the peer some time to
    /// take it.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ended>> {
        if !self.is_writing() {
            return Poll::Ready(Ok(Ended::BySession));
        }
        let now = self.shared.now();
        // The second time there is nothing left to be given back.
        self.session.handle_disconnect(now);
        self.asking = None;
        self.asked = None;
        self.behind = None;
        self.begin_farewell(now);
        if self.poll_write_rest(cx, now)?.is_ready() {
            return Poll::Ready(Ok(Ended::BySession));
        }
        self.poll_given_up(cx, now).map(Err)
    }

    fn begin_farewell(&mut self, now: Time) {
        self.farewell.get_or_insert_with(|| Farewell::new(now));
    }

    /// Ready when the connection is to end and its peer has had enough time to take what is left.
    fn poll_given_up(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<io::Error> {
        let is_full = self.is_full();
        let Some(farewell) = &mut self.farewell else {
            return Poll::Pending;
        };
        if !is_full {
            return Poll::Pending;
        }
        ready!(farewell.poll_over(cx, now, self.took_at, &self.shared.clock));
        let why = "closed by us, and the peer does not read";
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, why))
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> io::Result<Poll<Step>> {
        let now = self.shared.now();
        if self.is_stopped && self.session.takes_input() && self.has_room() {
            self.consume_unread(cx, now, buffers)?;
            return Ok(Poll::Ready(Step::Done));
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(answer) = asking.poll(cx)
        {
            self.asking = None;
            self.session.handle_answer(now, answer, &mut buffers.output);
            self.consume_unread(cx, now, buffers)?;
            return Ok(Poll::Ready(Step::Done));
        }
        if let Some(awaited) = self.session.awaited()
            && let Poll::Ready(safe) = self.poll_safe(cx, awaited)
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
        let reads_first = std::mem::take(&mut self.reads_next);
        if reads_first && let Poll::Ready(step) = self.poll_input(cx, now, buffers)? {
            return Ok(Poll::Ready(step));
        }
        if self.is_writing() {
            // Until it is pending, so that the next question wakes this task too.
            while let Poll::Ready(inquiry) = self.outbox.poll_inquiry(cx) {
                self.answer(now, &inquiry);
            }
            // A peer that does not read is given no deliveries.
            if self.poll_write_rest(cx, now)?.is_ready() {
                return Ok(Poll::Ready(Step::Done));
            }
            if let Poll::Ready(error) = self.poll_given_up(cx, now) {
                return Err(error);
            }
        } else if let Poll::Ready(inquiry) = self.poll_outbox(cx) {
            // An end that is asked for is among what is delivered.
            if let Some(inquiry) = inquiry {
                self.answer(now, &inquiry);
            }
            // Also those that were taken out of the outbox when the socket had no room for them.
            self.deliver(cx, now, &mut buffers.output)?;
            self.consume_unread(cx, now, buffers)?;
            return Ok(Poll::Ready(Step::Done));
        }
        if !reads_first && let Poll::Ready(step) = self.poll_input(cx, now, buffers)? {
            return Ok(Poll::Ready(step));
        }
        if self
            .asking
            .as_ref()
            .is_some_and(|asking| asking.ends_with_client())
            && self.may_read(cx, now)
            && let Poll::Ready(step) = self.poll_read_ahead(cx, now, buffers)?
        {
            return Ok(Poll::Ready(step));
        }
        if self.poll_timeout(cx).is_ready() {
            self.handle_timeout(cx, now, &mut buffers.output)?;
            return Ok(Poll::Ready(Step::Done));
        }
        Ok(Poll::Pending)
    }

    /// Whether nothing but the client keeps us from reading.
    fn listens(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        self.session.takes_input()
            && self.has_room()
            && self.poll_caught_up(cx).is_ready()
            && self.may_read(cx, now)
    }

    /// Reads, if there is anything to be read and it may be.
    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffers: &mut Buffers,
    ) -> io::Result<Poll<Step>> {
        if !self.listens(cx, now) {
            return Ok(Poll::Pending);
        }
        self.poll_read(cx, now, buffers)
    }

    /// A deadline has passed. RabbitMQ blames no client for silence that it does not read from; one that does not read
    /// either is no sign of life.
    fn handle_timeout(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        output: &mut Output,
    ) -> io::Result<()> {
        if !self.listens(cx, now) {
            let there_at = if self.is_full() { self.took_at } else { now };
            self.session.handle_unheard(there_at);
        }
        self.session.handle_timeout(now, output);
        self.flush(cx, now, output)
    }

    /// Whether there is something to deliver, and what else is asked.
    fn poll_outbox(&self, cx: &Context<'_>) -> Poll<Option<Box<Inquiry>>> {
        if self.session.has_deliveries() {
            return Poll::Ready(None);
        }
        self.outbox.poll_ready(cx)
    }

    /// Says what this connection is. If it is to end it is so by what is delivered next; from now on the peer has to take
    /// what comes before that.
    fn answer(&mut self, now: Time, inquiry: &Inquiry) {
        if inquiry.end {
            self.begin_farewell(now);
        }
        for survey in &inquiry.surveys {
            if let Some(mut overview) = self.session.describe() {
                overview.is_unread = !self.unwritten.is_empty();
                overview.unwritten_bytes = self.unwritten.len();
                overview.connected_at = UNIX_EPOCH + Duration::from_millis(self.since.as_millis());
                self.traffic.describe(&mut overview);
                survey.answer(overview);
            }
        }
    }

    /// Ready when what the session waits for is on disk, or never will be.
    fn poll_safe(
        &mut self,
        cx: &Context<'_>,
        awaited: Awaited,
    ) -> Poll<Result<Lsn, JournalFailed>> {
        let Some(store) = &self.shared.services.store else {
            return Poll::Pending;
        };
        match &mut self.asked {
            Some(asked)
                if asked.awaited.first == awaited.first && !store.is_settled(awaited.first) =>
            {
                if asked.awaited.last < awaited.last {
                    asked.awaited = awaited;
                    store.want(awaited.last);
                }
                return Poll::Pending;
            }
            _ => {}
        }
        let safe = store.poll_safe(awaited.first, cx);
        self.asked = safe.is_pending().then(|| {
            store.want(awaited.last);
            Asked::new(awaited, &self.shared.busy)
        });
        safe
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

/// What has been asked of the journal. Until the client has been told, something is under way.
struct Asked {
    awaited: Awaited,
    busy: BusyCount,
}

impl Asked {
    fn new(awaited: Awaited, busy: &BusyCount) -> Self {
        busy.enter();
        Self {
            awaited,
            busy: busy.clone(),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.busy.leave();
    }
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
