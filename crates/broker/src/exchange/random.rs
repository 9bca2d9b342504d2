//! `x-random`: each message goes to one of the bindings, by chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Destination;
use crate::random::mix;

/// See the module. The sequence of choices follows from its seed.
#[derive(Debug)]
pub(crate) struct RandomRouter {
    bindings: Vec<(Destination, Arc<str>)>,
    state: AtomicU64,
}

impl RandomRouter {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            bindings: Vec::new(),
            state: AtomicU64::new(seed),
        }
    }

    pub(super) fn insert(&mut self, destination: Destination, key: &Arc<str>) {
        self.bindings.push((destination, Arc::clone(key)));
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &Arc<str>) {
        let at = self
            .bindings
            .iter()
            .position(|(known, by)| *known == destination && by == key);
        if let Some(at) = at {
            self.bindings.swap_remove(at);
        }
    }

    pub(super) fn route(&self, found: &mut dyn FnMut(Destination)) {
        if !self.bindings.is_empty() {
            let chance = mix(self.state.fetch_add(1, Ordering::Relaxed));
            found(self.bindings[(chance % self.bindings.len() as u64) as usize].0);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bindings
            .iter()
            .map(|(destination, _)| *destination)
            .collect()
    }
}
