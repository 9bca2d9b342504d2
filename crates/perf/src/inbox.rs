//! Bytes from the broker, until they are frames.

use leveret_amqp_codec::{Limits, RawFrame};

use crate::error::Error;

/// How much is read at once where little arrives: answers and confirms. 16 KiB hold 700 confirms.
const SIZE_MIN: usize = 16 * 1024;

/// The bytes that were read from a connection and not yet used.
///
/// Grows to one frame of the size that was agreed upon, and no further.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Where the first frame that was not used yet begins.
    start: usize,
    /// Where what was read ends.
    end: usize,
}

impl Inbox {
    /// An inbox in which these bytes have arrived.
    pub(crate) fn with(bytes: Vec<u8>) -> Self {
        Self {
            start: 0,
            end: bytes.len(),
            bytes,
        }
    }

    /// Where to read to; never empty. Tell [`filled`](Self::filled) how much was read.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.bytes.len() {
            let size = (self.bytes.len() * 2).max(SIZE_MIN);
            self.bytes.resize(size, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Adds what was read into [`space`](Self::space).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] for nothing: the end of the stream.
    pub(crate) fn filled(&mut self, count: usize) -> Result<(), Error> {
        if count == 0 {
            return Err(Error::Closed);
        }
        self.end += count;
        Ok(())
    }

    /// Takes the next frame, `None` if it has not arrived whole.
    ///
    /// # Errors
    ///
    /// When the bytes are no frame, or one that is larger than the limit.
    pub(crate) fn next(&mut self, limits: &Limits) -> Result<Option<RawFrame<'_>>, Error> {
        let frame = next_frame(&self.bytes[self.start..self.end], limits)?;
        Ok(frame.map(|(frame, size)| {
            self.start += size;
            frame
        }))
    }

    /// What was read and not used.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.bytes[self.start..self.end].to_vec()
    }
}

/// The first frame of `bytes` and its size, with errors as this crate has them.
pub(crate) fn next_frame<'a>(
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Option<(RawFrame<'a>, usize)>, Error> {
    RawFrame::decode(bytes, limits).map_err(|error| Error::Malformed(error.into()))
}
