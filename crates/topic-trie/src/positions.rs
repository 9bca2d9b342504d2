//! Sets of places in a key.

/// A set of positions in a key, each the number of words before it.
///
/// Holds positions below [`CAPACITY`](Self::CAPACITY) in `LANES` machine words. All methods expect positions below
/// that; with one lane each is an instruction or two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Positions<const LANES: usize> {
    lanes: [u64; LANES],
}

impl<const LANES: usize> Positions<LANES> {
    pub(crate) const CAPACITY: usize = LANES * 64;

    /// The set of `position` alone.
    #[inline]
    pub(crate) fn one(position: usize) -> Self {
        let mut set = Self { lanes: [0; LANES] };
        set.insert(position);
        set
    }

    /// All positions from `first` to `last`, both included.
    #[inline]
    pub(crate) fn range(first: usize, last: usize) -> Self {
        let mut lanes = [0; LANES];
        for (index, lane) in lanes.iter_mut().enumerate() {
            *lane = bits_from(first, index) & !bits_from(last + 1, index);
        }
        Self { lanes }
    }

    #[inline]
    pub(crate) fn insert(&mut self, position: usize) {
        self.lanes[position / 64] |= 1 << (position % 64);
    }

    #[inline]
    pub(crate) fn remove(&mut self, position: usize) {
        self.lanes[position / 64] &= !(1 << (position % 64));
    }

    #[inline]
    pub(crate) fn contains(&self, position: usize) -> bool {
        self.lanes[position / 64] & 1 << (position % 64) != 0
    }

    /// The smallest position, or `None` when there is none.
    #[inline]
    pub(crate) fn first(&self) -> Option<usize> {
        let index = self.lanes.iter().position(|lane| *lane != 0)?;
        Some(index * 64 + self.lanes[index].trailing_zeros() as usize)
    }

    /// Every position moved on by one word.
    #[inline]
    pub(crate) fn advanced(&self) -> Self {
        let mut lanes = [0; LANES];
        let mut carry = 0;
        for (moved, lane) in lanes.iter_mut().zip(&self.lanes) {
            *moved = lane << 1 | carry;
            carry = lane >> 63;
        }
        debug_assert_eq!(carry, 0, "no position leaves the set");
        Self { lanes }
    }
}

/// The bits of the lane at `index` for the positions from `first` on.
#[inline]
fn bits_from(first: usize, index: usize) -> u64 {
    match first.saturating_sub(index * 64) {
        below @ 0..64 => u64::MAX << below,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn positions<const LANES: usize>(mut set: Positions<LANES>) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        while let Some(first) = set.first() {
            assert!(set.contains(first));
            set.remove(first);
            all.insert(first);
        }
        all
    }

    fn check<const LANES: usize>() {
        let last = Positions::<LANES>::CAPACITY - 1;
        // In an interpreter all of them take an hour: there the edges alone are tried.
        let step = if cfg!(miri) { 63 } else { 1 };
        for from in (0..=last).step_by(step) {
            assert_eq!(
                positions(Positions::<LANES>::one(from)),
                BTreeSet::from([from])
            );
            for to in (from..=last).step_by(step) {
                let range = Positions::<LANES>::range(from, to);
                assert_eq!(positions(range), (from..=to).collect(), "{from}..={to}");
                if to < last {
                    assert_eq!(
                        positions(range.advanced()),
                        (from + 1..=to + 1).collect(),
                        "after {from}..={to}"
                    );
                }
            }
        }
    }

    #[test]
    fn ranges_and_steps_are_right_at_every_edge_of_a_lane() {
        check::<1>();
        check::<2>();
    }
}
