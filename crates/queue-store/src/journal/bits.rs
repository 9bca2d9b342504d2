//! A set of places in a page.

use super::wire::{Malformed, Reader, put_varint};

/// Some of the places of a page. Empty, it has no memory of its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn contains(&self, index: u16) -> bool {
        let word = self.0.get(usize::from(index / 64));
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Adds a place. Says whether it was not there.
    pub(super) fn insert(&mut self, index: u16) -> bool {
        let at = usize::from(index / 64);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let bit = 1 << (index % 64);
        self.0.get_mut(at).is_some_and(|word| {
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        })
    }

    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Appends the set as runs: how many, and for each how many places it skips and has.
    pub(super) fn put(&self, out: &mut Vec<u8>, places: u16) {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        let mut end = 0;
        for index in (0..places).filter(|index| self.contains(*index)) {
            match runs.last_mut() {
                Some((_, len)) if end == index => *len += 1,
                _ => runs.push((index - end, 1)),
            }
            end = index + 1;
        }
        put_varint(out, runs.len() as u64);
        for (skipped, len) in runs {
            put_varint(out, skipped.into());
            put_varint(out, len.into());
        }
    }

    pub(super) fn take(reader: &mut Reader<'_>, places: u16) -> Result<Self, Malformed> {
        let mut bits = Self::default();
        let mut end = 0_u16;
        for _ in 0..reader.number::<u16>()? {
            let start = end.checked_add(reader.number()?).ok_or(Malformed)?;
            end = start.checked_add(reader.number()?).ok_or(Malformed)?;
            if end > places {
                return Err(Malformed);
            }
            for index in start..end {
                bits.insert(index);
            }
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(places: &[u16], bytes: &[u8]) {
        let mut bits = Bits::default();
        for place in places {
            assert!(bits.insert(*place));
            assert!(!bits.insert(*place));
        }
        let mut out = Vec::new();
        bits.put(&mut out, 512);
        assert_eq!(out, bytes);
        let found = Bits::take(&mut Reader::new(&out), 512).unwrap();
        assert_eq!(found, bits);
        assert_eq!(found.len() as usize, places.len());
        assert!((0..512).all(|index| found.contains(index) == places.contains(&index)));
    }

    #[test]
    fn a_set_is_written_as_runs() {
        check(&[], &[0]);
        check(&[0, 1, 2], &[1, 0, 3]);
        check(&[1, 63, 64, 300], &[3, 1, 1, 61, 2, 0xeb, 1, 1]);
    }

    #[test]
    fn places_beyond_the_page_are_malformed() {
        let take = |bytes: &[u8]| Bits::take(&mut Reader::new(bytes), 4);
        assert!(take(&[1, 0, 4]).is_ok());
        assert_eq!(take(&[1, 0, 5]), Err(Malformed));
        assert_eq!(take(&[1, 0xff, 0xff, 3, 1]), Err(Malformed));
    }
}
