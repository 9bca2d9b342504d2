//! Where time comes from: the machine's clock, or one that a test moves by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leveret_queue_store::Time;
use parking_lot::Mutex;

/// The broker's source of time.
///
/// Everything below `net` gets the time as an argument; this is the one place that reads a clock.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// Wall time at the start of the broker plus what the monotonic clock has counted since: it never goes back, and an
    /// operator who sets the machine's clock does not make messages expire.
    System(Arc<SystemClock>),
    /// Stands still until [`VirtualClock::advance`] moves it.
    Virtual(VirtualClock),
}

#[derive(Debug)]
pub(crate) struct SystemClock {
    started_at: tokio::time::Instant,
    epoch_ms: u64,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub(crate) fn system() -> Self {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self::System(Arc::new(SystemClock {
            started_at: tokio::time::Instant::now(),
            epoch_ms: to_ms(since_epoch),
        }))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub(crate) fn now(&self) -> Time {
        match self {
            Self::System(clock) => {
                let elapsed = tokio::time::Instant::now().duration_since(clock.started_at);
                Time::from_millis(clock.epoch_ms.saturating_add(to_ms(elapsed)))
            }
            Self::Virtual(clock) => clock.now(),
        }
    }

    /// Whether time stands still until somebody moves it.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(_))
    }

    /// A future that is ready once `deadline` is reached; never, for [`Time::MAX`].
    pub(crate) fn sleep_until(&self, deadline: Time) -> Sleep {
        match self {
            Self::System(clock) => {
                let offset = deadline.as_millis().saturating_sub(clock.epoch_ms);
                // tokio's timers cannot look further ahead than about two years; waking early is harmless, because whoever
                // sleeps looks at the clock again.
                const FURTHEST_MS: u64 = 365 * 24 * 3600 * 1000;
                let now = self.now();
                let ahead = deadline.as_millis().saturating_sub(now.as_millis());
                let wait = if ahead > FURTHEST_MS {
                    clock.started_at
                        + Duration::from_millis(now.as_millis() - clock.epoch_ms + FURTHEST_MS)
                } else {
                    clock.started_at + Duration::from_millis(offset)
                };
                Sleep::System(Box::pin(tokio::time::sleep_until(wait)))
            }
            Self::Virtual(clock) => Sleep::Virtual {
                clock: clock.clone(),
                deadline,
            },
        }
    }
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// See [`Clock::sleep_until`].
#[derive(Debug)]
pub(crate) enum Sleep {
    System(Pin<Box<tokio::time::Sleep>>),
    Virtual { clock: VirtualClock, deadline: Time },
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::System(sleep) => sleep.as_mut().poll(cx),
            Self::Virtual { clock, deadline } => clock.poll_reached(*deadline, cx),
        }
    }
}

/// A clock that stands still until it is moved: the whole broker on it runs an hour's TTL in a microsecond.
///
/// Give a clone to [`Builder::virtual_clock`](crate::Builder::virtual_clock) and keep one. Clones show the same time. It
/// starts at 2026-01-01 00:00:00 UTC, so that tests see the same timestamps on every run.
///
/// [`Broker::wait_idle`](crate::Broker::wait_idle) waits until everything that became due has been carried out.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    state: Arc<Mutex<VirtualState>>,
}

#[derive(Debug)]
struct VirtualState {
    now: Time,
    sleepers: Vec<(Time, Waker)>,
}

/// 2026-01-01 00:00:00 UTC in milliseconds since the Unix epoch.
const VIRTUAL_START_MS: u64 = 1_767_225_600_000;

impl VirtualClock {
    /// A clock that shows 2026-01-01 00:00:00 UTC.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(VirtualState {
                now: Time::from_millis(VIRTUAL_START_MS),
                sleepers: Vec::new(),
            })),
        }
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Time {
        self.state.lock().now
    }

    /// Moves the clock forward by whole milliseconds (a fraction is cut off) and wakes whatever has become due.
    ///
    /// What is due runs on the broker's tasks afterwards; [`Broker::wait_idle`](crate::Broker::wait_idle) waits for it.
    pub fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut state = self.state.lock();
            state.now = state.now.saturating_add(to_ms(by));
            let now = state.now;
            state
                .sleepers
                .extract_if(.., |(deadline, _)| *deadline <= now)
                .map(|(_, waker)| waker)
                .collect()
        };
        for waker in due {
            waker.wake();
        }
    }

    fn poll_reached(&self, deadline: Time, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.now >= deadline {
            return Poll::Ready(());
        }
        let known = state
            .sleepers
            .iter()
            .any(|(at, waker)| *at == deadline && waker.will_wake(cx.waker()));
        if !known {
            state.sleepers.push((deadline, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_passes_only_when_told() {
        let clock = VirtualClock::new();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(clock.now(), before.saturating_add(3_600_000));
    }

    #[test]
    fn a_sleeper_wakes_when_its_deadline_is_reached_and_not_before() {
        let clock = VirtualClock::new();
        let mut sleep = Clock::Virtual(clock.clone()).sleep_until(clock.now().saturating_add(10));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        clock.advance(Duration::from_millis(9));
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_ready());
    }
}
