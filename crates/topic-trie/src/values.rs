//! The values of one pattern.

use std::borrow::Borrow;
use std::{mem, slice};

/// The different values of one pattern, in no particular order.
///
/// Most patterns have one value, which then needs no allocation of its own.
#[derive(Clone, Default)]
pub(crate) enum Values<V> {
    /// No pattern: what a vacant slot of the arena holds.
    #[default]
    Vacant,
    One(V),
    /// Two or more.
    Several(Vec<V>),
}

impl<V> Values<V> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[V] {
        match self {
            Self::Vacant => &[],
            Self::One(value) => slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    /// Adds a value, unless it is there already. Compares it with every value of the pattern.
    pub(crate) fn insert(&mut self, value: V) -> bool
    where
        V: Eq,
    {
        if self.as_slice().contains(&value) {
            return false;
        }
        *self = match mem::take(self) {
            Self::Vacant => Self::One(value),
            Self::One(first) => Self::Several(vec![first, value]),
            Self::Several(mut values) => {
                values.push(value);
                Self::Several(values)
            }
        };
        true
    }

    /// Removes a value and says whether it was there. After the last one the slot is to be vacated.
    pub(crate) fn remove<Q>(&mut self, value: &Q) -> bool
    where
        V: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let Some(index) = self.position(value) else {
            return false;
        };
        *self = match mem::take(self) {
            Self::Vacant | Self::One(_) => Self::Vacant,
            Self::Several(mut values) => {
                values.swap_remove(index);
                match values.pop() {
                    Some(last) if values.is_empty() => Self::One(last),
                    last => {
                        values.extend(last);
                        // Memory goes back when three quarters of it are unused, but not so eagerly that a pattern
                        // whose values come and go allocates every time.
                        if values.len() * 4 <= values.capacity() {
                            values.shrink_to(values.len() * 2);
                        }
                        Self::Several(values)
                    }
                }
            }
        };
        true
    }

    pub(crate) fn is_vacant(&self) -> bool {
        matches!(self, Self::Vacant)
    }

    fn position<Q>(&self, value: &Q) -> Option<usize>
    where
        V: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.as_slice()
            .iter()
            .position(|stored| stored.borrow() == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_and_go_without_duplicates() {
        let mut values = Values::default();
        for value in 0..100u32 {
            assert!(values.insert(value));
            assert!(!values.insert(value));
        }
        assert_eq!(values.as_slice().len(), 100);
        for value in 0..100u32 {
            assert!(values.as_slice().contains(&value));
            assert!(values.remove(&value));
            assert!(!values.remove(&value));
            assert_eq!(values.as_slice().len(), 99 - value as usize);
            if let Values::Several(values) = &values {
                assert!(
                    values.len() >= 2 && values.capacity() < values.len() * 4 + 4,
                    "memory goes back"
                );
            }
        }
        assert!(values.is_vacant());
    }

    #[test]
    fn one_small_value_takes_no_more_room_than_a_vector() {
        assert_eq!(size_of::<Values<u32>>(), size_of::<Vec<u32>>());
        assert_eq!(size_of::<Values<u64>>(), size_of::<Vec<u64>>());
    }
}
