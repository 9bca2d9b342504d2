//! How fast a client may send, where that is limited: it is read from later, and its socket does the rest.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use leveret_queue_store::Time;

use crate::clock::{Clock, Sleep};
use crate::config::RateLimits;

/// How much is read at once from a client whose rate is limited: little, so that what comes through at once does not say
/// more than a second's worth for long.
pub(super) const READ_SIZE: usize = 4096;

/// What may come at once after a pause: what comes in a second.
const BURST_US: u64 = 1_000_000;

/// The rates of one connection.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes: Option<Pace>,
    messages: Option<Pace>,
    sleep: Option<Sleep>,
}

impl Throttle {
    /// None when nothing is limited.
    pub(super) fn new(limits: &RateLimits) -> Option<Box<Self>> {
        if limits.bytes_per_s.is_none() && limits.messages_per_s.is_none() {
            return None;
        }
        Some(Box::new(Self {
            bytes: limits.bytes_per_s.map(Pace::new),
            messages: limits.messages_per_s.map(Pace::new),
            sleep: None,
        }))
    }

    /// So much has come.
    pub(super) fn charge(&mut self, now: Time, bytes: u64, messages: u64) {
        if let Some(pace) = &mut self.bytes {
            pace.charge(now, bytes);
        }
        if let Some(pace) = &mut self.messages {
            pace.charge(now, messages);
        }
    }

    /// Ready when more may be read.
    pub(super) fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        clock: &Clock,
    ) -> Poll<()> {
        let paces = [&self.bytes, &self.messages];
        let ready_at = paces.into_iter().flatten().map(Pace::ready_at).max();
        let Some(ready_at) = ready_at.filter(|at| *at > now) else {
            self.sleep = None;
            return Poll::Ready(());
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| clock.sleep_until(ready_at));
        if Pin::new(sleep).poll(cx).is_ready() {
            self.sleep = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// A bucket of tokens, kept as the moment at which it would be full again.
#[derive(Debug)]
struct Pace {
    per_s: u64,
    full_at_us: u64,
}

impl Pace {
    fn new(per_s: u64) -> Self {
        Self {
            per_s: per_s.max(1),
            full_at_us: 0,
        }
    }

    fn charge(&mut self, now: Time, amount: u64) {
        let now_us = now.as_millis().saturating_mul(1000);
        let cost_us = amount.saturating_mul(1_000_000) / self.per_s;
        self.full_at_us = self.full_at_us.max(now_us).saturating_add(cost_us);
    }

    /// When there is a token again.
    fn ready_at(&self) -> Time {
        let us = self.full_at_us.saturating_sub(BURST_US);
        Time::from_millis(us.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_second_may_come_at_once_and_then_the_rate_holds() {
        let mut pace = Pace::new(100);
        pace.charge(at(5000), 100);
        assert_eq!(pace.ready_at(), at(5000));
        pace.charge(at(5000), 10);
        assert_eq!(pace.ready_at(), at(5100));
        pace.charge(at(5100), 50);
        assert_eq!(pace.ready_at(), at(5600));
        // After a pause there is a second's worth again, and no more.
        pace.charge(at(90_000), 150);
        assert_eq!(pace.ready_at(), at(90_500));
    }
}
