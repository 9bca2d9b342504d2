//! The messages that wait to be delivered.

use std::ops::Range;

use super::chunk::Waiting;
use super::level::{Level, Waits};
use super::paged::{Paged, PagedOut};
use crate::{DeathReason, Effect, Message, PageId, PagedMessage, Stored, Time};

/// All waiting messages, by priority: the highest first, each priority in its own order.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Priority zero, where everything is when a queue has no priorities.
    lowest: Level,
    /// The priorities above, from the first message that has one.
    higher: Option<Box<Higher>>,
    len: usize,
    body_bytes: u64,
    /// What those that are in memory hold of it: [`Message::size_bytes`] of each.
    resident_bytes: u64,
    /// How many of the messages expire. While there are none, nobody looks at deadlines.
    timed: usize,
    /// How much of this is out of memory; boxed, since most queues have nothing there.
    paged: Option<Box<PagedSum>>,
}

/// What is out of memory, all together.
#[derive(Debug, Default)]
struct PagedSum {
    pages: usize,
    len: usize,
    /// Somebody came to a page and could not go on.
    is_wanted: bool,
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
/// 80 bytes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) message: Message,
    pub(super) deadline: Time,
    pub(super) delivery_count: u32,
    pub(super) level: u8,
    pub(super) stored: Option<Stored>,
    /// Its sequence number, or its rank among those that had come back.
    pub(super) seq: u64,
}

impl Taken {
    pub(super) fn new(waiting: Waiting<Message>, level: u8, seq: u64) -> Self {
        let Waiting {
            message,
            deadline,
            delivery_count,
            stored,
        } = waiting;
        Self {
            message,
            deadline,
            delivery_count,
            stored,
            level,
            seq,
        }
    }

    pub(super) fn into_waiting(self) -> Waiting<Message> {
        let Self {
            message,
            deadline,
            delivery_count,
            stored,
            ..
        } = self;
        Waiting {
            message,
            deadline,
            delivery_count,
            stored,
        }
    }

    pub(super) fn into_dead(self, reason: DeathReason) -> Effect {
        let Self {
            message,
            delivery_count,
            stored,
            ..
        } = self;
        Effect::Dead {
            message,
            reason,
            delivery_count,
            stored,
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

    /// How many messages are in memory.
    pub(super) fn resident_len(&self) -> usize {
        self.len - self.paged.as_ref().map_or(0, |paged| paged.len)
    }

    /// The memory that messages hold.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Whether any message expires at all.
    pub(super) fn is_timed(&self) -> bool {
        self.timed > 0
    }

    /// Adds a message at the end of its priority.
    pub(super) fn push(&mut self, level: u8, waiting: Waiting<Message>, chunk_len: u16) {
        self.count_in(&waiting);
        self.occupy(level).push(waiting, chunk_len);
    }

    /// Adds messages at the end of a priority that are out of memory.
    pub(super) fn push_page(&mut self, level: u8, paged: Paged) {
        self.len += paged.len as usize;
        self.body_bytes += paged.body_bytes;
        self.timed += paged.timed as usize;
        self.count_paged(&paged);
        self.occupy(level).push_page(paged);
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

    /// The message to be delivered next, if it is in memory.
    pub(super) fn first(&self) -> Option<&Message> {
        self.level(self.top()?).first().map(|first| first.message)
    }

    /// Takes the message to be delivered next. If it is out of memory, its page is wanted.
    pub(super) fn pop(&mut self) -> Option<Taken> {
        let level = self.top()?;
        let popped = self.pop_from(level);
        if popped.is_none() {
            self.want();
        }
        popped
    }

    /// What is next is out of memory, and has to be brought back.
    pub(super) fn want(&mut self) {
        if let Some(paged) = &mut self.paged {
            paged.is_wanted = true;
        }
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
        let lens = waiting.message.lens();
        self.body_bytes -= lens.body;
        self.resident_bytes -= lens.held;
        self.timed -= usize::from(waiting.deadline != Time::MAX);
        Some(Taken::new(waiting, level, seq))
    }

    /// Takes the message to be delivered next if it is overdue. What is overdue behind it stays, as
    /// in RabbitMQ, also when it is the first of its own priority. If it is out of memory, its page
    /// is wanted.
    pub(super) fn pop_overdue(&mut self, now: Time) -> Option<Taken> {
        let level = self.top()?;
        if self.level(level).deadline().is_due(now) {
            self.pop()
        } else {
            None
        }
    }

    /// Whether the message to be delivered next is overdue, as far as is known.
    pub(super) fn is_next_overdue(&self, now: Time) -> bool {
        let top = self.top().filter(|_| self.is_timed());
        top.is_some_and(|level| self.level(level).deadline().is_due(now))
    }

    /// When the message to be delivered next expires, or [`Time::MAX`], also while its page is wanted:
    /// then it is not time that is waited for. Long ago while it is not known.
    pub(super) fn deadline(&self) -> Time {
        match self.top() {
            Some(level) if self.is_timed() && self.wanted().is_none() => {
                self.level(level).deadline()
            }
            _ => Time::MAX,
        }
    }

    /// All that waits, in the order in which it is to be delivered.
    pub(super) fn iter(&self) -> impl Iterator<Item = Waits<'_>> {
        self.occupied_levels()
            .flat_map(|level| self.level(level).iter())
    }

    /// Drops all messages, and says which of them need no longer be kept on disk.
    pub(super) fn clear(&mut self, effects: &mut Vec<Effect>) {
        if let Some(higher) = &mut self.higher {
            for level in higher.levels.iter_mut().rev() {
                level.clear(effects);
            }
            higher.occupied = Occupied::default();
        }
        self.lowest.clear(effects);
        (self.len, self.timed) = (0, 0);
        (self.body_bytes, self.resident_bytes) = (0, 0);
        self.paged = None;
    }

    /// The page that holds up what somebody wants.
    pub(super) fn wanted(&self) -> Option<PageId> {
        self.paged.as_ref().filter(|paged| paged.is_wanted)?;
        let (_, page) = self.next_page()?;
        Some(page)
    }

    /// The page that what is to be delivered next is in.
    fn next_page(&self) -> Option<(u8, PageId)> {
        let level = self.top()?;
        Some((level, self.level(level).next_page()?.page))
    }

    /// The pages behind the front of the level that is next.
    pub(super) fn pages_to_come(&self) -> impl Iterator<Item = PageId> {
        let top = self.top().filter(|_| self.paged.is_some());
        let pages = top.map(|level| self.level(level).pages_to_come());
        pages.into_iter().flatten().map(|paged| paged.page)
    }

    /// Whether what is to be delivered next is out of memory.
    pub(super) fn is_next_paged(&self) -> bool {
        self.paged.is_some() && self.next_page().is_some()
    }

    /// Brings back a page if it is the next; false if it is not.
    pub(super) fn restore(
        &mut self,
        page: PageId,
        messages: impl Iterator<Item = (u16, Waiting<Message>)>,
    ) -> bool {
        let Some((level, _)) = self.next_page().filter(|(_, next)| *next == page) else {
            return false;
        };
        let restored = self.level_mut(level).restore(messages);
        let Some((paged, found)) = restored else {
            return false;
        };
        self.count_again(&paged, &found);
        self.uncount_paged(&paged);
        self.resident_bytes += found.size_bytes;
        if let Some(paged) = &mut self.paged {
            paged.is_wanted = false;
        }
        self.note_emptied(level);
        true
    }

    /// What was counted as one thing is another.
    fn count_again(&mut self, paged: &Paged, found: &Paged) {
        self.len = self.len - paged.len as usize + found.len as usize;
        self.body_bytes = self.body_bytes - paged.body_bytes + found.body_bytes;
        self.timed = self.timed - paged.timed as usize + found.timed as usize;
    }

    /// Takes messages of the lowest priority that has enough of them out of memory.
    pub(super) fn page_out(&mut self, page: PageId) -> Option<PagedOut> {
        let (paged, out) = self
            .levels_mut()
            .find_map(|(_, level)| level.page_out(page))?;
        self.count_paged(&paged);
        self.resident_bytes -= paged.size_bytes;
        Some(out)
    }

    /// Takes messages of the lowest priority out of memory; see [`Level::page_out_any`].
    pub(super) fn page_out_any(
        &mut self,
        page: PageId,
        least: usize,
        may_be_returned: bool,
        chunk_len: u16,
    ) -> Option<PagedOut> {
        let (paged, out) = self
            .levels_mut()
            .find_map(|(_, level)| level.page_out_any(page, least, may_be_returned, chunk_len))?;
        self.count_paged(&paged);
        self.resident_bytes -= paged.size_bytes;
        Some(out)
    }

    /// The pages to make one of, if some level has so many small ones at its end.
    pub(super) fn to_join(&self, at_least: usize, chunk_len: u16) -> Option<Vec<PageId>> {
        let (level, blocks) = self.find_to_join(at_least, chunk_len)?;
        let pages = self.level(level).pages(blocks);
        Some(pages.map(|paged| paged.page).collect())
    }

    fn find_to_join(&self, at_least: usize, chunk_len: u16) -> Option<(u8, Range<usize>)> {
        self.paged.as_ref()?;
        self.occupied_levels()
            .find_map(|level| Some((level, self.level(level).to_join(at_least, chunk_len)?)))
    }

    /// Puts one page in the place of those that [`to_join`](Self::to_join) names, of which these
    /// messages are alive. They are returned in their order; none, and nothing has happened, when
    /// these are not those pages.
    pub(super) fn join(
        &mut self,
        page: PageId,
        (at_least, chunk_len): (usize, u16),
        parts: Vec<Vec<(u16, PagedMessage)>>,
        effects: &mut Vec<Effect>,
    ) -> Vec<PagedMessage> {
        let Some((level, blocks)) = self.find_to_join(at_least, chunk_len) else {
            return Vec::new();
        };
        let olds: Vec<Paged> = self.level(level).pages(blocks.clone()).copied().collect();
        let mut messages = Vec::new();
        if olds.len() != parts.len() {
            return messages;
        }
        let mut was = Paged::none(page);
        for (old, part) in olds.iter().zip(parts) {
            let before = messages.len();
            let alive = part.into_iter().filter(|(index, _)| old.has(*index));
            messages.extend(alive.map(|(_, message)| message));
            let mut alive = messages.iter().skip(before);
            if alive.all(|message| message.stored.is_none()) {
                effects.push(old.gone());
            }
            self.uncount_paged(old);
            was.add(old);
        }
        let joined = Paged::of(page, &messages);
        self.count_again(&was, &joined);
        if joined.len > 0 {
            self.count_paged(&joined);
        }
        let replaced = (joined.len > 0).then_some(joined);
        self.level_mut(level).replace_pages(blocks, replaced);
        self.note_emptied(level);
        messages
    }

    /// The level may have no messages any more.
    fn note_emptied(&mut self, level: u8) {
        if self.level(level).is_empty()
            && let Some(higher) = &mut self.higher
        {
            higher.occupied.clear(level);
        }
    }

    /// All levels, the lowest first.
    pub(super) fn levels(&self) -> impl Iterator<Item = (u8, &Level)> {
        let higher = self.higher.iter().flat_map(|higher| &higher.levels);
        (0..=u8::MAX).zip(std::iter::once(&self.lowest).chain(higher))
    }

    /// All levels, the lowest first.
    pub(super) fn levels_mut(&mut self) -> impl Iterator<Item = (u8, &mut Level)> {
        let higher = self.higher.iter_mut().flat_map(|higher| &mut higher.levels);
        (0..=u8::MAX).zip(std::iter::once(&mut self.lowest).chain(higher))
    }

    fn count_in(&mut self, waiting: &Waiting<Message>) {
        self.len += 1;
        let lens = waiting.message.lens();
        self.body_bytes += lens.body;
        self.resident_bytes += lens.held;
        self.timed += usize::from(waiting.deadline != Time::MAX);
    }

    fn count_paged(&mut self, paged: &Paged) {
        let sum = self.paged.get_or_insert_default();
        sum.pages += 1;
        sum.len += paged.len as usize;
    }

    fn uncount_paged(&mut self, paged: &Paged) {
        if let Some(sum) = &mut self.paged {
            sum.pages -= 1;
            sum.len -= paged.len as usize;
            if sum.pages == 0 {
                self.paged = None;
            }
        }
    }

    /// The level, which is about to get a message.
    #[inline]
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

    fn level_mut(&mut self, level: u8) -> &mut Level {
        match (level, &mut self.higher) {
            (0, _) | (_, None) => &mut self.lowest,
            (_, Some(higher)) => higher.level_mut(level),
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
