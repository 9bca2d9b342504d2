//! Data directories of tests, and what a crash leaves in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use leveret_broker::{Broker, Builder};

use super::start;

/// A data directory of one test, removed in the end.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("messages-{}-{number}", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub(crate) async fn broker(&self) -> Broker {
        self.broker_with(Broker::builder()).await
    }

    pub(crate) async fn broker_with(&self, builder: Builder) -> Broker {
        start(builder.data_dir(&self.0)).await
    }

    /// A directory with the definitions that an older version wrote, as `tests/data` has them.
    pub(crate) fn of_version(version: &str) -> Self {
        let dir = Self::new();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        copy_dir(&data.join(version), &dir.0);
        dir
    }

    /// The directory as a crash at this moment would leave it.
    pub(crate) fn crashed(&self) -> Self {
        let copy = Self::new();
        copy_dir(&self.0, &copy.0);
        copy
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
