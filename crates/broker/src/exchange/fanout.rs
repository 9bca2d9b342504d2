//! Fanout exchanges: every binding, whatever the key.

use std::collections::HashMap;

use super::Destination;
use super::direct::release;

/// See the module. Destinations are counted: one queue may be bound with several keys.
#[derive(Debug, Default)]
pub(crate) struct FanoutRouter {
    destinations: HashMap<Destination, u32, foldhash::fast::RandomState>,
}

impl FanoutRouter {
    pub(super) fn insert(&mut self, destination: Destination) {
        *self.destinations.entry(destination).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, destination: Destination) {
        release(&mut self.destinations, destination);
    }

    pub(super) fn route(&self, found: &mut dyn FnMut(Destination)) {
        self.destinations.keys().copied().for_each(found);
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.destinations.keys().copied().collect()
    }
}
