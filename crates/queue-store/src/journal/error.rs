//! What a journal refuses, and why it cannot go on.

use std::io;
use std::sync::Arc;

use crate::storage::is_out_of_files;

/// Why a journal could not be opened. What was safe is still there. Unless it is [`Io`](Self::Io), nothing was changed on
/// disk; otherwise files may have been removed that nothing is in, and it can be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses the directory, or another journal of this one.
    #[error("the data directory is in use by another process; two brokers cannot share one")]
    InUse,
    /// A file is of a later version of leveret.
    #[error(
        "{file} has format {found}, this program knows formats up to {known}; \
         use the version of leveret that wrote it, or a later one"
    )]
    Newer {
        /// The file.
        file: String,
        /// The version of its format.
        found: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// What was safe is damaged, or missing.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A file could not be read or written.
    #[error("{file}: {error}")]
    Io {
        /// The file, or what was to be done.
        file: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Something that was written safely is not there any more as it was written: the disk, a copy or a
/// person has changed it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{file} is damaged at byte {offset}: {what}. Restore the data directory from a copy, or see \
     what is affected with `leveret store check` and go on without it by `leveret store repair`"
)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such page. The caller's mistake: it was released, or said to be gone.
    #[error("no such page")]
    NoSuchPage,
    /// It is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The file could not be read.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl ReadError {
    /// Whether it is worth another try: too many files are open just now, and the page is where it was.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_out_of_files(error))
    }
}

/// How a journal is doing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum JournalState {
    /// It takes everything.
    #[default]
    Ready,
    /// The disk is full. What is appended waits in memory, and nothing more becomes safe until
    /// there is room; every call of [`Journal::work`](crate::Journal::work) tries.
    Full,
    /// A file could not be opened, since the process or the system has as many open as it may: connections take one each.
    /// Otherwise as on a full disk.
    OutOfFiles,
    /// Writing or syncing has failed, and nothing more becomes safe until the journal is opened
    /// again: what the disk has is not known any more. What is appended is thrown away.
    Failed(Arc<str>),
}

impl JournalState {
    /// Whether more can become safe.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether what was appended waits in memory for something that may pass, and has to be tried again.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self, Self::Full | Self::OutOfFiles)
    }
}

/// Why what the journal was to wait for is not on the disk; see
/// [`Journal::work_after`](crate::Journal::work_after).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotPrepared {
    /// There is no room for it: worth another try.
    #[error("the disk is full")]
    Full,
    /// It never will be, for this reason.
    #[error("{0}")]
    Failed(String),
}

/// The journal has failed, or has no room: see [`JournalState`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NotSafe(pub(super) Arc<str>);
