//! Files on disk.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::direct::{DirectFile, PartlyDirect};
use super::{DirectoryLock, OpenMode, Storage, StorageFile};

mod direct;

/// What is locked, so that two processes do not write one journal. It stays when the lock is gone:
/// the lock belongs to the open file and ends with the process.
const LOCK_NAME: &str = "lock";

/// A directory of the file system.
#[derive(Debug)]
pub struct FileStorage {
    directory: PathBuf,
    /// Open all the time: what has been made is to become safe though the process may have no more files open.
    #[cfg(unix)]
    opened: File,
}

impl FileStorage {
    /// The directory at this path. It is made for its owner alone, with those it is in, unless it is
    /// there, and the names of what is made are safe then.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or opened.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let parents = parents_of_missing(&directory);
        builder.create(&directory)?;
        for parent in parents {
            sync(&parent)?;
        }
        Ok(Self {
            #[cfg(unix)]
            opened: File::open(&directory)?,
            directory,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
        if plain {
            Ok(self.directory.join(name))
        } else {
            Err(io::Error::from(io::ErrorKind::InvalidInput))
        }
    }
}

/// Where the names will stand of the directories that have to be made for this one, itself included; the innermost first.
fn parents_of_missing(directory: &Path) -> Vec<PathBuf> {
    // Above a relative one stands the empty name.
    let missing = directory
        .ancestors()
        .take_while(|it| !it.as_os_str().is_empty() && !it.exists());
    let parents = missing.map(|it| match it.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    });
    parents.collect()
}

/// Makes the names in a directory safe.
#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Storage for FileStorage {
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path(LOCK_NAME)?)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(LockedFile(file))),
            Err(TryLockError::WouldBlock) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            // A name that is not text is none of ours.
            if let Ok(name) = entry.file_name().into_string()
                && name != LOCK_NAME
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(mode != OpenMode::Existing)
            .truncate(false);
        // What was published is nobody else's to read.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = self.path(name)?;
        let file = options.open(&path)?;
        if mode == OpenMode::CreateDirect
            && let Some(direct) = DirectFile::open(&path)
        {
            return Ok(Arc::new(PartlyDirect {
                file: DiskFile(file),
                direct,
            }));
        }
        Ok(Arc::new(DiskFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from)?, self.path(to)?)
    }

    #[cfg(unix)]
    fn sync_directory(&self) -> io::Result<()> {
        self.opened.sync_all()
    }

    /// Elsewhere a directory cannot be opened as a file; NTFS keeps its own journal of names.
    #[cfg(not(unix))]
    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct LockedFile(#[expect(dead_code, reason = "held open: the lock ends with it")] File);

impl DirectoryLock for LockedFile {}

#[derive(Debug)]
struct DiskFile(File);

impl DiskFile {
    #[cfg(unix)]
    fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
    }

    #[cfg(windows)]
    fn write(file: &File, bytes: &[u8], mut offset: u64) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(file, rest, offset) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(len) => {
                    rest = rest.get(len..).unwrap_or_default();
                    offset += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl StorageFile for DiskFile {
    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let mut rest = buffer;
        while !rest.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, rest, offset) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(len) => {
                    rest = rest.get_mut(len..).unwrap_or_default();
                    offset += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        Self::write(&self.0, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_made_have_their_names_made_safe() {
        let here = std::env::temp_dir();
        let there = here.join(format!("leveret-{}-missing", std::process::id()));
        let parents = parents_of_missing(&there.join("a/b"));
        assert_eq!(parents, [there.join("a"), there.clone(), here.clone()]);
        assert!(parents_of_missing(&here).is_empty());
        let relative = Path::new("missing-in-the-working-directory");
        assert_eq!(parents_of_missing(relative), [Path::new(".")]);
        FileStorage::open(there.join("a/b")).unwrap();
        assert!(parents_of_missing(&there.join("a/b")).is_empty());
        std::fs::remove_dir_all(there).unwrap();
    }

    #[test]
    fn names_with_folders_are_refused() {
        let storage = FileStorage::open(std::env::temp_dir()).unwrap();
        for name in ["", ".", "..", "a/b", "a\\b", "../a"] {
            let error = storage.open(name, OpenMode::Create).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
