//! Where the messages of a page are until that page is safe.

use std::num::NonZeroU64;

use super::page::MAX_PAGE_LEN;
use super::record::{below_end, take_number, take_page_id};
use super::wire::{Malformed, Reader, put_varint};
use crate::{PageSlot, PagedMessage};

/// Where a message of a page is until that page is safe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// Nowhere: it does not survive a restart.
    Nowhere,
    /// In the log.
    Log(NonZeroU64),
    /// In an older page.
    Page(PageSlot, NonZeroU64),
}

/// Messages of a page that were neighbours where they came from, too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OriginRun {
    /// Where the first of them is.
    pub(super) first: Origin,
    /// How many they are, at least one. The numbers and slots of all of them exist.
    pub(super) len: u16,
}

/// Where all messages of a page are, in the order of their slots. Most pages are one run.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Origins(Vec<OriginRun>);

impl Origin {
    fn of(message: &PagedMessage) -> Self {
        match message.stored {
            None => Self::Nowhere,
            Some(stored) => match stored.home {
                None => Self::Log(stored.number),
                Some(slot) => Self::Page(slot, stored.number),
            },
        }
    }

    pub(super) const fn number(self) -> Option<NonZeroU64> {
        match self {
            Self::Nowhere => None,
            Self::Log(number) | Self::Page(_, number) => Some(number),
        }
    }

    /// What the message so many places behind this one has for its origin, if both are in one run.
    fn ahead(self, places: u16) -> Option<Self> {
        let ahead = |number: NonZeroU64| number.checked_add(places.into());
        Some(match self {
            Self::Nowhere => Self::Nowhere,
            Self::Log(number) => Self::Log(ahead(number)?),
            Self::Page(slot, number) => {
                let index = slot.index.checked_add(places)?;
                let page = slot.page;
                Self::Page(PageSlot { page, index }, ahead(number)?)
            }
        })
    }
}

impl OriginRun {
    /// Where each of the messages is.
    pub(super) fn iter(self) -> impl Iterator<Item = Origin> {
        (0..self.len).filter_map(move |places| self.first.ahead(places))
    }

    fn last(self) -> Option<Origin> {
        self.first.ahead(self.len.checked_sub(1)?)
    }
}

impl Origins {
    /// Where these messages are now. Those beyond [`MAX_PAGE_LEN`] do not count.
    pub(super) fn of(messages: &[PagedMessage]) -> Self {
        let mut runs: Vec<OriginRun> = Vec::new();
        for origin in messages.iter().take(MAX_PAGE_LEN).map(Origin::of) {
            match runs.last_mut() {
                Some(run) if run.first.ahead(run.len) == Some(origin) => run.len += 1,
                _ => runs.push(OriginRun {
                    first: origin,
                    len: 1,
                }),
            }
        }
        Self(runs)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = OriginRun> {
        self.0.iter().copied()
    }

    /// Where each of the messages is.
    pub(super) fn iter(&self) -> impl Iterator<Item = Origin> {
        self.runs().flat_map(OriginRun::iter)
    }

    /// How many of the messages survive a restart.
    pub(super) fn stored(&self) -> u16 {
        let stored = self.0.iter().filter(|run| run.first.number().is_some());
        stored.fold(0, |sum, run| sum.saturating_add(run.len))
    }

    /// The smallest and the largest number; zero when none has one.
    pub(super) fn numbers(&self) -> (u64, u64) {
        let firsts = self.0.iter().filter_map(|run| run.first.number());
        let lasts = self.0.iter().filter_map(|run| run.last()?.number());
        (
            firsts.min().map_or(0, NonZeroU64::get),
            lasts.max().map_or(0, NonZeroU64::get),
        )
    }

    /// Appends the runs.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for run in &self.0 {
            match run.first {
                Origin::Nowhere => out.push(0),
                Origin::Log(number) => {
                    out.push(1);
                    put_varint(out, number.get());
                }
                Origin::Page(slot, number) => {
                    out.push(2);
                    put_varint(out, number.get());
                    put_varint(out, slot.page.0.get().into());
                    put_varint(out, slot.index.into());
                }
            }
            put_varint(out, run.len.into());
        }
    }

    /// Takes as many origins as a page has messages.
    pub(super) fn take(reader: &mut Reader<'_>, places: u16) -> Result<Self, Malformed> {
        let mut runs = Vec::new();
        let mut left = places;
        while left > 0 {
            let first = match reader.u8()? {
                0 => Origin::Nowhere,
                1 => Origin::Log(take_number(reader)?),
                2 => {
                    let number = take_number(reader)?;
                    let page = take_page_id(reader)?;
                    let index = reader.number()?;
                    Origin::Page(PageSlot { page, index }, number)
                }
                _ => return Err(Malformed),
            };
            let len = reader.number()?;
            let run = OriginRun { first, len };
            if let Some(last) = run.last().ok_or(Malformed)?.number() {
                below_end(last.get())?;
            }
            left = left.checked_sub(len).ok_or(Malformed)?;
            runs.push(run);
        }
        Ok(Self(runs))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{Message, MessageParts, PageId, Stored, Time};

    fn number(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    fn slot(index: u16) -> PageSlot {
        let page = PageId(NonZeroU32::MIN);
        PageSlot { page, index }
    }

    fn message(stored: Option<Stored>) -> PagedMessage {
        PagedMessage {
            message: Message::new(&MessageParts::default(), &mut Vec::new()),
            stored,
            deadline: Time::MAX,
            delivery_count: 0,
        }
    }

    #[test]
    fn origins_are_written_as_runs() {
        let in_log = |at| {
            Some(Stored {
                number: number(at),
                home: None,
            })
        };
        let in_page = |at, index| {
            Some(Stored {
                number: number(at),
                home: Some(slot(index)),
            })
        };
        let places = [
            in_log(5),
            in_log(6),
            in_log(8),
            None,
            None,
            in_page(9, 3),
            in_page(10, 4),
            in_page(11, 6),
        ];
        let origins = Origins::of(&places.map(message));
        let mut bytes = Vec::new();
        origins.put(&mut bytes);
        let want = [
            &[1, 5, 2][..],
            &[1, 8, 1],
            &[0, 2],
            &[2, 9, 1, 3, 2],
            &[2, 11, 1, 6, 1],
        ];
        assert_eq!(bytes, want.concat());
        assert_eq!(Origins::take(&mut Reader::new(&bytes), 8), Ok(origins));
    }

    #[test]
    fn what_is_counted_is_in_the_runs() {
        let bytes = [1, 5, 2, 0, 3, 2, 3, 1, 7, 2];
        let origins = Origins::take(&mut Reader::new(&bytes), 7).unwrap();
        assert_eq!(origins.stored(), 4);
        assert_eq!(origins.numbers(), (3, 6));
        let each: Vec<_> = origins.iter().collect();
        let want = [
            Origin::Log(number(5)),
            Origin::Log(number(6)),
            Origin::Nowhere,
            Origin::Nowhere,
            Origin::Nowhere,
            Origin::Page(slot(7), number(3)),
            Origin::Page(slot(8), number(4)),
        ];
        assert_eq!(each, want);
        assert_eq!(Origins::default().numbers(), (0, 0));
    }

    #[test]
    fn runs_that_cannot_be_are_malformed() {
        let take = |bytes: &[u8], places| Origins::take(&mut Reader::new(bytes), places);
        assert!(take(&[1, 5, 2], 2).is_ok());
        assert_eq!(take(&[1, 5, 3], 2), Err(Malformed), "more than there are");
        assert_eq!(take(&[1, 5, 0], 2), Err(Malformed), "none");
        assert_eq!(take(&[3, 5, 2], 2), Err(Malformed));
        let last = [255, 255, 255, 255, 255, 255, 255, 255, 127];
        let at_the_end = |len| [&[1][..], &last, &[len]].concat();
        assert!(take(&at_the_end(1), 1).is_ok());
        assert_eq!(take(&at_the_end(2), 2), Err(Malformed), "no such number");
        let last_slot = [2, 1, 1, 0xff, 0xff, 3, 2];
        assert_eq!(take(&last_slot, 2), Err(Malformed), "no such slot");
    }
}
