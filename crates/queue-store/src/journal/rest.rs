//! When the thread that writes sleeps, and what wakes it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::JournalState;
use super::journal::Journal;
use super::state::State;

/// A block of this length has what many publishers sent, or one that sent many messages: a hundred small ones.
const LARGE_BLOCK_LEN: usize = 16 << 10;

/// So much is written even if nobody waits for it: some hundreds of messages, or very many acknowledgements. A call of the
/// system costs little beside copying them.
const UNWANTED_LEN: usize = 32 << 10;

/// What the thread that writes sleeps for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sleep {
    /// It does not sleep.
    #[default]
    Awake,
    /// That something is appended, or wanted.
    Work,
    /// That so many bytes wait to be written.
    More(usize),
    /// That so many bytes wait to be written, or something is wanted.
    MoreOrWanted(usize),
}

impl Journal {
    pub(super) fn appended(&self, state: &mut State) {
        state.discard_if_failed();
        self.note_pending(state);
        let is_waited_for = match state.sleep {
            Sleep::Awake => false,
            Sleep::Work => self.has_work(state),
            Sleep::More(len) | Sleep::MoreOrWanted(len) => state.pending_len() >= len,
        };
        if is_waited_for {
            self.work.notify_all();
        }
    }

    /// Waits until there is something to do for [`work`](Self::work), or `timeout` has passed, or
    /// somebody calls [`wake_worker`](Self::wake_worker). For the journal's own thread. Says whether
    /// there is something.
    pub fn wait_for_work(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        if !self.has_work(&state) {
            state.sleep = Sleep::Work;
            self.work.wait_for(&mut state, timeout);
            state.sleep = Sleep::Awake;
        }
        let has_work = self.has_work(&state);
        state.poked = false;
        has_work
    }

    /// Waits a moment for more to be appended that can be written and synced together with what was,
    /// unless nothing was. For the journal's own thread, before it calls [`work`](Self::work).
    ///
    /// Where much was written last: up to `busy`, until as much has been appended. That it became safe
    /// lets publishers send as much again, which then shares one sync instead of taking two. Not where
    /// little was: that may be somebody who waits for each answer.
    ///
    /// If nobody waits for anything to be safe: up to `unwanted` as well, until somebody does or some
    /// ten thousand bytes are there. What is not written when the process ends is lost:
    /// acknowledgements, and messages whose publishers did not ask.
    pub fn wait_for_more(&self, busy: Duration, unwanted: Duration) {
        let mut state = self.state.lock();
        if !state.has_pending() {
            return;
        }
        let len = state.last_block_len();
        if len >= LARGE_BLOCK_LEN {
            state.sleep = Sleep::More(len);
            let is_less = |state: &mut State| state.pending_len() < len;
            self.work.wait_while_for(&mut state, is_less, busy);
        }
        if !self.is_anything_wanted() {
            state.sleep = Sleep::MoreOrWanted(UNWANTED_LEN);
            let is_little = |state: &mut State| !state.poked && state.pending_len() < UNWANTED_LEN;
            self.work.wait_while_for(&mut state, is_little, unwanted);
            state.poked = false;
        }
        state.sleep = Sleep::Awake;
    }

    /// Makes [`wait_for_work`](Self::wait_for_work) return.
    pub fn wake_worker(&self) {
        let mut state = self.state.lock();
        state.poked = true;
        if matches!(state.sleep, Sleep::Work | Sleep::MoreOrWanted(_)) {
            self.work.notify_all();
        }
    }

    /// Whether somebody waits for something to be safe that is not.
    fn is_anything_wanted(&self) -> bool {
        self.wanted() > self.safe()
    }

    fn has_work(&self, state: &State) -> bool {
        if state.poked {
            return true;
        }
        // What there was no room for is tried again when the caller's timeout says so.
        let is_log_full = self.unwritten_bytes.load(Ordering::Relaxed) > 0;
        let is_full = || matches!(self.state(), JournalState::Full);
        !is_log_full && state.has_pending() || state.has_new_pages() && !is_full()
    }
}
