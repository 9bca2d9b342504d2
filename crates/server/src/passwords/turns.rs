//! Whose turn it is to have a password checked.
//!
//! Addresses take turns: each time, the address that has waited longest since its last turn has the first of its logins
//! checked. However many an address tries at once, one login from another is behind one of each address and no more.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Where a login comes from, as turns are taken: an IPv6 network of 64 bits is one. None for logins without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(Option<IpAddr>);

impl Origin {
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(network).into()
            }
        }))
    }
}

/// A limited number of turns that are taken at once. Its lock is held for a look-up.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None while anybody waits.
    free: usize,
    /// Who waits, from where; each list has somebody. Their number is that of connections that have not logged in.
    waiting: HashMap<Origin, VecDeque<oneshot::Sender<Turn>>>,
    /// The same origins, in the order of their next turns.
    round: VecDeque<Origin>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// None once it is given back.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        let state = State {
            free: count,
            waiting: HashMap::new(),
            round: VecDeque::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Waits for a turn. Whoever does not wait to the end has taken none.
    pub(super) async fn take(self: &Arc<Self>, origin: Origin) -> Turn {
        let granted = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                None
            } else {
                Some(state.wait(origin))
            }
        };
        match granted {
            // It comes from somebody's `Turn`, of whom there is one as long as somebody waits.
            Some(granted) => match granted.await {
                Ok(turn) => turn,
                Err(_) => std::future::pending().await,
            },
            None => Turn {
                turns: Some(Arc::clone(self)),
            },
        }
    }

    /// How many may be taken now.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.state.lock().free
    }
}

impl State {
    fn wait(&mut self, origin: Origin) -> oneshot::Receiver<Turn> {
        let (sender, granted) = oneshot::channel();
        match self.waiting.entry(origin) {
            Entry::Occupied(mut place) => place.get_mut().push_back(sender),
            Entry::Vacant(place) => {
                place.insert(VecDeque::from([sender]));
                self.round.push_back(origin);
            }
        }
        granted
    }

    /// Who is next; the turn is free when nobody is.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(origin) = self.round.pop_front() {
            let Entry::Occupied(mut place) = self.waiting.entry(origin) else {
                continue;
            };
            let senders = place.get_mut();
            let next = std::iter::from_fn(|| senders.pop_front()).find(|it| !it.is_closed());
            if senders.is_empty() {
                place.remove();
            } else {
                self.round.push_back(origin);
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(turns) = self.turns.take() {
            let Some(next) = turns.state.lock().next() else {
                return;
            };
            let turn = Self { turns: Some(turns) };
            if let Err(mut turn) = next.send(turn) {
                // Gone just now: somebody else's.
                self.turns = turn.turns.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Turn>>>;

    fn from(last: u8) -> Origin {
        Origin::of(Some([192, 0, 2, last].into()))
    }

    fn poll(waiting: &mut Waiting) -> Option<Turn> {
        match waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// Those who wait, by the last number of their address.
    struct Crowd {
        turns: Arc<Turns>,
        waiting: Vec<(u8, Waiting)>,
    }

    impl Crowd {
        fn come(&mut self, last: u8) {
            let turns = Arc::clone(&self.turns);
            let mut waiting: Waiting = Box::pin(async move { turns.take(from(last)).await });
            assert!(poll(&mut waiting).is_none());
            self.waiting.push((last, waiting));
        }

        /// Gives a turn back; where the one comes from who has it then.
        fn pass(&mut self, turn: Turn) -> Option<(u8, Turn)> {
            drop(turn);
            let turns = self.waiting.iter_mut().enumerate();
            let mut granted = turns.filter_map(|(at, (_, it))| Some((at, poll(it)?)));
            let (at, turn) = granted.next()?;
            assert!(granted.next().is_none());
            Some((self.waiting.remove(at).0, turn))
        }
    }

    fn crowd() -> (Crowd, Turn) {
        let turns = Arc::new(Turns::new(1));
        let taken = {
            let mut taking = pin!(turns.take(from(0)));
            let Poll::Ready(turn) = taking
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            else {
                panic!("nobody has it");
            };
            turn
        };
        let waiting = Vec::new();
        (Crowd { turns, waiting }, taken)
    }

    #[test]
    fn addresses_take_turns_and_logins_of_each_come_in_their_order() {
        let (mut crowd, mut turn) = crowd();
        for last in [1, 1, 1, 1, 2, 2, 3] {
            crowd.come(last);
        }
        let mut order = Vec::new();
        while let Some((last, next)) = crowd.pass(turn) {
            order.push(last);
            turn = next;
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
        assert_eq!(crowd.turns.free(), 1);
    }

    #[test]
    fn who_has_gone_is_passed_over() {
        let (mut crowd, turn) = crowd();
        for last in [1, 1, 2, 1] {
            crowd.come(last);
        }
        crowd.waiting.drain(..3);
        let (last, turn) = crowd.pass(turn).unwrap();
        assert_eq!((last, crowd.turns.free()), (1, 0));
        drop(turn);
        let state = crowd.turns.state.lock();
        assert_eq!(
            (state.free, state.waiting.len(), state.round.len()),
            (1, 0, 0)
        );
    }

    #[test]
    fn a_turn_that_is_granted_to_nobody_goes_on() {
        let (mut crowd, turn) = crowd();
        crowd.come(1);
        crowd.come(2);
        drop(turn);
        // The first has it and does not know.
        drop(crowd.waiting.remove(0));
        assert!(poll(&mut crowd.waiting[0].1).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one() {
        let of = |text: &str| Origin::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
