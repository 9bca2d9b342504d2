//! The messages that wait to be delivered.

use super::chunk::Waiting;
use super::level::Level;
use crate::{DeathReason, Effect, Message, Time};

/// All waiting messages, by priority: the highest first, each priority in its own order.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Priority zero, where everything is when a queue has no priorities.
    lowest: Level,
    /// The priorities above, from the first message that has one.
    higher: Option<Box<Higher>>,
    len: usize,
    body_bytes: u64,
    /// How many of the messages expire. While there are none, nobody looks at deadlines.
    timed: usize,
}

/// The levels above zero; the first is priority 1.
#[derive(Debug, Default)]
struct Higher {
    levels: Vec<Level>,
    /// One bit for each priority, set while its level has messages. Bit zero is unused.
    occupied: Occupied,
}

/// A message that has left its level, and how to put it back.
///
/// What waited is not a field of its own: its padding would take an unacknowledged delivery beyond
/// 64 bytes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) message: Message,
    pub(super) deadline: Time,
    pub(super) delivery_count: u32,
    pub(super) level: u8,
    /// Its sequence number, or its rank among those that had come back.
    pub(super) seq: u64,
}

impl Taken {
    pub(super) fn new(waiting: Waiting<Message>, level: u8, seq: u64) -> Self {
        let Waiting {
            message,
            deadline,
            delivery_count,
        } = waiting;
        Self {
            message,
            deadline,
            delivery_count,
            level,
            seq,
        }
    }

    pub(super) fn into_waiting(self) -> Waiting<Message> {
        let Self {
            message,
            deadline,
            delivery_count,
            ..
        } = self;
        Waiting {
            message,
            deadline,
            delivery_count,
        }
    }

    pub(super) fn into_dead(self, reason: DeathReason) -> Effect {
        let Self {
            message,
            delivery_count,
            ..
        } = self;
        Effect::Dead {
            message,
            reason,
            delivery_count,
        }
    }
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Whether any message expires at all.
    pub(super) fn is_timed(&self) -> bool {
        self.timed > 0
    }

    /// Adds a message at the end of its priority.
    pub(super) fn push(&mut self, level: u8, waiting: Waiting<Message>) {
        self.count_in(&waiting);
        self.occupy(level).push(waiting);
    }

    /// Puts a message back before all of its priority that never left, by rank among those that
    /// did.
    pub(super) fn insert_returned(&mut self, level: u8, rank: u64, waiting: Waiting<Message>) {
        self.count_in(&waiting);
        self.occupy(level).insert_returned(rank, waiting);
    }

    /// The sequence number of a message that is delivered at once, past an empty queue.
    pub(super) fn pass(&mut self, level: u8) -> u64 {
        debug_assert!(self.is_empty());
        match level {
            0 => self.lowest.pass(),
            _ => self.higher.get_or_insert_default().level_mut(level).pass(),
        }
    }

    /// The message to be delivered next.
    pub(super) fn first(&self) -> Option<&Message> {
        self.level(self.top()?).first().map(|first| first.message)
    }

    /// Takes the message to be delivered next.
    pub(super) fn pop(&mut self) -> Option<Taken> {
        self.pop_from(self.top()?)
    }

    /// Takes the first message of a level.
    fn pop_from(&mut self, level: u8) -> Option<Taken> {
        let (seq, waiting) = if level == 0 {
            self.lowest.pop()?
        } else {
            let higher = self.higher.as_mut()?;
            let popped = higher.level_mut(level).pop()?;
            if higher.level_mut(level).is_empty() {
                higher.occupied.clear(level);
            }
            popped
        };
        self.len -= 1;
        self.body_bytes -= waiting.message.body_len() as u64;
        self.timed -= usize::from(waiting.deadline != Time::MAX);
        Some(Taken::new(waiting, level, seq))
    }

    /// Takes a message that is first of its level and overdue; those of the highest priority come
    /// out first. What is overdue but not first stays.
    pub(super) fn pop_overdue(&mut self, now: Time) -> Option<Taken> {
        let level = self
            .occupied_levels()
            .find(|level| self.level(*level).deadline().is_due(now))?;
        self.pop_from(level)
    }

    /// The earliest deadline of those that are first of their level, or [`Time::MAX`].
    pub(super) fn deadline(&self) -> Time {
        if !self.is_timed() {
            return Time::MAX;
        }
        let deadlines = self
            .occupied_levels()
            .map(|level| self.level(level).deadline());
        deadlines.min().unwrap_or(Time::MAX)
    }

    /// All messages in the order in which they are to be delivered.
    pub(super) fn iter(&self) -> impl Iterator<Item = Waiting<&Message>> {
        self.occupied_levels()
            .flat_map(|level| self.level(level).iter())
    }

    /// Drops all messages.
    pub(super) fn clear(&mut self) {
        self.lowest.clear();
        if let Some(higher) = &mut self.higher {
            higher.levels.iter_mut().for_each(Level::clear);
            higher.occupied = Occupied::default();
        }
        (self.len, self.body_bytes, self.timed) = (0, 0, 0);
    }

    fn count_in(&mut self, waiting: &Waiting<Message>) {
        self.len += 1;
        self.body_bytes += waiting.message.body_len() as u64;
        self.timed += usize::from(waiting.deadline != Time::MAX);
    }

    /// The level, which is about to get a message.
    fn occupy(&mut self, level: u8) -> &mut Level {
        if level == 0 {
            return &mut self.lowest;
        }
        let higher = self.higher.get_or_insert_default();
        higher.occupied.set(level);
        higher.level_mut(level)
    }

    /// The level, which has messages or is the lowest.
    fn level(&self, level: u8) -> &Level {
        match (level, &self.higher) {
            (0, _) | (_, None) => &self.lowest,
            (_, Some(higher)) => &higher.levels[usize::from(level) - 1],
        }
    }

    /// The highest level with messages.
    fn top(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let higher = self.higher.as_ref();
        Some(
            higher
                .and_then(|higher| higher.occupied.highest())
                .unwrap_or(0),
        )
    }

    /// The levels with messages, the highest first.
    fn occupied_levels(&self) -> impl Iterator<Item = u8> {
        let higher = self.higher.iter().flat_map(|higher| higher.occupied.iter());
        higher.chain((!self.lowest.is_empty()).then_some(0))
    }
}

impl Higher {
    fn level_mut(&mut self, level: u8) -> &mut Level {
        let index = usize::from(level) - 1;
        if self.levels.len() <= index {
            self.levels.resize_with(index + 1, Level::default);
        }
        &mut self.levels[index]
    }
}

/// A set of priorities, so that finding the highest takes the same time however many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Occupied([u64; 4]);

impl Occupied {
    fn set(&mut self, level: u8) {
        self.0[usize::from(level / 64)] |= 1 << (level % 64);
    }

    fn clear(&mut self, level: u8) {
        self.0[usize::from(level / 64)] &= !(1 << (level % 64));
    }

    fn highest(&self) -> Option<u8> {
        let (index, word) = self.0.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        u8::try_from(index as u32 * 64 + word.ilog2()).ok()
    }

    /// The members, the highest first.
    fn iter(mut self) -> impl Iterator<Item = u8> {
        std::iter::from_fn(move || {
            let highest = self.highest()?;
            self.clear(highest);
            Some(highest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupied_levels_come_highest_first() {
        let mut occupied = Occupied::default();
        for level in [3, 255, 64, 63, 0, 128] {
            occupied.set(level);
        }
        assert_eq!(
            occupied.iter().collect::<Vec<_>>(),
            [255, 128, 64, 63, 3, 0]
        );
        occupied.clear(255);
        occupied.clear(63);
        assert_eq!(occupied.iter().collect::<Vec<_>>(), [128, 64, 3, 0]);
    }
}
