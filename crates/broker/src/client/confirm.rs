//! What becomes of a published message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use leveret_queue_store::Lsn;

use crate::error::Error;
use crate::store::Store;
use crate::vhost::Services;

/// Resolves when a published message is safe with its queues, or to the reason why it is not.
///
/// The message has been published whether or not this is awaited. Polled again after it has resolved, it panics, as
/// futures do.
pub struct Confirm {
    result: Option<Result<(), Error>>,
    /// Up to where the journal has to be safe, and what knows.
    safe_at: Option<(Lsn, Arc<Store>)>,
    /// While publishers are held up by an alarm.
    released: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirm")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

impl Confirm {
    pub(super) fn new(result: Result<Option<Lsn>, Error>, services: &Arc<Services>) -> Self {
        let released = services.alarms.is_any_raised().then(|| {
            let services = Arc::clone(services);
            Box::pin(async move { services.alarms.released().await })
                as Pin<Box<dyn Future<Output = ()> + Send>>
        });
        let (result, safe_at) = match result {
            Ok(safe_at) => (Ok(()), safe_at),
            Err(error) => (Err(error), None),
        };
        Self {
            result: Some(result),
            safe_at: safe_at.zip(services.store.clone()),
            released,
        }
    }
}

impl Future for Confirm {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(released) = &mut self.released {
            std::task::ready!(released.as_mut().poll(cx));
            self.released = None;
        }
        if let Some((lsn, store)) = &self.safe_at {
            let safe = std::task::ready!(store.poll_safe(*lsn, cx));
            self.safe_at = None;
            if safe.is_err() {
                self.result = Some(Err(Error::not_stored()));
            }
        }
        Poll::Ready(
            self.result
                .take()
                .expect("a future is not polled after it has resolved"),
        )
    }
}
