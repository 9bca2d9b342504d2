//! Why a data directory cannot be used.

use std::io;
use std::path::PathBuf;

use leveret_queue_store::{OpenError as JournalError, ReadError};

/// Why the definitions could not be read, or a data directory not be opened. All of it is for the operator: the text
/// names the file and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The directory cannot be created or written to.
    #[error("cannot use data directory {}: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    /// Another process, or another broker in this one, holds its lock.
    #[error("cannot use data directory {}: it is in use by another process", path.display())]
    InUse { path: PathBuf },
    /// Another process has the store open, without the directory's lock.
    #[error("cannot use {store}: it is in use by another process")]
    StoreInUse { store: String },
    /// The store cannot be read or written.
    #[error("cannot use {store}: {source}")]
    Io { store: String, source: io::Error },
    /// Another version wrote it.
    #[error(
        "cannot read {store}: {what}; start the version that wrote it, or use another data directory"
    )]
    Newer { store: String, what: String },
    /// What is in it makes no sense.
    #[error(
        "cannot read {store}: it is damaged ({what}); put a copy of it back, or move it away, and the messages with it, \
         to start without definitions"
    )]
    Damaged { store: String, what: String },
    /// There are messages of queues that were defined later than all that is in it.
    #[error(
        "cannot use {store}: it is not the one that was used last with the messages in the data directory, but a new one \
         or an old copy, and messages of queues that it does not know would be deleted (messages: {messages}, queues: \
         {queues}); put the right one back, or move the folder `messages` away to start without messages"
    )]
    OlderThanMessages {
        store: String,
        messages: u64,
        queues: usize,
    },
    /// The journal cannot be opened.
    #[error("cannot use the messages in the data directory: {0}")]
    Journal(#[source] JournalError),
    /// Messages cannot be read that the journal has.
    #[error("cannot read the messages in the data directory: {0}")]
    Messages(#[source] ReadError),
}

impl OpenError {
    /// The operating system's error, where there is one.
    pub(crate) fn as_io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Unusable { source, .. } | Self::Io { source, .. } => Some(source),
            Self::Journal(JournalError::Io { error, .. })
            | Self::Messages(ReadError::Io { error, .. }) => Some(error),
            Self::InUse { .. }
            | Self::StoreInUse { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::OlderThanMessages { .. }
            | Self::Journal(_)
            | Self::Messages(_) => None,
        }
    }

    /// What is there makes no sense to this version.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::Newer { .. }
                | Self::Damaged { .. }
                | Self::OlderThanMessages { .. }
                | Self::Journal(JournalError::Newer { .. } | JournalError::Damaged(_))
                | Self::Messages(ReadError::Damaged(_) | ReadError::NoSuchPage)
        )
    }

    /// Somebody else uses it: worth another try later.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(
            self,
            Self::InUse { .. } | Self::StoreInUse { .. } | Self::Journal(JournalError::InUse)
        )
    }
}
