//! Writing in whole sectors, as what goes past the system's cache has to be.

use std::fmt;
use std::io;

use super::block::BLOCK_ALIGN;
use crate::StorageFile;

/// Writes begin and end at multiples of this, in the file and in memory: what a disk writes whole, and a page of the
/// system's cache.
pub(super) const SECTOR_LEN: usize = crate::storage::DIRECT_ALIGN;

/// How much is written at once: what a thousand small messages take, and a disk in a hundred microseconds.
const BUFFER_LEN: usize = 256 << 10;

/// Adds blocks to a file, each at a multiple of [`BLOCK_ALIGN`].
///
/// A sector that a block has not filled is written again with the next: what stood there before stays the same, byte for
/// byte, so that it makes no difference to it whether a power cut leaves the first or the second.
pub(super) struct SectorWriter {
    buffer: AlignedBuffer,
    /// Where the next block comes.
    end: u64,
    /// What stands before `end` in its sector.
    tail: Vec<u8>,
}

impl fmt::Debug for SectorWriter {
    /// Without what was published.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectorWriter")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl SectorWriter {
    /// Goes on behind a start of this many bytes, less than a sector, which are zeros for now.
    pub(super) fn behind(start_len: usize) -> Self {
        let mut tail = Vec::with_capacity(SECTOR_LEN);
        tail.resize(start_len, 0);
        Self {
            buffer: AlignedBuffer::new(),
            end: start_len as u64,
            tail,
        }
    }

    /// Where the next block comes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How long the file is at least after what was written: the end, up to a whole sector.
    pub(super) fn written(&self) -> u64 {
        self.end.next_multiple_of(SECTOR_LEN as u64)
    }

    /// Writes a block at the end, and zeros behind it up to a whole sector.
    ///
    /// # Errors
    ///
    /// Those of the file. A part may have been written; the end is where it was, and the next call writes there.
    pub(super) fn append(&mut self, file: &dyn StorageFile, block: &[u8]) -> io::Result<()> {
        let mut offset = self.end - self.tail.len() as u64;
        let buffer = self.buffer.bytes(self.tail.len() + block.len());
        let mut filled = put(buffer, 0, &self.tail);
        let mut rest = block;
        loop {
            let taken = put(buffer, filled, rest);
            filled += taken;
            rest = rest.get(taken..).unwrap_or_default();
            let len = filled.next_multiple_of(SECTOR_LEN);
            let sectors = buffer.get_mut(..len).unwrap_or_default();
            sectors.get_mut(filled..).unwrap_or_default().fill(0);
            file.write_all_at(sectors, offset)?;
            if rest.is_empty() {
                break;
            }
            offset += len as u64;
            filled = 0;
        }
        // In a whole sector there is room for the gap before the next block.
        self.end = (offset + filled as u64).next_multiple_of(BLOCK_ALIGN);
        let tail_len = usize::try_from(self.end % SECTOR_LEN as u64).unwrap_or(0);
        let sector = filled - filled % SECTOR_LEN;
        let tail = buffer.get(sector..sector + tail_len);
        self.tail.clear();
        self.tail.extend_from_slice(tail.unwrap_or_default());
        Ok(())
    }

    /// Writes what the file begins with, in the place of the zeros there. The first block has been written.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(super) fn write_start(&mut self, file: &dyn StorageFile, start: &[u8]) -> io::Result<()> {
        let sector = self.buffer.bytes(SECTOR_LEN);
        file.read_exact_at(sector, 0)?;
        put(sector, 0, start);
        file.write_all_at(sector, 0)?;
        if self.end < SECTOR_LEN as u64 {
            put(&mut self.tail, 0, start);
        }
        Ok(())
    }

    /// Writes this many zeros at a whole sector, up to a whole one, and at most as many as there is memory for. Returns
    /// where they end.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(super) fn write_zeros(
        &mut self,
        file: &dyn StorageFile,
        offset: u64,
        len: u64,
    ) -> io::Result<u64> {
        let zeros = self
            .buffer
            .bytes(usize::try_from(len).unwrap_or(BUFFER_LEN));
        zeros.fill(0);
        file.write_all_at(zeros, offset)?;
        Ok(offset + zeros.len() as u64)
    }
}

/// Copies as many bytes as there is room for from `at` on. Returns how many.
fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    let room = buffer.get_mut(at..).unwrap_or_default();
    let len = room.len().min(bytes.len());
    let (to, from) = (room.split_at_mut(len).0, bytes.split_at(len).0);
    to.copy_from_slice(from);
    len
}

/// Memory that begins at a multiple of [`SECTOR_LEN`]. It is there as far as it was asked for: a server to which nobody
/// publishes writes a sector or two when it starts, and nothing after that.
struct AlignedBuffer {
    /// Has room for all of it from the beginning, and so stays where it is.
    memory: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    fn new() -> Self {
        let memory = Vec::<u8>::with_capacity(BUFFER_LEN + SECTOR_LEN);
        // Where the address cannot be known there is no harm: the write goes through the cache.
        let start = memory.as_ptr().align_offset(SECTOR_LEN).min(SECTOR_LEN);
        Self { memory, start }
    }

    /// This many bytes, up to a whole sector, and at most [`BUFFER_LEN`]: whatever was there before.
    fn bytes(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(BUFFER_LEN).next_multiple_of(SECTOR_LEN);
        let end = self.start + len;
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.memory.get_mut(self.start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStorage, OpenMode, Storage};

    /// Blocks of these lengths, each of one letter, and the file as it should be: a start of 64 bytes, then the blocks.
    fn written(lens: &[usize]) -> (SectorWriter, Vec<u8>, Vec<u8>) {
        let storage = MemoryStorage::new();
        let file = storage.open("a", OpenMode::Create).unwrap();
        let mut writer = SectorWriter::behind(64);
        let mut expected = vec![0; 64];
        for (letter, len) in (b'a'..).zip(lens) {
            assert_eq!(writer.end(), expected.len() as u64);
            let block = vec![letter; *len];
            writer.append(&*file, &block).unwrap();
            expected.extend_from_slice(&block);
            expected.resize(expected.len().next_multiple_of(64), 0);
        }
        writer.write_start(&*file, &[b'S'; 64]).unwrap();
        writer.append(&*file, b"last").unwrap();
        expected[..64].fill(b'S');
        expected.extend_from_slice(b"last");
        expected.resize(expected.len().next_multiple_of(SECTOR_LEN), 0);
        let mut found = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut found, 0).unwrap();
        (writer, found, expected)
    }

    #[test]
    fn blocks_follow_each_other_whatever_their_lengths() {
        for lens in [
            &[10][..],
            &[64, 64],
            // Up to the end of a sector, to one byte before, and one beyond.
            &[4032, 4096, 4095, 4097, 1],
            &[4031, 1],
            &[100, 3000, 900, 50, 4000, 9000],
            // More than is written at once, and just as much.
            &[BUFFER_LEN + 5000, 7],
            &[BUFFER_LEN - 64, BUFFER_LEN, 3 * BUFFER_LEN - 1, 1],
        ] {
            let (writer, found, expected) = written(lens);
            assert!(found == expected, "{lens:?}");
            assert_eq!(writer.written(), expected.len() as u64, "{lens:?}");
        }
    }

    #[test]
    fn a_write_that_failed_can_be_made_again() {
        let storage = crate::FaultyStorage::new(1);
        let file = storage.open("a", OpenMode::Create).unwrap();
        let mut writer = SectorWriter::behind(0);
        writer.append(&*file, b"first").unwrap();
        // There is room for a part of it alone, the first of two writes.
        storage.leave_room(Some((BUFFER_LEN - SECTOR_LEN) as u64));
        let block = vec![b'x'; BUFFER_LEN + 100];
        writer.append(&*file, &block).unwrap_err();
        assert_eq!(writer.end(), 64);
        storage.leave_room(None);
        writer.append(&*file, &block).unwrap();
        let mut found = vec![0; BUFFER_LEN + 164];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(found[..64], [&b"first"[..], &[0; 59]].concat());
        assert!(found[64..] == block);
    }
}
