//! Counts what is under way, so that a test can wait until the broker has come to rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many outboxes, connection turns and timers have work that is not finished. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusyCount(Arc<AtomicUsize>);

impl BusyCount {
    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "left more often than entered");
    }

    /// Counts until the guard is dropped, also by a panic.
    pub(crate) fn during(&self) -> impl Drop + use<'_> {
        self.enter();
        Guard(self)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

struct Guard<'a>(&'a BusyCount);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
