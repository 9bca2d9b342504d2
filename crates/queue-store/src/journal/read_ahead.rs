//! Pages that are read before they are needed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::handles::read_place;
use super::journal::Journal;
use super::names::FileName;
use super::page::{Page, PageKind, PagePlace};
use crate::PageId;

/// How many bytes are read before they are needed: what a fast consumer takes in some hundredths of a second, and room for
/// some dozens of consumers of usual pages.
const BYTES_MAX: u64 = 4 << 20;

/// How many pages are: small ones take more memory than their bytes, and the list is searched.
const PAGES_MAX: usize = 64;

/// How many of those that somebody expects may take the place of others: one is read while a fast consumer goes through
/// the other. More are read where there is room, so that the reader is woken less often.
const FIRST_PAGES: usize = 2;

/// Pages that are expected to be needed, the first that was expected first. Beyond the bounds it is forgotten.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    pages: VecDeque<Expected>,
    /// The lengths of all of them.
    bytes: u64,
    /// Somebody waits for a page to be expected.
    pub(super) reader_waits: bool,
    /// Somebody is to look whether it should still wait.
    pub(super) reader_poked: bool,
}

/// Names a page by where it lies, where no other ever does.
type Place = (PageKind, PagePlace);

#[derive(Debug)]
struct Expected {
    place: Place,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Unread,
    IsBeingRead,
    Read(Bytes),
}

impl ReadAhead {
    fn position(&self, place: Place) -> Option<usize> {
        self.pages.iter().position(|it| it.place == place)
    }

    /// Whether a page of this length takes nobody's place.
    fn has_room(&self, len: u64) -> bool {
        self.pages.len() < PAGES_MAX && self.bytes + len <= BYTES_MAX
    }

    /// Adds a page, unless it is there.
    fn expect(&mut self, place: Place) {
        let len = place.1.len;
        if len > BYTES_MAX || self.position(place).is_some() {
            return;
        }
        while !self.has_room(len) {
            self.remove(0);
        }
        self.bytes += len;
        self.pages.push_back(Expected {
            place,
            contents: Contents::Unread,
        });
    }

    fn remove(&mut self, at: usize) -> Option<Expected> {
        let removed = self.pages.remove(at)?;
        self.bytes -= removed.place.1.len;
        Some(removed)
    }

    fn has_unread(&self) -> bool {
        let mut pages = self.pages.iter();
        pages.any(|it| matches!(it.contents, Contents::Unread))
    }

    /// The next that is to be read.
    fn begin(&mut self) -> Option<Place> {
        let mut pages = self.pages.iter_mut();
        let next = pages.find(|it| matches!(it.contents, Contents::Unread))?;
        next.contents = Contents::IsBeingRead;
        Some(next.place)
    }

    /// What was read, or nothing: then whoever needs the page finds out why.
    fn end(&mut self, place: Place, bytes: Option<Bytes>) {
        let Some(at) = self.position(place) else {
            return;
        };
        match (bytes, self.pages.get_mut(at)) {
            (Some(bytes), Some(expected)) => expected.contents = Contents::Read(bytes),
            _ => drop(self.remove(at)),
        }
    }

    /// Takes out a page that is needed now, or never again. What was read of it is returned.
    #[inline]
    pub(super) fn take(&mut self, kind: PageKind, place: PagePlace) -> Option<Bytes> {
        if self.pages.is_empty() {
            return None;
        }
        match self.remove(self.position((kind, place))?)?.contents {
            Contents::Read(bytes) => Some(bytes),
            Contents::Unread | Contents::IsBeingRead => None,
        }
    }

    /// How many pages have been read, and their bytes.
    pub(super) fn read(&self) -> (usize, u64) {
        let read = self.pages.iter().filter_map(|it| match &it.contents {
            Contents::Read(bytes) => Some(bytes.len() as u64),
            Contents::Unread | Contents::IsBeingRead => None,
        });
        read.fold((0, 0), |(pages, bytes), len| (pages + 1, bytes + len))
    }
}

impl Journal {
    /// These pages are going to be [read](Self::read_page) soon, the first of them next: has them read
    /// before, by whoever calls [`read_ahead`](Self::read_ahead). Does nothing if the first is expected
    /// already, so that who says so with every page wakes the reader with every other.
    ///
    /// What was read is kept until the page is read or gone. Four mebibytes and 64 pages are kept at
    /// most, of all queues; what was expected longest is forgotten for the first two of these, and
    /// the others are passed over when there is no room.
    pub fn expect_pages(&self, pages: &[PageId]) {
        let mut state = self.state.lock();
        let first = pages.first().and_then(|first| state.pages.get(*first));
        let is_expected = |page: &Page| state.ahead.position((page.kind, page.place)).is_some();
        if first.is_some_and(is_expected) {
            return;
        }
        for (nth, page) in pages.iter().enumerate() {
            let Some(found) = state.pages.get(*page) else {
                continue;
            };
            let place = (found.kind, found.place);
            // One that is to be written is in memory.
            let is_on_disk = found.making().is_none();
            if is_on_disk && (nth < FIRST_PAGES || state.ahead.has_room(place.1.len)) {
                state.ahead.expect(place);
            }
        }
        if state.ahead.reader_waits && state.ahead.has_unread() {
            self.reads.notify_all();
        }
    }

    /// Reads the next page that is expected. False if there is none.
    pub fn read_ahead(&self) -> bool {
        let Some((kind, place)) = self.state.lock().ahead.begin() else {
            return false;
        };
        let file = FileName::of_page(kind, place);
        let read = self
            .handle(file)
            .and_then(|handle| read_place(&*handle, place));
        let bytes = read.ok().map(Bytes::from);
        self.state.lock().ahead.end((kind, place), bytes);
        true
    }

    /// Waits until there is something for [`read_ahead`](Self::read_ahead), or `timeout` has passed, or
    /// somebody calls [`wake_reader`](Self::wake_reader). For a thread that does nothing else.
    pub fn wait_to_read(&self, timeout: Duration) {
        let mut state = self.state.lock();
        if !state.ahead.has_unread() && !state.ahead.reader_poked {
            state.ahead.reader_waits = true;
            self.reads.wait_for(&mut state, timeout);
            state.ahead.reader_waits = false;
        }
        state.ahead.reader_poked = false;
    }

    /// Makes [`wait_to_read`](Self::wait_to_read) return.
    pub fn wake_reader(&self) {
        let mut state = self.state.lock();
        state.ahead.reader_poked = true;
        self.reads.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64, len: u64) -> Place {
        let file = 1;
        (PageKind::Durable, PagePlace { file, offset, len })
    }

    fn read(ahead: &mut ReadAhead) -> Option<u64> {
        let place = ahead.begin()?;
        let len = usize::try_from(place.1.len).unwrap();
        ahead.end(place, Some(Bytes::from(vec![0; len])));
        Some(place.1.offset)
    }

    #[test]
    fn pages_are_read_in_the_order_in_which_they_are_expected() {
        let mut ahead = ReadAhead::default();
        ahead.expect(place(20, 10));
        ahead.expect(place(10, 10));
        ahead.expect(place(20, 10));
        assert_eq!(read(&mut ahead), Some(20));
        assert_eq!(read(&mut ahead), Some(10));
        assert_eq!(read(&mut ahead), None);
        assert_eq!(ahead.read(), (2, 20));
        let (kind, at) = place(10, 10);
        assert_eq!(ahead.take(kind, at).map(|bytes| bytes.len()), Some(10));
        assert_eq!(ahead.take(kind, at), None);
    }

    #[test]
    fn what_is_needed_meanwhile_is_not_kept() {
        let mut ahead = ReadAhead::default();
        ahead.expect(place(0, 10));
        let begun = ahead.begin().unwrap();
        assert_eq!(ahead.take(begun.0, begun.1), None);
        ahead.end(begun, Some(Bytes::from_static(&[0; 10])));
        assert_eq!(ahead.read(), (0, 0));
        assert_eq!(ahead.bytes, 0);
    }

    #[test]
    fn no_more_is_kept_than_there_may_be() {
        let mut ahead = ReadAhead::default();
        let large = BYTES_MAX / 4;
        for at in 0..10 {
            assert_eq!(ahead.has_room(large), at < 4);
            ahead.expect(place(at * large, large));
            while read(&mut ahead).is_some() {}
        }
        assert_eq!(ahead.read(), (4, BYTES_MAX));
        ahead.expect(place(0, BYTES_MAX + 1));
        assert_eq!(ahead.read(), (4, BYTES_MAX), "too large to be kept at all");
        for at in 0..1_000 {
            ahead.expect(place(at, 1));
        }
        assert_eq!((ahead.pages.len(), ahead.bytes), (PAGES_MAX, 64));
    }
}
