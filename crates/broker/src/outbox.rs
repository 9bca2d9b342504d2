//! What the broker has for one connection: filled by queues, emptied by the connection's own task.

mod pace;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use leveret_amqp_codec::{ChannelId, ReplyCode};
use leveret_queue_store::{Delivery, Gate};
use parking_lot::Mutex;

pub(crate) use pace::{Pace, ROUND_BYTES, Round};

use crate::busy::BusyCount;
use crate::overview::Survey;

/// How many bytes of messages may wait in one outbox before queues pass its consumers over. Enough to keep a socket busy
/// for a few writes of 64 KiB; what a client that does not read costs the broker at most, one message aside.
pub(crate) const WINDOW_BYTES: usize = 512 * 1024;

/// From how many bytes of messages in an outbox on its connection is behind, and those who publish what it consumes let it
/// catch up. As much as two reads, so that a publisher and a connection that writes can both be at work, and little enough
/// for what waits to be still in the cache of one core, with the buffers of both, when it is written.
const BEHIND_BYTES: usize = 128 * 1024;

/// Names a consumer within its outbox: the session chose the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConsumerKey(pub(crate) u32);

/// One thing for a connection to do, in the order in which it happened.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A queue assigned a message to one of the connection's consumers.
    Deliver {
        channel: ChannelId,
        consumer: ConsumerKey,
        delivery: Delivery,
    },
    /// The same, and messages before it were left out because the consumer was slow.
    DeliverAfterGap {
        channel: ChannelId,
        consumer: ConsumerKey,
        after_gap: Box<AfterGap>,
    },
    /// The consumer's queue is gone.
    ConsumerCancelled {
        channel: ChannelId,
        consumer: ConsumerKey,
    },
    /// The consumer was too slow for its own taste, and is one no more.
    ConsumerTooSlow {
        channel: ChannelId,
        consumer: ConsumerKey,
    },
    /// A queue has given back what it had entered of the window, and others may have been refused because of it.
    WindowOpened,
    /// All alarms are over.
    Unblocked,
    /// The broker wants the connection closed.
    Close { code: ReplyCode, text: String },
}

impl Outgoing {
    /// About how much there is to be written of it.
    fn size_bytes(&self) -> usize {
        match self {
            Self::Deliver { delivery, .. } => delivery.message.size_bytes(),
            Self::DeliverAfterGap { after_gap, .. } => after_gap.delivery.message.size_bytes(),
            _ => 0,
        }
    }
}

/// Takes the next of what was taken out of an outbox, unless so much waits to be written already that with it there would be
/// more than about `enough` bytes. What is large itself joins up to half of that.
pub(crate) fn pop_if_fits(
    items: &mut VecDeque<Outgoing>,
    waiting: usize,
    enough: usize,
) -> Option<Outgoing> {
    items.pop_front_if(|item| {
        waiting < enough / 2 || waiting.saturating_add(item.size_bytes()) <= enough
    })
}

/// A delivery with a gap before it.
#[derive(Debug)]
pub(crate) struct AfterGap {
    pub(crate) delivery: Delivery,
    /// How many messages were left out.
    pub(crate) left_out: u64,
}

/// The place where queues leave what they have for one connection.
///
/// Bounded by its window: a queue enters [`Outbox::window`] for each message it assigns and passes the connection's
/// consumers over while the window is full; the connection leaves it when the bytes are written. The few items that are
/// not deliveries are bounded by the number of consumers, and by how often they were refused.
///
/// Its lock is the innermost of all: it may be taken while a queue's lock is held, and nothing is locked or woken under
/// it.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    window: Arc<Gate>,
    /// From the first thing on that a connection takes; a consumer within the process is never waited for.
    pace: OnceLock<Box<Pace>>,
    /// Bytes of what its client has sent and no queue has: parts of messages, transactions. They are counted here because
    /// this is what all parts of a connection share.
    held: AtomicUsize,
    busy: BusyCount,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Outgoing>,
    waker: Option<Waker>,
    closed: bool,
    /// What is asked from outside, which is seldom.
    inquiry: Option<Box<Inquiry>>,
}

/// What somebody outside wants of a connection, which is told even if its peer does not read.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    /// Who wants to know what it is.
    pub(crate) surveys: Vec<Survey>,
    /// It is to end, though its peer does not read.
    pub(crate) end: bool,
    /// Of a connection whose peer does not read: nothing else wakes it.
    waker: Option<Waker>,
}

impl Inquiry {
    fn is_empty(&self) -> bool {
        self.surveys.is_empty() && !self.end
    }
}

impl State {
    fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.items.is_empty() || self.is_asked() {
            return Poll::Ready(());
        }
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn is_asked(&self) -> bool {
        let inquiry = self.inquiry.as_deref();
        inquiry.is_some_and(|inquiry| !inquiry.is_empty())
    }
}

impl Outbox {
    pub(crate) fn new(busy: BusyCount) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            window: Arc::new(Gate::new(WINDOW_BYTES)),
            pace: OnceLock::new(),
            held: AtomicUsize::new(0),
            busy,
        })
    }

    /// What counted as `before` bytes that the connection holds now counts as `after`.
    pub(crate) fn count_held(&self, before: usize, after: usize) {
        self.held.fetch_add(after, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many bytes the connection holds outside of queues.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bounds the bytes of messages that wait here.
    pub(crate) fn window(&self) -> &Arc<Gate> {
        &self.window
    }

    /// Lets publishers wait for a connection that is behind. None as long as it has never had anything to write.
    pub(crate) fn pace(&self) -> Option<&Pace> {
        self.pace.get().map(Box::as_ref)
    }

    /// Whether so much waits here that publishers should let the connection catch up, as long as it is at work.
    pub(crate) fn is_behind(&self) -> bool {
        self.window.used() >= BEHIND_BYTES && self.pace().is_some_and(Pace::is_at_work)
    }

    /// Messages of so many bytes have been written, and queues have filled their room again. To be called without a lock.
    pub(crate) fn wrote(&self, bytes: usize) {
        if let Some(pace) = self.pace() {
            pace.wrote(bytes, || self.window.used() < BEHIND_BYTES / 2);
        }
    }

    /// Adds items; the waker, if any, is to be woken once no lock is held.
    ///
    /// After [`Outbox::close`] the items are dropped: the session has given its deliveries back by then.
    #[must_use]
    pub(crate) fn push(&self, items: impl IntoIterator<Item = Outgoing>) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let was_empty = state.items.is_empty();
        state.items.extend(items);
        if was_empty && !state.items.is_empty() {
            self.busy.enter();
        }
        let waker = state.waker.take();
        // Whoever is woken has something to write, though it may take a while until it looks.
        if waker.is_some()
            && let Some(pace) = self.pace()
        {
            pace.begin();
        }
        waker
    }

    /// Asks the connection to close, and to end soon if its peer does not read. Not to be called under a lock.
    pub(crate) fn ask_to_close(&self, code: ReplyCode, text: String) {
        // First, because a consumer within the process looks at nothing else and ends with it.
        let waker = self.push([Outgoing::Close { code, text }]);
        let wakers = self.inquire(|inquiry| inquiry.end = true);
        wakers
            .into_iter()
            .chain([waker])
            .flatten()
            .for_each(Waker::wake);
    }

    /// Asks the connection something; the wakers are to be woken once no lock is held.
    #[must_use]
    pub(crate) fn inquire(&self, ask: impl FnOnce(&mut Inquiry)) -> [Option<Waker>; 2] {
        let mut state = self.state.lock();
        if state.closed {
            return [None, None];
        }
        let inquiry = state.inquiry.get_or_insert_default();
        ask(inquiry);
        let waker = inquiry.waker.take();
        [waker, state.waker.take()]
    }

    /// For a connection whose peer does not read, and which takes nothing else: ready when it is asked something; else the
    /// task is woken by the next question, and by nothing else.
    pub(crate) fn poll_inquiry(&self, cx: &Context<'_>) -> Poll<Box<Inquiry>> {
        let mut state = self.state.lock();
        match state.inquiry.take() {
            Some(inquiry) if !inquiry.is_empty() => Poll::Ready(inquiry),
            idle => {
                let mut inquiry = idle.unwrap_or_default();
                inquiry.waker = Some(cx.waker().clone());
                state.inquiry = Some(inquiry);
                Poll::Pending
            }
        }
    }

    /// Moves everything into `into`, which must be empty and lends its capacity to the outbox. Whoever took something
    /// [rests](Outbox::rest) when it has dealt with it.
    pub(crate) fn take(&self, into: &mut VecDeque<Outgoing>) {
        self.move_out(&mut self.state.lock(), into);
        if !into.is_empty() {
            self.pace.get_or_init(Box::default).begin();
        }
    }

    /// [`Outbox::take`] if [`Outbox::poll_ready`], under one lock.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, into: &mut VecDeque<Outgoing>) -> Poll<()> {
        let mut state = self.state.lock();
        let ready = state.poll_ready(cx);
        self.move_out(&mut state, into);
        ready
    }

    fn move_out(&self, state: &mut State, into: &mut VecDeque<Outgoing>) {
        debug_assert!(into.is_empty(), "items would change places");
        if !state.items.is_empty() {
            std::mem::swap(&mut state.items, into);
            self.busy.leave();
        }
    }

    /// The connection goes to sleep: an empty outbox gives its memory back, and nobody waits for it to catch up.
    pub(crate) fn rest(&self) {
        let mut state = self.state.lock();
        if state.items.is_empty() {
            state.items = VecDeque::new();
        }
        drop(state);
        if let Some(pace) = self.pace() {
            pace.rest();
        }
    }

    /// Ready when there is something to take, or asked, which it gives; else the task is woken by the next item.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<Option<Box<Inquiry>>> {
        let mut state = self.state.lock();
        match state.poll_ready(cx) {
            Poll::Ready(()) => Poll::Ready(state.inquiry.take()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Nothing is accepted from now on; returns what was still waiting.
    pub(crate) fn close(&self) -> VecDeque<Outgoing> {
        let mut state = self.state.lock();
        state.closed = true;
        state.waker = None;
        state.inquiry = None;
        if !state.items.is_empty() {
            self.busy.leave();
        }
        let items = std::mem::take(&mut state.items);
        drop(state);
        if let Some(pace) = self.pace() {
            pace.rest();
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use leveret_queue_store::{Message, MessageParts};

    use super::*;

    #[test]
    fn a_waker_is_handed_out_once_per_sleep() {
        let outbox = Outbox::new(BusyCount::default());
        let cx = Context::from_waker(Waker::noop());
        assert!(outbox.poll_ready(&cx).is_pending());
        assert!(
            outbox.push([Outgoing::Unblocked]).is_some(),
            "a sleeping task is woken"
        );
        assert!(
            outbox.push([Outgoing::Unblocked]).is_none(),
            "and not a second time"
        );
        assert!(outbox.poll_ready(&cx).is_ready());
        let mut items = VecDeque::new();
        outbox.take(&mut items);
        assert_eq!(items.len(), 2);
        assert!(outbox.poll_ready(&cx).is_pending());
    }

    fn delivery(body: &[u8]) -> Outgoing {
        let parts = MessageParts {
            body,
            ..MessageParts::default()
        };
        Outgoing::Deliver {
            channel: ChannelId(1),
            consumer: ConsumerKey(0),
            delivery: Delivery {
                id: None,
                message: Message::new(&parts, &mut Vec::new()),
                redelivered: false,
                delivery_count: 0,
            },
        }
    }

    /// How many of these are taken one after the other for one write of 64,000 bytes.
    fn taken(bodies: &[usize]) -> usize {
        let mut items: VecDeque<_> = bodies.iter().map(|&len| delivery(&vec![0; len])).collect();
        let mut waiting = 0;
        while let Some(item) = pop_if_fits(&mut items, waiting, 64_000) {
            waiting += item.size_bytes();
        }
        bodies.len() - items.len()
    }

    #[test]
    fn what_does_not_fit_into_a_write_begins_the_next() {
        assert_eq!(taken(&[16_384; 10]), 3);
        assert_eq!(taken(&[30_000; 10]), 2);
        assert_eq!(taken(&[40_000; 10]), 1);
        assert_eq!(taken(&[33_000, 30_000, 30_000]), 2);
    }

    #[test]
    fn what_is_larger_than_a_write_is_not_left_for_ever() {
        assert_eq!(taken(&[1_000_000; 3]), 1);
        // A little that waits already, an answer or the head of a WebSocket message, is no reason to hold it back.
        assert_eq!(taken(&[10, 1_000_000, 10]), 2);
        assert_eq!(taken(&[40_000, 1_000_000]), 1);
    }

    #[test]
    fn what_is_no_message_fits_until_a_write_is_full() {
        let mut items = VecDeque::from([Outgoing::Unblocked, Outgoing::Unblocked]);
        assert!(pop_if_fits(&mut items, 64_000, 64_000).is_some());
        assert!(pop_if_fits(&mut items, 64_001, 64_000).is_none());
        assert!(pop_if_fits(&mut items, usize::MAX, usize::MAX).is_some());
    }

    #[test]
    fn a_closed_outbox_drops_what_comes_late() {
        let busy = BusyCount::default();
        let outbox = Outbox::new(busy.clone());
        let _ = outbox.push([Outgoing::Unblocked]);
        assert_eq!(outbox.close().len(), 1);
        assert!(outbox.push([Outgoing::Unblocked]).is_none());
        assert!(busy.is_idle());
    }
}
