//! Topic exchanges: the binding key is a pattern.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_topic_trie::TopicTrie;
use slab::Slab;

use super::{Destination, ExchangeId, QueueId};

type Hasher = foldhash::fast::RandomState;

/// Up to so many destinations of one pattern are compared with each that comes or goes. In a room with more they have an
/// index of their own, until it is a quarter of that again.
const FEW: usize = 256;

/// See the module. The trie keeps each (pattern, destination) once; what is bound again with other arguments is counted
/// beside it.
#[derive(Debug, Default)]
pub(crate) struct TopicRouter {
    trie: TopicTrie<Leaf, Hasher>,
    /// Patterns that very many destinations share.
    crowds: Slab<Crowd>,
    crowd_of: HashMap<Arc<str>, usize, Hasher>,
    /// How many bindings beyond the first a (pattern, destination) has. Nearly always empty.
    repeated: HashMap<(Arc<str>, Destination), u32, Hasher>,
}

/// What a pattern leads to: a [`Destination`], or all of a crowd, which is then alone there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Queue(QueueId),
    Exchange(ExchangeId),
    Crowd(u32),
}

impl From<Destination> for Leaf {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Queue(id) => Self::Queue(id),
            Destination::Exchange(id) => Self::Exchange(id),
        }
    }
}

/// The destinations of one pattern, in no particular order.
#[derive(Debug, Default)]
struct Crowd {
    members: Vec<Destination>,
    /// Where each of them stands.
    places: HashMap<Destination, usize, Hasher>,
}

impl Crowd {
    /// False when it was there already.
    fn insert(&mut self, destination: Destination) -> bool {
        let place = self.members.len();
        if *self.places.entry(destination).or_insert(place) != place {
            return false;
        }
        self.members.push(destination);
        true
    }

    fn remove(&mut self, destination: Destination) {
        let Some(place) = self.places.remove(&destination) else {
            return;
        };
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(*moved, place);
        }
    }
}

impl TopicRouter {
    pub(super) fn insert(&mut self, destination: Destination, key: &Arc<str>) {
        let is_new = match self.crowd_of.get(key) {
            Some(crowd) => self.crowds[*crowd].insert(destination),
            None => {
                let is_new = self.trie.insert(key, destination.into());
                if is_new && self.trie.values(key).len() > FEW {
                    self.gather(key);
                }
                is_new
            }
        };
        if !is_new {
            *self
                .repeated
                .entry((Arc::clone(key), destination))
                .or_insert(0) += 1;
        }
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &Arc<str>) {
        if !self.repeated.is_empty() {
            let repeated = (Arc::clone(key), destination);
            if let Some(count) = self.repeated.get_mut(&repeated) {
                *count -= 1;
                if *count == 0 {
                    self.repeated.remove(&repeated);
                }
                return;
            }
        }
        let Some(&crowd) = self.crowd_of.get(key) else {
            self.trie.remove(key, &Leaf::from(destination));
            return;
        };
        self.crowds[crowd].remove(destination);
        if self.crowds[crowd].members.len() <= FEW / 4 {
            self.scatter(key, crowd);
        }
    }

    /// Makes a crowd of what a pattern leads to.
    fn gather(&mut self, key: &Arc<str>) {
        let leaves = self.trie.values(key).to_vec();
        let mut crowd = Crowd::default();
        for leaf in leaves {
            match leaf {
                Leaf::Queue(id) => crowd.insert(Destination::Queue(id)),
                Leaf::Exchange(id) => crowd.insert(Destination::Exchange(id)),
                Leaf::Crowd(_) => continue,
            };
            self.trie.remove(key, &leaf);
        }
        let id = self.crowds.insert(crowd);
        self.crowd_of.insert(Arc::clone(key), id);
        self.trie.insert(key, crowd_leaf(id));
    }

    /// The opposite.
    fn scatter(&mut self, key: &Arc<str>, crowd: usize) {
        self.crowd_of.remove(key);
        self.trie.remove(key, &crowd_leaf(crowd));
        for destination in self.crowds.remove(crowd).members {
            self.trie.insert(key, destination.into());
        }
    }

    pub(super) fn route(&self, routing_key: &str, found: &mut dyn FnMut(Destination)) {
        self.trie.for_each_match(routing_key, |leaf| match *leaf {
            Leaf::Queue(id) => found(Destination::Queue(id)),
            Leaf::Exchange(id) => found(Destination::Exchange(id)),
            Leaf::Crowd(crowd) => {
                let members = &self.crowds[crowd as usize].members;
                members.iter().copied().for_each(&mut *found);
            }
        });
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        let leaves = self.trie.iter().filter_map(|(_, leaf)| match *leaf {
            Leaf::Queue(id) => Some(Destination::Queue(id)),
            Leaf::Exchange(id) => Some(Destination::Exchange(id)),
            Leaf::Crowd(_) => None,
        });
        let crowds = self.crowds.iter();
        leaves
            .chain(crowds.flat_map(|(_, crowd)| crowd.members.iter().copied()))
            .collect()
    }
}

/// A crowd takes more memory than four billion of them could have.
fn crowd_leaf(crowd: usize) -> Leaf {
    Leaf::Crowd(u32::try_from(crowd).expect("fewer than 2^32 crowds"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::mix;

    fn queue(id: u64) -> Destination {
        Destination::Queue(QueueId(id as u32))
    }

    fn found(router: &TopicRouter, key: &str) -> Vec<Destination> {
        let mut found = Vec::new();
        router.route(key, &mut |destination| found.push(destination));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_room_of_any_size_leads_to_those_who_are_in_it() {
        let keys: [Arc<str>; 3] = ["room.a", "room.*", ""].map(Arc::from);
        let mut router = TopicRouter::default();
        let mut naive: BTreeMap<(usize, Destination), u32> = BTreeMap::new();
        for step in 0..12_000_u64 {
            let chance = mix(step);
            // Fills up, empties, and fills up again.
            let comes = chance % 8 < [7, 1, 7, 0][step as usize / 3000];
            let at = (chance >> 8) as usize % 3;
            let destination = queue((chance >> 16) % 400);
            let bindings = naive.entry((at, destination)).or_default();
            if comes {
                *bindings += 1;
                router.insert(destination, &keys[at]);
            } else if *bindings > 0 {
                *bindings -= 1;
                router.remove(destination, &keys[at]);
            }
            if *bindings == 0 {
                naive.remove(&(at, destination));
            }
            if step % 50 == 0 {
                let of = |at: usize| naive.keys().filter(move |it| it.0 == at).map(|it| it.1);
                let mut wanted: Vec<_> = of(0).chain(of(1)).collect();
                wanted.sort_unstable();
                assert_eq!(found(&router, "room.a"), wanted, "step {step}");
                assert_eq!(found(&router, ""), of(2).collect::<Vec<_>>());
                let mut known = router.destinations();
                known.sort_unstable();
                let mut wanted: Vec<_> = naive.keys().map(|it| it.1).collect();
                wanted.sort_unstable();
                assert_eq!(known, wanted);
            }
        }
    }

    #[test]
    fn a_very_large_room_fills_and_empties_in_a_moment() {
        const QUEUES: u64 = 50_000;
        let key: Arc<str> = Arc::from("#");
        let mut router = TopicRouter::default();
        (0..QUEUES).for_each(|id| router.insert(queue(id), &key));
        assert_eq!(found(&router, "any").len() as u64, QUEUES);
        (0..QUEUES).for_each(|id| router.remove(queue(id), &key));
        assert_eq!(router.destinations(), []);
        assert!(router.crowds.is_empty() && router.crowd_of.is_empty());
    }
}
