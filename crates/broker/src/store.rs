//! Messages on disk: the journal, the thread that writes it, and when messages go there to save memory.

mod relief;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use leveret_queue_store::{
    Journal, JournalState, Lsn, NotPrepared, QueueKey, ReadError, Recovered, RecoveredQueue, Time,
    Worked,
};
use parking_lot::Mutex;

use crate::alarms::{Alarm, Alarms};
use crate::clock::Clock;
use crate::metadata::{Metadata, Ticket};
use crate::timers::{Due, TimerId, Timers};
use relief::Relief;
pub(crate) use relief::{Holder, Relieved};

/// How many bytes of durable queues' messages stay in memory, unless set. Enough for what is on its way through busy
/// queues; a backlog is better off on disk, from where it comes back in large reads.
pub(crate) const RESIDENT_MAX: usize = 8 * 1024 * 1024;

/// How much may be on its way to disk to save memory: beyond it nothing is gained by handing over more. It is in memory
/// beside what durable queues may hold, and a disk takes as much in some hundredths of a second.
const PAGES_PENDING_MAX: usize = 4 * 1024 * 1024;

/// How long the journal's thread sleeps at most when there is nothing to do. It is woken for work; this bounds what a
/// missed wake-up would cost, and is far from being noticed as one.
const REST: Duration = Duration::from_secs(3600);

/// How long what nobody waits for, such as an acknowledgement, is in the hands of the system before it is synced, when
/// nothing else comes. Short enough that a power cut brings little back, long enough that it costs no sync of its own while
/// there is traffic.
const SYNC_LAG: Duration = Duration::from_millis(100);

/// How long the journal's thread waits for more to share a sync, where publishers send much. About what a sync takes on a
/// fast disk; enough for a client of this machine or network to have heard that it may go on, and for the broker to have
/// taken in a window of a thousand messages.
const BUSY_LAG: Duration = Duration::from_micros(500);

/// How long what nobody waits for is kept before the system has it. A process that is killed loses that much of what consumers
/// had acknowledged, which is then delivered again; a consumer that keeps acknowledging wakes the thread two hundred times a
/// second instead of for each of its acknowledgements.
const UNWANTED_LAG: Duration = Duration::from_millis(5);

/// How soon a full disk is tried again, or to open a file where too many are open. Nobody wakes the thread when there is room, and publishers wait for it; a write that
/// fails at once is cheap.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// What a queue has to hold for it to be worth a page of its own, where the memory for durable queues is of the usual size: a
/// few times of what is kept in memory of a page.
const PAGE_WORTH: usize = 2048;

/// At so many small pages at the end of a queue one is made of them. A queue that is filled slowly while memory is short
/// has no more, and each of its messages is written about twice.
pub(crate) const JOINED_MIN: usize = 8;

type Hasher = foldhash::fast::RandomState;

/// The broker's store for messages.
#[derive(Debug)]
pub(crate) struct Store {
    journal: Journal,
    metadata: Arc<Metadata>,
    alarms: Arc<Alarms>,
    timers: Arc<Timers>,
    /// Bytes of durable queues' messages in memory.
    resident: AtomicUsize,
    resident_max: usize,
    relief: Relief,
    /// Durable queues and delayed exchanges, by what the journal calls them. Those that are gone are swept out when the
    /// map would grow.
    queues: Mutex<HashMap<QueueKey, Weak<dyn Resident>, Hasher>>,
    recovery: Mutex<Recovery>,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Something that has messages in the journal: a durable queue, or a durable delayed exchange.
pub(crate) trait Resident: fmt::Debug + Send + Sync {
    /// Copies to pages what only an old file of the log has, up to this number, so that the file can go.
    fn move_to_pages(&self, below: NonZeroU64);

    /// Everything that is defined is there again after a start. Called once, without any lock.
    fn begin(self: Arc<Self>, now: Time);
}

/// What the journal held when it was opened, until the queues have it.
#[derive(Debug, Default)]
struct Recovery {
    queues: HashMap<QueueKey, RecoveredQueue, Hasher>,
    /// Why a queue could not have what is its own.
    damage: Option<ReadError>,
}

/// The journal takes nothing more until the broker is started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalFailed;

impl Store {
    pub(crate) fn new(
        (journal, recovered): (Journal, Recovered),
        resident_max: usize,
        alarms: Arc<Alarms>,
        timers: Arc<Timers>,
        metadata: Arc<Metadata>,
    ) -> Arc<Self> {
        for note in &recovered.notes {
            tracing::warn!("journal: {note}");
        }
        let queues = recovered.queues.into_iter();
        Arc::new(Self {
            journal,
            metadata,
            alarms,
            timers,
            resident: AtomicUsize::new(0),
            resident_max,
            relief: Relief::default(),
            queues: Mutex::default(),
            recovery: Mutex::new(Recovery {
                queues: queues.map(|queue| (queue.key(), queue)).collect(),
                damage: None,
            }),
            stopping: AtomicBool::new(false),
            threads: Mutex::default(),
        })
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Notes what has messages under this key, so that they can be moved when an old file of the log is to go.
    pub(crate) fn register(&self, key: QueueKey, queue: Weak<dyn Resident>) {
        let mut queues = self.queues.lock();
        if queues.len() == queues.capacity() {
            queues.retain(|_, queue| queue.strong_count() > 0);
        }
        queues.insert(key, queue);
    }

    /// What the journal held of a queue when the broker started, once.
    pub(crate) fn take_recovered(&self, key: QueueKey) -> Option<RecoveredQueue> {
        self.recovery.lock().queues.remove(&key)
    }

    /// A queue could not have what the journal held of it.
    pub(crate) fn note_damage(&self, damage: ReadError) {
        self.recovery.lock().damage.get_or_insert(damage);
    }

    /// All queues that the definitions know of have what is theirs. What is left belongs to queues that were deleted in
    /// the last moment of the run before.
    ///
    /// # Errors
    /// When something could not be read.
    pub(crate) fn finish_recovery(&self, now: Time) -> Result<(), ReadError> {
        let recovery = std::mem::take(&mut *self.recovery.lock());
        if let Some(damage) = recovery.damage {
            return Err(damage);
        }
        let messages: u64 = recovery.queues.values().map(RecoveredQueue::len).sum();
        if messages > 0 {
            let queues = recovery.queues.len();
            tracing::warn!(
                messages,
                queues,
                "messages of queues that have been deleted are deleted with them"
            );
        }
        let mut gone: Vec<_> = recovery.queues.into_keys().collect();
        gone.sort_unstable();
        for key in gone {
            let gone = self.journal.queue(key);
            self.journal.append().queue_gone(gone);
        }
        for queue in self.registered() {
            queue.begin(now);
            // What begins may have to look into a page, and there may be very many.
            self.relieve(now);
        }
        Ok(())
    }

    /// All that are there, by their keys: what they do is done in the same order every time.
    fn registered(&self) -> Vec<Arc<dyn Resident>> {
        let queues = self.queues.lock();
        let alive = queues.iter();
        let mut alive: Vec<_> = alive
            .filter_map(|(key, queue)| Some((*key, queue.upgrade()?)))
            .collect();
        drop(queues);
        alive.sort_unstable_by_key(|(key, _)| *key);
        alive.into_iter().map(|(_, queue)| queue).collect()
    }

    /// A durable queue held `before` bytes in memory and now holds `after`.
    pub(crate) fn account(&self, before: usize, after: usize) {
        if after >= before {
            self.resident.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.resident.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Whether durable queues should hold less in memory.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.resident.load(Ordering::Relaxed) > self.resident_max
    }

    /// Whether durable queues should still hold less in memory after they did too much: some is given up at once, so that
    /// it is not done message by message.
    pub(crate) fn is_above_aim(&self) -> bool {
        let aim = self.resident_max - self.resident_max / 8;
        self.resident.load(Ordering::Relaxed) > aim
    }

    /// What a queue has to hold for it to be worth a page.
    pub(crate) fn page_worth(&self) -> usize {
        // In proportion for those who have little memory.
        PAGE_WORTH.min(self.resident_max / (RESIDENT_MAX / PAGE_WORTH))
    }

    /// There is too little memory, and the queue at work has given up what it can without harm.
    pub(crate) fn note_shortage(&self) {
        if self.relief.note_shortage() {
            self.journal.wake_worker();
        }
    }

    /// Notes one that holds enough to be asked for it when there is too little memory.
    pub(crate) fn add_holder(&self, holder: Weak<dyn Holder>) {
        self.relief.add(holder);
    }

    /// Has queues give up memory, if there is too little. Says when to go on.
    fn relieve(&self, now: Time) -> Option<Time> {
        self.relief.relieve(now, || self.takes_pages())
    }

    /// Whether the disk keeps up with what is handed over to save memory.
    pub(crate) fn takes_pages(&self) -> bool {
        self.journal.pages_pending_bytes() < PAGES_PENDING_MAX && !self.has_failed()
    }

    /// Up to where the journal must be safe before everything is that was appended until now.
    pub(crate) fn appended(&self) -> Lsn {
        self.journal.append().finish()
    }

    /// Whether it is known what becomes of the log up to there.
    pub(crate) fn is_settled(&self, lsn: Lsn) -> bool {
        self.journal.safe() >= lsn || matches!(self.journal.state(), JournalState::Failed(_))
    }

    /// Says that what is safe up to `lsn` will be asked for, by whoever waits for less of the journal now.
    pub(crate) fn want(&self, lsn: Lsn) {
        self.journal.want(lsn);
    }

    /// Ready when the journal is safe up to `lsn`, or will never be: then with its failure.
    pub(crate) fn poll_safe(&self, lsn: Lsn, cx: &Context<'_>) -> Poll<Result<Lsn, JournalFailed>> {
        if !self.journal.when_safe(lsn, cx.waker()) {
            return Poll::Pending;
        }
        let safe = self.journal.safe();
        Poll::Ready(if safe >= lsn {
            Ok(safe)
        } else {
            Err(JournalFailed)
        })
    }

    /// Starts the thread that writes, and the one that reads pages before they are needed.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(self: &Arc<Self>, clock: Clock) -> io::Result<()> {
        let store = Arc::clone(self);
        self.spawn("leveret-journal", move || store.run(&clock))?;
        let store = Arc::clone(self);
        self.spawn("leveret-pages", move || store.run_reader())
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        self.threads.lock().push(builder.spawn(run)?);
        Ok(())
    }

    /// Waits for more to write together, unless there is something else to do.
    fn wait_for_more(&self) {
        if !self.relief.is_short() {
            self.journal.wait_for_more(BUSY_LAG, UNWANTED_LAG);
        }
    }

    fn run_reader(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            while self.journal.read_ahead() {}
            self.journal.wait_to_read(REST);
        }
    }

    fn run(&self, clock: &Clock) {
        let panics = FailOnPanic(self);
        // A turn without anything to do syncs what was written; one such is enough until there is work again.
        let mut idle = false;
        while !self.stopping.load(Ordering::Acquire) {
            let worked = self.turn(clock.now(), |ticket| self.metadata.wait_committed(ticket));
            if worked.more {
                idle = false;
                self.wait_for_more();
                continue;
            }
            let rest = match worked.again_at {
                _ if self.journal.state().is_waiting() => FULL_RETRY,
                Some(at) => {
                    let now = clock.now();
                    Duration::from_millis(at.as_millis().saturating_sub(now.as_millis()))
                }
                None if idle => REST,
                None => SYNC_LAG,
            };
            idle = !self.journal.wait_for_work(rest);
            if !idle {
                self.wait_for_more();
            }
        }
        drop(panics);
    }

    /// Writes and syncs what there is, once. For the store's thread, or for whoever drives it without one.
    ///
    /// Messages are not written before the definitions of their queues are, for which `commit` is called: a message whose
    /// queue is not known after a crash would be lost, whoever was told that it is safe, and a dead letter with it that
    /// is gone from where it died. It is called after what will be written has been taken, so that it sees the queues of
    /// all of that. On a disk that is too full for them messages wait as well, while files that are not needed any more
    /// go.
    pub(crate) fn turn(
        &self,
        now: Time,
        commit: impl FnOnce(Ticket) -> Result<(), NotPrepared>,
    ) -> Worked {
        let mut worked = self
            .journal
            .work_after(now, || commit(self.metadata.newest_holder()));
        self.move_to_pages();
        if let Some(at) = self.relieve(now)
            && !self.has_failed()
        {
            worked.more |= at <= now && !self.journal.state().is_waiting();
            worked.again_at = Some(worked.again_at.map_or(at, |other| other.min(at)));
        }
        self.watch();
        worked
    }

    /// Whether publishers should wait: the journal has enough to write, or durable queues hold a quarter more than they
    /// should while some have more to give, or the disk does not keep up with taking it.
    pub(crate) fn is_congested(&self) -> bool {
        let bearable = self.resident_max.saturating_add(self.resident_max / 4);
        let is_beyond = self.resident.load(Ordering::Relaxed) > bearable;
        let is_slow = is_beyond && (self.relief.is_of_use() || !self.takes_pages());
        // After a failure nothing is written, and nobody is to wait for it.
        (self.journal.is_congested() || is_slow) && !self.has_failed()
    }

    /// Has something run when publishers need not wait any more: what the broker itself stores would not end otherwise, on a
    /// disk that is full least of all. Must be called without any lock.
    pub(crate) fn hold(&self, id: TimerId, due: Weak<dyn Due>) {
        self.timers.hold(id, due);
        // As for publishers.
        self.journal.wake_worker();
    }

    /// Whether something waits for the store to take more, which it will without anybody's doing.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.timers.has_held() && !self.journal.state().is_waiting()
    }

    fn has_failed(&self) -> bool {
        matches!(self.journal.state(), JournalState::Failed(_))
    }

    /// Publishers wait from now on if there is enough to write.
    pub(crate) fn hold_up_if_congested(&self) {
        if self.is_congested() {
            self.alarms.hold_up();
            // Should the thread have caught up just now, it would rest and let nobody go.
            self.journal.wake_worker();
        }
    }

    /// Publishers wait while the disk is full or does not keep up, or no file can be opened on it.
    fn watch(&self) {
        if !self.is_congested() {
            self.alarms.let_go();
            self.timers.release_held();
        }
        let state = self.journal.state();
        if matches!(state, JournalState::OutOfFiles) {
            if self.alarms.raise(Alarm::OutOfFiles) {
                tracing::error!(
                    "too many files are open, connections among them, and none can be opened for messages: publishers wait \
                     until one can; allow the process more of them, or fewer connections"
                );
            }
        } else if self.alarms.end(Alarm::OutOfFiles) {
            tracing::info!("files for messages can be opened again");
        }
        if matches!(state, JournalState::Full) {
            if self.alarms.raise(Alarm::DiskFull) {
                tracing::error!("the disk is full: publishers wait until there is room");
            }
        } else if self.alarms.end(Alarm::DiskFull) {
            tracing::info!("the disk has room again");
        }
    }

    /// Has queues copy what only the oldest file of the log has, when there are too many files.
    fn move_to_pages(&self) {
        for messages in self.journal.to_move() {
            let queue = self
                .queues
                .lock()
                .get(&messages.queue)
                .and_then(Weak::upgrade);
            if let Some(queue) = queue {
                queue.move_to_pages(messages.below);
            }
        }
    }

    /// Writes and syncs everything, ends the threads, and lets the directory go.
    pub(crate) fn stop(&self, now: Time) {
        self.stopping.store(true, Ordering::Release);
        self.journal.wake_worker();
        self.journal.wake_reader();
        for thread in self.threads.lock().drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!("the thread {name} has panicked");
            }
        }
        // What is left is written below whatever became of its queues.
        self.turn(now, |ticket| self.metadata.wait_committed(ticket));
        if let Err(error) = self.journal.close(now) {
            tracing::error!(%error, "what was not confirmed may be lost");
        }
    }
}

/// Whoever waits for the thread that writes is told when it ends in a panic.
struct FailOnPanic<'a>(&'a Store);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the thread that writes messages ended in a panic";
            tracing::error!(
                "{reason}: no message that should survive a restart is confirmed any more"
            );
            self.0.journal.give_up(reason);
            self.0.watch();
        }
    }
}
