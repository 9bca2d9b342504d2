//! Pages as bytes.

use std::num::NonZeroU64;

use super::message_format::{put_message, take_message};
use super::record::{QueueKey, take_number};
use super::wire::{Malformed, Numbers, Reader, VARINT_LEN_MAX, put_varint};
use crate::{PageId, PageSlot, PagedMessage, Stored, Time};

/// The first bytes of a file of pages, durable or not.
const FILE_MAGIC: [u8; 8] = *b"LVRTpgs\n";
/// The length of the head of a file of pages; the first page follows.
pub(super) const PAGE_FILE_HEAD_LEN: u64 = 16;

/// The first bytes of a page.
const PAGE_MAGIC: [u8; 4] = *b"PAGE";
/// Magic and checksum.
const PAGE_HEAD_LEN: usize = 8;

/// A number follows: the message survives a restart.
const STORED: u8 = 1;
/// A deadline follows.
const DEADLINE: u8 = 2;
/// How often it came back follows.
const RETURNED: u8 = 4;

/// The head of a file of pages.
pub(super) fn page_file_head() -> [u8; 16] {
    let [m0, m1, m2, m3, m4, m5, m6, m7] = FILE_MAGIC;
    let [v0, v1, v2, v3] = super::block::VERSION.to_le_bytes();
    let head = [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, v2, v3];
    let [c0, c1, c2, c3] = crc32fast::hash(&head).to_le_bytes();
    [
        m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, v2, v3, c0, c1, c2, c3,
    ]
}

/// Puts a page together.
pub(super) fn encode_page(page: PageId, queue: QueueKey, messages: &[PagedMessage]) -> Vec<u8> {
    // In memory a message takes more than what is written of it, unless it is very many numbers.
    let sizes = messages.iter().map(|paged| paged.message.size_bytes());
    let mut out = Vec::with_capacity(PAGE_HEAD_LEN + 2 * VARINT_LEN_MAX + sizes.sum::<usize>());
    out.extend_from_slice(&[0; PAGE_HEAD_LEN]);
    put_varint(&mut out, page.0.get().into());
    put_varint(&mut out, queue.0);
    put_varint(&mut out, messages.len() as u64);
    for paged in messages {
        let stored = if paged.stored.is_some() { STORED } else { 0 };
        let has_deadline = paged.deadline != Time::MAX;
        let deadline = if has_deadline { DEADLINE } else { 0 };
        let has_returned = paged.delivery_count > 0;
        let returned = if has_returned { RETURNED } else { 0 };
        let mut head = Numbers::new();
        head.push(stored | deadline | returned);
        if let Some(stored) = paged.stored {
            head.varint(stored.number.get());
        }
        if has_deadline {
            head.varint(paged.deadline.as_millis());
        }
        if has_returned {
            head.varint(paged.delivery_count.into());
        }
        put_message(&mut out, head, &paged.message);
    }
    seal_page(&mut out);
    out
}

/// Fills in the head of a page, whose place has been left free before the contents.
pub(super) fn seal_page(page: &mut [u8]) {
    if let Some((head, contents)) = page.split_first_chunk_mut::<PAGE_HEAD_LEN>() {
        let (magic, crc) = head.split_at_mut(PAGE_MAGIC.len());
        magic.copy_from_slice(&PAGE_MAGIC);
        crc.copy_from_slice(&crc32fast::hash(contents).to_le_bytes());
    }
}

/// Whether these bytes are a page as it was written.
pub(super) fn is_intact_page(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.array() == Ok(PAGE_MAGIC)
        && reader.u32()
            == Ok(crc32fast::hash(
                bytes.get(PAGE_HEAD_LEN..).unwrap_or_default(),
            ))
}

/// Takes a page apart: each message with its place, and itself for its home if it is stored.
///
/// # Errors
///
/// When the bytes are damaged, or another page.
pub(super) fn decode_page(
    bytes: &[u8],
    page: PageId,
    queue: QueueKey,
) -> Result<Vec<(u16, PagedMessage)>, Malformed> {
    if !is_intact_page(bytes) {
        return Err(Malformed);
    }
    let mut reader = Reader::new(bytes).at(PAGE_HEAD_LEN)?;
    if reader.number() != Ok(page.0.get()) || reader.varint() != Ok(queue.0) {
        return Err(Malformed);
    }
    let len: u16 = reader.number()?;
    let mut scratch = Vec::new();
    // Each takes more than so many bytes, so that no more memory is used than there should be messages.
    let mut messages = Vec::with_capacity(usize::from(len).min(bytes.len() / 8));
    for index in 0..len {
        messages.push((index, take_paged(&mut reader, page, index, &mut scratch)?));
    }
    if reader.is_empty() {
        Ok(messages)
    } else {
        Err(Malformed)
    }
}

fn take_paged(
    reader: &mut Reader<'_>,
    page: PageId,
    index: u16,
    scratch: &mut Vec<u8>,
) -> Result<PagedMessage, Malformed> {
    let flags = reader.u8()?;
    if flags & !(STORED | DEADLINE | RETURNED) != 0 {
        return Err(Malformed);
    }
    let number: Option<NonZeroU64> = match flags & STORED {
        0 => None,
        _ => Some(take_number(reader)?),
    };
    let deadline = match flags & DEADLINE {
        0 => Time::MAX,
        _ => Time::from_millis(reader.varint()?),
    };
    let delivery_count = match flags & RETURNED {
        0 => 0,
        _ => reader.number()?,
    };
    Ok(PagedMessage {
        message: take_message(reader, scratch)?,
        stored: number.map(|number| Stored {
            number,
            home: Some(PageSlot { page, index }),
        }),
        deadline,
        delivery_count,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{Message, MessageParts};

    const PAGE: PageId = PageId(NonZeroU32::MIN);
    const QUEUE: QueueKey = QueueKey(300);

    fn messages() -> Vec<PagedMessage> {
        let parts = MessageParts {
            routing_key: "k",
            body: b"b",
            persistent: true,
            ..MessageParts::default()
        };
        let message = Message::new(&parts, &mut Vec::new());
        let plain = PagedMessage {
            message,
            stored: None,
            deadline: Time::MAX,
            delivery_count: 0,
        };
        let stored = Stored {
            number: NonZeroU64::MIN,
            home: Some(PageSlot {
                page: PAGE,
                index: 1,
            }),
        };
        let full = PagedMessage {
            stored: Some(stored),
            deadline: Time::from_millis(200),
            delivery_count: 3,
            ..plain.clone()
        };
        vec![plain, full]
    }

    #[test]
    fn the_bytes_are_these() {
        let bytes = encode_page(PAGE, QUEUE, &messages());
        let mut want = vec![1, 0xac, 2, 2];
        want.extend_from_slice(&[0, 1, 0, 0, 1, 0, 1, b'k', b'b']);
        want.extend_from_slice(&[7, 1, 200, 1, 3, 1, 0, 0, 1, 0, 1, b'k', b'b']);
        assert_eq!(bytes[..4], *b"PAGE");
        assert_eq!(bytes[8..], want);
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = encode_page(PAGE, QUEUE, &messages());
        let found = decode_page(&bytes, PAGE, QUEUE).unwrap();
        let want: Vec<_> = (0..).zip(messages()).collect();
        assert_eq!(found, want);
    }

    #[test]
    fn a_damaged_page_and_another_page_are_refused() {
        let bytes = encode_page(PAGE, QUEUE, &messages());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_page(&changed, PAGE, QUEUE), Err(Malformed), "{bit}");
        }
        let other = PageId(NonZeroU32::MAX);
        assert_eq!(decode_page(&bytes, other, QUEUE), Err(Malformed));
        assert_eq!(decode_page(&bytes, PAGE, QueueKey(1)), Err(Malformed));
    }
}
