//! Moving messages out of memory and back.

use std::num::NonZeroU64;

use super::Queue;
use super::chunk::Waiting;
use super::paged::PagedOut;
use super::rehome::{Away, CALL_LEN, Far, FarPlace, Rehome};
use crate::{Effect, PageId, PageSlot, PagedMessage, RequeueOrder, Stored, Time};

/// A queue may have waiting messages out of memory, in pages that the caller keeps. Everything else
/// works on with them as without.
impl Queue {
    /// Takes a run of ready messages out of memory, to be kept as `page` by the caller until it is
    /// [wanted](Self::wanted_page) or [gone](Effect::PageGone). `None` when too little is waiting:
    /// what is next of its priority, what has come back and what came last stay in memory.
    ///
    /// Those that are to be delivered last go first: the lowest priority that has enough, and from
    /// its end. All of them have the same priority, as far as the queue distinguishes them.
    pub fn page_out(&mut self, page: PageId) -> Option<PagedOut> {
        self.ready.page_out(page)
    }

    /// As [`page_out`](Self::page_out), for a queue that nobody takes from: in the end nothing that
    /// is ready stays in memory, but what came back, while there are deliveries to be settled or in a
    /// queue with [`RequeueOrder::Returns`]; and of each priority what takes less memory than `least`
    /// bytes and would have to be written.
    ///
    /// So there may be many small pages of a queue that is filled slowly; make one of them when there
    /// are [several](Self::to_join).
    pub fn page_out_any(&mut self, page: PageId, least: usize) -> Option<PagedOut> {
        // What comes back later must find its place between those that came back before.
        let may_be_returned =
            self.options.requeue == RequeueOrder::OldPlace && self.unacked.len() == 0;
        let chunk_len = self.chunk_len;
        self.ready
            .page_out_any(page, least, may_be_returned, chunk_len)
    }

    /// Small pages at the end of a priority that one page can be made of, if there are `at_least` so
    /// many small ones, which have to be two at least. [`join`](Self::join) does so.
    #[must_use]
    pub fn to_join(&self, at_least: usize) -> Option<Vec<PageId>> {
        self.ready.to_join(at_least, self.chunk_len)
    }

    /// Makes one page of those that [`to_join`](Self::to_join) names when it is asked the same. Given
    /// are the messages of each that are alive, with their indexes and in their order. Returned are
    /// those that are to be kept as `page`; when there are none it is not used.
    ///
    /// What is stored of them has moved, as by [`page_out`](Self::page_out). Pages in which nothing
    /// else was are [gone](Effect::PageGone).
    pub fn join(
        &mut self,
        page: PageId,
        at_least: usize,
        parts: Vec<Vec<(u16, PagedMessage)>>,
        effects: &mut Vec<Effect>,
    ) -> Vec<PagedMessage> {
        let which = (at_least, self.chunk_len);
        self.ready.join(page, which, parts, effects)
    }

    /// The page that has to be brought back before the queue can go on: what is to be delivered next
    /// is in there, and somebody came to it: a consumer could have it, it was to be
    /// [taken](Self::take), is overdue or one too many. To be asked after every call.
    ///
    /// While a page is wanted nothing of its priority or a lower one is delivered, expires or is
    /// dropped, and what is published waits behind it.
    #[must_use]
    pub fn wanted_page(&self) -> Option<PageId> {
        self.ready.wanted()
    }

    /// Whether what is to be delivered next is overdue, as far as is known: of a page that was found on disk it is not, and then it
    /// counts as overdue. Between calls that can only be in a [wanted](Self::wanted_page) page.
    #[must_use]
    pub fn is_next_overdue(&self, now: Time) -> bool {
        self.ready.is_next_overdue(now)
    }

    /// The pages that come when what is in memory of what is next has gone, in their order, as far as
    /// nothing is in memory between them: whoever takes them one after the other may have them read
    /// before they are [wanted](Self::wanted_page). Those of lower priorities are not among them.
    pub fn pages_to_come(&self) -> impl Iterator<Item = PageId> {
        self.ready.pages_to_come()
    }

    /// Brings back the page that what is next is in, usually because it is
    /// [wanted](Self::wanted_page), and does what had to wait for it: expires, drops what is too
    /// much, serves consumers. Ask again which page is wanted. False, and nothing has happened, when
    /// nothing in this one is next.
    ///
    /// Given are those messages of the page that are alive, with their indexes and in their order;
    /// what had left the queue before the rest was paged out is passed over. If there are fewer than the queue had counted, it counts again. Those that are stored keep
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
            (index, Waiting::from(message))
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

    /// Gives stored messages that are nowhere but in the log homes in pages, and returns copies of them
    /// to be written there; they stay in memory. Those with a number lower than `below` are given one,
    /// ready or unacknowledged, so that the log up to that number need not be kept.
    ///
    /// A page has messages of one priority, as far as the queue distinguishes them, and no more than
    /// `page_len` (or 65,535), or of a mebibyte; `new_page` is asked for the id of each. One call fills
    /// some dozens: call until nothing is returned, and let the pages be written meanwhile.
    ///
    /// The index of a message in the list is that of its slot. A copy of what is unacknowledged says
    /// that it has come back, as it will have after a restart. A call takes time proportional to the
    /// unacknowledged messages and those that have come back, as long as any of these needs a home,
    /// and to the chunks of the ready ones.
    pub fn rehome(
        &mut self,
        below: NonZeroU64,
        page_len: usize,
        mut new_page: impl FnMut() -> PageId,
    ) -> Vec<(PageId, Vec<PagedMessage>)> {
        let mut rehome = Rehome::new(below, page_len, &mut new_page);
        let looks_far = rehome.concerns(self.homeless_from);
        let (far, are_all) = match looks_far {
            true => self.far_from_home(below),
            false => (Vec::new(), true),
        };
        let mut far = far.into_iter().peekable();
        let Self { ready, unacked, .. } = self;
        for (number, level) in ready.levels_mut() {
            // All these are older than what never left.
            while let Some(next) = far.next_if(|far| far.level == number) {
                let away = match next.place {
                    FarPlace::Delivered(slot) => unacked.slot_mut(slot).and_then(Away::delivered),
                    FarPlace::Returned(rank) => level.returned_mut(rank).and_then(Away::returned),
                };
                let left = away.and_then(|away| rehome.offer_away(away));
                self.homeless_from = self
                    .homeless_from
                    .min(left.map_or(u64::MAX, NonZeroU64::get));
            }
            if !are_all && far.peek().is_none() {
                // Others of this level, or of the next, come before anything else.
                break;
            }
            level.rehome(&mut rehome);
            rehome.pass_over();
        }
        rehome.into_pages()
    }

    /// Messages that are delivered or have come back and need a home, by level and number, with those
    /// that have one and lie between them and what never left: the first of all, if there are very many.
    /// Says whether they are all that need one.
    ///
    /// [`homeless_from`](Self::homeless_from) is then what it would be if all of these had one.
    fn far_from_home(&mut self, below: NonZeroU64) -> (Vec<Far>, bool) {
        let from = std::mem::replace(&mut self.homeless_from, u64::MAX);
        let mut left_from = u64::MAX;
        let mut homeless = Vec::new();
        for (far, stored) in self.far() {
            if stored.home.is_some() {
                continue;
            }
            if far.number < below {
                homeless.push(far);
            } else {
                left_from = left_from.min(far.number.get());
            }
        }
        let are_all = homeless.len() <= CALL_LEN;
        if !are_all {
            homeless.select_nth_unstable(CALL_LEN);
            let others = homeless.drain(CALL_LEN..).map(|far| far.number.get());
            left_from = others.fold(left_from, u64::min);
        }
        if let (Some(first), Some(last)) = (homeless.iter().min(), homeless.iter().max()) {
            let (first, last) = (*first, *last);
            let others = self
                .far()
                .filter(|(far, stored)| {
                    // What never left comes behind the last of its level only once all have been looked at.
                    let is_before = *far < last || are_all && far.level == last.level;
                    let is_between = first < *far && is_before;
                    stored.home.is_some() && far.number.get() >= from && is_between
                })
                .map(|(far, _)| far);
            homeless.extend(others.collect::<Vec<_>>());
        }
        homeless.sort_unstable();
        self.homeless_from = left_from;
        (homeless, are_all)
    }

    /// All stored messages that are delivered or have come back, in no order.
    fn far(&self) -> impl Iterator<Item = (Far, Stored)> {
        let delivered = self.unacked.iter().filter_map(|(id, outstanding)| {
            let stored = outstanding.taken.stored?;
            let (level, number) = (outstanding.taken.level, stored.number);
            let place = FarPlace::Delivered(id.slot);
            let far = Far {
                level,
                number,
                place,
            };
            Some((far, stored))
        });
        let returned = self.ready.levels().flat_map(|(level, messages)| {
            messages.returned_stored().map(move |(rank, stored)| {
                let number = stored.number;
                let place = FarPlace::Returned(rank);
                let far = Far {
                    level,
                    number,
                    place,
                };
                (far, stored)
            })
        });
        delivered.chain(returned)
    }
}
