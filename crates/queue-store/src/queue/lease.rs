//! Room in a window that is entered once for several messages.

use crate::Gate;

/// How much is entered ahead: what some tens of small messages take, and little beside the window of a connection.
const AHEAD: u16 = 16 << 10;

/// Room in the window of a queue's only consumer, entered ahead of the messages that it will be for.
///
/// To enter a window is to write to memory that other queues and the connection write to as well, so that a processor has to
/// wait until everything that it has written before is done. Messages that come together share it, while the lease is
/// [open](Self::open): as long as there is no other consumer, and until the queue is let go. Otherwise the window is entered
/// for each message.
#[derive(Debug, Default)]
pub(super) struct Lease {
    is_open: bool,
    room: u16,
}

impl Lease {
    /// Enters ahead from now on. False if it was open already: whoever did that closes it.
    pub(super) fn open(&mut self) -> bool {
        !std::mem::replace(&mut self.is_open, true)
    }

    /// What is left is to be [given back](Gate::give_back) to the window.
    #[must_use]
    pub(super) fn close(&mut self) -> usize {
        self.is_open = false;
        usize::from(std::mem::take(&mut self.room))
    }

    /// Enters the window, or uses what was entered ahead.
    #[inline]
    pub(super) fn try_enter(&mut self, window: &Gate, amount: usize) -> bool {
        let room = usize::from(self.room);
        if let Some(rest) = room.checked_sub(amount) {
            // Less than there was.
            self.room = rest as u16;
            return true;
        }
        if self.is_open && window.try_enter_ahead(amount - room + usize::from(AHEAD)) {
            self.room = AHEAD;
            return true;
        }
        // What was entered ahead must not be what this is refused for.
        self.room = 0;
        if room > 0 {
            window.take_out(room);
        }
        window.try_enter(amount)
    }

    /// What was entered is not needed after all. True if somebody has to be polled, as for [`Gate::give_back`].
    #[must_use]
    pub(super) fn give_back(&mut self, window: &Gate, amount: usize) -> bool {
        let room = usize::from(self.room) + amount;
        match u16::try_from(room) {
            Ok(room) if self.is_open => {
                self.room = room;
                false
            }
            _ => window.give_back(amount),
        }
    }
}
