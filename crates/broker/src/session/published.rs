//! How much a client has published.

/// Counts messages, round and round beyond the largest number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Published {
    count: u32,
    /// The count when it was last asked whether there was a pause.
    then: u32,
}

impl Published {
    #[inline]
    pub(super) fn add_one(&mut self) {
        self.count = self.count.wrapping_add(1);
    }

    pub(super) fn count(self) -> u32 {
        self.count
    }

    /// Whether nothing was published since this was last asked.
    pub(super) fn has_paused(&mut self) -> bool {
        std::mem::replace(&mut self.then, self.count) == self.count
    }
}
