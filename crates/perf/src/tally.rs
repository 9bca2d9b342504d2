//! How many messages, and which, without a list of them.

/// A number of messages together with a fingerprint of their sequence numbers, whatever their order.
///
/// Two tallies are equal when the same messages were added to them. Where a message is missing in one and another was
/// added twice, the counts agree and the fingerprints do not, except by a chance of 1 in 2⁶⁴.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    count: u64,
    fingerprint: u64,
}

impl Tally {
    /// Adds the message with this number.
    #[inline]
    pub(crate) fn add(&mut self, sequence: u64) {
        self.count += 1;
        self.fingerprint = self.fingerprint.wrapping_add(mix(sequence));
    }

    /// Adds all messages of another tally.
    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }

    /// How many messages were added.
    pub(crate) fn count(self) -> u64 {
        self.count
    }
}

/// The finaliser of SplitMix64. A sum of the bare numbers would take 1 and 4 for 2 and 3.
#[inline]
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::default();
        for sequence in sequences {
            tally.add(sequence);
        }
        tally
    }

    #[test]
    fn order_does_not_matter() {
        assert_eq!(tally(0..100), tally((0..100).rev()));
        let mut halves = tally(0..50);
        halves.merge(tally(50..100));
        assert_eq!(halves, tally(0..100));
    }

    #[test]
    fn one_lost_and_another_doubled_is_seen() {
        assert_ne!(tally([1, 2, 3, 4]), tally([1, 2, 3, 3]));
        assert_ne!(tally([1, 4]), tally([2, 3]), "whose sums are the same");
        assert_eq!(tally([1, 4]).count(), tally([2, 3]).count());
    }
}
