//! The frame around what one write puts into the log, and the head of a log file.

use super::wire::{Malformed, Reader};

/// The first bytes of a log file.
const LOG_MAGIC: [u8; 8] = *b"LVRTlog\n";
/// The format described in FORMAT.md.
pub(super) const VERSION: u32 = 1;
/// The length of a log file's head; the first block follows.
pub(super) const LOG_HEAD_LEN: usize = 64;
/// The length of a block's head.
pub(super) const BLOCK_HEAD_LEN: usize = 24;
/// Blocks begin at multiples of this, so that what may be one can be found again behind damage
/// without looking at every byte. A cache line; it wastes half of that a write.
pub(super) const BLOCK_ALIGN: u64 = 64;

/// A place in the log: which file, and how many bytes stand before it in there.
///
/// No two files ever have the same number, so that a block that a file held in an earlier life is
/// not taken for one of its present.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Position {
    pub(super) file: u32,
    pub(super) offset: u32,
}

impl Position {
    pub(super) const fn to_u64(self) -> u64 {
        (self.file as u64) << 32 | self.offset as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the number"
    )]
    pub(super) const fn from_u64(position: u64) -> Self {
        Self {
            file: (position >> 32) as u32,
            offset: position as u32,
        }
    }
}

/// The head of a log file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LogHead {
    /// Its own number.
    pub(super) number: u32,
    /// Where the log before it ended; the default when there was none.
    pub(super) previous_end: Position,
    /// The oldest log file that was needed when this one was made.
    pub(super) oldest: u32,
}

impl LogHead {
    pub(super) fn to_bytes(self) -> [u8; LOG_HEAD_LEN] {
        let mut fields = Vec::with_capacity(LOG_HEAD_LEN);
        fields.extend_from_slice(&LOG_MAGIC);
        fields.extend_from_slice(&VERSION.to_le_bytes());
        fields.extend_from_slice(&self.number.to_le_bytes());
        fields.extend_from_slice(&self.previous_end.to_u64().to_le_bytes());
        fields.extend_from_slice(&self.oldest.to_le_bytes());
        let crc = crc32fast::hash(&fields);
        fields.extend_from_slice(&crc.to_le_bytes());
        let mut head = [0; LOG_HEAD_LEN];
        for (to, from) in head.iter_mut().zip(fields) {
            *to = from;
        }
        head
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let mut reader = Reader::new(bytes);
        let Self {
            number,
            previous_end,
            oldest,
        } = Self::parse_fields(&mut reader)?;
        let covered = bytes.get(..reader.offset()).unwrap_or_default();
        if reader.u32() != Ok(crc32fast::hash(covered)) {
            return Err(HeadError::Damaged);
        }
        Ok(Self {
            number,
            previous_end,
            oldest,
        })
    }

    fn parse_fields(reader: &mut Reader<'_>) -> Result<Self, HeadError> {
        if reader.array()? != LOG_MAGIC {
            return Err(HeadError::Damaged);
        }
        let version = reader.u32()?;
        if version > VERSION {
            return Err(HeadError::Newer(version));
        }
        Ok(Self {
            number: reader.u32()?,
            previous_end: Position::from_u64(reader.u64()?),
            oldest: reader.u32()?,
        })
    }
}

/// Why the head of a file cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadError {
    /// A later version of the format, which this program does not know.
    Newer(u32),
    /// No head.
    Damaged,
}

impl From<Malformed> for HeadError {
    fn from(_: Malformed) -> Self {
        Self::Damaged
    }
}

/// The head of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BlockHead {
    /// How many bytes of records follow.
    pub(super) len: u32,
    crc: u32,
    /// Where it stands.
    pub(super) position: Position,
    /// Everything before this was known to be safe when the block was made.
    pub(super) safe: Position,
}

impl BlockHead {
    /// Fills in the head of a block, whose place has been left free before the records.
    pub(super) fn seal(block: &mut [u8], position: Position, safe: Position) {
        let Some((head, records)) = block.split_first_chunk_mut::<BLOCK_HEAD_LEN>() else {
            return;
        };
        let Ok(len) = u32::try_from(records.len()) else {
            return;
        };
        let mut fields = [0; BLOCK_HEAD_LEN];
        let (len_bytes, rest) = fields.split_at_mut(4);
        let (crc_bytes, rest) = rest.split_at_mut(4);
        let (position_bytes, safe_bytes) = rest.split_at_mut(8);
        len_bytes.copy_from_slice(&len.to_le_bytes());
        position_bytes.copy_from_slice(&position.to_u64().to_le_bytes());
        safe_bytes.copy_from_slice(&safe.to_u64().to_le_bytes());
        crc_bytes.copy_from_slice(&checksum(len, position, safe, records).to_le_bytes());
        *head = fields;
    }

    /// Reads a head, which says nothing of whether what follows is intact.
    pub(super) fn parse(bytes: &[u8; BLOCK_HEAD_LEN]) -> Self {
        let [
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
            p6,
            p7,
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
        ] = *bytes;
        let position = u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]);
        let safe = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        Self {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            position: Position::from_u64(position),
            safe: Position::from_u64(safe),
        }
    }

    /// Whether these are the records that were written behind this head.
    pub(super) fn covers(&self, records: &[u8]) -> bool {
        self.len as usize == records.len()
            && self.crc == checksum(self.len, self.position, self.safe, records)
    }

    /// Where the next block begins, in bytes from the start of the file.
    pub(super) fn end(&self) -> u64 {
        let end = u64::from(self.position.offset) + BLOCK_HEAD_LEN as u64 + u64::from(self.len);
        end.next_multiple_of(BLOCK_ALIGN)
    }
}

fn checksum(len: u32, position: Position, safe: Position, records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(&position.to_u64().to_le_bytes());
    hasher.update(&safe.to_u64().to_le_bytes());
    hasher.update(records);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position {
        file: 3,
        offset: 64,
    };

    fn block(records: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK_HEAD_LEN];
        block.extend_from_slice(records);
        BlockHead::seal(&mut block, AT, Position { file: 2, offset: 7 });
        block
    }

    #[test]
    fn a_block_covers_its_records_and_no_others() {
        let block = block(b"records");
        let (head, records) = block.split_first_chunk().unwrap();
        let head = BlockHead::parse(head);
        assert_eq!((head.position, head.len), (AT, 7));
        assert!(head.covers(records));
        assert!(!head.covers(b"Records"));
        assert!(!head.covers(b"record"));
        assert_eq!(head.end(), 128);
    }

    #[test]
    fn any_bit_of_a_block_matters() {
        let sealed = block(b"xyz");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let (head, records) = changed.split_first_chunk().unwrap();
            assert!(!BlockHead::parse(head).covers(records), "bit {bit}");
        }
    }

    #[test]
    fn the_head_of_a_log_file_is_these_bytes() {
        let head = LogHead {
            number: 5,
            previous_end: Position {
                file: 4,
                offset: 0x100,
            },
            oldest: 2,
        };
        let bytes = head.to_bytes();
        let mut want = b"LVRTlog\n".to_vec();
        want.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0, 0, 1, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[..28], want);
        assert_eq!(bytes[32..], [0; 32]);
        assert_eq!(LogHead::parse(&bytes), Ok(head));
        assert_eq!(LogHead::parse(&bytes[..31]), Err(HeadError::Damaged));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = LogHead {
            number: 1,
            previous_end: Position::default(),
            oldest: 1,
        }
        .to_bytes();
        bytes[8] = 2;
        assert_eq!(LogHead::parse(&bytes), Err(HeadError::Newer(2)));
        bytes[0] = 0;
        assert_eq!(LogHead::parse(&bytes), Err(HeadError::Damaged));
    }
}
