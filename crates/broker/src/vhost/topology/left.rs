//! The histories that know of a queue though it may not be bound to them any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::timers::TimerId;
use crate::vhost::past::Past;

/// So few are not looked through for what is gone.
const SWEEP_MIN: usize = 16;

/// See the module. Each is there once, and those that are gone do not become more than the others.
#[derive(Debug, Default)]
pub(super) struct Left {
    pasts: BTreeMap<TimerId, Weak<Past>>,
    sweep_at: usize,
}

impl Left {
    pub(super) fn add(&mut self, past: &Arc<Past>) {
        if self.pasts.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.pasts.retain(|_, past| past.strong_count() > 0);
            self.sweep_at = 2 * self.pasts.len();
        }
        self.pasts.insert(past.rank(), Arc::downgrade(past));
    }

    /// Those that are still there.
    pub(super) fn into_pasts(self) -> impl Iterator<Item = Arc<Past>> {
        self.pasts.into_values().filter_map(|past| past.upgrade())
    }
}
