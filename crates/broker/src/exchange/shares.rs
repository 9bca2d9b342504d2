//! Destinations that lie side by side on a line, each as long as its share.

use super::Destination;

/// Names a share for as long as it is there. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ShareId(u64);

impl ShareId {
    pub(super) const MIN: Self = Self(0);
}

/// Shares in the order in which they were added; a removed one leaves no gap.
///
/// Adding, removing and finding what lies somewhere take steps in proportion to the logarithm of their number, and memory
/// in proportion to it, whatever their sizes.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// In order. A removed one stays with the size 0 until half of all are such.
    entries: Vec<Entry>,
    /// A Fenwick tree: the sum at `n` is that of the sizes of the entries from `n & (n + 1)` up to `n`.
    sums: Vec<u64>,
    removed: usize,
    total: u64,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    id: ShareId,
    destination: Destination,
    size: u32,
}

impl Shares {
    /// The length of the line.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Adds a share of at least 1 to the end.
    pub(super) fn push(&mut self, destination: Destination, size: u32) -> ShareId {
        debug_assert!(size > 0, "a removed share has the size 0");
        let id = ShareId(self.next);
        self.next += 1;
        self.total += u64::from(size);
        self.entries.push(Entry {
            id,
            destination,
            size,
        });
        self.push_sum(size);
        id
    }

    fn push_sum(&mut self, size: u32) {
        let at = self.sums.len();
        let first = at & (at + 1);
        let mut sum = u64::from(size);
        let mut end = at;
        while end > first {
            sum += self.sums[end - 1];
            end &= end - 1;
        }
        self.sums.push(sum);
    }

    /// Removes a share, if it is there.
    pub(super) fn remove(&mut self, id: ShareId) {
        let Ok(at) = self.entries.binary_search_by_key(&id, |entry| entry.id) else {
            return;
        };
        let size = u64::from(std::mem::take(&mut self.entries[at].size));
        if size == 0 {
            return;
        }
        self.total -= size;
        let mut at = at;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum -= size;
            at |= at + 1;
        }
        self.removed += 1;
        if self.removed * 2 > self.entries.len() {
            self.sweep();
        }
    }

    /// Forgets those that were removed.
    fn sweep(&mut self) {
        self.removed = 0;
        self.entries.retain(|entry| entry.size > 0);
        self.entries.shrink_to_fit();
        self.sums = Vec::with_capacity(self.entries.len());
        for at in 0..self.entries.len() {
            self.push_sum(self.entries[at].size);
        }
    }

    /// What lies so far from the beginning of the line.
    pub(super) fn at(&self, offset: u64) -> Option<Destination> {
        if offset >= self.total {
            return None;
        }
        let (mut before, mut rest) = (0, offset);
        let mut step = self.sums.len().next_power_of_two();
        while step > 0 {
            if let Some(&sum) = self.sums.get(before + step - 1)
                && sum <= rest
            {
                rest -= sum;
                before += step;
            }
            step /= 2;
        }
        self.entries.get(before).map(|entry| entry.destination)
    }

    /// The destinations of all shares, in order.
    pub(super) fn destinations(&self) -> impl Iterator<Item = Destination> {
        let there = self.entries.iter().filter(|entry| entry.size > 0);
        there.map(|entry| entry.destination)
    }

    /// How many places are held, those of removed ones included.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.entries.capacity().max(self.sums.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::QueueId;
    use crate::random::mix;

    fn queue(id: u64) -> Destination {
        Destination::Queue(QueueId(id as u32))
    }

    /// What lies at each place of the line, written out.
    fn line(shares: &[(ShareId, Destination, u32)]) -> Vec<Destination> {
        let spread = |(_, destination, size): &_| std::iter::repeat_n(*destination, *size as usize);
        shares.iter().flat_map(spread).collect()
    }

    #[test]
    fn shares_lie_as_in_a_line_that_is_written_out() {
        for seed in 0..40_u64 {
            let mut shares = Shares::default();
            let mut naive: Vec<(ShareId, Destination, u32)> = Vec::new();
            for step in 0..120_u64 {
                let chance = mix(seed << 32 | step);
                // Grows at first, and shrinks to nothing in the end.
                if !naive.is_empty() && chance % 120 < step {
                    let (id, ..) = naive.remove((chance >> 32) as usize % naive.len());
                    shares.remove(id);
                } else {
                    let size = 1 + (chance >> 40) as u32 % 9;
                    naive.push((shares.push(queue(step), size), queue(step), size));
                }
                let line = line(&naive);
                assert_eq!(shares.total(), line.len() as u64);
                let found: Vec<_> = (0..shares.total()).filter_map(|n| shares.at(n)).collect();
                assert_eq!(found, line, "seed {seed}, step {step}");
                assert_eq!(shares.at(shares.total()), None);
                let there: Vec<_> = naive.iter().map(|(_, it, _)| *it).collect();
                assert_eq!(shares.destinations().collect::<Vec<_>>(), there);
            }
        }
    }

    #[test]
    fn memory_goes_by_the_number_of_shares_and_comes_back() {
        let mut shares = Shares::default();
        let ids: Vec<_> = (0..1000).map(|n| shares.push(queue(n), 10_000)).collect();
        assert!(shares.places() <= 1024, "{}", shares.places());
        for id in &ids[..990] {
            shares.remove(*id);
            shares.remove(*id);
        }
        assert_eq!(shares.total(), 100_000);
        assert!(shares.places() < 32, "{}", shares.places());
    }
}
