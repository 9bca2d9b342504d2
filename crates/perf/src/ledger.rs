//! What was published against what was received, for each producer and queue.

use crate::tally::Tally;

/// What one producer has published, by queue.
#[derive(Clone, Debug)]
pub(crate) enum Published {
    /// Each queue was to get each message.
    Everywhere(Tally),
    /// The queues were to get different messages; one tally each.
    ByQueue(Vec<Tally>),
}

/// What was received in one queue of one producer by one consumer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    tally: Tally,
    /// One more than the highest number so far.
    next: u64,
    out_of_order: u64,
}

/// What all consumers have received, and what came back wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// Messages that were published and did not arrive, counted once for each queue.
    pub(crate) lost: u64,
    /// Messages that arrived although they had arrived before.
    pub(crate) repeated: u64,
    /// Messages that arrived behind a later one of the same producer in the same queue, at the same consumer.
    pub(crate) out_of_order: u64,
}

impl Published {
    #[inline]
    fn in_queue(&self, queue: usize) -> Tally {
        match self {
            Self::Everywhere(tally) => *tally,
            Self::ByQueue(tallies) => tallies.get(queue).copied().unwrap_or_default(),
        }
    }
}

impl Line {
    /// Notes the arrival of a message.
    #[inline]
    pub(crate) fn add(&mut self, sequence: u64) {
        self.tally.add(sequence);
        if sequence < self.next {
            self.out_of_order += 1;
        } else {
            self.next = sequence + 1;
        }
    }
}

/// The lines of all consumers, by queue and producer.
#[derive(Debug)]
pub(crate) struct Received {
    producers: usize,
    tallies: Vec<Tally>,
    out_of_order: u64,
}

impl Received {
    pub(crate) fn new(queues: usize, producers: usize) -> Self {
        Self {
            producers,
            tallies: vec![Tally::default(); queues * producers],
            out_of_order: 0,
        }
    }

    /// Adds the lines of one consumer for one queue, one a producer.
    pub(crate) fn add(&mut self, queue: usize, lines: &[Line]) {
        let from = queue * self.producers;
        for (tally, line) in self.tallies[from..].iter_mut().zip(lines) {
            tally.merge(line.tally);
            self.out_of_order += line.out_of_order;
        }
    }

    /// Compares with what was published, one entry a producer.
    pub(crate) fn verdict(&self, published: &[&Published]) -> Verdict {
        let mut verdict = Verdict {
            out_of_order: self.out_of_order,
            ..Verdict::default()
        };
        for (index, got) in self.tallies.iter().enumerate() {
            let (queue, producer) = (index / self.producers, index % self.producers);
            let due = published[producer].in_queue(queue);
            verdict.lost += due.count().saturating_sub(got.count());
            verdict.repeated += got.count().saturating_sub(due.count());
            if due.count() == got.count() && due != *got {
                // At least one each; how many cannot be told.
                verdict.lost += 1;
                verdict.repeated += 1;
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arrived: &[u64], lost: u64, repeated: u64, out_of_order: u64) {
        let mut due = Tally::default();
        for sequence in 0..5 {
            due.add(sequence);
        }
        let mut line = Line::default();
        for &sequence in arrived {
            line.add(sequence);
        }
        let mut received = Received::new(1, 1);
        received.add(0, &[line]);
        assert_eq!(
            received.verdict(&[&Published::Everywhere(due)]),
            Verdict {
                lost,
                repeated,
                out_of_order
            }
        );
    }

    #[test]
    fn all_in_order_is_well() {
        check(&[0, 1, 2, 3, 4], 0, 0, 0);
    }

    #[test]
    fn what_is_missing_is_lost_wherever_it_was() {
        check(&[0, 1, 3, 4], 1, 0, 0);
        check(&[1, 2, 3, 4], 1, 0, 0);
        check(&[0, 1, 2], 2, 0, 0);
        check(&[], 5, 0, 0);
    }

    #[test]
    fn what_comes_twice_is_repeated_and_late() {
        check(&[0, 1, 1, 2, 3, 4], 0, 1, 1);
        check(&[0, 1, 2, 3, 4, 0], 0, 1, 1);
    }

    #[test]
    fn what_changes_places_is_out_of_order() {
        check(&[0, 2, 1, 3, 4], 0, 0, 1);
    }

    #[test]
    fn a_loss_does_not_hide_behind_a_repetition() {
        check(&[0, 1, 1, 3, 4], 1, 1, 1);
    }

    #[test]
    fn consumers_of_one_queue_are_added_up() {
        let mut due = Tally::default();
        let (mut even, mut odd) = (Line::default(), Line::default());
        for sequence in 0..10 {
            due.add(sequence);
            if sequence % 2 == 0 {
                even.add(sequence);
            } else {
                odd.add(sequence);
            }
        }
        let mut received = Received::new(1, 1);
        received.add(0, &[odd]);
        received.add(0, &[even]);
        let published = [&Published::Everywhere(due)];
        assert_eq!(received.verdict(&published), Verdict::default());
    }

    #[test]
    fn queues_and_producers_are_kept_apart() {
        let (mut first, mut second) = (Tally::default(), Tally::default());
        first.add(0);
        second.add(1);
        let mut line = Line::default();
        line.add(0);
        let mut received = Received::new(2, 1);
        received.add(0, &[line]);
        received.add(1, &[line]);
        let published = [&Published::ByQueue(vec![first, second])];
        let verdict = received.verdict(&published);
        assert_eq!((verdict.lost, verdict.repeated), (1, 1));
    }
}
