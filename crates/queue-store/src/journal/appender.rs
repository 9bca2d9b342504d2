//! Telling the journal what happened in a queue.

use std::num::NonZeroU64;

use parking_lot::MutexGuard;

use super::journal::Journal;
use super::queues::QueueLog;
use super::state::State;
use crate::{Message, PageId, Stored, Time};

/// How far the journal has got: everything appended before [`Appender::finish`] returned this is
/// safe when [`Journal::safe`] is as large.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lsn(pub(super) u64);

/// Appends to the journal what a queue says; see [`Journal::append`].
///
/// Nothing here fails or waits for the disk: what is appended is in memory until
/// [`Journal::work`] writes it. What belongs to one queue has to be appended in the order in which
/// it happened, so the caller holds whatever protects that queue. Dropping this is as good as
/// [`finish`](Self::finish).
#[derive(Debug)]
#[must_use = "it keeps everybody else from the journal"]
pub struct Appender<'a> {
    journal: &'a Journal,
    state: MutexGuard<'a, State>,
}

impl<'a> Appender<'a> {
    pub(super) const fn new(journal: &'a Journal, state: MutexGuard<'a, State>) -> Self {
        Self { journal, state }
    }

    /// A message has entered a queue. Numbers of one queue ascend.
    pub fn store(
        &mut self,
        queue: QueueLog,
        number: NonZeroU64,
        deadline: Time,
        message: &Message,
    ) {
        self.state.store(queue, number, deadline, message);
    }

    /// A message was delivered and has to be settled: after a restart it counts as having come back
    /// once.
    pub fn handed(&mut self, queue: QueueLog, stored: Stored) {
        self.state.handed(queue, stored);
    }

    /// A message came back, for the `delivery_count`-th time.
    pub fn returned(&mut self, queue: QueueLog, stored: Stored, delivery_count: u32) {
        self.state.returned(queue, stored, delivery_count);
    }

    /// A message is gone for good. Said once for each.
    pub fn gone(&mut self, queue: QueueLog, stored: Stored) {
        self.state.gone(queue, stored);
    }

    /// A message is elsewhere: it was stored there before this, in another queue or as something else. As
    /// [`gone`](Self::gone), but on a full disk, too, it is given up only once what was stored is safe. One that is just
    /// gone may go at once then, to make room.
    pub fn moved(&mut self, queue: QueueLog, stored: Stored) {
        self.state.moved(queue, stored);
    }

    /// Everything that is left in a page is gone, or is in memory again and does not survive a
    /// restart. Any other page goes with its last message that does.
    pub fn page_gone(&mut self, page: PageId) {
        self.state.page_gone(page);
    }

    /// The messages in some slots of a page are gone, from the first to the last of these; all of them
    /// survive a restart.
    pub fn slots_gone(&mut self, page: PageId, first: u16, last: u16) {
        self.state.slots_gone(page, first, last);
    }

    /// A queue is no more, with all its messages and pages.
    pub fn queue_gone(&mut self, queue: QueueLog) {
        self.state.queue_gone(queue);
    }

    /// Lets others append. Says what to wait for, if somebody wants to know that this is safe.
    pub fn finish(self) -> Lsn {
        Lsn(self.state.last_block())
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.journal.appended(&mut self.state);
    }
}
