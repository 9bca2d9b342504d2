//! A connection without a task or a socket, for tests: whoever has it is the client, and gives it its turns.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::BytesMut;
use leveret_queue_store::Time;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::Connection;
use crate::connection::{Endpoints, Registration};
use crate::net::seat::Seat;
use crate::outbox::Outbox;
use crate::session::Protocol;
use crate::shared::Shared;

/// What a socket's buffers would take in each direction.
const PIPE_SIZE: usize = 64 * 1024;

/// A client's end of a connection and the broker's, which works when it has been woken and is given a turn: one that
/// nobody wakes stands still here as it would elsewhere.
pub(crate) struct ByHand {
    client: DuplexStream,
    /// One turn of the broker's end. None when that has ended.
    poll: Option<Turn>,
    woken: Arc<Woken>,
}

type Turn = Box<dyn FnMut(&mut Context<'_>) -> Poll<io::Result<()>>>;

#[derive(Debug)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl ByHand {
    /// A connection whose session is made by `start`. None when the broker is shutting down.
    pub(crate) fn new<P: Protocol + 'static>(
        shared: &Arc<Shared>,
        start: impl FnOnce(Arc<Shared>, Registration, Arc<Outbox>, Option<Endpoints>, Time) -> P,
    ) -> Option<Self> {
        let (client, server) = tokio::io::duplex(PIPE_SIZE);
        let mut connection = Connection::new(server, Seat::take(shared, None)?, shared, start);
        Some(Self {
            client,
            poll: Some(Box::new(move |cx| {
                connection.poll(cx).map(|ended| ended.map(drop))
            })),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        })
    }

    /// Gives the broker's end its turns, as long as it is woken. Says whether it had one.
    pub(crate) fn turn(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        let mut turned = false;
        while let Some(poll) = &mut self.poll
            && self.woken.0.swap(false, Ordering::SeqCst)
        {
            turned = true;
            if poll(&mut cx).is_ready() {
                self.poll = None;
            }
        }
        turned
    }

    /// Sends what fits from the front of `bytes`, and leaves the rest.
    pub(crate) fn send(&mut self, bytes: &mut BytesMut) {
        let mut cx = Context::from_waker(Waker::noop());
        while !bytes.is_empty() && self.poll.is_some() {
            let written = pin!(self.client.write_buf(bytes)).poll(&mut cx);
            if !matches!(written, Poll::Ready(Ok(1..))) {
                return;
            }
        }
    }

    /// Appends what has come.
    pub(crate) fn hear(&mut self, heard: &mut BytesMut) {
        let mut cx = Context::from_waker(Waker::noop());
        while matches!(
            pin!(self.client.read_buf(heard)).poll(&mut cx),
            Poll::Ready(Ok(1..))
        ) {}
    }

    /// The broker has ended the connection.
    pub(crate) fn has_ended(&self) -> bool {
        self.poll.is_none()
    }
}
