//! Those who wait until something is safe.

use std::task::Waker;

use super::appender::Lsn;

/// Wakers, each with what it waits for.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    wakers: Vec<(Lsn, Waker)>,
    wanted: Lsn,
}

impl Waiters {
    pub(super) fn push(&mut self, lsn: Lsn, waker: &Waker) {
        self.wakers.push((lsn, waker.clone()));
        self.want(lsn);
    }

    /// Somebody will wait for so much.
    pub(super) fn want(&mut self, lsn: Lsn) {
        self.wanted = self.wanted.max(lsn);
    }

    /// Takes out those whose wait is over, so that they can be woken without a lock.
    #[must_use]
    pub(super) fn take_up_to(&mut self, safe: Lsn) -> Vec<Waker> {
        let over = self.wakers.extract_if(.., |(lsn, _)| *lsn <= safe);
        over.map(|(_, waker)| waker).collect()
    }

    /// The most that anybody has waited for or will wait for.
    pub(super) fn wanted(&self) -> Lsn {
        self.wanted
    }
}
