//! The primitive types, written to the end of a buffer.

/// Writes a short string, the first 255 bytes of `bytes`. Callers have seen to it that there are no more.
#[inline]
pub(crate) fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

/// Writes a long string. No more than the 4 GiB that its length can say are written.
#[inline]
pub(crate) fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(..length as usize).unwrap_or(bytes));
}

/// Writes four octets of length and what `content` writes after them.
///
/// A content of 4 GiB or more gets the length `u32::MAX`; nobody who has such a thing to say can say it in AMQP, and a
/// receiver refuses it by its frame size.
#[inline]
pub(crate) fn put_prefixed(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    let length = length_u32(out.len() - start - 4);
    if let Some(prefix) = out.get_mut(start..start + 4) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

/// A length as the wire has it; see [`put_prefixed`] for lengths that it cannot have.
#[inline]
pub(crate) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
