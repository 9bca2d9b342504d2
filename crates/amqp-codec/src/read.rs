//! A cursor over bytes that a peer sent.

/// The bytes ended before the thing that was being read did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Truncated;

/// Takes values from the front of a slice; what was taken is borrowed from it. After an error nothing was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been taken yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or(Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// AMQP 4.2.5.3, short strings: an octet of length, then that many bytes.
    #[inline]
    pub(crate) fn short(&mut self) -> Result<&'a [u8], Truncated> {
        let mut ahead = *self;
        let length = ahead.u8()?;
        let bytes = ahead.bytes(usize::from(length))?;
        *self = ahead;
        Ok(bytes)
    }

    /// AMQP 4.2.5.3, long strings: four octets of length, then that many bytes. Tables and arrays look the same.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<&'a [u8], Truncated> {
        let mut ahead = *self;
        let length = ahead.u32()?;
        let bytes = ahead.bytes(length as usize)?;
        *self = ahead;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_taken_whole_or_not_at_all() {
        let mut reader = Reader::new(b"\x03abc\x00\x00\x00\x02de\x05f");
        assert_eq!(reader.short(), Ok(&b"abc"[..]));
        assert_eq!(reader.long(), Ok(&b"de"[..]));
        assert_eq!(reader.short(), Err(Truncated));
        assert_eq!(reader.rest(), b"\x05f");
        assert_eq!(reader.long(), Err(Truncated));
        assert_eq!(reader.u16(), Ok(0x0566));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), Err(Truncated));
    }

    #[test]
    fn integers_are_big_endian() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
    }
}
