//! Moving messages out of memory and back.

use std::num::NonZeroU64;

use super::Queue;
use super::chunk::Waiting;
use super::rehome::{Away, Rehome};
use crate::{Effect, PageId, PageSlot, PagedMessage, Time};

/// A queue may have waiting messages out of memory, in pages that the caller keeps. Everything else
/// works on with them as without.
impl Queue {
    /// Takes a run of ready messages out of memory, to be kept as `page` by the caller until it is
    /// [wanted](Self::wanted_page) or [gone](Effect::PageGone). `None` when too little is waiting:
    /// what is next of its priority, what has come back and what came last stay in memory.
    ///
    /// Those that are to be delivered last go first: the lowest priority that has enough, and from
    /// its end. All of them have the same priority, as far as the queue distinguishes them. The
    /// index of a message in the list is that of its slot; the home it had before, which the list
    /// names, is no longer its home.
    pub fn page_out(&mut self, page: PageId) -> Option<Vec<PagedMessage>> {
        self.ready.page_out(page)
    }

    /// The page that has to be brought back before the queue can go on: what is to be delivered next
    /// is in there. To be asked after every call.
    ///
    /// While a page is wanted nothing of its priority or a lower one is delivered, expires or is
    /// dropped, and what is published waits behind it.
    #[must_use]
    pub fn wanted_page(&self) -> Option<PageId> {
        self.ready.wanted()
    }

    /// Brings back the page that is [wanted](Self::wanted_page), and does what had to wait for it:
    /// expires, drops what is too much, serves consumers. Ask again which page is wanted. False,
    /// and nothing has happened, when this one is not.
    ///
    /// Given are those messages of the page that are alive, with their indexes and in their order.
    /// If there are fewer than the queue had counted, it counts again. Those that are stored keep
    /// their slot in the page as their home. If none is, the page is [gone](Effect::PageGone).
    pub fn restore(
        &mut self,
        now: Time,
        page: PageId,
        messages: impl IntoIterator<Item = (u16, PagedMessage)>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let mut is_needed = false;
        let messages = messages.into_iter().map(|(index, mut message)| {
            if let Some(stored) = &mut message.stored {
                stored.home = Some(PageSlot { page, index });
                is_needed = true;
            }
            Waiting::from(message)
        });
        if !self.ready.restore(page, messages) {
            return false;
        }
        if !is_needed {
            effects.push(Effect::PageGone { page });
        }
        self.expire(now, effects);
        // What expires in the next page that is wanted makes room.
        if self.wanted_page().is_none() {
            self.drop_excess(now, effects);
            self.expire(now, effects);
            self.dispatch(now, effects);
            self.relieve(now, effects);
        }
        true
    }

    /// Gives stored messages that are nowhere but in the log a home in `page`, and returns copies
    /// of them to be written there; they stay in memory. Those with a number lower than `below` are
    /// given one, ready or unacknowledged, so that the log up to that number need not be kept.
    ///
    /// One call fills one page: with messages of one priority, as far as the queue distinguishes
    /// them, and no more than `limit` (or 65,535). An empty list means that none is left.
    ///
    /// The index of a message in the list is that of its slot. A copy of what is unacknowledged says
    /// that it has come back, as it will have after a restart. It takes time proportional to the
    /// unacknowledged messages and those that have come back, as long as any of these needs a home,
    /// and to the chunks of the ready ones.
    pub fn rehome(&mut self, below: NonZeroU64, limit: usize, page: PageId) -> Vec<PagedMessage> {
        let Self {
            ready,
            unacked,
            homeless_from,
            ..
        } = self;
        let mut rehome = Rehome::new(page, below, limit);
        let looks_away = rehome.concerns(*homeless_from);
        let mut delivered: Vec<_> = if looks_away {
            unacked.iter_mut().filter_map(Away::delivered).collect()
        } else {
            Vec::new()
        };
        delivered.sort_unstable_by_key(|(level, away)| (*level, away.number()));
        let mut delivered = delivered.into_iter().peekable();
        let mut left_from = u64::MAX;
        for (number, level) in ready.levels_mut() {
            if looks_away {
                // All these are older than what never left.
                let of_level = || delivered.next_if(|(of, _)| *of == number);
                let mut away: Vec<_> = std::iter::from_fn(of_level).map(|(_, away)| away).collect();
                away.extend(level.returned_mut().filter_map(Away::returned));
                away.sort_unstable_by_key(Away::number);
                for away in away {
                    let left = rehome.offer_away(away);
                    left_from = left_from.min(left.map_or(u64::MAX, NonZeroU64::get));
                }
            }
            level.rehome(&mut rehome);
            rehome.pass_over();
        }
        if looks_away {
            *homeless_from = left_from;
        }
        rehome.into_messages()
    }
}
