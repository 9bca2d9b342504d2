//! Telling of a service that does not answer, without filling the log.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;

/// How often an outage that lasts is told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Whether a service answers, and what is to be logged about it.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<Lasting>>);

#[derive(Debug)]
struct Lasting {
    told: Instant,
    failures: u64,
}

impl Outage {
    /// Notes the outcome of a question, and logs it when it is news: that there was no answer, at once and then now and
    /// then, and that there is one again. `place` is where the service is.
    pub(crate) fn note(
        &self,
        backend: &'static str,
        place: &dyn fmt::Display,
        problem: Option<&impl fmt::Display>,
    ) {
        match problem {
            None => {
                if let Some(failures) = self.answered() {
                    tracing::info!(backend, %place, failures, "the service answers again");
                }
            }
            Some(reason) => {
                if let Some(failures) = self.failed(clock::now()) {
                    tracing::error!(backend, %place, %reason, failures, "the service gives no answer");
                }
            }
        }
    }

    /// Notes a question without an answer. How many there have been in a row, when that is to be logged.
    fn failed(&self, now: Instant) -> Option<u64> {
        let mut lasting = self.0.lock();
        let Some(known) = &mut *lasting else {
            *lasting = Some(Lasting {
                told: now,
                failures: 1,
            });
            return Some(1);
        };
        known.failures += 1;
        if now.duration_since(known.told) < TELL_EVERY {
            return None;
        }
        known.told = now;
        Some(known.failures)
    }

    /// Notes an answer. How many failures came before it, when there were any.
    fn answered(&self) -> Option<u64> {
        let lasting = self.0.lock().take()?;
        Some(lasting.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn an_outage_is_told_of_at_once_and_then_now_and_then() {
        let outage = Outage::default();
        let start = Instant::now();
        assert_eq!(outage.answered(), None);
        assert_eq!(outage.failed(start), Some(1));
        assert_eq!(outage.failed(start), None);
        assert_eq!(outage.failed(start + TELL_EVERY / 2), None);
        assert_eq!(outage.failed(start + TELL_EVERY), Some(4));
        assert_eq!(outage.failed(start + TELL_EVERY), None);
        assert_eq!(outage.answered(), Some(5));
        assert_eq!(outage.answered(), None);
        assert_eq!(outage.failed(start + TELL_EVERY), Some(1));
    }
}
