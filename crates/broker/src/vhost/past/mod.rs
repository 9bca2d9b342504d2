//! Exchanges that keep history: what has passed them, for queues that are bound later.
//!
//! A queue that is bound with a position is given what is kept after it, then what comes; nothing is missing in between
//! and nothing comes twice. And because a client comes back with the position of the last message that it has seen,
//! every queue must get messages in the order of their positions. Both come from one lock for each history: under it a
//! message gets its position, is kept, and goes into its queues (`publish::passing`); under it a queue is bound and given
//! what is kept (`joining`). A publisher found its way before, without any lock; whether that is still the way it sees by
//! the history's version, which every binding to a queue changes.

mod arranged;
mod joining;
mod kept;
mod limits;
mod position;
mod spans;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_queue_store::{Message, Time};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::history_account::{HistoryAccount, PushOut, Recount};
use super::{Services, VirtualHost};
use crate::exchange::{ExchangeKind, QueueId};
use crate::timers::{Due, TimerId};
use kept::Kept;
use spans::Spans;

pub(crate) use joining::RESUME_FROM;
pub(super) use limits::HISTORY_ARGUMENTS;
pub(crate) use limits::{HISTORY_AGE, HISTORY_LENGTH, HistoryLimits};
#[cfg(feature = "stomp")]
pub(crate) use position::POSITION_MARK;
pub(crate) use position::{HISTORY_GAP, HISTORY_ID, position_in};
pub use position::{Position, PositionError, ResumeFrom};

type Hasher = foldhash::fast::RandomState;

/// Where the positions of a virtual host come from.
#[derive(Debug)]
pub(super) struct Positions {
    epoch: u64,
    last: AtomicU64,
}

/// What has passed one exchange. See the module.
///
/// Its lock is taken after the topology's, before any queue's, and several of them in the order of their timers' ids.
#[derive(Debug)]
pub(crate) struct Past {
    /// How the exchange routes.
    kind: ExchangeKind,
    positions: Arc<Positions>,
    vhost: Weak<VirtualHost>,
    services: Arc<Services>,
    timer: TimerId,
    /// Changed under its lock, and, unless the exchange is deleted, under the topology's too.
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    /// By which bindings queues have had what.
    spans: Spans,
    /// Queues whose next message has to say that others are missing before it, up to that number.
    gaps: HashMap<QueueId, u64, Hasher>,
    account: HistoryAccount,
    /// The earliest entry among the broker's timers.
    timer_at: Option<Time>,
    deleted: bool,
}

/// The histories that a message passes on its way, in the order in which they are locked; and how the way is found anew.
#[derive(Clone, Debug)]
pub(crate) struct Passes {
    /// Each with the version that it had.
    pub(in crate::vhost) pasts: SmallVec<[(Arc<Past>, u64); 1]>,
    /// The exchange where the way begins.
    pub(super) from: Arc<str>,
    /// The routing keys that the message has beside its own. Its BCC header is gone from it already.
    pub(super) further_keys: Box<[Box<str>]>,
}

impl Passes {
    /// How often a message is kept on its way: once for each history and routing key.
    pub(super) fn entries(&self) -> usize {
        self.pasts.len() * (1 + self.further_keys.len())
    }

    /// About what it takes to keep them.
    pub(super) fn size_bytes(&self) -> usize {
        let keys = self.further_keys.iter();
        let keys: usize = keys.map(|key| size_of_val(key) + key.len()).sum();
        size_of::<Self>() + size_of_val(&*self.pasts) + keys
    }
}

/// Histories that are locked for messages to pass.
pub(super) struct Crossing<'a> {
    passes: &'a Passes,
    states: SmallVec<[MutexGuard<'a, State>; 1]>,
}

/// What remains to be done once a history's lock is released.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loose {
    memory: Recount,
    timer: Option<Time>,
}

impl Positions {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last: AtomicU64::new(0),
        }
    }

    /// The next number. Drawn under the locks of the histories that the message passes, which order it for each of them.
    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Beyond all that have passed a history whose lock is held.
    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    fn position(&self, number: u64) -> Position {
        Position {
            epoch: self.epoch,
            number,
        }
    }

    /// The number of a position of this run.
    fn number(&self, position: Position) -> Option<u64> {
        let is_own = position.epoch == self.epoch && position.number <= self.last();
        is_own.then_some(position.number)
    }
}

impl Past {
    pub(super) fn new(vhost: &VirtualHost, kind: ExchangeKind, limits: HistoryLimits) -> Arc<Self> {
        let positions = Arc::clone(vhost.positions());
        let kept = Kept::new(limits, positions.last());
        Arc::new(Self {
            kind: match kind {
                ExchangeKind::Presence => ExchangeKind::Topic,
                other => other,
            },
            positions,
            vhost: Weak::clone(&vhost.myself),
            services: Arc::clone(&vhost.services),
            timer: vhost.services.timers.new_id(),
            version: AtomicU64::new(0),
            state: Mutex::new(State {
                kept,
                spans: Spans::default(),
                gaps: HashMap::default(),
                account: HistoryAccount::new(&vhost.services),
                timer_at: None,
                deleted: false,
            }),
        })
    }

    /// Changes with every binding to a queue. Read under the topology's lock, or its own.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Where it stands among those of which several are locked.
    pub(super) fn rank(&self) -> TimerId {
        self.timer
    }

    pub(super) fn vhost(&self) -> Option<Arc<VirtualHost>> {
        self.vhost.upgrade()
    }

    /// Publishers have to find their ways again. Its lock is held.
    fn change(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// A queue is bound without a wish for what is kept, at a time when nothing is published.
    #[cfg(feature = "journal")]
    pub(super) fn restore_binding(&self, queue: QueueId, key: &Arc<str>) {
        let after = self.positions.last();
        self.state.lock().spans.open(queue, key, after);
    }

    /// A binding to a queue has been removed. The topology is locked.
    pub(super) fn leave(&self, queue: QueueId, key: &str) {
        let mut state = self.state.lock();
        self.change();
        let until = self.positions.last();
        state.spans.close(queue, key, until);
    }

    /// A queue is gone, and its id is free for another one. The topology is locked.
    pub(super) fn forget_queue(&self, queue: QueueId) {
        let mut state = self.state.lock();
        self.change();
        state.spans.forget(queue);
        state.gaps.remove(&queue);
    }

    /// The exchange has been deleted: what is kept is dropped, and nothing is kept any more.
    pub(super) fn delete(self: &Arc<Self>) {
        let mut state = self.state.lock();
        self.change();
        state.deleted = true;
        while state.kept.push_out() {}
        let loose = Self::settle_up(&mut state);
        drop(state);
        self.follow_up(loose);
    }

    /// Pushes out what is too much for the memory limit, which may have been changed.
    pub(super) fn trim(self: &Arc<Self>) {
        let loose = Self::settle_up(&mut self.state.lock());
        self.follow_up(loose);
    }

    /// Pushes out what is too much, and notes what it holds now and when something is to be dropped.
    fn settle_up(state: &mut State) -> Loose {
        let memory = state.account.settle(&mut state.kept);
        let timer = state.kept.next_expiry();
        let timer = timer.filter(|at| state.timer_at.is_none_or(|set| *at < set));
        state.timer_at = timer.or(state.timer_at);
        Loose { memory, timer }
    }

    /// What must not be done under a lock.
    fn follow_up(self: &Arc<Self>, loose: Loose) {
        loose.memory.tell(&self.services);
        if let Some(at) = loose.timer {
            let due: Weak<dyn Due> = Arc::<Self>::downgrade(self);
            self.services.timers.schedule(self.timer, at, due);
        }
    }
}

impl<'a> Crossing<'a> {
    pub(super) fn begin(passes: &'a Passes) -> Self {
        let pasts = passes.pasts.iter();
        Self {
            passes,
            states: pasts.map(|(past, _)| past.state.lock()).collect(),
        }
    }

    /// Whether ways that were found with these versions of the histories are still the ways to go.
    pub(super) fn is_current(&self) -> bool {
        let mut pasts = self.passes.pasts.iter();
        pasts.all(|(past, version)| past.version() == *version)
    }

    /// Lets a message pass, and gives back what its queues are to get. These are the message's own keys and those of its
    /// way, which passes the same histories.
    pub(super) fn pass(&mut self, now: Time, passes: &Passes, message: &Message) -> Message {
        let Some((past, _)) = passes.pasts.first() else {
            return message.clone();
        };
        let number = past.positions.next();
        let message = position::stamped(message, past.positions.position(number));
        for state in &mut self.states {
            state.kept.expire(now);
            state.kept.add(now, number, message.routing_key(), &message);
            for key in &passes.further_keys {
                state.kept.add(now, number, key, &message);
            }
        }
        message
    }

    /// What a queue is to get instead, because it has to hear that it misses something.
    pub(super) fn marked(&mut self, queue: QueueId, message: &Message) -> Option<Message> {
        let pasts = self.passes.pasts.iter();
        let mut missing = pasts
            .zip(&mut self.states)
            .filter_map(|((past, _), state)| {
                let number = state.gaps.remove(&queue)?;
                Some(past.positions.position(number))
            });
        let first = missing.next()?;
        let last = missing.fold(first, |one, other| {
            if other.number > one.number {
                other
            } else {
                one
            }
        });
        Some(position::marked(message, last))
    }

    /// Whether any queue has to hear that.
    pub(super) fn has_gaps(&self) -> bool {
        self.states.iter().any(|state| !state.gaps.is_empty())
    }

    /// Releases the histories. What is given back is for [`Crossing::follow_up`].
    pub(super) fn end(mut self) -> SmallVec<[Loose; 1]> {
        let pasts = self.passes.pasts.iter();
        let states = pasts.zip(&mut self.states);
        states.map(|(_, state)| Past::settle_up(state)).collect()
    }

    pub(super) fn follow_up(passes: &Passes, loose: SmallVec<[Loose; 1]>) {
        for ((past, _), loose) in passes.pasts.iter().zip(loose) {
            past.follow_up(loose);
        }
    }
}

impl Due for Past {
    /// Drops what has become too old.
    fn run(self: Arc<Self>, now: Time) {
        let mut state = self.state.lock();
        state.timer_at = None;
        state.kept.expire(now);
        let loose = Self::settle_up(&mut state);
        drop(state);
        self.follow_up(loose);
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        self.services.timers.cancel(self.timer);
    }
}
