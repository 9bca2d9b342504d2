//! The end of a connection: the session hears of it in any case, and the peer is given the time to hear our last words.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use leveret_queue_store::Time;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::clock::{Clock, Sleep};
use crate::session::Protocol;
use crate::shared::Shared;

/// How long a connection that we have ended waits for the peer's end. It counts for no limit meanwhile, so not for long.
const LINGER: Duration = Duration::from_secs(1);

/// A peer that takes nothing of what is left for it is given up after so many milliseconds: as long as for [`LINGER`].
const LEFT_FULL_MS_MAX: u64 = 1_000;

/// So long, in milliseconds, the peer may take for all that is left. As long as RabbitMQ waits for an answer to
/// connection.close, and enough for what a window holds at 160 kbit/s.
const LEFT_MS_MAX: u64 = 30_000;

/// The time that a peer has, whose connection is to end, to take what is left for it.
#[derive(Debug)]
pub(super) struct Farewell {
    since: Time,
    sleep: Option<(Time, Sleep)>,
}

impl Farewell {
    pub(super) fn new(now: Time) -> Box<Self> {
        Box::new(Self {
            since: now,
            sleep: None,
        })
    }

    /// Ready when the time is over of a peer that has taken something at `took_at`, and has not taken all; else the task is
    /// woken when it is.
    pub(super) fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        took_at: Time,
        clock: &Clock,
    ) -> Poll<()> {
        let full_since = self.since.max(took_at);
        let over_at = full_since
            .saturating_add(LEFT_FULL_MS_MAX)
            .min(self.since.saturating_add(LEFT_MS_MAX));
        loop {
            if over_at <= now {
                return Poll::Ready(());
            }
            let (at, sleep) = self
                .sleep
                .get_or_insert_with(|| (over_at, clock.sleep_until(over_at)));
            if Pin::new(sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if *at == over_at {
                return Poll::Ready(());
            }
            // It was set before the peer took something.
            self.sleep = None;
        }
    }
}

/// A session that is told of its end.
pub(super) struct Hosted<P: Protocol> {
    pub(super) session: P,
    pub(super) shared: Arc<Shared>,
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
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
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
pub(super) async fn say_goodbye<S: AsyncWrite + Unpin>(stream: &mut S) {
    // A peer that is gone hears nothing.
    let _ = tokio::time::timeout(LINGER, stream.shutdown()).await;
}
