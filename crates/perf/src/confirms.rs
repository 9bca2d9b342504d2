//! Which publishes the broker has not confirmed yet.

use std::collections::VecDeque;

use crate::error::Error;

/// The open publishes of one channel, by delivery tag.
///
/// ```text
///   base                next_tag
///    │                     │
///    ▼                     ▼
///  [open, settled, open]  …      what is settled at the front is forgotten
/// ```
#[derive(Debug)]
pub(crate) struct Confirms {
    /// The lowest tag that is not settled.
    base: u64,
    /// When each publish from `base` on was sent, in nanoseconds; `None` once it is settled.
    open: VecDeque<Option<u64>>,
    /// How many of them are not settled.
    outstanding: u64,
}

/// What a confirm of the broker settles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    pub(crate) delivery_tag: u64,
    pub(crate) multiple: bool,
}

impl Confirms {
    /// For a channel on which nothing was published: the first tag is 1.
    pub(crate) fn new() -> Self {
        Self {
            base: 1,
            open: VecDeque::new(),
            outstanding: 0,
        }
    }

    /// Notes that `count` messages were sent.
    pub(crate) fn sent(&mut self, count: u64, now_ns: u64) {
        self.open.extend((0..count).map(|_| Some(now_ns)));
        self.outstanding += count;
    }

    /// How many messages wait for their confirm.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Settles what the broker confirms, calls `each` with the time at which it was sent, and says how many they were.
    ///
    /// # Errors
    ///
    /// When the tag is not open: it was never used, or was confirmed before. With `multiple` a tag that was confirmed
    /// already, or 0, settles nothing and is no error.
    pub(crate) fn settle(
        &mut self,
        settlement: Settlement,
        mut each: impl FnMut(u64),
    ) -> Result<u64, Error> {
        let Settlement {
            delivery_tag: tag,
            multiple,
        } = settlement;
        let unknown = || Error::Unexpected(format!("a confirm of message {tag}"));
        if tag >= self.base + self.open.len() as u64 {
            return Err(unknown());
        }
        let mut count = 0;
        if multiple {
            // Tag 0 stands for everything so far. RabbitMQ never sends it.
            let through = if tag == 0 {
                self.open.len() as u64
            } else {
                (tag + 1).saturating_sub(self.base)
            };
            for _ in 0..through {
                if let Some(sent_ns) = self.open.pop_front().flatten() {
                    each(sent_ns);
                    count += 1;
                }
                self.base += 1;
            }
        } else {
            let place = tag
                .checked_sub(self.base)
                .and_then(|place| usize::try_from(place).ok())
                .and_then(|place| self.open.get_mut(place));
            each(place.and_then(Option::take).ok_or_else(unknown)?);
            count = 1;
        }
        while let Some(None) = self.open.front() {
            self.open.pop_front();
            self.base += 1;
        }
        self.outstanding -= count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: bool = false;
    const ALL: bool = true;

    fn settle(confirms: &mut Confirms, delivery_tag: u64, multiple: bool) -> Option<u64> {
        let settlement = Settlement {
            delivery_tag,
            multiple,
        };
        confirms.settle(settlement, |_| ()).ok()
    }

    fn sent(count: u64) -> Confirms {
        let mut confirms = Confirms::new();
        confirms.sent(count, 0);
        confirms
    }

    #[test]
    fn multiple_settles_all_before() {
        let mut confirms = sent(5);
        assert_eq!(settle(&mut confirms, 3, ALL), Some(3));
        assert_eq!(confirms.outstanding(), 2);
        assert_eq!(settle(&mut confirms, 5, ALL), Some(2));
        assert_eq!(confirms.outstanding(), 0);
    }

    #[test]
    fn one_by_one_in_any_order() {
        let mut confirms = sent(3);
        for tag in [2, 1, 3] {
            assert_eq!(settle(&mut confirms, tag, ONE), Some(1));
        }
        assert_eq!(confirms.outstanding(), 0);
        assert!(confirms.open.is_empty());
    }

    #[test]
    fn multiple_counts_what_was_open_only() {
        let mut confirms = sent(4);
        settle(&mut confirms, 2, ONE);
        assert_eq!(settle(&mut confirms, 4, ALL), Some(3));
        assert_eq!(settle(&mut confirms, 4, ALL), Some(0));
    }

    #[test]
    fn a_tag_that_is_not_open_is_refused() {
        let mut confirms = sent(2);
        assert_eq!(settle(&mut confirms, 3, ONE), None, "never used");
        assert_eq!(settle(&mut confirms, 3, ALL), None, "never used");
        assert_eq!(settle(&mut confirms, 0, ONE), None);
        settle(&mut confirms, 1, ONE);
        assert_eq!(settle(&mut confirms, 1, ONE), None, "a second time");
        assert_eq!(confirms.outstanding(), 1);
    }

    #[test]
    fn zero_with_multiple_is_everything() {
        let mut confirms = sent(3);
        assert_eq!(settle(&mut confirms, 0, ALL), Some(3));
        confirms.sent(1, 0);
        assert_eq!(settle(&mut confirms, 4, ONE), Some(1), "tags go on");
    }

    #[test]
    fn each_is_told_when_it_was_sent() {
        let mut confirms = Confirms::new();
        confirms.sent(1, 10);
        confirms.sent(2, 20);
        let mut times = Vec::new();
        let all = Settlement {
            delivery_tag: 3,
            multiple: true,
        };
        confirms.settle(all, |time| times.push(time)).unwrap();
        assert_eq!(times, [10, 20, 20]);
    }
}
