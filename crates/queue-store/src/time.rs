//! Time as the queue sees it: an argument of every call.

/// A point in time, in milliseconds since the Unix epoch.
///
/// The queue compares times and adds to them, nothing else; any clock that counts milliseconds will
/// do, and a test may invent one. The default is the epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// Later than every deadline: as a deadline it means never.
    pub const MAX: Self = Self(u64::MAX);

    /// The time `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time `ms` milliseconds later, or [`Time::MAX`], which is never, when that cannot be
    /// counted.
    #[must_use]
    pub const fn saturating_add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whether a deadline at this time has passed at `now`. It passes in its own millisecond, so
    /// that a time to live of zero is over at once; [`Time::MAX`] never passes.
    pub(crate) fn is_due(self, now: Self) -> bool {
        self <= now && self != Self::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_in_its_own_millisecond() {
        let deadline = Time::from_millis(10);
        assert!(!deadline.is_due(Time::from_millis(9)));
        assert!(deadline.is_due(Time::from_millis(10)));
    }

    #[test]
    fn what_cannot_be_counted_is_never() {
        let never = Time::from_millis(10).saturating_add(u64::MAX);
        assert_eq!(never, Time::MAX);
        assert!(!never.is_due(Time::MAX));
    }
}
