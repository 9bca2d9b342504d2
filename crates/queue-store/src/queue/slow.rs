//! Consumers that do not want everything to wait for them.

use std::collections::BTreeMap;

use super::{ConsumerId, Queue};
use crate::{DeathReason, Effect, SlowAction, SlowConsumer, Time};

/// What a queue knows of its consumers that do something about what waits.
#[derive(Debug, Default)]
pub(super) struct Slow {
    droppers: Many,
    closers: Many,
    /// How many messages died of the maximum length since one was delivered for the first time, while
    /// somebody wanted the oldest dropped.
    left_out: u64,
}

/// What one consumer allows to wait, and what follows then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    action: SlowAction,
    messages: u64,
    bytes: u64,
}

/// The limits of several consumers, each kind in order, with how many have it.
#[derive(Debug, Default)]
struct Many {
    len: usize,
    messages: BTreeMap<u64, usize>,
    bytes: BTreeMap<u64, usize>,
}

impl Limits {
    pub(super) fn of(slow: &SlowConsumer) -> Self {
        Self {
            action: slow.action,
            messages: slow.limit,
            bytes: slow.limit_bytes,
        }
    }

    /// Whether so much is too much. A single message may be of any size: it is the newest there is.
    fn is_exceeded(&self, messages: u64, bytes: u64) -> bool {
        messages > self.messages || bytes > self.bytes && messages > 1
    }
}

impl Slow {
    pub(super) fn add(&mut self, limits: Limits) {
        self.of(limits.action).add(limits);
    }

    fn remove(&mut self, limits: Limits) {
        self.of(limits.action).remove(limits);
    }

    fn of(&mut self, action: SlowAction) -> &mut Many {
        match action {
            SlowAction::DropOldest => &mut self.droppers,
            SlowAction::Close => &mut self.closers,
        }
    }

    fn is_needed(&self) -> bool {
        self.droppers.len + self.closers.len > 0 || self.left_out > 0
    }
}

impl Many {
    fn add(&mut self, limits: Limits) {
        self.len += 1;
        *self.messages.entry(limits.messages).or_default() += 1;
        *self.bytes.entry(limits.bytes).or_default() += 1;
    }

    fn remove(&mut self, limits: Limits) {
        self.len -= 1;
        for (counts, limit) in [
            (&mut self.messages, limits.messages),
            (&mut self.bytes, limits.bytes),
        ] {
            if let Some(count) = counts.get_mut(&limit) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&limit);
                }
            }
        }
    }

    /// What none of them allows to be exceeded.
    fn smallest(&self, action: SlowAction) -> Option<Limits> {
        Some(Limits {
            action,
            messages: *self.messages.keys().next()?,
            bytes: *self.bytes.keys().next()?,
        })
    }

    /// What all of them allow to be exceeded.
    fn largest(&self, action: SlowAction) -> Option<Limits> {
        Some(Limits {
            action,
            messages: *self.messages.keys().next_back()?,
            bytes: *self.bytes.keys().next_back()?,
        })
    }
}

impl Queue {
    /// Does what its consumers want done about what waits now, after everybody has been served.
    #[inline]
    pub(super) fn relieve(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.slow.is_some() {
            self.relieve_slow(now, effects);
        }
    }

    #[inline(never)]
    fn relieve_slow(&mut self, now: Time, effects: &mut Vec<Effect>) {
        // Who could be served from a page that is wanted is not slow.
        while self.wanted_page().is_none()
            && let Some(consumer) = self.slow_closer()
        {
            self.consumers.end_together(effects);
            self.take_out(consumer);
            effects.push(Effect::TooSlow { consumer });
            self.touch(now);
            self.dispatch(now, effects);
        }
        while self.must_drop()
            && let Some(taken) = self.ready.pop()
        {
            effects.push(taken.into_dead(DeathReason::MaxLength));
            self.count_left_out();
            self.expire(now, effects);
        }
    }

    /// Somebody for whom too much waits and who wants to be closed then.
    fn slow_closer(&self) -> Option<ConsumerId> {
        let (messages, bytes) = (self.ready.len() as u64, self.ready.body_bytes());
        let smallest = self.slow.as_ref()?.closers.smallest(SlowAction::Close)?;
        if !smallest.is_exceeded(messages, bytes) {
            return None;
        }
        self.consumers
            .too_slow(|slow| Limits::of(slow).is_exceeded(messages, bytes))
    }

    /// Whether all who consume want something of what waits dropped.
    fn must_drop(&self) -> bool {
        let Some(slow) = &self.slow else {
            return false;
        };
        let droppers = &slow.droppers;
        droppers.len == self.consumers.len()
            && droppers
                .largest(SlowAction::DropOldest)
                .is_some_and(|limits| {
                    limits.is_exceeded(self.ready.len() as u64, self.ready.body_bytes())
                })
            && self.wanted_page().is_none()
    }

    /// A message has died of the maximum length.
    pub(super) fn count_left_out(&mut self) {
        if let Some(slow) = &mut self.slow
            && slow.droppers.len > 0
        {
            slow.left_out += 1;
        }
    }

    /// Says what was left out before a delivery that follows, if its consumer wants to know.
    #[inline(never)]
    pub(super) fn tell_left_out(&mut self, slot: u32, effects: &mut Vec<Effect>) {
        let Some(slow) = &mut self.slow else {
            return;
        };
        let count = std::mem::take(&mut slow.left_out);
        if count > 0 && self.consumers.drops_oldest(slot) {
            let consumer = self.consumers.id(slot);
            effects.push(Effect::LeftOut { consumer, count });
        }
        self.forget_slow_if_idle();
    }

    /// Takes a consumer out without serving anybody; false if it is not there.
    pub(super) fn take_out(&mut self, id: ConsumerId) -> bool {
        let limits = match &self.slow {
            Some(_) => self.consumers.slow(id).map(Limits::of),
            None => None,
        };
        let found = self.consumers.cancel(id);
        if found
            && let Some(slow) = &mut self.slow
            && let Some(limits) = limits
        {
            slow.remove(limits);
            self.forget_slow_if_idle();
        }
        found
    }

    fn forget_slow_if_idle(&mut self) {
        self.slow.take_if(|slow| !slow.is_needed());
    }
}
