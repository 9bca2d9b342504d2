//! The directory that will hold the messages.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The file in a data directory whose lock says that a server uses it.
const LOCK_FILE: &str = "lock";

/// A data directory, locked against every other process until this is dropped or the process ends, however it ends.
///
/// In this version the server keeps its messages in memory: the empty file `lock` is all that is ever written. It stays
/// there, because a server that removed it could remove the one that the next server has just locked.
#[derive(Debug)]
pub(crate) struct DataDir {
    /// Holds the lock; never read.
    _lock: File,
}

impl DataDir {
    /// Creates the directory if there is none, with everything above it that is missing and for its owner alone (mode
    /// 0700), and locks it. The permissions of a directory that exists are left as they are.
    ///
    /// # Errors
    /// When another process holds the lock, or the directory cannot be created or written to. Does not wait.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::DataDirUnusable {
            path: path.to_owned(),
            source,
        };
        if path.as_os_str().is_empty() {
            return Err(unusable(io::Error::new(
                io::ErrorKind::InvalidInput,
                "its name is empty",
            )));
        }
        create(path).map_err(unusable)?;
        let lock = open_lock(&path.join(LOCK_FILE)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::DataDirLocked {
                path: PathBuf::from(path),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
