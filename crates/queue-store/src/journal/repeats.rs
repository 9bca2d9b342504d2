//! Messages that were appended a moment ago, so that one that goes to many queues is written once.

use crate::Message;

/// How many messages are remembered. The messages of one read of a publisher go to one queue after
/// the other, so that as many lie between two appearances of one: a read has room for some hundred
/// small ones, and large ones, for which this matters, are few.
const REMEMBERED: usize = 64;

/// Messages of the block that is being filled, by where they are in memory, and where they stand in
/// the block. Those that [one queue alone](Message::is_of_one_queue) has
/// need not be among them.
///
/// Each place remembers the last message that belongs there. What is remembered is kept alive, for
/// otherwise another could come to lie where it was.
#[derive(Debug)]
pub(super) struct Repeats {
    places: [Option<(Message, usize)>; REMEMBERED],
    is_empty: bool,
}

impl Repeats {
    pub(super) fn new() -> Self {
        Self {
            places: [const { None }; REMEMBERED],
            is_empty: true,
        }
    }

    /// Where the message stands, if it is remembered.
    #[inline]
    pub(super) fn find(&self, message: &Message) -> Option<usize> {
        let (known, at) = self.places.get(place_of(message))?.as_ref()?;
        known.is_same(message).then_some(*at)
    }

    /// Remembers that the message stands at `offset`.
    #[inline]
    pub(super) fn remember(&mut self, message: &Message, offset: usize) {
        if let Some(place) = self.places.get_mut(place_of(message)) {
            *place = Some((message.clone(), offset));
            self.is_empty = false;
        }
    }

    /// Forgets all of them: another block begins.
    pub(super) fn clear(&mut self) {
        if !self.is_empty {
            self.places.fill(None);
            self.is_empty = true;
        }
    }
}

fn place_of(message: &Message) -> usize {
    // Allocations lie at multiples of 16; the multiplication spreads what they have in common.
    ((message.address() >> 4).wrapping_mul(0x9e37_79b9) >> 8) % REMEMBERED
}
