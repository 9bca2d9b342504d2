//! What a store lies on: a file, or whatever a test puts in its place.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, StorageError};

/// Opens the database of a store. After an error of the disk the database is closed and opened anew, so this may be
/// called several times, but never while a database of it is open.
///
/// Displayed, it says where the store is, for error texts.
pub(crate) trait Storage: fmt::Debug + fmt::Display + Send {
    /// Opens the database, which is made if there is none.
    ///
    /// # Errors
    /// As [`Builder::create_with_backend`].
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Makes what the system has of the database, if there is one, safe on the disk. Comes before it is opened.
    ///
    /// A sync would not be enough: after one that failed the system takes for written what is not, and whoever reads it
    /// builds on what the next power cut takes away. So every byte is written once more, as it was read.
    ///
    /// # Errors
    /// When it cannot be read or written.
    fn make_safe(&self) -> io::Result<()>;
}

/// How much of a store is written once more at a time.
const REWRITE_LEN: u64 = 1 << 20;

/// Reads everything and writes it where it was.
pub(super) fn rewrite(
    len: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    mut write: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < len {
        let size = REWRITE_LEN.min(len - offset);
        buffer.resize(usize::try_from(size).map_err(io::Error::other)?, 0);
        read(&mut buffer, offset)?;
        write(&buffer, offset)?;
        offset += size;
    }
    Ok(())
}

/// A file, readable by its owner alone if it has to be made.
///
/// It is made under another name and renamed: a database that was cut off while it was being made is none, and could never
/// be opened again.
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
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        if !self.path.try_exists().map_err(StorageError::Io)? {
            let unfinished = self.path.with_extension("new");
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::Io(error).into());
                }
                _ => {}
            }
            drop(open_file(&unfinished, builder)?);
            fs::rename(&unfinished, &self.path)
                .and_then(|()| sync_parent(&self.path))
                .map_err(StorageError::Io)?;
        }
        open_file(&self.path, builder)
    }

    fn make_safe(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = match options.read(true).write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let seek = |offset| (&file).seek(SeekFrom::Start(offset));
        rewrite(
            file.metadata()?.len(),
            |buffer, offset| {
                seek(offset)?;
                (&file).read_exact(buffer)
            },
            |bytes, offset| {
                seek(offset)?;
                (&file).write_all(bytes)
            },
        )?;
        file.sync_data()?;
        // Whoever gave it its name may have ended before that was safe.
        sync_parent(&self.path)
    }
}

fn open_file(path: &Path, builder: &Builder) -> Result<Database, DatabaseError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(StorageError::Io)?;
    builder.create_file(file)
}

/// Makes the name of a file safe from a power cut. Other systems than Unix do that by themselves, as far as they can.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if cfg!(unix) && !parent.as_os_str().is_empty() => {
            File::open(parent)?.sync_all()
        }
        Some(_) if cfg!(unix) => File::open(".")?.sync_all(),
        _ => Ok(()),
    }
}
