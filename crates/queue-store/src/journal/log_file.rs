//! Reading a file of the log.

use std::io;
use std::sync::Arc;

use super::block::{
    BLOCK_ALIGN, BLOCK_HEAD_LEN, BlockHead, HeadError, LOG_HEAD_LEN, LogHead, Position,
};
use super::names::FileName;
use crate::{OpenMode, Storage, StorageFile};

/// How much is read at once when blocks are looked for behind damage.
const SEARCH_LEN: u64 = 1 << 20;

/// A file of the log, open for reading.
#[derive(Debug)]
pub(super) struct LogFileReader {
    pub(super) name: FileName,
    pub(super) number: u32,
    file: Arc<dyn StorageFile>,
    pub(super) len: u64,
}

impl LogFileReader {
    pub(super) fn open(storage: &dyn Storage, number: u32) -> io::Result<Self> {
        let name = FileName::Log(number);
        let file = storage.open(&name.to_string(), OpenMode::Existing)?;
        let len = file.len()?;
        Ok(Self {
            name,
            number,
            file,
            len,
        })
    }

    /// The head of the file, which has to be its own.
    pub(super) fn head(&self) -> io::Result<Result<LogHead, HeadError>> {
        if self.len < LOG_HEAD_LEN as u64 {
            return Ok(Err(HeadError::Damaged));
        }
        let mut bytes = [0; LOG_HEAD_LEN];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(LogHead::parse(&bytes).and_then(|head| {
            if head.number == self.number {
                Ok(head)
            } else {
                Err(HeadError::Damaged)
            }
        }))
    }

    /// The block at this offset with its records, if there is one and it is intact.
    pub(super) fn block(&self, offset: u64) -> io::Result<Option<(BlockHead, Vec<u8>)>> {
        let Some(head) = self.block_head(offset)? else {
            return Ok(None);
        };
        let mut records = vec![0; head.len as usize];
        self.file
            .read_exact_at(&mut records, offset + BLOCK_HEAD_LEN as u64)?;
        Ok(head.covers(&records).then_some((head, records)))
    }

    /// What may be the head of a block: it says that it stands here, and the file is long enough.
    fn block_head(&self, offset: u64) -> io::Result<Option<BlockHead>> {
        let head_end = offset.saturating_add(BLOCK_HEAD_LEN as u64);
        if head_end > self.len {
            return Ok(None);
        }
        let mut bytes = [0; BLOCK_HEAD_LEN];
        self.file.read_exact_at(&mut bytes, offset)?;
        let head = BlockHead::parse(&bytes);
        let fits = head_end + u64::from(head.len) <= self.len;
        Ok((self.is_here(&head, offset) && fits).then_some(head))
    }

    /// Whether something was written here that says that it is a block of this place.
    pub(super) fn begins_block(&self, offset: u64) -> io::Result<bool> {
        if offset.saturating_add(BLOCK_HEAD_LEN as u64) > self.len {
            return Ok(offset < self.len);
        }
        let mut bytes = [0; BLOCK_HEAD_LEN];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(self.is_here(&BlockHead::parse(&bytes), offset))
    }

    fn is_here(&self, head: &BlockHead, offset: u64) -> bool {
        let offset = u32::try_from(offset);
        offset.is_ok_and(|offset| {
            head.position
                == Position {
                    file: self.number,
                    offset,
                }
        })
    }

    /// The first intact block at or behind this offset for which `is_wanted`. Reads the file a few
    /// times at most, whatever is in it.
    pub(super) fn find_block(
        &self,
        mut offset: u64,
        is_wanted: impl Fn(&BlockHead) -> bool,
    ) -> io::Result<Option<u64>> {
        let mut budget = self.len.saturating_mul(4);
        let mut chunk = Vec::new();
        let mut chunk_start = 0;
        offset = offset.next_multiple_of(BLOCK_ALIGN);
        while offset + BLOCK_HEAD_LEN as u64 <= self.len {
            let in_chunk = usize::try_from(offset.wrapping_sub(chunk_start)).unwrap_or(usize::MAX);
            let Some(bytes) = chunk
                .get(in_chunk..)
                .and_then(|rest: &[u8]| rest.first_chunk::<BLOCK_HEAD_LEN>())
            else {
                let len = SEARCH_LEN.min(self.len - offset);
                chunk.resize(usize::try_from(len).unwrap_or(0), 0);
                self.file.read_exact_at(&mut chunk, offset)?;
                chunk_start = offset;
                continue;
            };
            let head = BlockHead::parse(bytes);
            if self.is_here(&head, offset) && budget >= u64::from(head.len) {
                budget -= u64::from(head.len);
                if let Some((head, _)) = self.block(offset)? {
                    if is_wanted(&head) {
                        return Ok(Some(offset));
                    }
                    offset = head.end();
                    continue;
                }
            }
            offset += BLOCK_ALIGN;
        }
        Ok(None)
    }
}
