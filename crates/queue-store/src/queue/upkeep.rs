//! What every call may have to do: expire, drop what is too much, serve who is waiting.

use super::Queue;
use super::ready::Taken;
use crate::{DeathReason, Effect, Message, Overflow, Time};

impl Queue {
    /// When a message that enters now expires: the smaller of what it and the queue say.
    pub(super) fn deadline(&self, now: Time, message: &Message) -> Time {
        let ttls = [self.options.message_ttl_ms, message.expiration_ms()];
        let ttl = ttls.into_iter().flatten().min();
        ttl.map_or(Time::MAX, |ttl_ms| now.saturating_add(ttl_ms))
    }

    /// When the queue will have been unused for too long, or [`Time::MAX`].
    pub(super) fn lease_deadline(&self) -> Time {
        match self.options.expires_ms {
            Some(expires_ms) if self.consumers.is_empty() => {
                self.used_at.saturating_add(expires_ms)
            }
            _ => Time::MAX,
        }
    }

    /// Removes what is overdue and next to be delivered, until nothing is, or a page is
    /// [wanted](Self::wanted_page).
    ///
    /// The other calls do so themselves before anything else. It is there for queues of which parts
    /// are paged out: what [`take`](Self::take) and [`publish`](Self::publish) answer depends on
    /// what has expired, which for a page shows only once it has been brought back.
    #[inline]
    pub fn expire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.ready.is_timed() {
            self.expire_heads(now, effects);
        }
    }

    fn expire_heads(&mut self, now: Time, effects: &mut Vec<Effect>) {
        while let Some(taken) = self.ready.pop_overdue(now) {
            effects.push(taken.into_dead(DeathReason::Expired));
        }
    }

    /// Takes the next message if it is in memory, and removes what is overdue behind it.
    pub(super) fn pop(&mut self, now: Time, effects: &mut Vec<Effect>) -> Option<Taken> {
        let taken = self.ready.pop()?;
        self.expire(now, effects);
        Some(taken)
    }

    /// Whether a message is refused because the queue is full, or would be.
    pub(super) fn refuses(&self, message: &Message) -> bool {
        match self.options.overflow {
            Overflow::DropHead => false,
            Overflow::RejectPublish | Overflow::RejectPublishDlx => {
                self.exceeds_limits(1, message.body_len() as u64)
            }
            Overflow::RejectPublishBeyond => self.exceeds_limits(0, 0),
        }
    }

    /// Drops messages, the next to be delivered first, until the queue is within its limits. One
    /// that refuses instead drops nothing: what comes back may take it over its limit (RabbitMQ).
    /// When a page is next, it is wanted, and the rest is done when it has been brought back.
    #[inline]
    pub(super) fn drop_excess(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.exceeds_limits(0, 0) && self.options.overflow == Overflow::DropHead {
            self.drop_heads(now, effects);
        }
    }

    fn drop_heads(&mut self, now: Time, effects: &mut Vec<Effect>) {
        while self.exceeds_limits(0, 0) {
            let Some(taken) = self.ready.pop() else {
                return;
            };
            effects.push(taken.into_dead(DeathReason::MaxLength));
            self.count_left_out();
            self.expire(now, effects);
        }
    }

    /// Whether the queue would be over a limit with so much more.
    #[inline]
    fn exceeds_limits(&self, messages: u64, body_bytes: u64) -> bool {
        let exceeds = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used > limit);
        exceeds(self.options.max_length, self.ready.len() as u64 + messages)
            || exceeds(
                self.options.max_length_bytes,
                self.ready.body_bytes() + body_bytes,
            )
    }

    /// Serves consumers until nothing is ready in memory or nobody can take more.
    pub(super) fn dispatch(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let ends = self.ready.len() > 1 && self.consumers.begin_together();
        self.dispatch_each(now, effects);
        if ends {
            self.consumers.end_together(effects);
        }
    }

    fn dispatch_each(&mut self, now: Time, effects: &mut Vec<Effect>) {
        loop {
            let Some(message) = self.ready.first() else {
                // It may be out of memory, which is no matter as long as nobody could have it. Where
                // it is wanted already it may be overdue, and nobody's turn comes for that.
                if self.ready.is_next_paged()
                    && self.ready.wanted().is_none()
                    && self.consumers.is_anyone_in_line()
                {
                    self.ready.want();
                }
                return;
            };
            let Some(consumer) = self.consumers.admit(message, effects) else {
                return;
            };
            let Some(taken) = self.ready.pop() else {
                return;
            };
            self.deliver(now, consumer, taken, effects);
            self.expire(now, effects);
        }
    }
}
