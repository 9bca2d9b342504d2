//! The task behind the deadlines of all queues.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::task::yield_now;

use crate::shared::Shared;

/// How many are run before others have the thread.
const RUN_MAX: usize = 16;

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
            run_due(&shared).await;
        }
    }
}

/// Runs what is due now. What becomes due by that comes next, with what has become due meanwhile.
async fn run_due(shared: &Shared) {
    let now = shared.now();
    // Between being taken and having run, what is due is nowhere else to be seen.
    let _busy = shared.busy.during();
    let all = shared.services.timers.take_due(now);
    for some in all.chunks(RUN_MAX) {
        for due in some.iter().filter_map(Weak::upgrade) {
            due.run(now);
        }
        yield_now().await;
    }
}
