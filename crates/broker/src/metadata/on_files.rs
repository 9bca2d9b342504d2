//! A store on the files of `queue-store`, so that definitions and messages can fail together.

use std::fmt;
use std::io;
use std::sync::Arc;

use leveret_queue_store::{OpenMode, Storage as Files, StorageFile};
use redb::{Database, DatabaseError, StorageBackend, StorageError};

use super::Storage;
use super::storage::rewrite;

/// What the file is called, beside those of the journal, which passes over names that are not its own.
const NAME: &str = "metadata.redb";
const UNFINISHED: &str = "metadata.new";

/// A store in one file of a directory.
#[derive(Debug)]
pub(crate) struct OnFiles(pub(crate) Arc<dyn Files>);

impl fmt::Display for OnFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl Storage for OnFiles {
    /// Makes the file as [`FileStorage`](super::FileStorage) does: under another name first.
    fn open(&self, builder: &redb::Builder) -> Result<Database, DatabaseError> {
        let open = |name, mode| {
            let file = self.0.open(name, mode).map_err(StorageError::Io)?;
            builder.create_with_backend(Backend(file))
        };
        let names = self.0.list().map_err(StorageError::Io)?;
        if !names.iter().any(|name| name == NAME) {
            if names.iter().any(|name| name == UNFINISHED) {
                self.0.remove(UNFINISHED).map_err(StorageError::Io)?;
            }
            drop(open(UNFINISHED, OpenMode::Create)?);
            let renamed = self.0.rename(UNFINISHED, NAME);
            renamed
                .and_then(|()| self.0.sync_directory())
                .map_err(StorageError::Io)?;
        }
        open(NAME, OpenMode::Existing)
    }

    fn make_safe(&self) -> io::Result<()> {
        let file = match self.0.open(NAME, OpenMode::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        rewrite(
            file.len()?,
            |buffer, offset| file.read_exact_at(buffer, offset),
            |bytes, offset| file.write_all_at(bytes, offset),
        )?;
        file.sync_data()?;
        self.0.sync_directory()
    }
}

#[derive(Debug)]
struct Backend(Arc<dyn StorageFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
