//! The files that pages lie in.

use std::collections::BTreeMap;

use super::page::PagePlace;
use super::page_format::PAGE_FILE_HEAD_LEN;

/// Files of pages of one kind, durable or not.
#[derive(Debug)]
pub(super) struct PageFiles {
    files: BTreeMap<u32, PageFile>,
    /// At this length a file is not added to any more.
    file_size: u64,
    /// The number of the next file.
    next_number: u32,
    /// The file that is added to.
    active: Option<u32>,
}

/// A file of pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageFile {
    /// Where its last page ends.
    pub(super) end: u64,
    /// How many bytes are those of pages that exist.
    pub(super) live_bytes: u64,
    /// How many pages exist.
    pub(super) pages: u32,
    /// The block of the log that said that the last page was gone.
    pub(super) empty_since: u64,
    /// Whether it is there, under its name, whatever happens.
    is_made: bool,
    /// Whether it cannot be emptied, since something in it cannot be read.
    is_kept: bool,
}

impl PageFiles {
    pub(super) const fn new(file_size: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            file_size,
            next_number: 1,
            active: None,
        }
    }

    /// A place for a page of this length, behind all others.
    pub(super) fn place(&mut self, len: u64) -> PagePlace {
        let number = match self.active {
            Some(number)
                if self
                    .files
                    .get(&number)
                    .is_some_and(|file| file.end < self.file_size) =>
            {
                number
            }
            _ => {
                let number = self.next_number;
                self.next_number = number.saturating_add(1);
                self.active = Some(number);
                number
            }
        };
        let file = self.files.entry(number).or_default();
        file.end = file.end.max(PAGE_FILE_HEAD_LEN);
        let place = PagePlace {
            file: number,
            offset: file.end,
            len,
        };
        file.add(place);
        place
    }

    /// There is a page at this place, found when the log was read.
    pub(super) fn found(&mut self, place: PagePlace) {
        let file = self.files.entry(place.file).or_default();
        file.is_made = true;
        file.add(place);
    }

    pub(super) fn is_made(&self, number: u32) -> bool {
        self.files.get(&number).is_some_and(|file| file.is_made)
    }

    /// The file is there, under its name, whatever happens.
    pub(super) fn set_made(&mut self, number: u32) {
        if let Some(file) = self.files.get_mut(&number) {
            file.is_made = true;
        }
    }

    /// A page in this file cannot be read, so that the others need not be moved either.
    pub(super) fn keep(&mut self, number: u32) {
        if let Some(file) = self.files.get_mut(&number) {
            file.is_kept = true;
        }
    }

    /// There is a file with this number, with pages in it or not. Goes on behind the last of all
    /// pages once all files and pages have been found.
    pub(super) fn go_on_after(&mut self, number: u32) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.active = self.files.last_key_value().map(|(number, _)| *number);
    }

    /// The page at this place is no more; `block` says so.
    pub(super) fn freed(&mut self, place: PagePlace, block: u64) {
        if let Some(file) = self.files.get_mut(&place.file) {
            file.live_bytes = file.live_bytes.saturating_sub(place.len);
            file.pages = file.pages.saturating_sub(1);
            file.empty_since = block;
        }
    }

    /// The files without a page that are not added to any more, each with the block that has to be
    /// safe before it can go.
    pub(super) fn empty(&self) -> impl Iterator<Item = (u32, u64)> {
        let files = self.files.iter().filter(|(number, file)| {
            file.pages == 0 && (self.active != Some(**number) || file.end >= self.file_size)
        });
        files.map(|(number, file)| (*number, file.empty_since))
    }

    pub(super) fn remove(&mut self, number: u32) {
        self.files.remove(&number);
        if self.active == Some(number) {
            self.active = None;
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.files.contains_key(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, PageFile)> {
        self.files.iter().map(|(number, file)| (*number, *file))
    }

    /// The bytes of all files, and those of pages that exist.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let ends = self.files.values().map(|file| file.end).sum();
        let live = self.files.values().map(|file| file.live_bytes).sum();
        (ends, live)
    }

    /// The file whose pages are best moved elsewhere: of those that are not added to any more the
    /// one with the least in it, if less than half of all files is.
    pub(super) fn to_empty(&self) -> Option<u32> {
        let (end, live) = self.bytes();
        if live.saturating_mul(2) >= end {
            return None;
        }
        let full = self
            .iter()
            .filter(|(number, file)| {
                self.active != Some(*number) && file.pages > 0 && !file.is_kept
            })
            // Moving what is mostly alive gains nothing.
            .filter(|(_, file)| file.live_bytes.saturating_mul(2) < file.end);
        let emptiest = full.min_by_key(|(_, file)| file.live_bytes)?;
        Some(emptiest.0)
    }
}

impl PageFile {
    fn add(&mut self, place: PagePlace) {
        self.end = self.end.max(place.end());
        self.live_bytes += place.len;
        self.pages += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_long_enough_is_not_added_to() {
        let mut files = PageFiles::new(100);
        let places: Vec<_> = (0..4).map(|_| files.place(60)).collect();
        let places: Vec<_> = places.iter().map(|it| (it.file, it.offset)).collect();
        assert_eq!(places, [(1, 16), (1, 76), (2, 16), (2, 76)]);
    }

    #[test]
    fn a_file_goes_with_its_last_page_and_is_emptied_when_little_is_left() {
        let mut files = PageFiles::new(100);
        let places: Vec<_> = (0..6).map(|_| files.place(60)).collect();
        assert_eq!(files.to_empty(), None);
        for place in &places[1..5] {
            files.freed(*place, 9);
        }
        assert_eq!(files.empty().collect::<Vec<_>>(), [(2, 9)]);
        assert_eq!(files.to_empty(), Some(1));
        files.remove(2);
        files.freed(places[0], 10);
        assert_eq!(files.empty().collect::<Vec<_>>(), [(1, 10)]);
    }
}
