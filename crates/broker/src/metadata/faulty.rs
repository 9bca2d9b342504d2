//! A disk for tests: bytes in memory that outlive the database on them, and errors when they are asked for.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Database, DatabaseError, StorageBackend};

use super::Storage;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct FaultyStorage {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// What every write and sync fails with.
    fault: Option<io::ErrorKind>,
    syncs: u64,
}

impl FaultyStorage {
    /// From now on whatever is written fails so, or succeeds again.
    pub(crate) fn fail_with(&self, fault: Option<io::ErrorKind>) {
        self.state.lock().fault = fault;
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().bytes.clone()
    }

    /// A disk with these bytes on it.
    pub(crate) fn with_bytes(bytes: Vec<u8>) -> Self {
        let storage = Self::default();
        storage.state.lock().bytes = bytes;
        storage
    }

    fn write_with<R>(&self, write: impl FnOnce(&mut State) -> R) -> io::Result<R> {
        let mut state = self.state.lock();
        match state.fault {
            Some(kind) => Err(kind.into()),
            None => Ok(write(&mut state)),
        }
    }
}

impl fmt::Debug for FaultyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStorage")
    }
}

impl fmt::Display for FaultyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk of the test")
    }
}

impl Storage for FaultyStorage {
    fn open(&self, builder: &redb::Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.clone())
    }

    /// What this disk has taken is safe.
    fn make_safe(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageBackend for FaultyStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let found = state.bytes.get(from..from + out.len());
        let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.write_with(|state| state.bytes.resize(len, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.write_with(|state| state.syncs += 1)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        self.write_with(|state| state.bytes[from..from + data.len()].copy_from_slice(data))
    }
}
