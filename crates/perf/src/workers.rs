//! The threads that producers and consumers run on.

use std::pin::Pin;
use std::thread;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::Error;

/// What one thread is to do, all at the same time.
pub(crate) type Jobs<T> = Vec<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Threads with a runtime each. A producer and a consumer never share one, so that neither waits for the other.
#[derive(Debug)]
pub(crate) struct Workers<T> {
    results: Vec<oneshot::Receiver<Vec<T>>>,
}

impl<T: Send + 'static> Workers<T> {
    /// Starts a thread for each list of jobs that has any.
    ///
    /// # Errors
    ///
    /// When the system has no more threads. Those that were started go on until their jobs are done.
    pub(crate) fn start(name: &str, lists: Vec<Jobs<T>>) -> Result<Self, Error> {
        let mut results = Vec::new();
        for jobs in lists.into_iter().filter(|jobs| !jobs.is_empty()) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::System)?;
            let (sender, receiver) = oneshot::channel();
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    // Nobody may be waiting any more.
                    let _ = sender.send(runtime.block_on(all(jobs)));
                })
                .map_err(Error::System)?;
            results.push(receiver);
        }
        Ok(Self { results })
    }

    /// Waits for all jobs; what they return is in no order. May be called again after it was cancelled.
    pub(crate) async fn finish(&mut self, outputs: &mut Vec<T>) {
        while let Some(receiver) = self.results.last_mut() {
            // A thread that panicked has said so on stderr, and its results are missing.
            let received = receiver.await.unwrap_or_default();
            outputs.extend(received);
            self.results.pop();
        }
    }
}

async fn all<T: Send + 'static>(jobs: Jobs<T>) -> Vec<T> {
    let mut set: JoinSet<T> = jobs.into_iter().collect();
    let mut outputs = Vec::with_capacity(set.len());
    while let Some(joined) = set.join_next().await {
        outputs.extend(joined);
    }
    outputs
}

/// Deals things out to so many lists in turn.
pub(crate) fn deal<T>(things: impl IntoIterator<Item = T>, lists: u16) -> Vec<Vec<T>> {
    let mut dealt: Vec<Vec<T>> = (0..lists).map(|_| Vec::new()).collect();
    let turns = (0..usize::from(lists)).cycle();
    for (thing, turn) in things.into_iter().zip(turns) {
        dealt[turn].push(thing);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_dealt_out_in_turn() {
        assert_eq!(deal(0..5, 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(deal(0..1, 3), [vec![0], vec![], vec![]]);
    }

    #[test]
    fn all_jobs_are_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let jobs = |range: std::ops::Range<u32>| -> Jobs<u32> {
            range.map(|n| Box::pin(async move { n }) as _).collect()
        };
        let mut workers = Workers::start("test", vec![jobs(0..3), jobs(0..0), jobs(3..4)]).unwrap();
        let mut outputs = Vec::new();
        runtime.block_on(workers.finish(&mut outputs));
        outputs.sort_unstable();
        assert_eq!(outputs, [0, 1, 2, 3]);
    }
}
