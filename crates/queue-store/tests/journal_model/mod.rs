//! A journal, used at random, beside a model of what it should hold.

mod compare;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use leveret_queue_store::{
    FaultyStorage, Journal, JournalOptions, JournalState, Lsn, Message, MessageParts, PageId,
    PageSlot, PagedMessage, QueueKey, QueueLog, RecoveredItem, Stored, SyncPolicy, Time,
};

use compare::{check_moves, differences, is_later};

/// What the disk does beside losing what was not synced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) failing: bool,
    pub(crate) full: bool,
    /// For a while no file can be opened.
    pub(crate) out_of_files: bool,
}

/// What is known of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    message: Message,
    deadline: Time,
    delivery_count: u32,
    home: Option<PageSlot>,
}

type MessageKey = (QueueKey, NonZeroU64);

/// Everything that is alive.
type Alive = BTreeMap<MessageKey, Entry>;

/// What a restart would find, without where it lies.
type Contents = BTreeMap<MessageKey, (Message, Time, u32)>;

pub(crate) struct Run {
    random: u64,
    faults: Faults,
    storage: FaultyStorage,
    options: JournalOptions,
    journal: Journal,
    alive: Alive,
    queues: BTreeMap<QueueKey, (QueueLog, u64)>,
    next_key: u64,
    /// What should be found if the log ends with this block.
    moments: BTreeMap<Lsn, Contents>,
    now: u64,
    /// Pages of which nothing is stored, and what is in them.
    swapped: BTreeMap<PageId, Vec<PagedMessage>>,
    /// Messages that went from one queue to another in this life, and what they are there.
    moves: Vec<(MessageKey, MessageKey)>,
}

impl Run {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let storage = FaultyStorage::new(seed);
        let mut random = seed;
        let options = JournalOptions {
            sync: match below(&mut random, 4) {
                0 => SyncPolicy::IntervalMs(5),
                _ => SyncPolicy::EveryConfirm,
            },
            log_file_size: 4096,
            page_file_size: 2048,
            log_files_max: 2,
            ..JournalOptions::default()
        };
        let (journal, recovered) = Journal::open(Arc::new(storage.clone()), options).unwrap();
        assert!(recovered.queues.is_empty());
        Self {
            random,
            faults,
            storage,
            options,
            journal,
            alive: Alive::new(),
            queues: BTreeMap::new(),
            next_key: 1,
            moments: BTreeMap::from([(Lsn::default(), Contents::new())]),
            now: 1,
            swapped: BTreeMap::new(),
            moves: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) {
        for _ in 0..self.below(300) + 20 {
            self.step();
        }
        self.restart();
        // A clean end loses nothing at all.
        self.publish();
        self.journal.sync(Time::from_millis(self.now)).unwrap();
        let want = self.contents();
        self.moments = BTreeMap::from([(self.journal.safe(), want)]);
        self.restart();
    }

    fn below(&mut self, limit: usize) -> usize {
        below(&mut self.random, limit)
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn step(&mut self) {
        match self.below(25) {
            0..=6 => self.publish(),
            7..=9 => self.settle(),
            10 => self.page_out(),
            11 => self.read_a_page(),
            12 => self.drop_something(),
            13 => self.swap(),
            14 => self.move_old(),
            15 if self.faults.failing && self.chance(3) => match self.below(2) {
                0 => self.storage.fail_syncs(1),
                _ => self.storage.fail_writes(1),
            },
            16 if self.faults.full => {
                let room = self.below(3000) as u64;
                self.storage.leave_room(room.checked_sub(1000));
            }
            17 if self.chance(3) => self.restart(),
            18 if self.faults.full && self.chance(2) => self.drain(),
            19 => {
                let some = self.some(4);
                self.move_some(&some);
            }
            20 if self.faults.out_of_files && self.chance(2) => {
                let count = self.below(6) as u32;
                self.storage.fail_opens(count);
            }
            _ => self.work(),
        }
        self.now += self.below(3) as u64;
    }

    fn work(&mut self) {
        if self.chance(2) {
            let _ = self.journal.when_safe(self.last(), Waker::noop());
        }
        self.journal.work(Time::from_millis(self.now));
        if let JournalState::Failed(_) = self.journal.state() {
            assert!(self.faults.failing, "{:?}", self.journal.state());
            self.restart();
        }
    }

    /// The block that was appended to last.
    fn last(&self) -> Lsn {
        self.journal.append().finish()
    }

    /// Remembers what should be found if the log ends here.
    fn note(&mut self) {
        let contents = self.contents();
        self.moments.insert(self.last(), contents);
        // Of what is safe only the last moment matters.
        let safe = self.journal.safe();
        while self
            .moments
            .keys()
            .nth(1)
            .is_some_and(|second| *second <= safe)
        {
            self.moments.pop_first();
        }
    }

    fn contents(&self) -> Contents {
        let entries = self.alive.iter();
        let contents = entries.map(|(key, entry)| {
            (
                *key,
                (entry.message.clone(), entry.deadline, entry.delivery_count),
            )
        });
        contents.collect()
    }

    fn publish(&mut self) {
        let body_len = self.below(60);
        self.publish_one(body_len);
    }

    fn publish_one(&mut self, body_len: usize) {
        let fan_out = self.below(3) + 1;
        let body = vec![self.below(256) as u8; body_len];
        let parts = MessageParts {
            exchange: "e",
            routing_key: "k",
            body: &body,
            persistent: true,
            ..MessageParts::default()
        };
        let message = Message::new(&parts, &mut Vec::new());
        for _ in 0..fan_out {
            let key = match self.below(6) {
                0 => {
                    let key = QueueKey(self.next_key);
                    self.next_key += 1;
                    self.queues.insert(key, (self.journal.queue(key), 1));
                    key
                }
                at => {
                    let keys: Vec<_> = self.queues.keys().copied().collect();
                    let Some(key) = keys.get(at % keys.len().max(1)) else {
                        continue;
                    };
                    *key
                }
            };
            let deadline = match self.below(3) {
                0 => Time::from_millis(self.below(1_000_000) as u64),
                _ => Time::MAX,
            };
            let skipped = u64::from(self.chance(9));
            let (log, next) = self.queues.get_mut(&key).unwrap();
            *next += skipped;
            let number = NonZeroU64::new(*next).unwrap();
            *next += 1;
            self.journal
                .append()
                .store(*log, number, deadline, &message);
            let entry = Entry {
                message: message.clone(),
                deadline,
                delivery_count: 0,
                home: None,
            };
            self.alive.insert((key, number), entry);
        }
        self.note();
    }

    /// A few neighbours.
    fn some(&mut self, limit: usize) -> Vec<MessageKey> {
        let start = self.below(self.alive.len().max(1));
        let len = self.below(limit) + 1;
        self.alive.keys().skip(start).take(len).copied().collect()
    }

    fn settle(&mut self) {
        let what = self.below(5);
        for (key, number) in self.some(12) {
            let (log, _) = self.queues[&key];
            let entry = self.alive.get_mut(&(key, number)).unwrap();
            let home = entry.home;
            let stored = Stored { number, home };
            let mut appender = self.journal.append();
            match what {
                0 => {
                    appender.handed(log, stored);
                    entry.delivery_count = entry.delivery_count.max(1);
                }
                1 => {
                    entry.delivery_count += 1;
                    appender.returned(log, stored, entry.delivery_count);
                }
                _ => {
                    appender.gone(log, stored);
                    self.alive.remove(&(key, number));
                }
            }
        }
        self.note();
    }

    /// Messages go to another queue, as dead letters do, or delayed messages that are due.
    fn move_some(&mut self, moved: &[MessageKey]) {
        let to = self.below(self.queues.len().max(1));
        let Some(to) = self.queues.keys().nth(to).copied() else {
            return;
        };
        for (key, number) in moved.iter().copied() {
            let mut entry = self.alive.remove(&(key, number)).unwrap();
            let (to_log, next) = self.queues.get_mut(&to).unwrap();
            let to_number = NonZeroU64::new(*next).unwrap();
            *next += 1;
            let (to_log, (from_log, _)) = (*to_log, self.queues[&key]);
            let home = entry.home.take();
            let mut appender = self.journal.append();
            appender.store(to_log, to_number, entry.deadline, &entry.message);
            appender.moved(from_log, Stored { number, home });
            drop(appender);
            entry.delivery_count = 0;
            self.alive.insert((to, to_number), entry);
            self.moves.push(((key, number), (to, to_number)));
        }
        self.note();
    }

    /// The disk is full for a while, and consumers take what there is, or what is nowhere but in the log, or that moves to
    /// another queue.
    fn drain(&mut self) {
        self.storage.leave_room(Some(0));
        let what = self.below(4);
        if what.is_multiple_of(2) {
            // More than there is room for in the file of the log that is written to.
            self.publish_one(6000);
        }
        self.work();
        let taken = self.alive.iter();
        let taken = taken.filter(|(_, entry)| what == 0 || entry.home.is_none());
        let taken: Vec<_> = taken.map(|(key, _)| *key).collect();
        if what < 2 {
            self.take(&taken);
        } else {
            self.move_some(&taken);
        }
        self.work();
    }

    fn take(&mut self, taken: &[MessageKey]) {
        for (key, number) in taken.iter().copied() {
            let (log, _) = self.queues[&key];
            let home = self.alive.remove(&(key, number)).and_then(|it| it.home);
            self.journal.append().gone(log, Stored { number, home });
        }
        self.note();
    }

    /// Writes some messages of one queue into a page, and calls that their home.
    fn put_into_page(&mut self, queue: QueueKey, numbers: &[NonZeroU64], level: Option<u8>) {
        let page = self.journal.new_page();
        let messages: Vec<_> = numbers
            .iter()
            .map(|number| {
                let entry = &self.alive[&(queue, *number)];
                PagedMessage {
                    message: entry.message.clone(),
                    stored: Some(Stored {
                        number: *number,
                        home: entry.home,
                    }),
                    deadline: entry.deadline,
                    delivery_count: entry.delivery_count,
                }
            })
            .collect();
        if messages.is_empty() {
            self.journal.release_page(page);
            return;
        }
        let (log, _) = self.queues[&queue];
        self.journal.write_page(log, page, level, &messages);
        for (index, number) in (0..).zip(numbers) {
            let entry = self.alive.get_mut(&(queue, *number)).unwrap();
            entry.home = Some(PageSlot { page, index });
        }
    }

    fn page_out(&mut self) {
        let some = self.some(30);
        let Some((queue, _)) = some.first().copied() else {
            return;
        };
        let step = self.below(3) + 1;
        let of_queue = some.iter().filter(|(key, _)| *key == queue);
        let numbers: Vec<_> = of_queue.map(|(_, number)| *number).step_by(step).collect();
        let level = (!self.chance(4)).then_some(0);
        self.put_into_page(queue, &numbers, level);
        self.note();
    }

    /// Does what a broker does when the log is too long.
    fn move_old(&mut self) {
        for to_move in self.journal.to_move() {
            let old = self.alive.iter().filter(|((key, number), entry)| {
                *key == to_move.queue && *number < to_move.below && entry.home.is_none()
            });
            let numbers: Vec<_> = old.map(|((_, number), _)| *number).collect();
            self.put_into_page(to_move.queue, &numbers, None);
        }
        self.note();
    }

    fn read_a_page(&mut self) {
        for key in self.some(1) {
            if let Some(home) = self.alive[&key].home {
                self.check_page(key.0, home.page);
            }
        }
    }

    /// What is alive in a page, which stays where it is however often no file can be opened.
    fn read_page(&self, page: PageId) -> Vec<(u16, PagedMessage)> {
        loop {
            match self.journal.read_page(page) {
                Ok(found) => return found,
                Err(error) => assert!(error.may_pass(), "{error}"),
            }
        }
    }

    fn check_page(&self, queue: QueueKey, page: PageId) {
        let found = self.read_page(page);
        let found: BTreeMap<_, _> = found.into_iter().collect();
        let mut count = 0;
        for ((key, number), entry) in &self.alive {
            let Some(home) = entry.home.filter(|home| home.page == page) else {
                continue;
            };
            count += 1;
            assert_eq!(*key, queue);
            let message = &found[&home.index];
            assert_eq!(message.message, entry.message);
            assert_eq!(message.deadline, entry.deadline);
            assert_eq!(message.delivery_count, entry.delivery_count);
            let stored = message.stored.unwrap();
            assert_eq!((stored.number, stored.home), (*number, Some(home)));
        }
        // Messages that are in a later page as well stay here until that is safe.
        assert!(count <= found.len());
    }

    /// A page is purged, or a queue deleted.
    fn drop_something(&mut self) {
        let Some(key) = self.some(1).first().copied() else {
            return;
        };
        if self.chance(3) {
            let (log, _) = self.queues.remove(&key.0).unwrap();
            self.journal.append().queue_gone(log);
            self.alive.retain(|(queue, _), _| *queue != key.0);
        } else if let Some(home) = self.alive[&key].home {
            // Whatever else is in there is in a later page, so nothing but these is lost.
            let others = self.read_page(home.page);
            let here = self
                .alive
                .values()
                .filter(|it| it.home.is_some_and(|it| it.page == home.page));
            if here.count() == others.len() {
                self.journal.append().page_gone(home.page);
                self.alive
                    .retain(|_, entry| entry.home.is_none_or(|it| it.page != home.page));
            }
        }
        self.note();
    }

    /// Messages that do not survive a restart are out of memory for a while.
    fn swap(&mut self) {
        if let Some((page, messages)) = self.swapped.pop_first() {
            let found = self.read_page(page);
            let found: Vec<_> = found.into_iter().map(|(_, message)| message).collect();
            assert_eq!(found, messages);
            self.journal.append().page_gone(page);
            assert!(self.journal.read_page(page).is_err());
        }
        let page = self.journal.new_page();
        let body = [self.below(256) as u8; 40];
        let parts = MessageParts {
            body: &body,
            ..MessageParts::default()
        };
        let message = PagedMessage {
            message: Message::new(&parts, &mut Vec::new()),
            stored: None,
            deadline: Time::MAX,
            delivery_count: 0,
        };
        let messages = vec![message; self.below(40) + 1];
        self.journal.write_swap_page(page, &messages);
        self.swapped.insert(page, messages);
    }

    /// Ends the broker, in one way or another, and starts it again.
    fn restart(&mut self) {
        let safe = self.journal.safe();
        if self.chance(3) && self.options.sync == SyncPolicy::EveryConfirm {
            self.storage.kill();
        } else if self.options.sync == SyncPolicy::EveryConfirm {
            self.storage.crash();
        } else {
            // What is safe from the end of the process alone.
            self.storage.kill();
        }
        let opened = Journal::open(Arc::new(self.storage.clone()), self.options);
        let (journal, recovered) = opened.unwrap_or_else(|error| panic!("{error}"));
        self.journal = journal;
        self.swapped.clear();
        let mut queues = BTreeMap::new();
        let mut alive = Alive::new();
        for queue in recovered.queues {
            let (key, next, len) = (queue.key(), queue.next_number(), queue.len());
            queues.insert(key, (self.journal.queue(key), next.get()));
            let before = alive.len();
            let items = queue.into_items(&self.journal, 0).unwrap();
            let mut last = 0;
            for (number, entry) in items.into_iter().flat_map(|item| self.entries(item)) {
                assert!(
                    last < number.get() && number < next,
                    "the order has changed"
                );
                last = number.get();
                alive.insert((key, number), entry);
            }
            assert_eq!(alive.len() - before, len as usize);
        }
        let last = self.contents();
        self.alive = alive;
        self.queues = queues;
        let found = self.contents();
        let mut last_safe = None;
        for (lsn, contents) in &self.moments {
            if *lsn <= safe {
                last_safe = Some(contents);
            }
        }
        let possible = self
            .moments
            .range((Bound::Excluded(safe), Bound::Unbounded))
            .map(|(_, it)| it);
        let mut possible: Vec<_> = last_safe.into_iter().chain(possible).collect();
        possible.dedup();
        let matched = possible.iter().any(|contents| {
            **contents == found || self.faults.full && is_later(contents, &found, &possible)
        });
        assert!(matched, "{safe:?}: {}", differences(&found, &possible));
        if let Some(last_safe) = last_safe {
            check_moves(&self.moves, last_safe, &last, &found);
        }
        self.moves.clear();
        self.moments = BTreeMap::from([(Lsn::default(), found)]);
        for (key, entry) in self.alive.clone() {
            if let Some(home) = entry.home {
                self.check_page(key.0, home.page);
            }
        }
    }

    fn entries(&self, item: RecoveredItem) -> Vec<(NonZeroU64, Entry)> {
        let messages = match item {
            RecoveredItem::Message(message) => vec![message],
            RecoveredItem::Page {
                page,
                len,
                body_bytes,
                timed,
                first_number,
                level,
            } => {
                let messages = self.read_page(page);
                let messages: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
                let bodies = messages.iter().map(|it| it.message.body_len() as u64);
                let deadlines = messages.iter().filter(|it| it.deadline != Time::MAX);
                assert_eq!(messages.len(), len as usize);
                assert_eq!(bodies.sum::<u64>(), body_bytes);
                assert_eq!(deadlines.count(), timed as usize);
                assert_eq!(messages[0].stored.unwrap().number, first_number);
                assert_eq!(level, 0);
                messages
            }
        };
        let entries = messages.into_iter().map(|message| {
            let stored = message.stored.unwrap();
            let entry = Entry {
                message: message.message,
                deadline: message.deadline,
                delivery_count: message.delivery_count,
                home: stored.home,
            };
            (stored.number, entry)
        });
        entries.collect()
    }
}

fn below(random: &mut u64, limit: usize) -> usize {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*random ^ (*random >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 33) % limit.max(1) as u64) as usize
}
