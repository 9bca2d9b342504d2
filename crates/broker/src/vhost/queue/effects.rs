//! What a queue's effects lead to: under its lock, and once that is released.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Waker;

use leveret_queue_store::{ConsumerId, DeathReason, Effect, Lsn, Message, Stored, Time};
use smallvec::SmallVec;

use super::{DeadLetter, QueueCell, State};
use crate::memory::MemoryGauge;
use crate::outbox::{AfterGap, Outgoing};
use crate::store::Relieved;
use crate::timers::Due;
use crate::vhost::dead_letter::Carrier;

/// How many bytes of messages die before what is out of memory stays there for now, and others have their turn: two pages of
/// what a queue has on disk. A backlog that is overdue may be far larger than the memory.
const TURN_MAX: usize = 1 << 20;

/// When a page is tried again that could not be read for a reason that may pass, in milliseconds.
const RETRY_MS: u64 = 1000;

/// How much of the memory may be for dead letters on their way before no more is brought into memory to become one. They wait
/// for others' letters, and for the disk.
const LETTERS_MAX: usize = 1 << 20;

/// What a death counts beside the bytes of the message: no more than 512 of them are a turn.
const DEATH_COST: usize = TURN_MAX / 512;

/// What remains to be done once the lock is released.
#[derive(Debug, Default)]
pub(in crate::vhost) struct Afterwards {
    pub(super) wakers: SmallVec<[Waker; 4]>,
    /// Up to where the journal must be safe before the messages that were stored are.
    pub(super) safe_at: Option<Lsn>,
    dead: Vec<Dead>,
    lease_ran_out: bool,
    /// A consumer that was too slow is gone: it may have been the last.
    lost_consumer: bool,
    timer: Option<Time>,
    memory: (usize, usize),
    /// The store does not know yet that the queue holds messages.
    is_to_be_listed: bool,
    /// There is too little memory, and the queue could not give up enough.
    is_short: bool,
    /// A timer is at work, which all others wait for.
    by_timer: bool,
    /// How much of a [turn](TURN_MAX) has died.
    died: usize,
    /// A page is wanted that was left where it is for now, and when the next turn has to follow.
    again_at: Option<Time>,
}

/// A message that has died.
#[derive(Debug)]
struct Dead {
    message: Message,
    reason: DeathReason,
    delivery_count: u32,
    stored: Option<Stored>,
}

impl Afterwards {
    /// What a timer leaves to be done.
    pub(super) fn by_timer() -> Self {
        Self {
            by_timer: true,
            ..Self::default()
        }
    }

    /// What somebody leaves to be done for whom nothing is to come back into memory. A timer fetches what is wanted.
    pub(super) fn without_pages() -> Self {
        Self {
            died: TURN_MAX,
            ..Self::by_timer()
        }
    }

    /// Whether there is anything but what nearly every change of a queue brings.
    fn has_rare(&self) -> bool {
        self.is_to_be_listed
            || self.is_short
            || self.timer.is_some()
            || self.lease_ran_out
            || self.lost_consumer
            || !self.dead.is_empty()
    }
}

thread_local! {
    /// Lent to whichever queue is at work on this thread, so that idle queues hold no buffer.
    static EFFECTS: Cell<Vec<Effect>> = const { Cell::new(Vec::new()) };
}

impl QueueCell {
    /// Runs `work` under the lock, then carries out the effects it had.
    pub(super) fn with<R>(
        self: &Arc<Self>,
        now: Time,
        work: impl FnOnce(&mut State, Time, &mut Vec<Effect>) -> R,
    ) -> R {
        let mut afterwards = Afterwards::default();
        let result = self.with_locked(now, &mut afterwards, work);
        self.follow_up(now, afterwards);
        result
    }

    /// [`QueueCell::with`] for a caller that holds locks: what is to be done once they are released is added to
    /// `afterwards`.
    pub(super) fn with_locked<R>(
        &self,
        now: Time,
        afterwards: &mut Afterwards,
        work: impl FnOnce(&mut State, Time, &mut Vec<Effect>) -> R,
    ) -> R {
        let mut effects = EFFECTS.take();
        let result = {
            let mut state = self.state.lock();
            if state.has_pages() {
                // What is overdue must not stand before what is asked for.
                state.queue.expire(now, &mut effects);
                self.carry_out(&mut state, now, &mut effects, afterwards);
            }
            let result = work(&mut state, now, &mut effects);
            self.carry_out(&mut state, now, &mut effects, afterwards);
            let held = state.accounted;
            let holds = match &self.disk {
                Some(disk) => {
                    let excess = self.services.memory.excess();
                    let (holds, is_over) = disk.page_out(&mut state.queue, held, excess);
                    afterwards.is_short |= is_over;
                    if !state.is_listed && disk.is_worth_a_page(holds) {
                        state.is_listed = true;
                        afterwards.is_to_be_listed = true;
                    }
                    holds
                }
                None => MemoryGauge::of(&state.queue),
            };
            state.settle_up(holds, afterwards);
            result
        };
        // Not set directly: that would look again whether the thread has one, and make it.
        EFFECTS.with(|lent| lent.set(effects));
        result
    }

    /// Does what has to be done under the lock, in this order: the journal learns of it, consumers are given theirs, and
    /// what is wanted of what is on disk comes back into memory, whereupon more may be handed out.
    ///
    /// When a turn's worth of messages has died, what is wanted stays on disk and the queue's timer goes on with it at once.
    /// Until then whatever stands behind it waits: nothing overtakes it, and who gets the next message gets none.
    pub(super) fn carry_out(
        &self,
        state: &mut State,
        now: Time,
        effects: &mut Vec<Effect>,
        afterwards: &mut Afterwards,
    ) {
        let dies_silently = self.definition.dead_letter.is_none();
        let Some(disk) = &self.disk else {
            return state.hand_out(effects, dies_silently, afterwards);
        };
        afterwards.again_at = None;
        let leaving = std::mem::take(&mut state.leaving);
        loop {
            // That a queue was deleted says all about its messages.
            if !(state.deleted && disk.is_durable()) {
                let safe_at = disk.record(effects, dies_silently, leaving);
                afterwards.safe_at = afterwards.safe_at.max(safe_at);
            }
            state.hand_out(effects, dies_silently, afterwards);
            let Some(page) = state.queue.wanted_page() else {
                return;
            };
            if !self.may_bring_in(state, now, afterwards.died) {
                afterwards.again_at = Some(now);
                return;
            }
            if let Err(error) = disk.bring_in(self.name(), &mut state.queue, now, page, effects) {
                let again_at = now.saturating_add(RETRY_MS);
                afterwards.again_at = error.may_pass().then_some(again_at);
                return;
            }
        }
    }

    /// Whether what is wanted may come back into memory when so much of a [turn](TURN_MAX) has died.
    pub(super) fn may_bring_in(&self, state: &State, now: Time, died: usize) -> bool {
        let becomes_letters =
            || self.definition.dead_letter.is_some() && state.queue.is_next_overdue(now);
        let has_letters = self.services.letters.load(Ordering::Relaxed) > LETTERS_MAX;
        died < TURN_MAX && !(has_letters && becomes_letters())
    }

    /// Takes out of memory what nobody has taken from since this was asked last, if there is too little memory.
    pub(super) fn give_up_memory(self: &Arc<Self>, now: Time) -> Relieved {
        let Some(disk) = &self.disk else {
            return Relieved::Forget;
        };
        let (mut effects, mut afterwards) = (Vec::new(), Afterwards::without_pages());
        let relieved = {
            let mut state = self.state.lock();
            let excess = self.services.memory.excess();
            if !disk.is_anybody_short(excess) {
                return Relieved::NotNeeded;
            }
            if std::mem::take(&mut state.was_used) {
                return Relieved::InUse;
            }
            let held = state.accounted;
            let holds = disk.page_out_idle(&mut state.queue, held, excess, &mut effects);
            self.carry_out(&mut state, now, &mut effects, &mut afterwards);
            state.settle_up(holds, &mut afterwards);
            if !disk.is_worth_a_page(holds) {
                state.is_listed = false;
                Relieved::Forget
            } else if holds < held {
                Relieved::Some
            } else {
                Relieved::None
            }
        };
        self.follow_up(now, afterwards);
        relieved
    }

    /// What must not be done under a lock.
    #[inline]
    pub(in crate::vhost) fn follow_up(self: &Arc<Self>, now: Time, mut afterwards: Afterwards) {
        if !afterwards.wakers.is_empty() {
            afterwards.wakers.drain(..).for_each(Waker::wake);
        }
        let (before, after) = afterwards.memory;
        if before != after {
            self.services.memory.account(before, after);
            // What it has grown by was not counted before.
            afterwards.is_short |= after > before && self.services.memory.excess() > 0;
        }
        if afterwards.has_rare() {
            self.follow_up_rare(now, afterwards);
        }
    }

    fn follow_up_rare(self: &Arc<Self>, now: Time, afterwards: Afterwards) {
        if let Some(disk) = &self.disk {
            if afterwards.is_to_be_listed {
                disk.list(self);
            }
            // Not before it is counted and listed: else whoever looks might find that nothing is to be done.
            if afterwards.is_short {
                disk.note_shortage();
            }
        }
        if let Some(at) = afterwards.timer {
            let due: Weak<dyn Due> = Arc::<Self>::downgrade(self);
            let store = self.services.store.as_ref();
            // Letters go before, which wait for the same.
            let is_held = afterwards.again_at.is_some() && self.definition.dead_letter.is_some();
            match store.filter(|store| is_held && store.is_congested()) {
                Some(store) => store.hold(self.timer, due),
                None => self.services.timers.schedule(self.timer, at, due),
            }
        }
        if afterwards.dead.is_empty() && !afterwards.lease_ran_out && !afterwards.lost_consumer {
            return;
        }
        let Some(vhost) = self.vhost.upgrade() else {
            return;
        };
        if afterwards.lease_ran_out {
            vhost.remove_queue_if(self, now, |_| true);
        }
        if afterwards.lost_consumer && self.definition.auto_delete {
            vhost.remove_queue_if(self, now, |counts| counts.consumers == 0);
        }
        if !afterwards.dead.is_empty() {
            // Whoever comes upon what is overdue has not made it die.
            let is_overdue = |dead: &Dead| dead.reason == DeathReason::Expired;
            let by_timer = afterwards.by_timer
                || self.services.is_congested() && afterwards.dead.iter().all(is_overdue);
            let dead = afterwards.dead.into_iter().map(|dead| DeadLetter {
                queue: Arc::clone(self),
                message: dead.message,
                reason: dead.reason,
                stored: dead.stored,
                delivery_count: dead.delivery_count,
            });
            let carrier = match by_timer {
                true => Carrier::Timer,
                false => Carrier::Cause,
            };
            vhost.dead_letter(now, dead, carrier);
        }
    }
}

impl State {
    /// Puts deliveries, and nothing else is to be among the effects, into the outbox of the consumer that gets them.
    fn push(
        &self,
        consumer: ConsumerId,
        deliveries: impl Iterator<Item = Effect>,
    ) -> Option<Waker> {
        let link = self.links.get(consumer.index()).and_then(Option::as_ref);
        let Some((_, link)) = link else {
            debug_assert!(false, "deliveries for a consumer that is not there");
            deliveries.for_each(drop);
            return None;
        };
        link.outbox.push(deliveries.map(|effect| match effect {
            Effect::Deliver { delivery, .. } => Outgoing::Deliver {
                channel: link.channel,
                consumer: link.key,
                delivery,
            },
            other => unreachable!("{other:?} is no delivery"),
        }))
    }

    /// Puts a delivery with a gap before it into the outbox of the consumer that gets it.
    fn push_after_gap(
        &self,
        consumer: ConsumerId,
        left_out: u64,
        delivery: Option<Effect>,
    ) -> Option<Waker> {
        let Some(Effect::Deliver { delivery, .. }) = delivery else {
            unreachable!("what was left out was left out before a delivery");
        };
        let (_, link) = self.links.get(consumer.index())?.as_ref()?;
        link.outbox.push([Outgoing::DeliverAfterGap {
            channel: link.channel,
            consumer: link.key,
            after_gap: Box::new(AfterGap { delivery, left_out }),
        }])
    }

    /// Tells a consumer that it was too slow, and forgets it.
    fn push_too_slow(&mut self, consumer: ConsumerId) -> Option<Waker> {
        let (_, link) = self.links.get_mut(consumer.index())?.take()?;
        link.outbox.push([Outgoing::ConsumerTooSlow {
            channel: link.channel,
            consumer: link.key,
        }])
    }

    /// Has the consumer's connection poll its queues.
    fn push_window_opened(&self, consumer: ConsumerId) -> Option<Waker> {
        let (_, link) = self.links.get(consumer.index())?.as_ref()?;
        link.outbox.push([Outgoing::WindowOpened])
    }

    /// Consumers are given theirs; the rest is for afterwards. Who dies silently is gone.
    fn hand_out(
        &mut self,
        effects: &mut Vec<Effect>,
        dies_silently: bool,
        afterwards: &mut Afterwards,
    ) {
        let mut pending = effects.drain(..);
        loop {
            // All that one consumer gets in a row goes under one lock of its outbox.
            let (to, run) = deliveries_in_a_row(pending.as_slice());
            if let Some(consumer) = to {
                let deliveries = pending.by_ref().take(run);
                if let Some(waker) = self.push(consumer, deliveries) {
                    afterwards.wakers.push(waker);
                }
                self.was_used = true;
                continue;
            }
            match pending.next() {
                None => break,
                Some(Effect::Dead {
                    message,
                    reason,
                    delivery_count,
                    stored,
                }) => {
                    afterwards.died += cost_of_death(&message);
                    if !dies_silently {
                        afterwards.dead.push(Dead {
                            message,
                            reason,
                            delivery_count,
                            stored,
                        });
                    }
                }
                Some(Effect::Expired) => afterwards.lease_ran_out = true,
                Some(Effect::LeftOut { consumer, count }) => {
                    let delivery = pending.next();
                    let waker = self.push_after_gap(consumer, count, delivery);
                    afterwards.wakers.extend(waker);
                }
                Some(Effect::TooSlow { consumer }) => {
                    afterwards.wakers.extend(self.push_too_slow(consumer));
                    afterwards.lost_consumer = true;
                }
                Some(Effect::WindowOpened { consumer }) => {
                    afterwards.wakers.extend(self.push_window_opened(consumer));
                }
                // A gate that opens is the affair of the channel that it belongs to, which settles all that enters it.
                Some(_) => {}
            }
        }
    }

    /// Whether some of its messages are out of memory.
    fn has_pages(&self) -> bool {
        self.queue.resident_len() < self.queue.ready_len() + self.queue.unacked_len()
    }

    /// Notes what the queue holds in memory now, and when it has something to do.
    fn settle_up(&mut self, holds: usize, afterwards: &mut Afterwards) {
        afterwards.memory = (self.accounted, holds);
        self.accounted = holds;
        let deadlines = [afterwards.again_at, self.queue.next_deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        if let Some(deadline) = deadline
            && !self.deleted
            && self.timer_at.is_none_or(|at| deadline < at)
        {
            self.timer_at = Some(deadline);
            afterwards.timer = Some(deadline);
        }
    }
}

/// How much of a [turn](TURN_MAX) it is that these messages die.
pub(super) fn died(effects: &[Effect]) -> usize {
    let dead = effects.iter().filter_map(|effect| match effect {
        Effect::Dead { message, .. } => Some(cost_of_death(message)),
        _ => None,
    });
    dead.sum()
}

fn cost_of_death(message: &Message) -> usize {
    DEATH_COST + message.size_bytes()
}

/// Who gets the first effect, if it is a delivery, and how many deliveries to the same consumer stand there in a row.
fn deliveries_in_a_row(effects: &[Effect]) -> (Option<ConsumerId>, usize) {
    let Some(Effect::Deliver { consumer, .. }) = effects.first() else {
        return (None, 0);
    };
    let is_same =
        |effect: &&Effect| matches!(effect, Effect::Deliver { consumer: to, .. } if to == consumer);
    (Some(*consumer), effects.iter().take_while(is_same).count())
}
