//! The file that log lines go to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

/// A file at whose end log lines are written, until it is opened anew: so that whoever rotates logs can move it away.
///
/// It is written through `&LogFile`, by several threads at once; each line is written in one piece.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: RwLock<File>,
}

impl LogFile {
    /// Opens the file, which is made if it is not there: for its owner to write and its group to read (mode 0640), as far as
    /// the umask has it. The directory has to be there.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let file = RwLock::new(open(&path)?);
        Ok(Self { path, file })
    }

    /// Opens what stands at the path now. What is written meanwhile goes to the old file or the new one.
    ///
    /// # Errors
    /// When it cannot be made or written to. The old file stays in use.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        // Not opened under the lock, which would have everybody wait who logs.
        let file = open(&self.path)?;
        *self.file.write() = file;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.file.read()).write(bytes)
    }

    /// Keeps one file for the whole of a line.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file.read()).write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file.read()).flush()
    }
}
