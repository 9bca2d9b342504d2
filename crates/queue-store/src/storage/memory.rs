//! Files in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirectoryLock, OpenMode, Storage, StorageFile};

/// A directory in memory, for tests and for a broker that should outlive nothing. Clones share
/// their files.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    directory: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
    /// Who holds this beside the storage has the directory.
    lock: Arc<Mutex<Option<std::sync::Weak<MemoryLock>>>>,
}

impl MemoryStorage {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for MemoryStorage {
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        let mut holder = self.lock.lock();
        if holder.as_ref().is_some_and(|held| held.strong_count() > 0) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let lock = Arc::new(MemoryLock);
        *holder = Some(Arc::downgrade(&lock));
        Ok(Box::new(lock))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.directory.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut directory = self.directory.lock();
        if mode != OpenMode::Existing {
            let file = directory.entry(name.to_owned()).or_default();
            return Ok(Arc::clone(file) as Arc<dyn StorageFile>);
        }
        match directory.get(name) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn StorageFile>),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.directory.lock().remove(name) {
            Some(_) => Ok(()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut directory = self.directory.lock();
        let Some(file) = directory.remove(from) else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        directory.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLock;

impl DirectoryLock for Arc<MemoryLock> {}

#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl StorageFile for MemoryFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        read_image(&self.0.lock(), buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_image(&mut self.0.lock(), bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(position(len)?, 0);
        Ok(())
    }
}

/// A place in a file that is in memory.
pub(super) fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// Reads from a file's contents.
pub(super) fn read_image(image: &[u8], buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let start = position(offset)?;
    let found = start
        .checked_add(buffer.len())
        .and_then(|end| image.get(start..end));
    match found {
        Some(found) => {
            buffer.copy_from_slice(found);
            Ok(())
        }
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

/// Writes into a file's contents, which grow as needed.
pub(super) fn write_image(image: &mut Vec<u8>, bytes: &[u8], offset: u64) -> io::Result<()> {
    let start = position(offset)?;
    let Some(end) = start.checked_add(bytes.len()) else {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    };
    if image.len() < end {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(start..end) {
        place.copy_from_slice(bytes);
    }
    Ok(())
}
