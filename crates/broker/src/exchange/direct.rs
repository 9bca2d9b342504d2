//! Direct exchanges: the binding key equals the routing key.

use std::collections::HashMap;
use std::sync::Arc;

use super::Destination;

/// See the module. A key that thousands of queues share (a chat room on a direct exchange) is as cheap to change as one
/// with a single queue: destinations are counted in a map.
#[derive(Debug, Default)]
pub(crate) struct DirectRouter {
    keys: HashMap<Arc<str>, Destinations, foldhash::fast::RandomState>,
}

/// Destinations with the number of bindings that lead there: the same queue may be bound with the same key and other
/// arguments, and stays reachable until the last of these bindings is gone.
#[derive(Debug)]
enum Destinations {
    /// By far the most frequent case, without a map of its own.
    One(Destination, u32),
    Many(HashMap<Destination, u32, foldhash::fast::RandomState>),
}

impl DirectRouter {
    pub(super) fn insert(&mut self, destination: Destination, key: &Arc<str>) {
        match self.keys.get_mut(key) {
            None => {
                self.keys
                    .insert(Arc::clone(key), Destinations::One(destination, 1));
            }
            Some(destinations) => destinations.insert(destination),
        }
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &Arc<str>) {
        if self
            .keys
            .get_mut(key)
            .is_some_and(|destinations| destinations.remove(destination))
        {
            self.keys.remove(key);
        }
    }

    pub(super) fn route(&self, routing_key: &str, found: &mut dyn FnMut(Destination)) {
        match self.keys.get(routing_key) {
            None => {}
            Some(Destinations::One(destination, _)) => found(*destination),
            Some(Destinations::Many(many)) => many.keys().copied().for_each(found),
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        let mut all = Vec::new();
        for destinations in self.keys.values() {
            match destinations {
                Destinations::One(destination, _) => all.push(*destination),
                Destinations::Many(many) => all.extend(many.keys()),
            }
        }
        all
    }
}

impl Destinations {
    fn insert(&mut self, destination: Destination) {
        match self {
            Self::One(known, count) if *known == destination => *count += 1,
            Self::One(known, count) => {
                *self = Self::Many([(*known, *count), (destination, 1)].into_iter().collect());
            }
            Self::Many(many) => *many.entry(destination).or_insert(0) += 1,
        }
    }

    /// True when nothing is left.
    fn remove(&mut self, destination: Destination) -> bool {
        match self {
            Self::One(known, count) => {
                if *known == destination {
                    *count -= 1;
                }
                *count == 0
            }
            Self::Many(many) => {
                release(many, destination);
                many.is_empty()
            }
        }
    }
}

/// Takes one binding away from a counted destination.
pub(super) fn release(
    counted: &mut HashMap<Destination, u32, foldhash::fast::RandomState>,
    destination: Destination,
) {
    if let Some(count) = counted.get_mut(&destination) {
        *count -= 1;
        if *count == 0 {
            counted.remove(&destination);
        }
    }
}
