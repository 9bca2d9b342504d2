//! Messages that wait in a delayed exchange for their time (behaviour reference, section 16).

mod header;
mod schedule;

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

use leveret_queue_store::{Lsn, Message, QueueKey, ReadError, Time};
use parking_lot::Mutex;

use super::VirtualHost;
use crate::store::Resident;
use crate::timers::{Due, TimerId};
pub(super) use header::delay_ms;
use header::with_delay_taken;
use schedule::Schedule;

/// How many messages are routed before other timers get their turn: as many as come back from disk at once.
const TURN_MAX: usize = 512;

/// What one delayed exchange holds: messages by the time at which they are routed, then in the order in which they were
/// published.
///
/// Its lock is taken with no other lock held, and none but the journal's is taken under it.
#[derive(Debug)]
pub(crate) struct Delayed {
    exchange: Arc<str>,
    vhost: Weak<VirtualHost>,
    timer: TimerId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    /// The earliest entry among the broker's timers.
    timer_at: Option<Time>,
    /// What is due waits until the store takes more.
    is_held: bool,
}

/// A message that waits, as an embedding program sees it.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Names it for [`Client::cancel_scheduled`](crate::Client::cancel_scheduled), also after a restart.
    pub id: u64,
    /// When it is routed.
    pub due: Time,
    /// The message as it will be delivered.
    pub message: Message,
}

impl Delayed {
    /// One whose messages go with the broker.
    pub(super) fn new(exchange: Arc<str>, vhost: &VirtualHost) -> Arc<Self> {
        Self::with_schedule(exchange, vhost, Schedule::default())
    }

    /// One whose messages are kept under `key`, with those that are there already. Those whose time has come meanwhile are
    /// routed once the broker has started.
    ///
    /// What cannot be read is noted with the store; the broker does not start with it. In a broker without a store it is
    /// like any other.
    pub(super) fn durable(exchange: Arc<str>, vhost: &VirtualHost, key: QueueKey) -> Arc<Self> {
        let services = vhost.services();
        let Some(store) = &services.store else {
            return Self::new(exchange, vhost);
        };
        let mut schedule = Schedule::recover(store, key);
        let held = schedule.held();
        services.memory.account(0, held);
        schedule.page_out(services.memory.excess());
        services.memory.account(held, schedule.held());
        let delayed = Self::with_schedule(exchange, vhost, schedule);
        let resident: Weak<dyn Resident> = Arc::<Self>::downgrade(&delayed);
        store.register(key, resident);
        delayed
    }

    fn with_schedule(exchange: Arc<str>, vhost: &VirtualHost, schedule: Schedule) -> Arc<Self> {
        Arc::new(Self {
            exchange,
            vhost: Weak::clone(&vhost.myself),
            timer: vhost.services().timers.new_id(),
            state: Mutex::new(State {
                schedule,
                timer_at: None,
                is_held: false,
            }),
        })
    }

    /// Keeps a message for `delay_ms`. Tells up to where the journal must be safe before the message is, in an exchange
    /// that keeps messages on disk: there all of them are stored, whatever their delivery mode, as in the plugin.
    ///
    /// An exchange that has been deleted swallows it.
    pub(super) fn schedule(
        self: &Arc<Self>,
        now: Time,
        delay_ms: u64,
        message: &Message,
    ) -> Option<Lsn> {
        let vhost = self.vhost.upgrade()?;
        let message = with_delay_taken(message);
        let due = now.saturating_add(delay_ms);
        self.with(&vhost, |schedule| schedule.add(due, message))
    }

    /// What waits, in the order in which it will be routed. What is on disk is read, without being taken back into memory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<Scheduled>, ReadError> {
        self.state.lock().schedule.list()
    }

    /// Takes a message out before its time; none when it is not there any more.
    ///
    /// # Errors
    /// When what is on disk cannot be read.
    pub(crate) fn cancel(self: &Arc<Self>, id: u64) -> Result<Option<Message>, ReadError> {
        let (Some(vhost), Some(number)) = (self.vhost.upgrade(), NonZeroU64::new(id)) else {
            return Ok(None);
        };
        self.with(&vhost, |schedule| schedule.cancel(number))
    }

    /// The exchange has been deleted: what waits is dropped, and nothing is taken any more.
    pub(super) fn delete(self: &Arc<Self>) {
        if let Some(vhost) = self.vhost.upgrade() {
            self.with(&vhost, Schedule::delete);
        }
    }

    /// Runs `work` under the lock, then does what follows from it: memory is counted and given back where there is too
    /// little, and the timer is set.
    fn with<R>(self: &Arc<Self>, vhost: &VirtualHost, work: impl FnOnce(&mut Schedule) -> R) -> R {
        let services = vhost.services();
        let (result, before, after, timer) = {
            let mut state = self.state.lock();
            let before = state.schedule.held();
            let result = work(&mut state.schedule);
            let excess = services.memory.excess();
            state.schedule.page_out(excess);
            (result, before, state.schedule.held(), state.next_timer())
        };
        services.account(before, after);
        if let Some(at) = timer {
            let due: Weak<dyn Due> = Arc::<Self>::downgrade(self);
            services.timers.schedule(self.timer, at, due);
        }
        result
    }
}

impl State {
    /// When a timer must be set, if an earlier one than before.
    fn next_timer(&mut self) -> Option<Time> {
        let first = self.schedule.next_due()?;
        if self.timer_at.is_some_and(|at| at <= first) {
            return None;
        }
        self.timer_at = Some(first);
        Some(first)
    }
}

impl Due for Delayed {
    /// Routes what is due by the bindings of this moment, unless the store has enough to write. What is kept on disk is gone from there only when it is where it
    /// goes: after a crash in between it is routed again.
    fn run(self: Arc<Self>, now: Time) {
        let Some(vhost) = self.vhost.upgrade() else {
            return;
        };
        let due = {
            let mut state = self.state.lock();
            // Once it has waited it has its turn: publishers may always be quicker.
            let has_waited = std::mem::take(&mut state.is_held);
            if !has_waited
                && let Some(store) = &vhost.services().store
                && store.is_congested()
            {
                state.is_held = true;
                // Nothing is to be scheduled meanwhile.
                state.timer_at = Some(Time::default());
                drop(state);
                let due: Weak<dyn Due> = Arc::<Self>::downgrade(&self);
                return store.hold(self.timer, due);
            }
            state.timer_at = None;
            let before = state.schedule.held();
            let due = state.schedule.take_due(now, TURN_MAX);
            let after = state.schedule.held();
            drop(state);
            vhost.services().account(before, after);
            due
        };
        for (_, message) in &due {
            vhost.publish_internally(now, &self.exchange, message);
        }
        // If more is due, the timer is set to a time that has come.
        self.with(&vhost, |schedule| {
            schedule.forget(due.iter().map(|(stored, _)| *stored));
        });
    }
}

impl Resident for Delayed {
    fn move_to_pages(&self, below: NonZeroU64) {
        self.state.lock().schedule.rehome(below);
    }

    fn begin(self: Arc<Self>, _now: Time) {
        if let Some(vhost) = self.vhost.upgrade() {
            self.with(&vhost, |_| ());
        }
    }
}

impl Drop for Delayed {
    /// What waits goes out of memory with the exchange, or with the broker.
    fn drop(&mut self) {
        let held = self.state.get_mut().schedule.release();
        if let Some(vhost) = self.vhost.upgrade() {
            vhost.services().memory.account(held, 0);
            vhost.services().timers.cancel(self.timer);
        }
    }
}
