//! The end of a connection: the session hears of it in any case, and the peer is given the time to hear our last words.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::session::Protocol;
use crate::shared::Shared;

/// How long a connection that we have ended waits for the peer's end. It counts for no limit meanwhile, so not for long.
const LINGER: Duration = Duration::from_secs(1);

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
