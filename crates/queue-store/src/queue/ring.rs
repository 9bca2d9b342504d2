//! Lists of consumers that cost no memory of their own.

use slab::Slab;

use super::consumers::Consumer;

/// No slot: the end of a list.
const NOBODY: u32 = u32::MAX;

/// A list of consumers, linked through their slots: joining, leaving from anywhere and going to the
/// back take the same time however many there are. A consumer is in one list at most.
#[derive(Debug)]
pub(super) struct Ring {
    first: u32,
    last: u32,
}

/// The neighbours of a consumer in its list.
#[derive(Debug)]
pub(super) struct Links {
    before: u32,
    after: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            before: NOBODY,
            after: NOBODY,
        }
    }
}

impl Ring {
    pub(super) const fn new() -> Self {
        Self {
            first: NOBODY,
            last: NOBODY,
        }
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NOBODY).then_some(self.first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == NOBODY
    }

    /// Adds a consumer that is in no list.
    pub(super) fn push(&mut self, slots: &mut Slab<Consumer>, slot: u32) {
        slots[slot as usize].links = Links {
            before: self.last,
            after: NOBODY,
        };
        match self.last {
            NOBODY => self.first = slot,
            last => slots[last as usize].links.after = slot,
        }
        self.last = slot;
    }

    /// Takes out a consumer that is in this list.
    pub(super) fn remove(&mut self, slots: &mut Slab<Consumer>, slot: u32) {
        let Links { before, after } = std::mem::take(&mut slots[slot as usize].links);
        match before {
            NOBODY => self.first = after,
            before => slots[before as usize].links.after = after,
        }
        match after {
            NOBODY => self.last = before,
            after => slots[after as usize].links.before = before,
        }
    }

    /// Sends the first to the back.
    pub(super) fn rotate(&mut self, slots: &mut Slab<Consumer>) {
        if self.first != self.last {
            let first = self.first;
            self.remove(slots, first);
            self.push(slots, first);
        }
    }
}
