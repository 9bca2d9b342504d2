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
        if !commit(metadata, &mut store, &batch) {
            break;
        }
    }
    drop(panics);
}

/// Writes what has gathered, for whoever drives a store without a thread. False when nothing more will be written.
#[cfg(test)]
pub(crate) fn turn(metadata: &Metadata, store: &mut Store) -> bool {
    metadata
        .try_take()
        .is_none_or(|batch| commit(metadata, store, &batch))
}

/// Writes what was taken and tells everybody. False when nothing more will be written.
fn commit(metadata: &Metadata, store: &mut Store, batch: &Batch) -> bool {
    match write(metadata, store, batch) {
        Ok(()) => {
            metadata.set_committed(batch.last);
            true
        }
        Err(reason) => {
            tracing::error!(
                %reason,
                "durable definitions cannot be stored any more: declarations of durable exchanges and queues are refused"
            );
            metadata.fail(&reason);
            false
        }
    }
}

/// Tries until there is room, or the broker stops.
fn write(metadata: &Metadata, store: &mut Store, batch: &Batch) -> Result<(), String> {
    let mut told = false;
    loop {
        let error = match store.apply(&batch.changes, metadata.next_key()) {
            Ok(()) => {
                if told {
                    tracing::info!("durable definitions are stored again");
                }
                return Ok(());
            }
            Err(error) => error,
        };
        if !error.is_disk_full() {
            return Err(error.to_string());
        }
        if !told {
            told = true;
            tracing::error!(
                %error,
                "durable definitions wait to be stored: their declarations are answered once there is room"
            );
        }
        reopen(metadata, store, error)?;
    }
}

/// After an error the database has to be opened anew, which may need room as well.
fn reopen(metadata: &Metadata, store: &mut Store, mut error: WriteError) -> Result<(), String> {
    while error.is_disk_full() && metadata.wait_to_retry(RETRY_AFTER) {
        match store.reopen() {
            Ok(()) => return Ok(()),
            Err(again) => error = again,
        }
    }
    Err(error.to_string())
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
