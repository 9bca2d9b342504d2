//! Slots with small, stable ids.

use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut, Range};
use std::{fmt, iter};

/// The place of a `T` in its [`Arena`].
///
/// Four bytes, and four bytes also as an `Option`: the number is the index of the slot plus one. The parameter keeps
/// the ids of nodes, words and values apart.
pub(crate) struct Id<T> {
    number: NonZeroU32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The id of the slot that the arena fills first.
    pub(crate) const FIRST: Self = Self::from_number(NonZeroU32::MIN);

    /// The id of the slot that the arena fills second.
    pub(crate) const SECOND: Self = Self::from_number(NonZeroU32::MIN.saturating_add(1));

    const fn from_number(number: NonZeroU32) -> Self {
        Self {
            number,
            kind: PhantomData,
        }
    }

    /// # Panics
    ///
    /// Panics when the index does not fit: an arena holds at most `u32::MAX` slots.
    fn from_index(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Self::from_number(number.expect("a trie holds at most u32::MAX nodes, words and patterns"))
    }

    /// The number behind the id, never zero.
    pub(crate) fn number(self) -> u32 {
        self.number.get()
    }

    fn index(self) -> usize {
        self.number.get() as usize - 1
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// The ids of an arena's slots, in order.
pub(crate) type Ids<T> = iter::Map<Range<usize>, fn(usize) -> Id<T>>;

/// A vector whose vacated slots are filled again before it grows.
///
/// A vacant slot holds the default of `T`. An id is good until its slot is vacated; after that it names whatever moved
/// in next, so the owner of an id must forget it when it vacates the slot.
#[derive(Clone, Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<T>,
    vacant: Vec<Id<T>>,
}

impl<T: Default> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// The number of occupied slots.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// The number of slots, vacant ones included.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Returns the room beyond the last slot.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
        self.vacant.shrink_to_fit();
    }

    /// Puts `value` into a slot.
    ///
    /// # Panics
    ///
    /// Panics when `u32::MAX` slots are taken.
    pub(crate) fn insert(&mut self, value: T) -> Id<T> {
        if let Some(id) = self.vacant.pop() {
            self.slots[id.index()] = value;
            return id;
        }
        let id = Id::from_index(self.slots.len());
        self.slots.push(value);
        id
    }

    /// Vacates a slot and returns what was in it.
    pub(crate) fn take(&mut self, id: Id<T>) -> T {
        self.vacant.push(id);
        std::mem::take(&mut self.slots[id.index()])
    }

    /// The ids of all slots, occupied or not.
    pub(crate) fn ids(&self) -> Ids<T> {
        (0..self.slots.len()).map(Id::from_index)
    }
}

impl<T> Index<Id<T>> for Arena<T> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        &self.slots[id.index()]
    }
}

impl<T> IndexMut<Id<T>> for Arena<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        &mut self.slots[id.index()]
    }
}
