//! The task behind the deadlines of all queues.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::shared::Shared;

/// Sleeps until the earliest deadline, carries it out, and so on until it is dropped. Costs nothing while no queue has
/// one.
pub(crate) async fn run_timers(shared: Arc<Shared>) {
    loop {
        let earliest = shared.services.timers.earliest();
        let mut sleep = earliest.map(|at| shared.clock.sleep_until(at));
        let is_due = poll_fn(|cx| {
            if let Some(sleep) = &mut sleep
                && Pin::new(sleep).poll(cx).is_ready()
            {
                return Poll::Ready(true);
            }
            shared
                .services
                .timers
                .poll_changed(earliest, cx)
                .map(|()| false)
        })
        .await;
        if is_due {
            shared.run_timers();
        }
    }
}
