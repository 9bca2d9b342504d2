//! What a disk would hold of a queue, going by its effects alone.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use crate::{Effect, Message, PageId, PageSlot, PagedMessage, Rebuilt, Stored, Time};

/// The stored messages of one queue, and its pages.
#[derive(Debug)]
pub(super) struct Disk {
    alive: BTreeMap<NonZeroU64, Kept>,
    /// What was written to each page. What need not survive a restart is lost in one.
    pages: BTreeMap<PageId, Vec<Option<PagedMessage>>>,
    last_page: u32,
    next_number: NonZeroU64,
}

/// A message that is alive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) message: Message,
    pub(super) deadline: Time,
    pub(super) delivery_count: u32,
    home: Option<PageSlot>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            alive: BTreeMap::new(),
            pages: BTreeMap::new(),
            last_page: 0,
            next_number: NonZeroU64::MIN,
        }
    }

    pub(super) fn new_page(&mut self) -> PageId {
        self.last_page += 1;
        PageId(NonZeroU32::new(self.last_page).expect("it was raised"))
    }

    pub(super) fn next_number(&self) -> NonZeroU64 {
        self.next_number
    }

    pub(super) fn alive(&self) -> &BTreeMap<NonZeroU64, Kept> {
        &self.alive
    }

    /// Whether each message with a lower number is in a page.
    pub(super) fn all_have_homes_below(&self, number: NonZeroU64) -> bool {
        let mut below = self.alive.range(..number);
        below.all(|(_, kept)| kept.home.is_some())
    }

    /// Whether each page has messages in it that were stored, so that it goes with the last of
    /// them.
    pub(super) fn every_page_will_go(&self) -> bool {
        let is_stored = |message: &Option<PagedMessage>| {
            message
                .as_ref()
                .is_some_and(|message| message.stored.is_some())
        };
        self.pages.values().all(|page| page.iter().any(is_stored))
    }

    pub(super) fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Store {
                number,
                message,
                deadline,
            } => {
                assert!(*number >= self.next_number, "a number was used again");
                self.next_number = number.saturating_add(1);
                let kept = Kept {
                    message: message.clone(),
                    deadline: *deadline,
                    delivery_count: 0,
                    home: None,
                };
                self.alive.insert(*number, kept);
            }
            Effect::Handed { stored } => {
                let kept = self.find(*stored);
                assert_eq!(kept.delivery_count, 0, "it was handed over before");
                kept.delivery_count = 1;
            }
            Effect::Returned {
                stored,
                delivery_count,
            } => {
                let kept = self.find(*stored);
                assert!(kept.delivery_count <= *delivery_count);
                kept.delivery_count = *delivery_count;
            }
            Effect::Gone { stored }
            | Effect::Dead {
                stored: Some(stored),
                ..
            } => {
                self.find(*stored);
                self.alive.remove(&stored.number);
            }
            Effect::PageGone { page } => {
                assert!(self.pages.remove(page).is_some(), "an unknown page");
                let is_in = |kept: &Kept| kept.home.is_some_and(|home| home.page == *page);
                self.alive.retain(|_, kept| !is_in(kept));
            }
            Effect::SlotsGone { page, first, last } => {
                let slots = *first..=*last;
                let is_in = |kept: &Kept| {
                    let home = kept.home.filter(|home| home.page == *page);
                    home.is_some_and(|home| slots.contains(&home.index))
                };
                let before = self.alive.len();
                self.alive.retain(|_, kept| !is_in(kept));
                assert_eq!(before - self.alive.len(), slots.count(), "some were gone");
            }
            _ => {}
        }
    }

    /// The message, which has to be where the queue believes it to be.
    #[track_caller]
    fn find(&mut self, stored: Stored) -> &mut Kept {
        let kept = self.alive.get_mut(&stored.number).expect("it is alive");
        assert_eq!(kept.home, stored.home);
        kept
    }

    pub(super) fn write(&mut self, page: PageId, max_priority: u8, messages: Vec<PagedMessage>) {
        let level = |message: &PagedMessage| message.message.priority().min(max_priority);
        assert!(
            messages
                .iter()
                .all(|message| level(message) == level(&messages[0]))
        );
        for (index, written) in messages.iter().enumerate() {
            if let Some(stored) = written.stored {
                let kept = self.find(stored);
                let as_written = Kept {
                    message: written.message.clone(),
                    deadline: written.deadline,
                    delivery_count: written.delivery_count,
                    home: stored.home,
                };
                assert_eq!(*kept, as_written);
                let index = u16::try_from(index).expect("a page is small");
                kept.home = Some(PageSlot { page, index });
            }
        }
        let messages = messages.into_iter().map(Some).collect();
        assert!(self.pages.insert(page, messages).is_none());
    }

    /// What is alive in a page.
    pub(super) fn read(&self, page: PageId) -> impl Iterator<Item = (u16, PagedMessage)> {
        let written = self.pages.get(&page).expect("the page exists");
        (0..).zip(written).filter_map(move |(index, message)| {
            let mut message = message.clone()?;
            if let Some(stored) = &mut message.stored {
                let kept = self.alive.get(&stored.number)?;
                stored.home = kept.home.filter(|home| *home == PageSlot { page, index });
                stored.home?;
                message.delivery_count = kept.delivery_count;
            }
            Some((index, message))
        })
    }

    /// What is found after a restart, in order.
    pub(super) fn recover(&mut self) -> Vec<Rebuilt> {
        for message in self.pages.values_mut().flatten() {
            message.take_if(|message| message.stored.is_none());
        }
        let used: Vec<_> = self.alive.values().filter_map(|kept| kept.home).collect();
        self.pages
            .retain(|page, _| used.iter().any(|home| home.page == *page));
        let mut found: BTreeMap<NonZeroU64, Rebuilt> = BTreeMap::new();
        for (number, kept) in &self.alive {
            if kept.home.is_none() {
                let message = PagedMessage {
                    message: kept.message.clone(),
                    stored: Some(Stored {
                        number: *number,
                        home: None,
                    }),
                    deadline: kept.deadline,
                    delivery_count: kept.delivery_count,
                };
                found.insert(*number, Rebuilt::Message(message));
            }
        }
        for page in self.pages.keys() {
            let (mut len, mut body_bytes, mut timed) = (0, 0, 0);
            let mut first: Option<(NonZeroU64, u8)> = None;
            for (_, message) in self.read(*page) {
                len += 1;
                body_bytes += message.message.body_len() as u64;
                timed += u32::from(message.deadline != Time::MAX);
                let number = message.stored.expect("others are lost").number;
                let this = (number, message.message.priority());
                first = Some(first.map_or(this, |first| first.min(this)));
            }
            if let Some((number, priority)) = first {
                let (page, other) = (*page, None);
                let paged = Rebuilt::Page {
                    page,
                    priority,
                    len,
                    body_bytes,
                    timed,
                };
                assert_eq!(found.insert(number, paged), other);
            }
        }
        found.into_values().collect()
    }
}
