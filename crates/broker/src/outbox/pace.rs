//! Publishers that are ahead of a connection let it catch up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// How many bytes of messages a connection writes before it lets those go that wait for it, though it may have more to
/// write: a publisher that finds a long backlog is slowed down by it, and not stopped.
pub(crate) const ROUND_BYTES: usize = 256 * 1024;

/// Lets publishers wait while a connection that consumes what they publish is at work and [behind](super::Outbox::is_behind).
///
/// A publisher that goes on reading then would only make the queue longer: what it adds leaves the processor's cache
/// before the consumer's connection comes to it, and comes back at the price of several messages. What is not read
/// waits where it costs nothing, in the publisher's socket.
///
/// Nobody waits for more than one round: until so much has been written, until the connection has caught up, or until it
/// rests, be it that it has nothing left or that its peer has not read for too long. Whoever is behind is never at rest
/// without the round having ended. For how long a connection with a full socket is at work is its own affair.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The connection has taken something out of its outbox and not rested since.
    is_at_work: AtomicBool,
    /// Somebody waits, perhaps. Spares the others the lock.
    is_awaited: AtomicBool,
    /// What has been written since somebody waits.
    written: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    round: Round,
    waiting: Vec<Waker>,
}

/// Names one round of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round(u64);

impl Pace {
    /// The connection has something to write.
    pub(super) fn begin(&self) {
        // Said by the connection's own task, or by who is about to wake it: it always rests afterwards, so nobody waits for
        // ever.
        if !self.is_at_work.load(Ordering::Relaxed) {
            self.is_at_work.store(true, Ordering::SeqCst);
        }
    }

    /// Whether there is a round that a publisher may wait for.
    pub(crate) fn is_at_work(&self) -> bool {
        self.is_at_work.load(Ordering::SeqCst)
    }

    /// The round that a publisher may wait for. None when the connection is at rest: nothing would end it.
    pub(crate) fn round(&self) -> Option<Round> {
        self.is_at_work().then(|| self.state.lock().round)
    }

    /// Ready when the round has ended; else the task is woken at its end.
    pub(crate) fn poll_round(&self, cx: &Context<'_>, round: Round) -> Poll<()> {
        let mut state = self.state.lock();
        if state.round != round {
            return Poll::Ready(());
        }
        // Whoever rests looks for those who wait once it has said so. What is said here before it is looked whether it
        // rests cannot be missed, therefore.
        self.is_awaited.store(true, Ordering::SeqCst);
        if !self.is_at_work() {
            return Poll::Ready(());
        }
        if !state
            .waiting
            .iter()
            .any(|known| known.will_wake(cx.waker()))
        {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// So many bytes of messages have been written; `caught_up` tells whether the queues have no more than fits the window.
    pub(super) fn wrote(&self, bytes: usize, caught_up: impl FnOnce() -> bool) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if written >= ROUND_BYTES || caught_up() {
            self.end_round();
        }
    }

    /// The connection waits for something to happen, or has gone.
    pub(super) fn rest(&self) {
        self.is_at_work.store(false, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.end_round();
        }
    }

    fn end_round(&self) {
        self.written.store(0, Ordering::Relaxed);
        let waiting = {
            let mut state = self.state.lock();
            self.is_awaited.store(false, Ordering::SeqCst);
            state.round.0 += 1;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits for the round that goes on, lets `ends` happen, and tells how often the waiter was woken.
    #[track_caller]
    fn woken_by(ends: impl FnOnce(&Pace)) -> usize {
        let pace = Pace::default();
        pace.begin();
        let round = pace.round().expect("it is at work");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        assert!(pace.poll_round(&cx, round).is_pending());
        assert!(pace.poll_round(&cx, round).is_pending());
        ends(&pace);
        let times = woken.0.load(Ordering::SeqCst);
        assert_eq!(pace.poll_round(&cx, round).is_ready(), times > 0);
        times
    }

    #[test]
    fn nobody_waits_for_a_connection_at_rest() {
        let pace = Pace::default();
        assert_eq!(pace.round(), None);
        pace.begin();
        let round = pace.round().expect("it is at work");
        pace.rest();
        assert_eq!(pace.round(), None);
        let cx = Context::from_waker(Waker::noop());
        assert!(pace.poll_round(&cx, round).is_ready());
        pace.begin();
        assert!(
            pace.poll_round(&cx, round).is_pending(),
            "nobody waited for the round when the connection rested, so it goes on"
        );
    }

    #[test]
    fn a_round_ends_once_and_wakes_whoever_waits_once() {
        assert_eq!(woken_by(|pace| pace.rest()), 1);
        assert_eq!(woken_by(|pace| pace.wrote(1, || true)), 1);
        assert_eq!(woken_by(|pace| pace.wrote(ROUND_BYTES, || false)), 1);
        assert_eq!(woken_by(|pace| pace.wrote(ROUND_BYTES - 1, || false)), 0);
        assert_eq!(
            woken_by(|pace| {
                pace.wrote(ROUND_BYTES - 1, || false);
                pace.wrote(1, || false);
                pace.wrote(ROUND_BYTES, || false);
                pace.rest();
            }),
            1
        );
    }

    /// Who looks just when the connection goes to rest either sees that or is woken: nothing else would wake it.
    #[test]
    fn nobody_who_comes_at_the_end_waits_for_ever() {
        const TIMES: usize = 50_000;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("nothing is needed for it");
        let pace = Pace::default();
        let (done, is_done) = channel();
        thread::scope(|scope| {
            let (begin, begun) = channel();
            let pace = &pace;
            scope.spawn(move || {
                for spins in begun {
                    if let Some(round) = pace.round() {
                        spin(spins);
                        runtime.block_on(poll_fn(|cx| pace.poll_round(cx, round)));
                    }
                    done.send(()).expect("it is received");
                }
            });
            for time in 0..TIMES {
                pace.begin();
                begin.send(time % 64).expect("it is received");
                spin(time % 509);
                pace.rest();
                if is_done.recv_timeout(Duration::from_secs(20)).is_err() {
                    // Or the other thread would never end.
                    pace.end_round();
                    panic!("nobody woke it, time {time}");
                }
            }
        });
    }

    fn spin(times: usize) {
        (0..times).for_each(|_| std::hint::spin_loop());
    }
}
