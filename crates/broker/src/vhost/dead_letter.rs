//! Dead lettering: what has died is carried to where its queue sends it (behaviour reference, section 13).

mod death;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use leveret_queue_store::Time;

use super::VirtualHost;
use super::queue::DeadLetter;
use crate::memory::MemoryGauge;
use crate::timers::Due;
pub(super) use death::Cycle;
use death::died;

/// How many steps are done for letters before other timers have their turn: one for each, and for each queue that it is given
/// to, and for each part of its properties.
const TURN_MAX: usize = 4096;

/// How many bytes of a letter's properties are one step. To read deaths that a client has made up, and to write them down again,
/// takes as long as some queues do.
const STEP_BYTES: usize = 1024;

/// Who brings letters, and how much it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Whoever has made messages die: a turn, and no fewer than it has brought, so that they do not become more and more.
    Cause,
    /// A timer, which all others wait for: a turn, but nothing while the store has enough to write. They are safe where they
    /// died.
    Timer,
}

impl VirtualHost {
    /// Publishes dead messages to their queue's dead letter exchange, in order.
    ///
    /// They may die again where they arrive; what comes of that is carried by whoever is at it already, so a chain of
    /// queues needs no deeper stack than a single one. What is left at the end of a turn has a turn of its own at once. All
    /// that waits counts against the memory limit, so that whoever brings more than is carried is stopped in the end. Must be
    /// called without any lock.
    pub(super) fn dead_letter(
        &self,
        now: Time,
        letters: impl Iterator<Item = DeadLetter>,
        carrier: Carrier,
    ) {
        let (brought, held, carries) = {
            let mut dying = self.dying.lock();
            let before = dying.letters.len();
            dying.letters.extend(letters);
            let brought = dying.letters.range(before..);
            let (brought, held) = (brought.len(), brought.map(cost).sum());
            let is_left_alone = dying.has_timer && carrier == Carrier::Timer;
            let carries = !dying.carried && !is_left_alone;
            dying.carried |= carries;
            (brought, held, carries)
        };
        self.services.letters.fetch_add(held, Ordering::Relaxed);
        self.services.account(0, held);
        if carries {
            let least = match carrier {
                Carrier::Timer => 0,
                Carrier::Cause => brought,
            };
            self.carry_letters(now, least, carrier, false);
        }
    }

    /// Carries so many letters at least, and on to the end of the turn, which is one for all timers of a moment. It ends when
    /// the store has enough to write, unless letters `have_waited` for that: publishers may always be quicker.
    fn carry_letters(&self, now: Time, least: usize, carrier: Carrier, have_waited: bool) {
        let by_timer = carrier == Carrier::Timer;
        let (at, used) = self.dying.lock().turn;
        let mut reached = if by_timer && at == now { used } else { 0 };
        let mut carried = 0;
        loop {
            let has_carried = carried >= least;
            let is_held = has_carried && !have_waited && self.services.is_congested();
            let letter = {
                let mut dying = self.dying.lock();
                let is_over = is_held || has_carried && reached >= TURN_MAX;
                if is_over && !dying.letters.is_empty() {
                    dying.carried = false;
                    dying.turn = (now, 0);
                    let is_timed = std::mem::replace(&mut dying.has_timer, true);
                    dying.is_held |= is_held && !is_timed;
                    drop(dying);
                    if !is_timed {
                        self.give_letters_a_turn(now, is_held);
                    }
                    return;
                }
                let letter = dying.letters.pop_front();
                dying.carried = letter.is_some();
                if by_timer && letter.is_none() {
                    dying.turn = (now, reached);
                }
                letter
            };
            let Some(letter) = letter else { return };
            let held = cost(&letter);
            self.services.letters.fetch_sub(held, Ordering::Relaxed);
            self.services.memory.account(held, 0);
            let (has_arrived, steps) = self.carry(now, &letter);
            carried += 1;
            reached += steps;
            if !has_arrived && letter.queue.keeps_undelivered() {
                self.undelivered.keep(now, letter);
            } else {
                letter.queue.forget(&letter);
            }
        }
    }

    /// At once, or when the store takes more.
    fn give_letters_a_turn(&self, now: Time, is_held: bool) {
        let due: Weak<dyn Due> = Weak::<Self>::clone(&self.myself);
        match &self.services.store {
            Some(store) if is_held => store.hold(self.dying_timer, due),
            _ => self.services.timers.schedule(self.dying_timer, now, due),
        }
    }

    /// Whether the message has arrived wherever it should, and how many steps that took.
    fn carry(&self, now: Time, letter: &DeadLetter) -> (bool, usize) {
        let Some(target) = &letter.queue.definition().dead_letter else {
            return (true, 1);
        };
        let (message, cycle) = died(letter, target, now);
        let steps = 1 + message.properties().len() / STEP_BYTES;
        // For most queues an exchange that is missing at this moment means the end, as in RabbitMQ.
        let Some(route) = self.route_internally(&target.exchange, &message) else {
            return (false, steps);
        };
        let steps = steps + route.queues.len();
        self.capture(now, &route, &message);
        let mut refused = Vec::new();
        if route.passes.is_some() {
            Self::pass_letter(now, route, message, cycle, &mut refused);
            return (refused.is_empty(), steps);
        }
        for queue in route.queues.iter().filter(|queue| !cycle.has(queue.name())) {
            queue.publish(now, std::iter::once((message.clone(), 0)), &mut refused);
        }
        let has_way = !route.queues.is_empty() || !route.captures.is_empty();
        (refused.is_empty() && has_way, steps)
    }
}

impl Due for VirtualHost {
    /// Letters that were left have their turn.
    fn run(self: Arc<Self>, now: Time) {
        let have_waited = {
            let mut dying = self.dying.lock();
            dying.has_timer = false;
            let have_waited = std::mem::take(&mut dying.is_held);
            if dying.carried {
                return;
            }
            dying.carried = true;
            have_waited
        };
        self.carry_letters(now, 0, Carrier::Timer, have_waited);
    }
}

impl Drop for VirtualHost {
    /// Letters that are still on their way go with it.
    fn drop(&mut self) {
        let letters = &self.dying.get_mut().letters;
        let held = letters.iter().map(cost).sum();
        self.services.letters.fetch_sub(held, Ordering::Relaxed);
        self.services.memory.account(held, 0);
        self.undelivered.forget(&self.services.memory);
    }
}

/// What a letter counts for while it waits.
pub(super) fn cost(letter: &DeadLetter) -> usize {
    MemoryGauge::cost(1, letter.message.size_bytes() as u64)
}
