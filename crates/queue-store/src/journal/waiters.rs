//! Those who wait until something is safe.

use std::task::Waker;

use super::appender::Lsn;

/// Wakers, each with what it waits for.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<(Lsn, Waker)>);

impl Waiters {
    pub(super) fn push(&mut self, lsn: Lsn, waker: &Waker) {
        self.0.push((lsn, waker.clone()));
    }

    /// Takes out those whose wait is over, so that they can be woken without a lock.
    #[must_use]
    pub(super) fn take_up_to(&mut self, safe: Lsn) -> Vec<Waker> {
        let over = self.0.extract_if(.., |(lsn, _)| *lsn <= safe);
        over.map(|(_, waker)| waker).collect()
    }

    /// The most that anybody waits for.
    pub(super) fn wanted(&self) -> Lsn {
        let lsns = self.0.iter().map(|(lsn, _)| *lsn);
        lsns.max().unwrap_or_default()
    }
}
