//! The deliveries that wait to be settled.

use std::num::NonZeroU64;

use slab::Slab;

use super::ready::Taken;
use crate::{DeliveryId, Time};

/// Who took a message with [`Queue::take`](crate::Queue::take): no consumer.
pub(super) const NO_CONSUMER: u32 = u32::MAX;

/// How many slots are kept when nothing is left to settle. A queue through which single messages
/// pass does not allocate for each, and a burst does not cost memory for ever.
const KEPT_LEN: usize = 4;

/// All unacknowledged deliveries of a queue.
///
/// Memory follows the largest number outstanding since there were none; how long any of them has
/// been out makes no difference.
#[derive(Debug)]
pub(super) struct Unacked {
    slots: Slab<Outstanding>,
    /// The serial number of the next delivery. Slots are used again, serial numbers never: at a
    /// thousand million deliveries a second they last for 584 years.
    next_serial: NonZeroU64,
    body_bytes: u64,
    size_bytes: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) taken: Taken,
    /// The slot of the consumer that has it, or [`NO_CONSUMER`].
    pub(super) consumer: u32,
    /// When it was delivered.
    pub(super) since: Time,
    serial: NonZeroU64,
}

impl Unacked {
    pub(super) fn new() -> Self {
        Self {
            slots: Slab::new(),
            next_serial: NonZeroU64::MIN,
            body_bytes: 0,
            size_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The memory that the messages hold.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Keeps a delivery until it is settled.
    #[inline]
    pub(super) fn insert(&mut self, taken: Taken, consumer: u32, since: Time) -> DeliveryId {
        if self.slots.capacity() == 0 {
            // A vector would begin with four; most idle consumers hold one at most.
            self.slots.reserve_exact(1);
        }
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        let lens = taken.message.lens();
        self.body_bytes += lens.body;
        self.size_bytes += lens.held;
        let slot = self.slots.insert(Outstanding {
            taken,
            consumer,
            since,
            serial,
        });
        let slot = u32::try_from(slot).expect("as many slots do not fit into memory");
        DeliveryId { serial, slot }
    }

    /// The delivery, if the id still names one.
    pub(super) fn get(&self, id: DeliveryId) -> Option<&Outstanding> {
        let outstanding = self.slots.get(id.slot as usize)?;
        (outstanding.serial == id.serial).then_some(outstanding)
    }

    /// Takes out a delivery, if the id still names one.
    #[inline]
    pub(super) fn remove(&mut self, id: DeliveryId) -> Option<Outstanding> {
        self.get(id)?;
        let outstanding = self.slots.remove(id.slot as usize);
        let lens = outstanding.taken.message.lens();
        self.body_bytes -= lens.body;
        self.size_bytes -= lens.held;
        if self.slots.is_empty() && self.slots.capacity() > KEPT_LEN {
            self.slots = Slab::new();
        }
        Some(outstanding)
    }

    /// The one in a slot.
    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Outstanding> {
        self.slots.get_mut(slot as usize)
    }

    /// All of them with their ids, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeliveryId, &Outstanding)> {
        self.slots.iter().map(|(slot, outstanding)| {
            let slot = u32::try_from(slot).expect("it fitted when it was inserted");
            (
                DeliveryId {
                    serial: outstanding.serial,
                    slot,
                },
                outstanding,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_takes_80_bytes() {
        assert_eq!(size_of::<Outstanding>(), 80);
    }
}
