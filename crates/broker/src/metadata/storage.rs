//! What a store lies on: a file, or whatever a test puts in its place.

use std::fmt;
use std::fs::OpenOptions;
use std::path::PathBuf;

use redb::{Database, DatabaseError};

/// Opens the database of a store. After an error of the disk the database is closed and opened anew, so this may be
/// called several times, but never while a database of it is open.
///
/// Displayed, it says where the store is, for error texts.
pub(crate) trait Storage: fmt::Debug + fmt::Display + Send {
    /// Opens the database, which is made if there is none.
    ///
    /// # Errors
    /// As [`redb::Builder::create_with_backend`].
    fn open(&self, builder: &redb::Builder) -> Result<Database, DatabaseError>;
}

/// A file, readable by its owner alone if it has to be made.
#[derive(Debug)]
pub(crate) struct FileStorage {
    path: PathBuf,
}

impl FileStorage {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl fmt::Display for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Storage for FileStorage {
    fn open(&self, builder: &redb::Builder) -> Result<Database, DatabaseError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path).map_err(redb::StorageError::Io)?;
        builder.create_file(file)
    }
}
