//! Messages on the control socket: a length of four bytes, most significant first, and so much JSON.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// What a request may be: definitions of some hundred thousand queues.
pub(super) const REQUEST_MAX: u32 = 64 * 1024 * 1024;

/// What a reply may be: the program trusts the server, but not with all its memory.
pub(super) const REPLY_MAX: u32 = 1024 * 1024 * 1024;

/// Room for every message with a password: what grows leaves copies of itself behind, which nobody wipes.
pub(super) const SHORT: usize = 4096;

/// The bytes of a message. They may be a password, and are wiped when they are dropped.
///
/// # Errors
/// When it is larger than a length can say.
pub(super) fn encode(message: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SHORT));
    bytes.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *bytes, message)?;
    let length = u32::try_from(bytes.len() - 4);
    let length = length.map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// # Errors
/// When the bytes are no such message.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes)?)
}

/// How long a message will be.
///
/// # Errors
/// When it is longer than it may be.
pub(super) fn length(announced: [u8; 4], max: u32) -> io::Result<usize> {
    let length = u32::from_be_bytes(announced);
    if length > max {
        let problem = format!("a message of {length} bytes; {max} is the limit");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    usize::try_from(length).map_err(io::Error::other)
}

/// # Errors
/// When the peer does not take it.
pub(super) fn write(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(message)?)?;
    stream.flush()
}

/// Reads one message; memory grows with what has arrived.
///
/// # Errors
/// When the peer is gone, or says something else.
pub(super) fn read<T: DeserializeOwned>(stream: &mut impl Read, max: u32) -> io::Result<T> {
    let mut announced = [0; 4];
    stream.read_exact(&mut announced)?;
    let length = length(announced, max)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(SHORT)));
    stream
        .by_ref()
        .take(length as u64)
        .read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, &("hello", 5)).unwrap();
        assert_eq!(bytes[..4], [0, 0, 0, 11]);
        let (text, number): (String, u8) = read(&mut &bytes[..], 11).unwrap();
        assert_eq!((&*text, number), ("hello", 5));
    }

    #[test]
    fn what_is_cut_off_too_long_or_nonsense_is_an_error() {
        let read = |bytes: &[u8], max| read::<String>(&mut { bytes }, max).unwrap_err().kind();
        assert_eq!(read(&[], 9), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[0, 0, 0, 3, b'"'], 9), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[0, 0, 0, 10], 9), io::ErrorKind::InvalidData);
        assert_eq!(read(&[0, 0, 0, 1, b'x'], 9), io::ErrorKind::InvalidData);
        assert_eq!(read(&[255; 4], REQUEST_MAX), io::ErrorKind::InvalidData);
    }
}
