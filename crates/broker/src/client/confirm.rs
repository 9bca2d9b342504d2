//! What becomes of a published message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use leveret_queue_store::Lsn;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::store::Store;
use crate::vhost::Services;

/// Resolves when a published message is safe with its queues, or to the reason why it is not.
///
/// The message is published whether or not this is awaited. Polled again after it has resolved, it panics, as
/// futures do.
pub struct Confirm {
    result: Option<Result<(), Error>>,
    /// As long as the message could not be published.
    waits: Option<Box<Waits>>,
    /// Up to where the journal has to be safe, and what knows.
    safe_at: Option<(Lsn, Arc<Store>)>,
    /// While publishers are held up by an alarm.
    released: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What became of a message: up to where the journal must be safe before it is, if it has to be.
pub(super) type Outcome = Result<Option<Lsn>, Error>;

/// A message that waits until somebody has said that it may be published.
struct Waits {
    outcome: oneshot::Receiver<Outcome>,
    services: Arc<Services>,
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirm")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

impl Confirm {
    pub(super) fn new(result: Outcome, services: &Arc<Services>) -> Self {
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
            waits: None,
            safe_at: safe_at.zip(services.store.clone()),
            released,
        }
    }

    /// For a message that will be published when somebody has said that it may.
    pub(super) fn waiting(outcome: oneshot::Receiver<Outcome>, services: &Arc<Services>) -> Self {
        Self {
            result: None,
            waits: Some(Box::new(Waits {
                outcome,
                services: Arc::clone(services),
            })),
            safe_at: None,
            released: None,
        }
    }
}

impl Future for Confirm {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Waits { outcome, services }) = self.waits.as_deref_mut() {
            let outcome = std::task::ready!(Pin::new(outcome).poll(cx));
            // Nobody is left to publish it.
            let result = outcome.unwrap_or_else(|_| Err(Error::closed()));
            let services = Arc::clone(services);
            *self = Self::new(result, &services);
        }
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
