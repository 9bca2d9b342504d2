//! Numbers and runs of bytes as the journal writes them.

/// Appends an unsigned number in as few bytes as it takes: seven bits a byte, the least significant
/// first, the top bit set in all but the last.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits, so that nothing is lost.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// How many bytes the longest number takes.
pub(super) const VARINT_LEN_MAX: usize = 10;

/// The bytes that [`Numbers`] holds: enough for what stands before the parts of a message, which are eight numbers and three
/// bytes at most.
const NUMBERS_LEN: usize = 96;

/// Bytes and numbers that are gathered to be appended together: a buffer that grows looks for room each time.
#[derive(Debug)]
pub(super) struct Numbers {
    bytes: [u8; NUMBERS_LEN],
    len: usize,
}

impl Numbers {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; NUMBERS_LEN],
            len: 0,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// As [`put_varint`] does.
    #[inline]
    pub(super) fn varint(&mut self, mut value: u64) {
        debug_assert!(self.len + VARINT_LEN_MAX <= NUMBERS_LEN, "too many numbers");
        while value >= 0x80 {
            self.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.push((value & 0x7f) as u8);
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What stands in a file is not what this format allows there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// Takes things off the front of bytes that may be anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            whole: bytes,
            rest: bytes,
        }
    }

    /// The same bytes, read from `offset` on.
    pub(super) fn at(&self, offset: usize) -> Result<Self, Malformed> {
        Ok(Self {
            whole: self.whole,
            rest: self.whole.get(offset..).ok_or(Malformed)?,
        })
    }

    /// How many bytes have been taken.
    pub(super) const fn offset(&self) -> usize {
        self.whole.len() - self.rest.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of [`put_varint`]. One written in more bytes than it takes is as good.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        // Most are lengths and take one byte.
        match self.rest.split_first() {
            Some((byte, rest)) if byte & 0x80 == 0 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A number that has to fit a smaller type.
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.varint()?).map_err(|_| Malformed)
    }

    /// A length that stands before as many bytes.
    pub(super) fn text(&mut self, len: usize) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes(len)?).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: u64, bytes: &[u8]) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(out, bytes);
        let mut numbers = Numbers::new();
        numbers.push(7);
        numbers.varint(value);
        assert_eq!(numbers.as_bytes(), [&[7], bytes].concat());
        assert_eq!(Reader::new(bytes).varint(), Ok(value));
        for cut in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..cut]).varint(), Err(Malformed));
        }
    }

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        check(0, &[0]);
        check(127, &[127]);
        check(128, &[128, 1]);
        check(300, &[0xac, 2]);
        check(u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn a_number_that_no_type_holds_is_malformed() {
        let too_large = [255, 255, 255, 255, 255, 255, 255, 255, 255, 2];
        assert_eq!(Reader::new(&too_large).varint(), Err(Malformed));
        assert_eq!(Reader::new(&[0x80; 11]).varint(), Err(Malformed));
        assert_eq!(Reader::new(&[0x80, 2]).number::<u8>(), Err(Malformed));
    }
}
