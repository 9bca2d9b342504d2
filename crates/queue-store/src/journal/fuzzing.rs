//! Files with right checksums around bytes that may be anything.

use super::block::{BLOCK_HEAD_LEN, BlockHead, LOG_HEAD_LEN, LogHead, Position};
use super::page_format::{page_file_head, seal_page};

/// A file of the log with two blocks: an empty checkpoint, and these records.
pub(crate) fn log_file(records: &[u8]) -> Vec<u8> {
    let head = LogHead {
        number: 1,
        previous_end: Position::default(),
        oldest: 1,
    };
    let mut file = head.to_bytes().to_vec();
    for (offset, records) in [(LOG_HEAD_LEN, &[][..]), (2 * LOG_HEAD_LEN, records)] {
        let mut block = vec![0; BLOCK_HEAD_LEN];
        block.extend_from_slice(records);
        let offset = u32::try_from(offset).unwrap_or(0);
        let position = Position { file: 1, offset };
        BlockHead::seal(&mut block, position, Position::default());
        file.resize(offset as usize, 0);
        file.extend_from_slice(&block);
    }
    file
}

/// A file of pages with one page of these contents, behind its head.
pub(crate) fn page_file(contents: &[u8]) -> Vec<u8> {
    let mut page = vec![0; 8];
    page.extend_from_slice(contents);
    seal_page(&mut page);
    [&page_file_head()[..], &page].concat()
}
