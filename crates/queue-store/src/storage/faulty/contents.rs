//! What is in a file, and what of it a power cut leaves.

use crate::storage::memory::write_image;

/// What a disk writes whole or not at all.
pub(super) const SECTOR_LEN: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What a reader finds.
    pub(super) image: Vec<u8>,
    /// What a power cut leaves for certain.
    pub(super) safe: Vec<u8>,
    /// What was done since it was last synced.
    pub(super) changes: Vec<Change>,
}

#[derive(Debug)]
pub(super) enum Change {
    Written { offset: usize, bytes: Vec<u8> },
    Resized(usize),
}

impl Contents {
    /// Makes some of what was not synced safe, and forgets the rest.
    pub(super) fn lose_some(&mut self, random: &mut u64) {
        for change in self.changes.drain(..) {
            match change {
                Change::Resized(len) if below(random, 2) == 0 => self.safe.resize(len, 0),
                Change::Resized(_) => {}
                Change::Written { offset, bytes } => match below(random, 4) {
                    0 => {}
                    1 => write_safe(&mut self.safe, offset, &bytes),
                    _ => write_sectors(&mut self.safe, offset, &bytes, random),
                },
            }
        }
    }

    pub(super) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Resized(len) => self.safe.resize(len, 0),
                Change::Written { offset, bytes } => write_safe(&mut self.safe, offset, &bytes),
            }
        }
    }
}

fn write_safe(safe: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    // It fitted into the image, so it fits here.
    let _ = write_image(safe, bytes, offset as u64);
}

/// Writes some of the sectors that a write touches, each whole.
fn write_sectors(safe: &mut Vec<u8>, mut offset: usize, mut bytes: &[u8], random: &mut u64) {
    while !bytes.is_empty() {
        let in_sector = (SECTOR_LEN - offset % SECTOR_LEN).min(bytes.len());
        let (sector, rest) = bytes.split_at(in_sector);
        if below(random, 2) == 0 {
            write_safe(safe, offset, sector);
        }
        offset += in_sector;
        bytes = rest;
    }
}

/// A number below `limit`, by splitmix64.
pub(super) fn below(random: &mut u64, limit: usize) -> usize {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    usize::try_from(mixed % (limit as u64).max(1)).unwrap_or(0)
}
