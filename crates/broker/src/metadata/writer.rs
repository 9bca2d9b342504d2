//! The thread that brings changes to the disk.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::store::WriteError;
use super::{Batch, Metadata, Store};

/// How long to wait before a full disk is tried again. Soon enough that nobody notices once there is room, seldom enough
/// that trying costs nothing.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A thread that sleeps until there are changes, and writes all that have gathered in one transaction.
///
/// Dropping it writes what has been recorded, and waits for that: a transaction's time, as a rule some milliseconds.
#[derive(Debug)]
pub(crate) struct Writer {
    metadata: Arc<Metadata>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(metadata: &Arc<Metadata>, store: Store) -> io::Result<Self> {
        let work = {
            let metadata = Arc::clone(metadata);
            move || run(&metadata, store)
        };
        let thread = std::thread::Builder::new()
            .name("leveret-metadata".to_owned())
            .spawn(work)?;
        Ok(Self {
            metadata: Arc::clone(metadata),
            thread: Some(thread),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.metadata.close();
        if let Some(thread) = self.thread.take() {
            // It has told everybody already, if it ended in a panic.
            let _ = thread.join();
        }
    }
}

/// Writes until the broker stops or the store fails.
pub(super) fn run(metadata: &Metadata, mut store: Store) {
    let panics = FailOnPanic(metadata);
    while let Some(batch) = metadata.take() {
        let mut work = Work::new(batch);
        while let Some(full) = work.attempt(metadata, &mut store) {
            if !metadata.wait_to_retry(RETRY_AFTER) {
                fail(metadata, &full.to_string());
                break;
            }
        }
        if metadata.check().is_err() {
            break;
        }
    }
    drop(panics);
}

fn fail(metadata: &Metadata, reason: &str) {
    tracing::error!(
        %reason,
        "durable definitions cannot be stored any more: declarations of durable exchanges and queues are refused"
    );
    metadata.fail(reason);
}

/// What is being written, with several attempts while the disk is full.
#[derive(Debug)]
struct Work {
    batch: Batch,
    /// After an error the database has to be opened anew, which may need room as well.
    must_reopen: bool,
    told: bool,
}

impl Work {
    fn new(batch: Batch) -> Self {
        Self {
            batch,
            must_reopen: false,
            told: false,
        }
    }

    /// Tries once, and tells everybody of the outcome. The error of a full disk when there has to be another attempt.
    fn attempt(&mut self, metadata: &Metadata, store: &mut Store) -> Option<WriteError> {
        let error = match self.write(metadata, store) {
            Ok(()) => {
                if self.told {
                    tracing::info!("durable definitions are stored again");
                }
                metadata.set_committed(self.batch.last);
                return None;
            }
            Err(error) => error,
        };
        if !error.is_disk_full() {
            fail(metadata, &error.to_string());
            return None;
        }
        self.must_reopen = true;
        if !self.told {
            self.told = true;
            tracing::error!(
                %error,
                "durable definitions wait to be stored: their declarations are answered once there is room"
            );
        }
        metadata.note_full();
        Some(error)
    }

    fn write(&mut self, metadata: &Metadata, store: &mut Store) -> Result<(), WriteError> {
        if self.must_reopen {
            store.reopen()?;
            self.must_reopen = false;
        }
        store.apply(&self.batch.changes, metadata.next_key())
    }
}

/// Writes definitions without a thread, for whoever drives a broker by hand.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ByHand {
    store: Store,
    work: Option<Work>,
}

#[cfg(test)]
impl ByHand {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, work: None }
    }

    /// Makes one attempt at what has gathered, or at what the disk was too full for.
    pub(crate) fn turn(&mut self, metadata: &Metadata) {
        if self.work.is_none() && metadata.check().is_ok() {
            self.work = metadata.try_take().map(Work::new);
        }
        if let Some(work) = &mut self.work
            && work.attempt(metadata, &mut self.store).is_none()
        {
            self.work = None;
        }
    }
}

/// Whoever waits for the thread is told when it ends in a panic.
struct FailOnPanic<'a>(&'a Metadata);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the thread that writes them ended in a panic");
        }
    }
}
