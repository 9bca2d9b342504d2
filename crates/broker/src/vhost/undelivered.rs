//! Dead letters that found no taker, of queues that promise not to lose them (behaviour reference, section 13.1).

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

use leveret_queue_store::{Stored, Time};
use parking_lot::Mutex;

use super::VirtualHost;
use super::dead_letter::{Carrier, cost};
use super::queue::{DeadLetter, QueueCell};
use crate::memory::MemoryGauge;
use crate::timers::{Due, TimerId};

/// How long to wait before trying again. A target appears or makes room by somebody's doing, which takes its time.
const RETRY_MS: u64 = 1_000;

/// What a virtual host's quorum queues with `x-dead-letter-strategy: at-least-once` could not get rid of: the dead letter
/// exchange is missing, routes to no queue, or a queue behind it is full.
///
/// The letters count against the memory limit, and go at the next try after their queue was deleted, or with the virtual
/// host. Under its lock nothing but the journal's is taken.
#[derive(Debug)]
pub(super) struct Undelivered {
    vhost: Weak<VirtualHost>,
    timer: TimerId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<DeadLetter>,
    is_timed: bool,
}

impl Undelivered {
    pub(super) fn new(vhost: Weak<VirtualHost>, timer: TimerId) -> Arc<Self> {
        Arc::new(Self {
            vhost,
            timer,
            state: Mutex::default(),
        })
    }

    /// Keeps a letter to be tried again, if its queue is still there.
    pub(super) fn keep(self: &Arc<Self>, now: Time, letter: DeadLetter) {
        if letter.queue.is_deleted() {
            return;
        }
        let Some(vhost) = self.vhost.upgrade() else {
            return;
        };
        vhost.services().account(0, cost(&letter));
        let must_be_timed = {
            let mut state = self.state.lock();
            state.letters.push_back(letter);
            !std::mem::replace(&mut state.is_timed, true)
        };
        if must_be_timed {
            let due: Weak<dyn Due> = Arc::<Self>::downgrade(self);
            vhost
                .services()
                .timers
                .schedule(self.timer, now.saturating_add(RETRY_MS), due);
        }
    }

    /// Shows those of a queue that are on disk nowhere but in an old part of the log, up to this number. What somebody carries
    /// at this moment is not among them.
    pub(super) fn with_old(
        &self,
        queue: &QueueCell,
        below: NonZeroU64,
        work: impl FnOnce(Vec<&mut DeadLetter>),
    ) {
        let mut state = self.state.lock();
        let letters = state.letters.iter_mut().filter(|letter| {
            let is_old = |stored: Stored| stored.home.is_none() && stored.number < below;
            std::ptr::eq(&raw const *letter.queue, queue) && letter.stored.is_some_and(is_old)
        });
        work(letters.collect());
    }

    /// The dead of one queue, as they were there.
    #[cfg(all(test, feature = "journal"))]
    pub(super) fn of(&self, queue: &str) -> Vec<leveret_queue_store::Message> {
        let state = self.state.lock();
        let letters = state.letters.iter();
        letters
            .filter(|letter| **letter.queue.name() == *queue)
            .map(|letter| letter.message.clone())
            .collect()
    }

    /// Forgets everything: the virtual host is being deleted, or has gone, and nobody will try again.
    pub(super) fn forget(&self, memory: &MemoryGauge) {
        let letters = std::mem::take(&mut self.state.lock().letters);
        memory.account(letters.iter().map(cost).sum(), 0);
    }
}

impl Due for Undelivered {
    fn run(self: Arc<Self>, now: Time) {
        let Some(vhost) = self.vhost.upgrade() else {
            return;
        };
        let mut letters = {
            let mut state = self.state.lock();
            state.is_timed = false;
            std::mem::take(&mut state.letters)
        };
        let held = letters.iter().map(cost).sum();
        vhost.services().memory.account(held, 0);
        letters.retain(|letter| !letter.queue.is_deleted());
        vhost.dead_letter(now, letters.into_iter(), Carrier::Timer);
    }
}
