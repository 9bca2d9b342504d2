//! Waiting for a change to reach the disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Metadata, Ticket, refusal};
use crate::error::Refusal;

/// Ready when a ticket is committed; with the refusal to pass on when it never will be.
///
/// Dropping it changes nothing but that nobody is woken: the change is made and will be written.
#[derive(Debug)]
pub(crate) struct Commit {
    metadata: Arc<Metadata>,
    ticket: Ticket,
    /// The place among the waiters, once it has one.
    waiter: Option<u64>,
}

impl Commit {
    pub(super) fn new(metadata: Arc<Metadata>, ticket: Ticket) -> Self {
        Self {
            metadata,
            ticket,
            waiter: None,
        }
    }

    /// What is waited for.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }
}

impl Future for Commit {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.ticket <= this.metadata.committed() {
            return Poll::Ready(Ok(()));
        }
        let mut state = this.metadata.state.lock();
        // Commits and failures are told under the lock, so that neither can fall between the look and the registration.
        if this.ticket <= this.metadata.committed() {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = &state.failure {
            return Poll::Ready(Err(refusal(reason)));
        }
        let number = *this.waiter.get_or_insert_with(|| {
            state.next_waiter += 1;
            state.next_waiter
        });
        match state.waiters.get_mut(&(this.ticket, number)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                state
                    .waiters
                    .insert((this.ticket, number), cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if let Some(number) = self.waiter {
            let waker = {
                let mut state = self.metadata.state.lock();
                state.waiters.remove(&(self.ticket, number))
            };
            drop(waker);
        }
    }
}
