//! The input and output of a session as the stream that the WebSocket library reads from and writes to.

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Buf, BytesMut};

use crate::session::Output;

/// See the module. Reading never waits: when the input is used up it would block.
pub(super) struct Lent<'a> {
    pub(super) input: &'a mut BytesMut,
    pub(super) out: &'a mut Output,
}

impl Read for Lent<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let size = into.len().min(self.input.len());
        self.input.copy_to_slice(&mut into[..size]);
        Ok(size)
    }
}

impl Write for Lent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.buffer().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
