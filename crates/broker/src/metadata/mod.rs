//! Definitions that outlive the broker: virtual hosts, durable exchanges and queues, the bindings between them, and
//! accounts.
//!
//! ```text
//!  topology, locked ──record──► Metadata ──take──► Writer, a thread ──one transaction──► Store ──► metadata.redb
//!                                  ▲                   │
//!  withheld replies ◄──woken───────┴─────committed─────┘
//! ```
//!
//! What is in memory is the truth while the broker runs; the store is written behind it and read at the next start. A
//! change gets a [`Ticket`] while the topology is locked, so the order of tickets is the order of changes, and all
//! changes that have gathered while a transaction was being written go into the next one. A client is told of a durable
//! change only once its ticket is committed: its connection withholds the answer and everything behind it
//! ([`Output::hold_until`](crate::session::Output::hold_until)), and goes on working meanwhile.
//!
//! Without a data directory nothing is recorded and every ticket is [`Ticket::NONE`].

mod accounts;
mod change;
mod commit;
#[cfg(feature = "journal")]
mod data_dir;
#[cfg(feature = "journal")]
mod error;
#[cfg(all(test, feature = "journal"))]
pub(crate) mod faulty;
mod format;
#[cfg(all(test, feature = "journal"))]
mod on_files;
mod records;
#[cfg(feature = "journal")]
mod storage;
#[cfg(feature = "journal")]
mod store;
#[cfg(all(test, feature = "journal"))]
mod tests;
#[cfg(feature = "journal")]
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use leveret_queue_store::{NotPrepared, QueueKey};
use parking_lot::{Condvar, Mutex};

use crate::busy::BusyCount;
use crate::error::Refusal;

pub(crate) use change::Change;
pub(crate) use commit::Commit;
#[cfg(feature = "journal")]
pub(crate) use data_dir::DataDir;
#[cfg(feature = "journal")]
pub(crate) use error::OpenError;
#[cfg(feature = "journal")]
pub(crate) use records::Definitions;
pub(crate) use records::{BindingRecord, ExchangeRecord, QueueRecord, StoredAccounts};
#[cfg(feature = "journal")]
pub(crate) use storage::{FileStorage, Storage};
#[cfg(feature = "journal")]
pub(crate) use store::{Opened, Store};
#[cfg(feature = "journal")]
pub(crate) use writer::Writer;
#[cfg(all(test, feature = "journal"))]
pub(crate) use {on_files::OnFiles, writer::ByHand};

/// Names a virtual host on disk. Never used twice, also not after a restart: what a deleted virtual host might have left
/// behind is never taken for a part of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct VhostKey(pub(crate) u64);

/// Numbers the recorded changes of one run of the broker. When a ticket is committed, so are all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    /// There is nothing to wait for.
    pub(crate) const NONE: Self = Self(0);
}

/// How many changes may wait for the writer before a connection that waits for one of them is no longer read from. A
/// client that wants no replies to its declarations would otherwise fill the memory while the disk is slow. A few
/// transactions' worth: the writer never runs dry.
pub(crate) const BACKLOG_MAX: u64 = 8192;

/// The changes of definitions on their way to the store. See the module.
///
/// Its lock is innermost; wakers are woken without it.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// There is a store. Without one nothing is recorded.
    enabled: bool,
    state: Mutex<State>,
    /// Tells the writer of the first change and of the end.
    writer_wakes: Condvar,
    /// Tells threads of commits and of the failure.
    commits: Condvar,
    recorded: AtomicU64,
    /// The ticket of the latest definition of something that can hold messages.
    newest_holder: AtomicU64,
    committed: AtomicU64,
    failed: AtomicBool,
    next_key: AtomicU64,
    /// Counts as work from the first change until nothing waits to be committed.
    busy: BusyCount,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<Change>,
    waiters: BTreeMap<(Ticket, u64), Waker>,
    next_waiter: u64,
    /// The broker is stopping: what is recorded from now on is forgotten.
    closed: bool,
    /// The disk had no room when the writer tried last.
    is_full: bool,
    /// Why nothing more is committed.
    failure: Option<Arc<str>>,
    /// The busy count has been entered.
    is_busy: bool,
}

impl Metadata {
    /// For a broker that keeps nothing.
    pub(crate) fn off() -> Self {
        Self::new(false, 1)
    }

    /// For a broker with a store, which has given out keys below `next_key`.
    #[cfg(feature = "journal")]
    pub(crate) fn on(next_key: u64) -> Self {
        Self::new(true, next_key)
    }

    fn new(enabled: bool, next_key: u64) -> Self {
        Self {
            enabled,
            state: Mutex::default(),
            writer_wakes: Condvar::new(),
            commits: Condvar::new(),
            recorded: AtomicU64::new(0),
            newest_holder: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            next_key: AtomicU64::new(next_key),
            busy: BusyCount::default(),
        }
    }

    /// Whether changes are recorded at all.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled
    }

    pub(crate) fn busy(&self) -> &BusyCount {
        &self.busy
    }

    /// A name on disk for a virtual host.
    pub(crate) fn new_vhost_key(&self) -> VhostKey {
        VhostKey(self.new_key())
    }

    /// A name on disk for a durable queue, or for what waits in a durable delayed exchange. Never used twice, also not
    /// after a restart: messages of a deleted queue are never taken for those of another one with its name.
    pub(crate) fn new_queue_key(&self) -> QueueKey {
        QueueKey(self.new_key())
    }

    /// A number that nothing has had before.
    fn new_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// Records changes that have been made, in their order, and gives the ticket of the last. Called while whatever was
    /// changed is locked. Never waits.
    ///
    /// [`Ticket::NONE`] for no changes, without a store, and once the broker is stopping: clients have been told to go
    /// by then, and what they leave behind is kept.
    pub(crate) fn record(&self, changes: impl IntoIterator<Item = Change>) -> Ticket {
        let mut changes = changes.into_iter().peekable();
        if !self.enabled || changes.peek().is_none() {
            return Ticket::NONE;
        }
        let mut state = self.state.lock();
        if state.closed {
            return Ticket::NONE;
        }
        let before = state.pending.len();
        state.pending.extend(changes);
        let added = (state.pending.len() - before) as u64;
        let ticket = Ticket(self.recorded.load(Ordering::Relaxed) + added);
        if state.pending[before..].iter().any(Change::defines_holder) {
            self.newest_holder.store(ticket.0, Ordering::Release);
        }
        self.recorded.store(ticket.0, Ordering::Release);
        if state.failure.is_some() {
            // Nobody takes them any more, and whoever waits for them is told.
            state.pending.clear();
        } else if !state.is_busy {
            state.is_busy = true;
            self.busy.enter();
        }
        drop(state);
        self.writer_wakes.notify_one();
        ticket
    }

    /// The ticket of the latest change; [`Ticket::NONE`] when everything is committed.
    pub(crate) fn latest(&self) -> Ticket {
        let latest = Ticket(self.recorded.load(Ordering::Acquire));
        if latest <= self.committed() {
            Ticket::NONE
        } else {
            latest
        }
    }

    /// Everything up to this ticket is in the store.
    pub(crate) fn committed(&self) -> Ticket {
        Ticket(self.committed.load(Ordering::Acquire))
    }

    /// When this ticket is committed, so is every queue and exchange that anybody can have found until now.
    pub(crate) fn newest_holder(&self) -> Ticket {
        Ticket(self.newest_holder.load(Ordering::Acquire))
    }

    /// Has the calling thread wait until a ticket is committed.
    ///
    /// # Errors
    /// When it never will be, with the reason; and when there is no room for it, instead of waiting for that.
    pub(crate) fn wait_committed(&self, ticket: Ticket) -> Result<(), NotPrepared> {
        if self.committed() >= ticket {
            return Ok(());
        }
        let mut state = self.state.lock();
        loop {
            if self.committed() >= ticket {
                return Ok(());
            }
            if let Some(reason) = &state.failure {
                let what = format!("the queues of messages are not stored: {reason}");
                return Err(NotPrepared::Failed(what));
            }
            if state.is_full {
                return Err(NotPrepared::Full);
            }
            self.commits.wait(&mut state);
        }
    }

    /// How many changes are not committed yet.
    pub(crate) fn backlog(&self) -> u64 {
        let committed = self.committed();
        self.recorded
            .load(Ordering::Acquire)
            .saturating_sub(committed.0)
    }

    /// A future that is ready when a ticket is committed, or never will be.
    pub(crate) fn when_committed(self: &Arc<Self>, ticket: Ticket) -> Commit {
        Commit::new(Arc::clone(self), ticket)
    }

    /// Whether durable definitions can be changed.
    ///
    /// # Errors
    /// 541 once the store could not be written.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let failure = self.state.lock().failure.clone();
        Err(refusal(failure.as_deref().unwrap_or_default()))
    }
}

/// What clients are told whose changes could not be written.
fn refusal(reason: &str) -> Refusal {
    Refusal::internal_error(format!("durable definitions cannot be stored: {reason}"))
}

#[cfg(feature = "journal")]
impl Metadata {
    /// Waits until there is something to write. None when the broker has stopped and everything has been taken.
    fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if let Some(batch) = self.take_from(&mut state) {
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            self.writer_wakes.wait(&mut state);
        }
    }

    /// What there is to write at the moment.
    #[cfg(test)]
    fn try_take(&self) -> Option<Batch> {
        self.take_from(&mut self.state.lock())
    }

    fn take_from(&self, state: &mut State) -> Option<Batch> {
        (!state.pending.is_empty()).then(|| Batch {
            changes: std::mem::take(&mut state.pending),
            last: Ticket(self.recorded.load(Ordering::Relaxed)),
        })
    }

    /// Waits before another try; false when the broker is stopping and there will be none.
    fn wait_to_retry(&self, pause: std::time::Duration) -> bool {
        let mut state = self.state.lock();
        let goes_on = |state: &mut State| !state.closed;
        self.writer_wakes.wait_while_for(&mut state, goes_on, pause);
        !state.closed
    }

    /// Everything up to `ticket` is in the store.
    fn set_committed(&self, ticket: Ticket) {
        let wakers: Vec<Waker> = {
            let mut state = self.state.lock();
            self.committed.store(ticket.0, Ordering::Release);
            state.is_full = false;
            self.commits.notify_all();
            let later = state.waiters.split_off(&(Ticket(ticket.0 + 1), 0));
            let now = std::mem::replace(&mut state.waiters, later);
            now.into_values().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
        self.leave_busy();
    }

    /// There is no room for what is being written. Threads do not wait for that: they may have something else to do that
    /// makes room.
    fn note_full(&self) {
        self.state.lock().is_full = true;
        self.commits.notify_all();
    }

    /// Nothing more will be written: whoever waits is told, and durable changes are refused from now on.
    fn fail(&self, reason: &str) {
        let waiters = {
            let mut state = self.state.lock();
            state.failure = Some(Arc::from(reason));
            state.pending.clear();
            self.failed.store(true, Ordering::Release);
            self.commits.notify_all();
            std::mem::take(&mut state.waiters)
        };
        waiters.into_values().for_each(Waker::wake);
        self.leave_busy();
    }

    /// After those who waited have been woken, so that no moment looks idle in between.
    fn leave_busy(&self) {
        let mut state = self.state.lock();
        if state.is_busy && (state.failure.is_some() || self.backlog() == 0) {
            state.is_busy = false;
            self.busy.leave();
        }
    }

    /// Records nothing more; the writer ends when it has written what was recorded.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.writer_wakes.notify_one();
    }

    /// The first key that has not been given out.
    fn next_key(&self) -> u64 {
        self.next_key.load(Ordering::Relaxed)
    }
}

/// What has gathered for one transaction.
#[cfg(feature = "journal")]
#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    /// The ticket of the last of them.
    last: Ticket,
}
