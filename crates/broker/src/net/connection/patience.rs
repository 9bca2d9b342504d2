//! How long publishers wait for a connection whose socket is full.

use std::pin::Pin;
use std::task::{Context, Poll};

use leveret_queue_store::Time;

use crate::clock::{Clock, Sleep};
use crate::outbox::ROUND_BYTES;

/// For so long, in milliseconds, publishers wait for a peer that does not read. A client whose process has lost its
/// processor to others has it back by then, on a machine that is not overloaded, and one who reads over a network is
/// waited for no longer than a packet takes to cross a country.
pub(super) const FULL_MS_MAX: u64 = 5;

/// So many bytes in so much time make a peer worth waiting for: what publishers wait for at most.
const PROVEN_BYTES: usize = ROUND_BYTES;

/// Tells for how long a connection whose socket is full may be waited for, as [`Pace`](crate::outbox::Pace) has publishers
/// do.
///
/// ```text
///              full             FULL_MS_MAX and less than PROVEN_BYTES later
///  trusted ──────────► on trial ───────────────────────────────────────────► lost
///     ▲                   │                                                    │
///     └──── all taken ────┴──── PROVEN_BYTES taken within FULL_MS_MAX ─────────┘
/// ```
///
/// So a peer that does not read, or reads slowly, costs those who publish for it, and with them everybody else whom they
/// publish for, one wait of [`FULL_MS_MAX`], and no other before it has shown that it reads fast.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Box<Measured>>);

/// What a peer whose socket has been full takes.
#[derive(Debug)]
struct Measured {
    since: Time,
    bytes: usize,
    /// Wakes the connection when patience ends; none when it has.
    alarm: Option<Sleep>,
}

impl Patience {
    /// The socket is full. Pending while publishers may wait; the task is woken when they are to go on, and it is ready.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>, now: Time, clock: &Clock) -> Poll<()> {
        let measured = self.0.get_or_insert_with(|| {
            Box::new(Measured {
                since: now,
                bytes: 0,
                alarm: Some(clock.sleep_until(now.saturating_add(FULL_MS_MAX))),
            })
        });
        if let Some(alarm) = &mut measured.alarm
            && Pin::new(alarm).poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        measured.alarm = None;
        Poll::Ready(())
    }

    /// The peer has taken so many bytes. Costs nothing as long as its socket has not been full.
    pub(super) fn took(&mut self, now: Time, bytes: usize) {
        let Some(measured) = &mut self.0 else {
            return;
        };
        measured.bytes += bytes;
        let in_time = now <= measured.since.saturating_add(FULL_MS_MAX);
        if measured.bytes >= PROVEN_BYTES && (in_time || measured.alarm.is_some()) {
            self.0 = None;
        } else if measured.alarm.is_none() && !in_time {
            measured.since = now;
            measured.bytes = 0;
        }
    }

    /// The peer has taken everything: the next time that its socket is full is another one, unless it is lost.
    pub(super) fn took_all(&mut self) {
        self.0.take_if(|measured| measured.alarm.is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::clock::VirtualClock;

    /// A connection whose socket is full whenever it is looked at.
    #[derive(Default)]
    struct Peer {
        clock: VirtualClock,
        patience: Patience,
    }

    impl Peer {
        /// One that has been waited for in vain.
        fn lost() -> Self {
            let mut peer = Self::default();
            assert!(peer.is_waited_for());
            peer.pass(FULL_MS_MAX);
            assert!(!peer.is_waited_for());
            peer
        }

        fn pass(&self, ms: u64) {
            self.clock.advance(Duration::from_millis(ms));
        }

        fn is_waited_for(&mut self) -> bool {
            let mut cx = Context::from_waker(Waker::noop());
            let clock = Clock::Virtual(self.clock.clone());
            self.patience
                .poll_lost(&mut cx, self.clock.now(), &clock)
                .is_pending()
        }

        fn takes(&mut self, bytes: usize) {
            self.patience.took(self.clock.now(), bytes);
        }
    }

    #[test]
    fn a_peer_that_does_not_read_is_waited_for_once() {
        let mut peer = Peer::default();
        let mut waited_ms = 0;
        for _ in 0..1_000 {
            waited_ms += u64::from(peer.is_waited_for());
            peer.pass(1);
        }
        assert_eq!(waited_ms, FULL_MS_MAX);
    }

    #[test]
    fn what_it_takes_little_by_little_prolongs_nothing() {
        let mut peer = Peer::default();
        let mut waited_ms = 0;
        for _ in 0..1_000 {
            waited_ms += u64::from(peer.is_waited_for());
            peer.pass(1);
            peer.takes(PROVEN_BYTES / 10);
        }
        assert_eq!(waited_ms, FULL_MS_MAX);
    }

    #[test]
    fn a_peer_that_reads_fast_is_waited_for_each_time() {
        let mut peer = Peer::default();
        for _ in 0..100 {
            assert!(peer.is_waited_for());
            peer.pass(FULL_MS_MAX - 1);
            peer.takes(PROVEN_BYTES);
        }
    }

    #[test]
    fn a_peer_that_takes_all_is_waited_for_each_time() {
        let mut peer = Peer::default();
        for _ in 0..100 {
            assert!(peer.is_waited_for());
            peer.pass(FULL_MS_MAX - 1);
            peer.takes(1);
            peer.patience.took_all();
        }
    }

    #[test]
    fn who_was_lost_is_trusted_again_when_it_reads_fast() {
        let mut peer = Peer::lost();
        peer.pass(100);
        // Of what it takes after a long time nobody knows how long that took.
        peer.takes(PROVEN_BYTES);
        peer.patience.took_all();
        assert!(!peer.is_waited_for());
        peer.pass(1);
        peer.takes(PROVEN_BYTES / 2);
        peer.pass(FULL_MS_MAX - 1);
        peer.takes(PROVEN_BYTES / 2);
        assert!(peer.is_waited_for());
    }
}
