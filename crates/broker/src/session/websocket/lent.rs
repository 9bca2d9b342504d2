//! The input and output of a session as the stream that the WebSocket library reads from and writes to.

use std::io::{self, ErrorKind, Read, Write};

use crate::session::Output;

/// See the module. Reading never waits: when the input is used up it would block.
pub(super) struct Lent<'a, 'b> {
    pub(super) input: &'a mut &'b [u8],
    pub(super) out: &'a mut Output,
}

impl Read for Lent<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl Write for Lent<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.buffer().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
