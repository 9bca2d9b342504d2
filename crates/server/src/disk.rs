//! How much of the disk under the data directory is free.

use std::io;
use std::path::PathBuf;

use leveret_broker::DiskSpace;

/// The file system that a directory lies in.
#[derive(Clone, Debug)]
pub(crate) struct FileSystem {
    directory: PathBuf,
}

impl FileSystem {
    /// That of `directory`; it is looked for at each question, so another one may be mounted there meanwhile.
    pub(crate) fn of(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl DiskSpace for FileSystem {
    /// What the user of this process may use: the reserve that many file systems keep for root does not count.
    fn free_bytes(&self) -> io::Result<u64> {
        #[cfg(unix)]
        {
            let stat = rustix::fs::statvfs(&self.directory)?;
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        }
        #[cfg(not(unix))]
        {
            let message = format!("not known here: {}", self.directory.display());
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_directory_has_a_file_system_with_some_room() {
        let free = FileSystem::of(std::env::temp_dir()).free_bytes().unwrap();
        assert!((1..1 << 60).contains(&free), "{free}");
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error() {
        let gone = std::env::temp_dir().join("leveret-no-such-directory");
        assert!(FileSystem::of(gone).free_bytes().is_err());
    }
}
