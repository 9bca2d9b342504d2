//! The directory that holds what outlives the broker.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret_queue_store::Storage as MessageStorage;

use super::{FileStorage, OpenError};

/// The file in a data directory whose lock says that a broker uses it.
const LOCK_FILE: &str = "lock";

/// The file with the definitions.
const METADATA_FILE: &str = "metadata.redb";

/// The folder with the messages.
const MESSAGES_DIR: &str = "messages";

/// A data directory, locked against every other broker until this is dropped or the process ends, however it ends.
///
/// The empty file `lock` stays there, because a broker that removed it could remove the one that the next has just
/// locked.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Holds the lock; never read.
    _lock: File,
}

impl DataDir {
    /// Creates the directory if there is none, with everything above it that is missing and for its owner alone (mode
    /// 0700), and locks it. The permissions of a directory that exists are left as they are.
    ///
    /// # Errors
    /// When another broker holds the lock, or the directory cannot be created or written to. Does not wait.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable {
            path: path.to_owned(),
            source,
        };
        if path.as_os_str().is_empty() {
            let problem = io::Error::new(io::ErrorKind::InvalidInput, "its name is empty");
            return Err(unusable(problem));
        }
        // Its name is safe then: what is in it would be lost with it.
        leveret_queue_store::FileStorage::open(path).map_err(unusable)?;
        let lock = open_lock(&path.join(LOCK_FILE)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Where the messages are.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn messages(&self) -> Result<Arc<dyn MessageStorage>, OpenError> {
        let path = self.path.join(MESSAGES_DIR);
        match leveret_queue_store::FileStorage::open(&path) {
            Ok(storage) => Ok(Arc::new(storage)),
            Err(source) => Err(OpenError::Unusable { path, source }),
        }
    }

    /// Where the definitions are.
    pub(crate) fn metadata(&self) -> FileStorage {
        FileStorage::new(self.path.join(METADATA_FILE))
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
