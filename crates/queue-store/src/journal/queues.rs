//! The queues that have something in the journal, and the files of the log that hold it.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;

use foldhash::fast::RandomState;
use slab::Slab;

use super::page_table::Released;
use super::record::QueueKey;

/// A queue's place in the journal: what its messages are appended under. From
/// [`Journal::queue`](crate::Journal::queue).
///
/// Of no use once the queue is [gone](crate::Appender::queue_gone): what is then said of it is
/// ignored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct QueueLog {
    pub(super) key: QueueKey,
    pub(super) slot: u32,
}

/// All queues, and all files of the log.
#[derive(Debug, Default)]
pub(super) struct Queues {
    entries: Slab<QueueEntry>,
    by_key: HashMap<QueueKey, u32, RandomState>,
    /// The files of the log, the oldest first. What is appended will be in the last one, which need not have been begun.
    files: VecDeque<LogFile>,
}

#[derive(Debug)]
struct QueueEntry {
    key: QueueKey,
    /// One more than the largest number stored.
    next_number: u64,
    /// Where its messages are that are nowhere but in the log, the oldest first.
    spans: Vec<Span>,
}

/// The messages of one queue in one file of the log.
#[derive(Debug)]
struct Span {
    /// The number of the first. The others follow, up to that of the next span.
    first: NonZeroU64,
    file: u32,
    /// How many of them are alive and in no page. Never zero.
    live: u32,
}

/// A file of the log.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) number: u32,
    /// How many messages are alive in it and in no page.
    pub(super) live: u64,
    /// The last block that took messages from here to pages, or to other queues. Until it is safe the file is needed
    /// even if nothing in it is alive.
    pub(super) released_by: u64,
}

impl Queues {
    /// The queue with this key, which is from now on known.
    pub(super) fn open(&mut self, key: QueueKey) -> QueueLog {
        let slot = self.by_key.entry(key).or_insert_with(|| {
            let slot = self.entries.insert(QueueEntry {
                key,
                next_number: 1,
                spans: Vec::new(),
            });
            u32::try_from(slot).unwrap_or(u32::MAX)
        });
        QueueLog { key, slot: *slot }
    }

    fn entry(&mut self, queue: QueueLog) -> Option<&mut QueueEntry> {
        let entry = self.entries.get_mut(queue.slot as usize);
        entry.filter(|entry| entry.key == queue.key)
    }

    pub(super) fn is_open(&self, queue: QueueLog) -> bool {
        let entry = self.entries.get(queue.slot as usize);
        entry.is_some_and(|entry| entry.key == queue.key)
    }

    /// Begins a file of the log.
    pub(super) fn begin_file(&mut self, number: u32) {
        self.files.push_back(LogFile {
            number,
            live: 0,
            released_by: 0,
        });
    }

    pub(super) fn files(&self) -> &VecDeque<LogFile> {
        &self.files
    }

    /// Gives up the oldest file.
    pub(super) fn free_oldest_file(&mut self) {
        self.files.pop_front();
    }

    /// A message will be in the last file. Says whether the queue is known.
    #[inline]
    pub(super) fn stored(&mut self, queue: QueueLog, number: NonZeroU64) -> bool {
        let Some(file) = self.files.back_mut() else {
            return false;
        };
        // Not by `entry`, which would borrow the files as well.
        let entry = self.entries.get_mut(queue.slot as usize);
        let Some(entry) = entry.filter(|entry| entry.key == queue.key) else {
            return false;
        };
        debug_assert!(number.get() >= entry.next_number, "numbers ascend");
        entry.next_number = number.get().saturating_add(1);
        entry.count(file, number);
        true
    }

    /// A message that was found in a file when the log was read.
    pub(super) fn found(&mut self, queue: QueueLog, number: NonZeroU64, file: u32) {
        let Some(file) = self.files.iter_mut().rev().find(|it| it.number == file) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(queue.slot as usize) {
            entry.count(file, number);
        }
    }

    /// The queue's numbers have got this far.
    pub(super) fn set_next_number(&mut self, queue: QueueLog, next_number: u64) {
        if let Some(entry) = self.entry(queue) {
            entry.next_number = entry.next_number.max(next_number);
        }
    }

    /// A message that was nowhere but in the log is gone; its file is needed until this block is safe.
    #[inline]
    pub(super) fn gone(&mut self, queue: QueueLog, number: NonZeroU64, needed_until: u64) {
        let entry = self.entries.get_mut(queue.slot as usize);
        if let Some(entry) = entry.filter(|entry| entry.key == queue.key) {
            entry.uncount(&mut self.files, number, needed_until);
        }
    }

    /// Messages that were nowhere but in the log are in a page since `block`, or gone.
    pub(super) fn released(&mut self, released: &[Released], block: u64) {
        for run in released {
            let slot = self.by_key.get(&run.queue);
            let entry = slot.and_then(|slot| self.entries.get_mut(*slot as usize));
            if let Some(entry) = entry {
                entry.uncount_run(&mut self.files, run, block);
            }
        }
    }

    /// The queue is no more.
    pub(super) fn remove(&mut self, queue: QueueLog) {
        if !self.is_open(queue) {
            return;
        }
        self.by_key.remove(&queue.key);
        let entry = self.entries.remove(queue.slot as usize);
        for span in entry.spans {
            if let Some(file) = self.files.iter_mut().find(|it| it.number == span.file) {
                file.live = file.live.saturating_sub(span.live.into());
            }
        }
    }

    /// The queues with messages in this file, each with the number at which the next file begins.
    pub(super) fn in_file(&self, number: u32) -> impl Iterator<Item = (QueueKey, NonZeroU64)> {
        self.entries.iter().filter_map(move |(_, entry)| {
            let at = entry.spans.iter().position(|it| it.file == number)?;
            let below = match entry.spans.get(at + 1) {
                Some(next) => next.first,
                None => NonZeroU64::new(entry.next_number)?,
            };
            Some((entry.key, below))
        })
    }

    /// All queues, each with the number that the next message will have at least, and the smallest
    /// that one may have that is nowhere but in the log.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (QueueKey, u64, u64)> {
        self.entries.iter().map(|(_, entry)| {
            let first = entry.spans.first().map(|span| span.first.get());
            let in_log = first.unwrap_or(entry.next_number);
            (entry.key, entry.next_number, in_log)
        })
    }
}

impl QueueEntry {
    #[inline]
    fn count(&mut self, file: &mut LogFile, number: NonZeroU64) {
        file.live += 1;
        match self.spans.last_mut() {
            Some(span) if span.file == file.number && span.live < u32::MAX => span.live += 1,
            _ => self.spans.push(Span {
                first: number,
                file: file.number,
                live: 1,
            }),
        }
    }

    /// A message is not alive in the log any more.
    #[inline]
    fn uncount(&mut self, files: &mut VecDeque<LogFile>, number: NonZeroU64, block: u64) {
        // The last span whose first number is not beyond it; there are few.
        if let Some(at) = self.spans.iter().rposition(|span| span.first <= number) {
            self.take(at, 1, files, block);
        }
    }

    /// Messages that follow one another are not alive in the log any more, and all of them were.
    fn uncount_run(&mut self, files: &mut VecDeque<LogFile>, run: &Released, block: u64) {
        let first = run.first.get();
        let mut end = first.saturating_add(run.len.into());
        while end > first {
            // The last span that begins before the end.
            let Some(at) = self.spans.iter().rposition(|it| it.first.get() < end) else {
                return;
            };
            let start = self.spans.get(at).map_or(0, |span| span.first.get());
            let start = start.max(first);
            // No more than a page has.
            let count = u32::try_from(end - start).unwrap_or(u32::MAX);
            self.take(at, count, files, block);
            end = start;
        }
    }

    /// So many messages of a span are not alive in the log any more.
    #[inline]
    fn take(&mut self, at: usize, count: u32, files: &mut VecDeque<LogFile>, block: u64) {
        let Some(span) = self.spans.get_mut(at) else {
            return;
        };
        if let Some(file) = files.iter_mut().rev().find(|it| it.number == span.file) {
            file.live = file.live.saturating_sub(count.into());
            file.released_by = file.released_by.max(block);
        }
        span.live = span.live.saturating_sub(count);
        if span.live == 0 {
            self.spans.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    fn live(queues: &Queues) -> Vec<(u32, u64)> {
        let files = queues.files().iter();
        files.map(|file| (file.number, file.live)).collect()
    }

    #[test]
    fn a_file_counts_what_is_alive_in_it() {
        let mut queues = Queues::default();
        let queue = queues.open(QueueKey(7));
        assert_eq!(queues.open(QueueKey(7)), queue);
        for file in [1, 2, 3] {
            queues.begin_file(file);
            for at in 0..2 {
                assert!(queues.stored(queue, number(u64::from(file) * 10 + at)));
            }
        }
        assert_eq!(live(&queues), [(1, 2), (2, 2), (3, 2)]);
        let in_second: Vec<_> = queues.in_file(2).collect();
        assert_eq!(in_second, [(QueueKey(7), number(30))]);
        queues.gone(queue, number(20), 0);
        queues.gone(queue, number(21), 0);
        let released = |first, len| Released {
            queue: QueueKey(7),
            first: number(first),
            len,
        };
        queues.released(&[released(11, 1)], 5);
        assert_eq!(live(&queues), [(1, 1), (2, 0), (3, 2)]);
        assert_eq!(queues.files()[0].released_by, 5);
        assert_eq!(queues.in_file(2).count(), 0);
        queues.remove(queue);
        assert_eq!(live(&queues), [(1, 0), (2, 0), (3, 0)]);
        assert!(!queues.stored(queue, number(40)));
    }

    #[test]
    fn a_run_is_counted_where_each_of_it_is() {
        let mut queues = Queues::default();
        let queue = queues.open(QueueKey(7));
        for file in 1..=3 {
            queues.begin_file(file);
            for at in 0..10 {
                queues.stored(queue, number(u64::from(file) * 10 + at));
            }
        }
        let released = Released {
            queue: QueueKey(7),
            first: number(18),
            len: 14,
        };
        queues.released(&[released], 5);
        assert_eq!(live(&queues), [(1, 8), (2, 0), (3, 8)]);
        let released_by: Vec<_> = queues.files().iter().map(|file| file.released_by).collect();
        assert_eq!(released_by, [5, 5, 5]);
        assert_eq!(queues.in_file(2).count(), 0);
        assert_eq!(
            queues.in_file(1).collect::<Vec<_>>(),
            [(QueueKey(7), number(30))]
        );
    }

    #[test]
    fn a_queue_that_comes_and_goes_in_one_file_is_counted_right() {
        let mut queues = Queues::default();
        let queue = queues.open(QueueKey(1));
        queues.begin_file(1);
        for at in 1..100 {
            queues.stored(queue, number(at));
            assert_eq!(live(&queues), [(1, 1)]);
            queues.gone(queue, number(at), 0);
            assert_eq!(live(&queues), [(1, 0)]);
        }
        assert_eq!(
            queues.numbers().collect::<Vec<_>>(),
            [(QueueKey(1), 100, 100)]
        );
    }
}
