//! Writing past the system's cache.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::DiskFile;
use crate::StorageFile;
use crate::storage::DIRECT_ALIGN;

/// A file that is open twice: what is aligned is written past the system's cache, everything else by way of it. The system
/// keeps the two apart: it forgets what its cache had of what is written past it.
#[derive(Debug)]
pub(super) struct PartlyDirect {
    pub(super) file: DiskFile,
    pub(super) direct: DirectFile,
}

impl StorageFile for PartlyDirect {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.direct.write_all_at(bytes, offset) {
            Some(result) => result,
            None => self.file.write_all_at(bytes, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// A file open for nothing but writing past the cache.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// The file system has refused, for which there is no way to ask it before.
    is_refused: AtomicBool,
}

impl DirectFile {
    /// A file that exists; `None` where the system or the file system has no such writes.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn open(path: &Path) -> Option<Self> {
        let mut options = File::options();
        let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
        let file = options.write(true).open(path).ok()?;
        Some(Self {
            file,
            is_refused: AtomicBool::new(false),
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn open(_: &Path) -> Option<Self> {
        None
    }

    /// Writes all of `bytes`; `None` when that has to go by way of the cache, some of them perhaps being written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> Option<io::Result<()>> {
        if self.is_refused.load(Ordering::Relaxed) || !is_aligned(bytes, offset) {
            return None;
        }
        let result = DiskFile::write(&self.file, bytes, offset);
        // Larger sectors than those that are known, or a file system that opens such files and then cannot.
        let is_refused = result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput);
        if is_refused {
            self.is_refused.store(true, Ordering::Relaxed);
            return None;
        }
        Some(result)
    }
}

fn is_aligned(bytes: &[u8], offset: u64) -> bool {
    bytes.as_ptr().addr().is_multiple_of(DIRECT_ALIGN)
        && bytes.len().is_multiple_of(DIRECT_ALIGN)
        && offset.is_multiple_of(DIRECT_ALIGN as u64)
}

#[cfg(test)]
mod tests {
    use super::super::FileStorage;
    use crate::{OpenMode, Storage};

    /// So many bytes from an address that is aligned.
    fn aligned(memory: &mut Vec<u8>, len: usize) -> &mut [u8] {
        memory.resize(len + super::DIRECT_ALIGN, 0);
        let start = memory.as_ptr().align_offset(super::DIRECT_ALIGN);
        &mut memory[start..start + len]
    }

    #[test]
    fn direct_and_other_writes_make_one_file() {
        // Beside the compiled test: what is for temporary files is often memory, which has no such writes.
        let directory = std::env::current_exe().unwrap().with_extension("direct");
        let storage = FileStorage::open(&directory).unwrap();
        let file = storage.open("a", OpenMode::CreateDirect).unwrap();
        let mut memory = Vec::new();
        let sectors = aligned(&mut memory, 3 * super::DIRECT_ALIGN);
        for (round, at) in [(1_u8, 0), (2, 4096), (3, 8192)] {
            sectors.fill(round);
            file.write_all_at(sectors, at).unwrap();
            // Unaligned in the file, in memory, and in length.
            file.write_all_at(b"between", at + 100).unwrap();
            file.write_all_at(&sectors[1..4097], at + 4096).unwrap();
            file.sync_data().unwrap();
            let mut found = vec![0; 3 * super::DIRECT_ALIGN];
            file.read_exact_at(&mut found, at).unwrap();
            let mut expected = vec![round; 3 * super::DIRECT_ALIGN];
            expected[100..107].copy_from_slice(b"between");
            assert!(found == expected, "round {round}");
        }
        assert_eq!(file.len().unwrap(), 5 * 4096);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
