//! An open-addressing hash table of ids.

use crate::arena::Id;

/// One place of the table: an id and the hash it was filed under.
struct Slot<T> {
    tag: u32,
    id: Option<Id<T>>,
}

impl<T> Slot<T> {
    const EMPTY: Self = Self { tag: 0, id: None };
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

/// Finds the id of a thing by a hash of it.
///
/// The things themselves stay in their [`Arena`](crate::arena::Arena), which knows how to compare them; the table costs
/// eight bytes a slot and is between three eighths and three quarters full while it grows. It probes linearly: slots
/// are small, so the next few come with the first one's cache line. The tag is kept beside the id, so that a probe
/// looks at a thing only when its whole hash agrees, and so that growing looks at none.
#[derive(Clone)]
pub(crate) struct IdTable<T> {
    /// Empty, or a power of two of them, at most three quarters occupied.
    slots: Vec<Slot<T>>,
    len: usize,
}

/// The slots of the smallest table that has any: one cache line.
const SLOTS_MIN: usize = 8;

impl<T> IdTable<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            len: 0,
        }
    }

    /// The id filed under `tag` that `is_it` recognises.
    #[inline]
    pub(crate) fn find(&self, tag: u32, mut is_it: impl FnMut(Id<T>) -> bool) -> Option<Id<T>> {
        let mask = self.mask();
        let mut at = tag as usize & mask;
        // A quarter of the slots is empty, so the probe ends. A table without slots ends it at once.
        loop {
            let slot = self.slots.get(at)?;
            let id = slot.id?;
            if slot.tag == tag && is_it(id) {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
    }

    /// Files `id` under `tag`. The caller has made sure that it is not there yet.
    pub(crate) fn insert(&mut self, tag: u32, id: Id<T>) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SLOTS_MIN));
        }
        self.place(Slot { tag, id: Some(id) });
        self.len += 1;
    }

    /// Takes out the `id` filed under `tag`; nothing happens when it is not there.
    pub(crate) fn remove(&mut self, tag: u32, id: Id<T>) {
        let mask = self.mask();
        let mut hole = tag as usize & mask;
        loop {
            match self.slots.get(hole) {
                Some(slot) if slot.id == Some(id) => break,
                Some(slot) if slot.id.is_some() => hole = (hole + 1) & mask,
                _ => return,
            }
        }
        // Close the gap: a later slot of the same run moves into the hole unless that would put it before its home.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.id.is_none() {
                break;
            }
            let from_home = at.wrapping_sub(slot.tag as usize) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = Slot::EMPTY;
        self.len -= 1;
        // An eighth leaves room to halve the table and still be far from growing it again.
        if self.slots.len() > SLOTS_MIN && self.len * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
    }

    /// One less than the number of slots; all ones for a table without, where every index is out of bounds.
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    fn place(&mut self, slot: Slot<T>) {
        let mask = self.mask();
        let mut at = slot.tag as usize & mask;
        while self.slots[at].id.is_some() {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; slots]);
        for slot in old.into_iter().filter(|slot| slot.id.is_some()) {
            self.place(slot);
        }
    }
}

impl<T> std::fmt::Debug for IdTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdTable")
            .field("len", &self.len)
            .field("slots", &self.slots.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    /// A table whose things are their own tags; many collide, because only the low bits choose the home.
    fn filled(tags: &[u32]) -> (Arena<u32>, IdTable<u32>, Vec<Id<u32>>) {
        let mut arena = Arena::new();
        let mut table = IdTable::new();
        let ids: Vec<_> = tags.iter().map(|tag| arena.insert(*tag)).collect();
        for (tag, id) in tags.iter().zip(&ids) {
            table.insert(*tag, *id);
        }
        (arena, table, ids)
    }

    #[test]
    fn empty_table_finds_nothing() {
        let table: IdTable<u32> = IdTable::new();
        assert_eq!(table.find(7, |_| true), None);
    }

    #[test]
    fn colliding_ids_are_found_and_removed_one_by_one() {
        // Enough to collide and to resize; an interpreter takes minutes for more.
        let count = if cfg!(miri) { 60 } else { 1000 };
        let tags: Vec<u32> = (0..count)
            .map(|n| ((n % 7) << 28) | ((n * n) % 61))
            .collect();
        let (arena, mut table, ids) = filled(&tags);
        for gone in 0..tags.len() {
            table.remove(tags[gone], ids[gone]);
            for (index, tag) in tags.iter().enumerate().step_by(13) {
                let found = table.find(*tag, |id| id == ids[index]);
                assert_eq!(
                    found.is_some(),
                    index > gone,
                    "index {index} after removing {gone}"
                );
                assert!(found.is_none_or(|id| arena[id] == *tag));
            }
        }
        assert_eq!(table.len, 0);
        assert_eq!(table.slots.len(), SLOTS_MIN, "the slots go back");
    }

    #[test]
    fn removing_what_is_absent_changes_nothing() {
        let (_, mut table, ids) = filled(&[1, 9, 17]);
        table.remove(2, ids[0]);
        table.remove(1, Arena::new().insert(0u32));
        table.remove(1, ids[0]);
        assert_eq!(table.len, 2);
        assert_eq!(table.find(9, |_| true), Some(ids[1]));
    }
}
