//! What a broker begins with: nothing, or what its data directory holds.

#[cfg(all(test, feature = "journal"))]
mod tests;

#[cfg(feature = "journal")]
use std::path::Path;
use std::sync::Arc;

use leveret_queue_store::{Journal, Recovered};
#[cfg(feature = "journal")]
use leveret_queue_store::{JournalOptions, RecoveredQueue, Storage as MessageStorage};

use crate::error::Error;
#[cfg(feature = "journal")]
use crate::metadata::{DataDir, OpenError, Opened, Storage, Store, Writer};
use crate::metadata::{Metadata, StoredAccounts};
use crate::shared::Shared;

/// What is there before the broker runs.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Nothing, and nothing will be kept.
    Fresh,
    /// A store that has been read.
    #[cfg(feature = "journal")]
    Stored(Box<Stored>),
}

#[cfg(feature = "journal")]
#[derive(Debug)]
pub(crate) struct Stored {
    opened: Opened,
    store_name: String,
    messages: (Journal, Recovered),
    dir: Option<DataDir>,
}

/// What keeps a running broker's definitions. Dropping it brings everything to the disk, then lets the directory go.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// Goes first: no message is written before its queue is defined.
    #[cfg(feature = "journal")]
    _writer: Option<Writer>,
    #[cfg(feature = "journal")]
    _messages: Option<RunningStore>,
    #[cfg(feature = "journal")]
    _dir: Option<DataDir>,
}

impl Beginning {
    /// Opens or makes a data directory. Reads files, so not for a thread that has other work.
    ///
    /// # Errors
    /// When it cannot be used.
    #[cfg(feature = "journal")]
    pub(crate) fn in_dir(path: &Path, options: JournalOptions) -> Result<Self, OpenError> {
        let dir = DataDir::open(path)?;
        let storage = Box::new(dir.metadata());
        let messages = dir.messages()?;
        Self::on(storage, messages, options, Some(dir))
    }

    /// Opens or makes a store, in a directory or elsewhere.
    ///
    /// # Errors
    /// When it cannot be used.
    #[cfg(feature = "journal")]
    pub(crate) fn on(
        storage: Box<dyn Storage>,
        messages: Arc<dyn MessageStorage>,
        options: JournalOptions,
        dir: Option<DataDir>,
    ) -> Result<Self, OpenError> {
        let store_name = storage.to_string();
        let found = Store::find(storage)?;
        let messages = Journal::open(messages, options).map_err(OpenError::Journal)?;
        check_keys(&store_name, found.next_key(), &messages.1)?;
        Ok(Self::Stored(Box::new(Stored {
            opened: found.begin()?,
            store_name,
            messages,
            dir,
        })))
    }

    /// As [`Beginning::start`], without threads: whoever calls this writes, when it likes. None for a fresh beginning.
    ///
    /// # Errors
    /// When something that was stored cannot be made or read.
    #[cfg(all(test, feature = "journal"))]
    pub(crate) fn start_by_hand(
        self,
        make: impl FnOnce(Arc<Metadata>, Option<(Journal, Recovered)>) -> Arc<Shared>,
    ) -> Result<Option<(Arc<Shared>, Store)>, Error> {
        let Self::Stored(stored) = self else {
            return Ok(None);
        };
        let (shared, definitions, _) = stored.restore(make)?;
        Ok(Some((shared, definitions)))
    }

    /// Whether a virtual host of this name will be there, those that are configured aside.
    pub(crate) fn has_vhost(&self, name: &str) -> bool {
        match self {
            Self::Fresh => name == "/",
            #[cfg(feature = "journal")]
            Self::Stored(stored) => {
                let mut vhosts = stored.opened.definitions.vhosts.iter();
                vhosts.any(|(stored, _)| &**stored == name)
            }
        }
    }

    /// The accounts that are stored, where there is a store.
    pub(crate) fn accounts(&self) -> Option<StoredAccounts> {
        match self {
            Self::Fresh => None,
            #[cfg(feature = "journal")]
            Self::Stored(stored) => Some(stored.opened.definitions.accounts.clone()),
        }
    }

    /// Makes what there is in what `make` makes, and starts to keep what changes.
    ///
    /// # Errors
    /// When something that was stored cannot be made, or the system has no thread to give.
    pub(crate) fn start(
        self,
        make: impl FnOnce(Arc<Metadata>, Option<(Journal, Recovered)>) -> Arc<Shared>,
    ) -> Result<(Arc<Shared>, Keeper), Error> {
        match self {
            Self::Fresh => {
                let shared = make(Arc::new(Metadata::off()), None);
                shared.begin();
                Ok((shared, Keeper::default()))
            }
            #[cfg(feature = "journal")]
            Self::Stored(stored) => stored.start(make),
        }
    }
}

/// Keys are reserved in the definitions before they are given out. Messages under a key that is not were written beside
/// other definitions than these, which know nothing of their queues.
///
/// # Errors
/// When there are such messages.
#[cfg(feature = "journal")]
fn check_keys(store: &str, next_key: u64, found: &Recovered) -> Result<(), OpenError> {
    let unknown = found
        .queues
        .iter()
        .filter(|queue| queue.key().0 >= next_key);
    let lens = unknown.map(RecoveredQueue::len).filter(|len| *len > 0);
    let lens: Vec<_> = lens.collect();
    if lens.is_empty() {
        return Ok(());
    }
    Err(OpenError::OlderThanMessages {
        store: store.to_owned(),
        messages: lens.iter().sum(),
        queues: lens.len(),
    })
}

#[cfg(feature = "journal")]
impl Stored {
    fn start(
        self,
        make: impl FnOnce(Arc<Metadata>, Option<(Journal, Recovered)>) -> Arc<Shared>,
    ) -> Result<(Arc<Shared>, Keeper), Error> {
        let (shared, definitions, dir) = self.restore(make)?;
        let messages = RunningStore::start(&shared)?;
        let metadata = &shared.services.metadata;
        let keeper = Keeper {
            _messages: messages,
            _writer: Some(Writer::start(metadata, definitions).map_err(Error::thread)?),
            _dir: dir,
        };
        Ok((shared, keeper))
    }

    /// Makes everything that was stored. What changes from then on has to be written by somebody: the definitions to the
    /// store that is returned, the messages by the broker's own [`Store`](crate::store::Store).
    ///
    /// # Errors
    /// When something that was stored cannot be made or read.
    fn restore(
        self,
        make: impl FnOnce(Arc<Metadata>, Option<(Journal, Recovered)>) -> Arc<Shared>,
    ) -> Result<(Arc<Shared>, Store, Option<DataDir>), Error> {
        let Opened {
            store,
            definitions,
            next_key,
        } = self.opened;
        let metadata = Arc::new(Metadata::on(next_key));
        let shared = make(Arc::clone(&metadata), Some(self.messages));
        shared
            .restore(definitions)
            .map_err(|what| OpenError::Damaged {
                store: self.store_name,
                what,
            })?;
        if let Some(messages) = &shared.services.store {
            messages
                .finish_recovery(shared.now())
                .map_err(OpenError::Messages)?;
        }
        Ok((shared, store, self.dir))
    }
}

/// The store for messages, with its thread. Dropping it brings everything to the disk.
#[cfg(feature = "journal")]
#[derive(Debug)]
struct RunningStore(Arc<Shared>);

#[cfg(feature = "journal")]
impl RunningStore {
    /// None where there is no store.
    ///
    /// # Errors
    /// When the system has no thread to give.
    fn start(shared: &Arc<Shared>) -> Result<Option<Self>, Error> {
        let Some(store) = &shared.services.store else {
            return Ok(None);
        };
        store.start(shared.clock.clone()).map_err(Error::thread)?;
        Ok(Some(Self(Arc::clone(shared))))
    }
}

#[cfg(feature = "journal")]
impl Drop for RunningStore {
    fn drop(&mut self) {
        if let Some(store) = &self.0.services.store {
            store.stop(self.0.now());
        }
    }
}
