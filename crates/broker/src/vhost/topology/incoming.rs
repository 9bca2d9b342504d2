//! The bindings that lead to one destination.

use std::collections::HashMap;

use super::{Binding, Hasher};
use crate::exchange::ExchangeId;
use crate::quota::Seat;

/// So few are looked through one by one when an exchange goes. A map for each source would take more than they do.
const FEW: usize = 32;

/// Bindings, each with its place among those of the connection that has made it.
type Bindings = HashMap<Binding, Option<Seat>, Hasher>;

/// See the module. A binding is there once at most.
#[derive(Debug)]
pub(super) enum Incoming {
    Few(Bindings),
    /// By their sources, from the first beyond the few on.
    Many(HashMap<ExchangeId, Bindings, Hasher>),
}

impl Default for Incoming {
    fn default() -> Self {
        Self::Few(HashMap::default())
    }
}

impl Incoming {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(bindings) => bindings.is_empty(),
            Self::Many(by_source) => by_source.is_empty(),
        }
    }

    pub(super) fn contains(&self, binding: &Binding) -> bool {
        let bindings = match self {
            Self::Few(bindings) => Some(bindings),
            Self::Many(by_source) => by_source.get(&binding.source),
        };
        bindings.is_some_and(|bindings| bindings.contains_key(binding))
    }

    /// Adds a binding that is not there.
    pub(super) fn insert(&mut self, binding: Binding, seat: Option<Seat>) {
        if let Self::Few(bindings) = self
            && bindings.len() >= FEW
        {
            let mut by_source: HashMap<_, Bindings, _> = HashMap::default();
            for (binding, seat) in std::mem::take(bindings) {
                let of_source = by_source.entry(binding.source).or_default();
                of_source.insert(binding, seat);
            }
            *self = Self::Many(by_source);
        }
        let bindings = match self {
            Self::Few(bindings) => bindings,
            Self::Many(by_source) => by_source.entry(binding.source).or_default(),
        };
        bindings.insert(binding, seat);
    }

    /// False when it was not there.
    pub(super) fn remove(&mut self, binding: &Binding) -> bool {
        match self {
            Self::Few(bindings) => bindings.remove(binding).is_some(),
            Self::Many(by_source) => {
                let Some(bindings) = by_source.get_mut(&binding.source) else {
                    return false;
                };
                let was_there = bindings.remove(binding).is_some();
                if bindings.is_empty() {
                    by_source.remove(&binding.source);
                }
                was_there
            }
        }
    }

    /// Removes those that come from one exchange.
    pub(super) fn take_from(&mut self, source: ExchangeId) -> Vec<Binding> {
        match self {
            Self::Few(bindings) => {
                let of_source = |binding: &Binding, _: &mut _| binding.source == source;
                let taken = bindings.extract_if(of_source);
                taken.map(|(binding, _)| binding).collect()
            }
            Self::Many(by_source) => {
                let taken = by_source.remove(&source);
                taken.into_iter().flatten().map(|it| it.0).collect()
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Binding> {
        let (few, many) = match self {
            Self::Few(bindings) => (Some(bindings), None),
            Self::Many(by_source) => (None, Some(by_source.values())),
        };
        few.into_iter()
            .chain(many.into_iter().flatten())
            .flat_map(HashMap::keys)
    }

    pub(super) fn into_bindings(self) -> impl Iterator<Item = Binding> {
        let (few, many) = match self {
            Self::Few(bindings) => (Some(bindings), None),
            Self::Many(by_source) => (None, Some(by_source.into_values())),
        };
        let all = few.into_iter().chain(many.into_iter().flatten());
        all.flatten().map(|(binding, _)| binding)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::random::mix;

    #[test]
    fn few_and_many_are_the_same_bindings() {
        for sources in [1, 3, 60] {
            let mut incoming = Incoming::default();
            let mut naive: HashSet<Binding> = HashSet::new();
            for step in 0..2000_u64 {
                let chance = mix(step);
                let binding = Binding {
                    source: ExchangeId((chance >> 8) as u32 % sources),
                    key: Arc::from((chance % 7).to_string()),
                    arguments: None,
                };
                assert_eq!(incoming.contains(&binding), naive.contains(&binding));
                match (chance >> 40) % 16 {
                    0..9 if !naive.contains(&binding) => {
                        incoming.insert(binding.clone(), None);
                        naive.insert(binding);
                    }
                    0..15 => assert_eq!(incoming.remove(&binding), naive.remove(&binding)),
                    _ => {
                        let taken = incoming.take_from(binding.source);
                        let of_source = |it: &Binding| it.source == binding.source;
                        let wanted: HashSet<_> = naive.extract_if(of_source).collect();
                        assert_eq!(taken.len(), wanted.len());
                        assert_eq!(taken.into_iter().collect::<HashSet<_>>(), wanted);
                    }
                }
                assert_eq!(incoming.is_empty(), naive.is_empty());
                assert_eq!(incoming.iter().count(), naive.len());
            }
            let left: HashSet<_> = incoming.into_bindings().collect();
            assert_eq!(left, naive);
        }
    }
}
