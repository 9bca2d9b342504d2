//! What the twin does about consumers that are slow.

use super::{Done, Model};
use crate::{DeathReason, SlowAction};

/// What a consumer wants when it is slow.
#[derive(Clone, Copy, Debug)]
pub(in crate::fuzzing) struct Slow {
    pub(in crate::fuzzing) action: SlowAction,
    pub(in crate::fuzzing) limit: u64,
    pub(in crate::fuzzing) limit_bytes: u64,
    /// Which of the windows it enters beside its own.
    pub(in crate::fuzzing) own_window: Option<usize>,
}

impl Slow {
    fn is_exceeded(&self, messages: usize, bytes: u64) -> bool {
        messages as u64 > self.limit || messages > 1 && bytes > self.limit_bytes
    }
}

impl Model {
    /// What is done about consumers that are slow.
    pub(super) fn relieve(&mut self) {
        while let Some(number) = self.too_slow() {
            // Not told before it has happened: what others get by it comes afterwards.
            self.done.push(Done::TooSlow { consumer: number });
            self.take_out(number);
        }
        while self.all_want_less()
            && let Some(item) = self.pop()
        {
            self.bury(item, DeathReason::MaxLength);
            self.count_left_out();
            self.expire();
        }
    }

    fn too_slow(&self) -> Option<usize> {
        let (len, bytes) = (self.ready.len(), self.ready_bytes());
        self.consumers.iter().position(|consumer| {
            !consumer.cancelled
                && (consumer.full || consumer.held)
                && consumer.slow.is_some_and(|slow| {
                    slow.action == SlowAction::Close && slow.is_exceeded(len, bytes)
                })
        })
    }

    fn droppers(&self) -> impl Iterator<Item = Slow> {
        let consuming = self.consumers.iter().filter(|consumer| !consumer.cancelled);
        let slow = consuming.filter_map(|consumer| consumer.slow);
        slow.filter(|slow| slow.action == SlowAction::DropOldest)
    }

    fn all_want_less(&self) -> bool {
        let consuming = self.consumers.iter().filter(|consumer| !consumer.cancelled);
        let limit = self.droppers().map(|slow| slow.limit).max();
        let limit_bytes = self.droppers().map(|slow| slow.limit_bytes).max();
        let (Some(limit), Some(limit_bytes)) = (limit, limit_bytes) else {
            return false;
        };
        let together = Slow {
            action: SlowAction::DropOldest,
            limit,
            limit_bytes,
            own_window: None,
        };
        consuming.count() == self.droppers().count()
            && together.is_exceeded(self.ready.len(), self.ready_bytes())
    }

    pub(super) fn count_left_out(&mut self) {
        let counts = self.droppers().next().is_some();
        self.left_out += u64::from(counts);
    }

    /// A consumer is about to be given what was never delivered before.
    pub(super) fn tell_left_out(&mut self, consumer: usize) {
        let count = std::mem::take(&mut self.left_out);
        let slow = self.consumers[consumer].slow;
        if count > 0 && slow.is_some_and(|slow| slow.action == SlowAction::DropOldest) {
            self.done.push(Done::LeftOut { consumer, count });
        }
    }
}
