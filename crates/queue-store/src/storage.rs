//! Files, as the journal needs them: on disk, in memory, and on a disk that fails.

use std::fmt;
use std::io;
use std::sync::Arc;

pub use faulty::FaultyStorage;
pub use file::FileStorage;
pub use memory::MemoryStorage;

mod faulty;
mod file;
mod memory;

/// A directory of files, none of which has folders in its name.
///
/// What is written is safe from a power cut once [`StorageFile::sync_data`] has returned, and the
/// name it was written under once [`sync_directory`](Self::sync_directory) has.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Keeps others out of the directory until what is returned is dropped, or the process ends.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when somebody else has it.
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>>;

    /// The names of all files, in no particular order.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing, at any length.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when it is not there and was not to be created; others as the
    /// system has them.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;

    /// Removes a file. Whoever has it open can still use it.
    ///
    /// # Errors
    ///
    /// As the system has them; [`io::ErrorKind::NotFound`] when it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in the place of what had that name.
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove).
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes files that were created, renamed and removed stay so.
    ///
    /// # Errors
    ///
    /// As the system has them; it is then unknown which of them do.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file. Dropping it closes it and syncs nothing.
///
/// Reads and writes name their place, so that several threads may use one file.
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Fills the buffer with what stands at `offset`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before; others as the system has them.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows as needed.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] when the disk is full, [`io::ErrorKind::QuotaExceeded`] and
    /// others as the system has them. Some of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written so far is safe.
    ///
    /// # Errors
    ///
    /// It is then unknown what is safe, and a second call that succeeds does not change that.
    fn sync_data(&self) -> io::Result<()>;

    /// The length of the file.
    ///
    /// # Errors
    ///
    /// As the system has them.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// As the system has them.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or makes it longer with zeros.
    ///
    /// # Errors
    ///
    /// As for [`write_all_at`](Self::write_all_at).
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Whether [`Storage::open`] makes a file that is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// It has to be there.
    Existing,
    /// It is made, empty, unless it is there; what is there keeps its contents.
    Create,
    /// As `Create`, for a file that is written, synced and not read soon: what begins and ends at multiples of 4,096 bytes,
    /// in the file and in memory, may go to the disk past the system's cache. Other writes, and all where that cannot be
    /// done, go through the cache as ever; nothing else differs.
    CreateDirect,
}

/// What begins and ends at multiples of this can go to the disk past the system's cache: the largest sectors of disks in
/// use, and a page of memory.
pub(crate) const DIRECT_ALIGN: usize = 4096;

/// Keeps a directory for whoever holds it, until dropped.
pub trait DirectoryLock: fmt::Debug + Send + Sync {}

/// Whether an error of opening a file says that the process, or the system, has as many open as it may, which may pass.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| OUT_OF_FILES.contains(&code))
}

/// What systems call that: the standard library has no name for it. `EMFILE` and `ENFILE`, which are alike on all of Unix.
#[cfg(unix)]
const OUT_OF_FILES: &[i32] = &[24, 23];

/// `ERROR_TOO_MANY_OPEN_FILES`.
#[cfg(windows)]
const OUT_OF_FILES: &[i32] = &[4];

#[cfg(not(any(unix, windows)))]
const OUT_OF_FILES: &[i32] = &[];

/// Whether an error says that there is no space left, which may pass.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
