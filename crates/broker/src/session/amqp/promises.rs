//! What a connection will tell its client once the disk has it.

use std::collections::VecDeque;

use leveret_amqp_codec::{ChannelId, method::tx, write_method};
use leveret_queue_store::{Lsn, Time};

use super::channel::Mode;
use super::{Core, Session};
use crate::session::{Awaited, Output};

/// Confirms and commits that wait until enough of the journal is safe, in the order in which they are due.
///
/// As many entries as there were reads with durable publishes since the last sync. Publishers stop being read when
/// the journal has more to write than it should hold, which bounds them.
#[derive(Debug, Default)]
pub(super) struct Promises {
    due: VecDeque<Promise>,
    /// How many of them are commits.
    commits: usize,
}

#[derive(Debug)]
struct Promise {
    safe_at: Lsn,
    channel: ChannelId,
    what: Promised,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promised {
    /// A confirm for the publishes before this number.
    Confirm { before: u64 },
    /// tx.commit-ok.
    Commit,
}

impl Promises {
    /// Adds what `channel` is owed once the journal is safe up to `safe_at`; without one it waits for nothing but what
    /// this channel is owed already. False when there is nothing to wait for: it can be said at once.
    pub(super) fn add(&mut self, safe_at: Option<Lsn>, channel: ChannelId, what: Promised) -> bool {
        let owed = self.due.iter_mut().rfind(|owed| owed.channel == channel);
        let safe_at = match (safe_at, owed) {
            (None, None) => return false,
            (None, Some(owed)) => {
                if let (Promised::Confirm { .. }, Promised::Confirm { .. }) = (owed.what, what) {
                    owed.what = what;
                    return true;
                }
                owed.safe_at
            }
            (Some(safe_at), _) => safe_at,
        };
        // The log only grows, so what comes later waits at least as long.
        let safe_at = self
            .due
            .back()
            .map_or(safe_at, |last| last.safe_at.max(safe_at));
        self.commits += usize::from(what == Promised::Commit);
        self.due.push_back(Promise {
            safe_at,
            channel,
            what,
        });
        true
    }

    /// What of the journal must be safe before they can be kept.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        let (first, last) = (self.due.front()?, self.due.back()?);
        Some(Awaited {
            first: first.safe_at,
            last: last.safe_at,
        })
    }

    /// Whether a commit is among them.
    pub(super) fn has_commit(&self) -> bool {
        self.commits > 0
    }

    /// The channel is gone; a new one of its number is owed nothing.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        self.due.retain(|promise| promise.channel != channel);
        let commits = self
            .due
            .iter()
            .filter(|promise| promise.what == Promised::Commit);
        self.commits = commits.count();
    }

    fn pop(&mut self, safe: Option<Lsn>) -> Option<(ChannelId, Promised)> {
        let due = |promise: &mut Promise| safe.is_none_or(|safe| promise.safe_at <= safe);
        let promise = self.due.pop_front_if(due)?;
        self.commits -= usize::from(promise.what == Promised::Commit);
        if self.due.is_empty() {
            self.due = VecDeque::new();
        }
        Some((promise.channel, promise.what))
    }
}

impl Session {
    /// What of the journal must be safe for [`Session::handle_safe`] to have anything to do.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        self.core.promises.awaited()
    }

    /// So much of the journal is safe now.
    pub(crate) fn handle_safe(&mut self, safe: Lsn, out: &mut Output) {
        while let Some((id, promised)) = self.core.promises.pop(Some(safe)) {
            let Some(channel) = self
                .channels
                .get_mut(&id)
                .filter(|channel| !channel.closing)
            else {
                continue;
            };
            match (promised, &mut channel.mode) {
                (Promised::Confirm { before }, Mode::Confirm(confirms)) => {
                    confirms.settle_before(before, id, out.buffer());
                }
                (Promised::Commit, _) => write_method(out.buffer(), id, &tx::CommitOk {}),
                _ => {}
            }
        }
    }

    /// The journal takes nothing more: what waits for it will not be safe. Publishers are refused, and transactions end
    /// with their channel, as RabbitMQ's do that could not be completed.
    pub(crate) fn handle_journal_failure(&mut self, now: Time, out: &mut Output) {
        while let Some((id, promised)) = self.core.promises.pop(None) {
            let Some(channel) = self
                .channels
                .get_mut(&id)
                .filter(|channel| !channel.closing)
            else {
                continue;
            };
            match (promised, &mut channel.mode) {
                (Promised::Confirm { before }, Mode::Confirm(confirms)) => {
                    confirms.refuse_before(before, id, out.buffer());
                }
                (Promised::Commit, _) => self.fail(now, super::tx::incomplete(id), out),
                _ => {}
            }
        }
    }
}

impl Core {
    /// Whether input has to wait because a commit does: what comes after it must not be answered before it.
    pub(super) fn is_committing(&self) -> bool {
        self.promises.has_commit()
    }
}
