//! What the fuzz targets run. `operations`: a list of operations on a queue and on a naive twin, compared after
//! each. The queue has messages taken out of memory and brought back, and is rebuilt from what its
//! effects left on disk; the twin knows nothing of that. `journal`: anything as
//! the files of a journal.
//!
//! Not part of the interface. It is compiled in normal builds so that it cannot rot, and a stable
//! tests run it over random input (`tests/against_model.rs`, `tests/journal_files.rs`).

mod disk;
mod journal;
mod model;
mod operation;
mod twins;

pub use journal::journal;
use operation::{Operation, Source};
use twins::Twins;

/// Reads options and operations from bytes and carries them out on both. Any bytes mean something.
///
/// # Panics
///
/// When the queue and its twin disagree.
pub fn operations(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut twins = Twins::new(&mut source);
    while let Some(operation) = Operation::read(&mut source) {
        twins.apply(operation);
    }
    twins.drain();
}
