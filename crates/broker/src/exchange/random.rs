//! `x-random`: each message goes to one of the bindings, by chance.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Destination;
use super::shares::{ShareId, Shares};
use crate::random::mix;

/// See the module. The sequence of choices follows from its seed.
#[derive(Debug)]
pub(crate) struct RandomRouter {
    /// Each binding has one place.
    places: Shares,
    /// Which of a destination's bindings is which makes no difference.
    bindings: BTreeSet<(Destination, ShareId)>,
    state: AtomicU64,
}

impl RandomRouter {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            places: Shares::default(),
            bindings: BTreeSet::new(),
            state: AtomicU64::new(seed),
        }
    }

    pub(super) fn insert(&mut self, destination: Destination) {
        let place = self.places.push(destination, 1);
        self.bindings.insert((destination, place));
    }

    pub(super) fn remove(&mut self, destination: Destination) {
        let mut from = self.bindings.range((destination, ShareId::MIN)..);
        if let Some(&(found, place)) = from.next()
            && found == destination
        {
            self.places.remove(place);
            self.bindings.remove(&(destination, place));
        }
    }

    pub(super) fn route(&self, found: &mut dyn FnMut(Destination)) {
        if self.places.total() > 0 {
            let chance = mix(self.state.fetch_add(1, Ordering::Relaxed));
            let place = self.places.at(chance % self.places.total());
            place.into_iter().for_each(found);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.places.destinations().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::QueueId;

    #[test]
    fn every_binding_has_its_chance_until_it_is_removed() {
        let [one, other, third] = [0, 1, 2].map(|id| Destination::Queue(QueueId(id)));
        let mut router = RandomRouter::new(1);
        for destination in [one, other, other, other, third] {
            router.insert(destination);
        }
        router.remove(third);
        router.remove(third);
        let mut chosen = Vec::new();
        (0..4000).for_each(|_| router.route(&mut |destination| chosen.push(destination)));
        assert_eq!(chosen.len(), 4000);
        let often = chosen.iter().filter(|it| **it == other).count();
        assert!((2700..3300).contains(&often), "{often}");
        let seldom = chosen.iter().filter(|it| **it == one).count();
        assert_eq!(seldom + often, 4000);
    }

    #[test]
    fn many_bindings_are_removed_in_a_moment() {
        const BINDINGS: u32 = 50_000;
        let queue = |n| Destination::Queue(QueueId(n));
        let mut router = RandomRouter::new(1);
        (0..BINDINGS).for_each(|n| router.insert(queue(n % 2)));
        (0..BINDINGS).for_each(|n| router.remove(queue(n % 2)));
        assert_eq!(router.destinations(), []);
    }
}
