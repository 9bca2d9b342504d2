//! What a queue has on disk.

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

use leveret_queue_store::{
    DeathReason, Effect, Lsn, Message, PageId, PageSlot, PagedMessage, PagedOut, Queue, QueueKey,
    QueueLog, QueueOptions, ReadError, Rebuilt, RecoveredItem, Stored, Time,
};
use smallvec::SmallVec;

use crate::memory::MemoryGauge;
use crate::store::{Holder, JOINED_MIN, Resident, Store};
use crate::vhost::queue::DeadLetter;
use crate::vhost::{QueueCell, Services};

/// How many messages one page takes at most when an old file of the log is to be emptied.
const MOVED_MAX: usize = 512;

/// How many pages of a queue with consumers are read before they are needed: two would do, and with more the thread that
/// reads them is woken less often.
const PAGES_AHEAD: usize = 6;

/// With how many bytes of messages such a page takes no more.
const MOVED_BYTES_MAX: usize = 1 << 20;

/// A queue's part of the store: its place in the journal if it is durable, and pages to save memory in any case.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    store: Arc<Store>,
    log: Option<QueueLog>,
}

/// Why messages leave a queue for good.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Leaving {
    /// Nobody needs them any more.
    #[default]
    Done,
    /// Others came for them, which are written first: they stay on disk until those are there.
    Replaced,
}

impl Disk {
    /// None in a broker without a store. A queue without a key is not durable.
    pub(super) fn new(services: &Arc<Services>, key: Option<QueueKey>) -> Option<Self> {
        let store = services.store.as_ref()?;
        Some(Self {
            log: key.map(|key| store.journal().queue(key)),
            store: Arc::clone(store),
        })
    }

    pub(super) fn is_durable(&self) -> bool {
        self.log.is_some()
    }

    /// The queue as it was when the last run of the broker ended, or an empty one.
    pub(super) fn make_queue(
        &self,
        key: Option<QueueKey>,
        options: QueueOptions,
        now: Time,
    ) -> Queue {
        let recovered = key.and_then(|key| self.store.take_recovered(key));
        let Some(recovered) = recovered else {
            return Queue::new(options, now);
        };
        let next_number = recovered.next_number();
        match recovered.into_items(self.store.journal(), options.max_priority) {
            Ok(items) => {
                let items = items.into_iter().map(rebuilt);
                Queue::rebuild(options, now, next_number, items)
            }
            Err(damage) => {
                // The broker does not start with it.
                self.store.note_damage(damage);
                Queue::new(options, now)
            }
        }
    }

    /// Has the store know the queue.
    pub(super) fn register(&self, key: Option<QueueKey>, queue: &Arc<QueueCell>) {
        if let Some(key) = key {
            let resident: Weak<dyn Resident> = Arc::<QueueCell>::downgrade(queue);
            self.store.register(key, resident);
        }
    }

    /// Has the store ask the queue for memory when there is too little.
    pub(super) fn list(&self, queue: &Arc<QueueCell>) {
        let holder: Weak<dyn Holder> = Arc::<QueueCell>::downgrade(queue);
        self.store.add_holder(holder);
    }

    /// Writes down what happened to messages, in order. Tells up to where the journal must be safe before messages are
    /// that have just been stored, if there are any.
    ///
    /// Dead messages are gone only `with_the_dead`; otherwise they stay on disk until [`Disk::forget`].
    pub(super) fn record(
        &self,
        effects: &mut Vec<Effect>,
        with_the_dead: bool,
        leaving: Leaving,
    ) -> Option<Lsn> {
        let mut pages_gone = effects.iter().filter_map(|effect| match effect {
            Effect::PageGone { page } => Some(*page),
            _ => None,
        });
        let Some(log) = self.log else {
            // Of a queue that is not durable nothing but its pages is on disk.
            if let Some(first) = pages_gone.next() {
                let mut appender = self.store.journal().append();
                appender.page_gone(first);
                pages_gone.for_each(|page| appender.page_gone(page));
            }
            return None;
        };
        // The journal is shared by all queues: it is not locked for nothing.
        let mut appender = None;
        let mut has_stored = false;
        for effect in effects.iter() {
            let is_death = matches!(
                effect,
                Effect::Dead {
                    stored: Some(_),
                    ..
                }
            );
            if !(is_only_for_the_journal(effect) || is_death && with_the_dead) {
                continue;
            }
            let appender = appender.get_or_insert_with(|| self.store.journal().append());
            match effect {
                Effect::Store {
                    number,
                    message,
                    deadline,
                } => {
                    has_stored = true;
                    appender.store(log, *number, *deadline, message);
                }
                Effect::Handed { stored } => appender.handed(log, *stored),
                Effect::Returned {
                    stored,
                    delivery_count,
                } => appender.returned(log, *stored, *delivery_count),
                Effect::Gone { stored }
                | Effect::Dead {
                    stored: Some(stored),
                    ..
                } => match leaving {
                    Leaving::Done => appender.gone(log, *stored),
                    Leaving::Replaced => appender.moved(log, *stored),
                },
                Effect::PageGone { page } => appender.page_gone(*page),
                Effect::SlotsGone { page, first, last } => {
                    appender.slots_gone(*page, *first, *last);
                }
                _ => {}
            }
        }
        let lsn = appender?.finish();
        // What is left is for the consumers, whose deliveries go together when nothing stands between them.
        effects.retain(|effect| !is_only_for_the_journal(effect));
        if has_stored {
            self.store.hold_up_if_congested();
        }
        has_stored.then_some(lsn)
    }

    /// A message that was dead has arrived where it should.
    pub(super) fn forget(&self, stored: Stored) {
        if let Some(log) = self.log {
            let mut appender = self.store.journal().append();
            appender.moved(log, stored);
            appender.finish();
        }
    }

    /// The queue has been deleted with everything in it.
    pub(super) fn delete(&self) {
        if let Some(log) = self.log {
            let mut appender = self.store.journal().append();
            appender.queue_gone(log);
            appender.finish();
        }
    }

    /// Brings a page back into the queue, and has those behind it read if somebody consumes.
    ///
    /// # Errors
    /// When it cannot be read: the queue stays as it is, and serves nobody from there on, unless that [may
    /// pass](ReadError::may_pass).
    pub(super) fn bring_in(
        &self,
        name: &str,
        queue: &mut Queue,
        now: Time,
        page: PageId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReadError> {
        let messages = self.store.journal().read_page(page).inspect_err(
            |error| tracing::error!(queue = name, %error, "messages cannot be read from disk"),
        )?;
        queue.restore(now, page, messages, effects);
        if queue.consumer_len() > 0 {
            let ahead: SmallVec<[PageId; PAGES_AHEAD]> =
                queue.pages_to_come().take(PAGES_AHEAD).collect();
            self.store.journal().expect_pages(&ahead);
        }
        Ok(())
    }

    /// Shows the messages of a page that have these slots, without touching them, until `look` returns false. What cannot be
    /// read is passed over.
    pub(super) fn browse_page(
        &self,
        page: PageId,
        (first, last): (u16, u16),
        look: &mut impl FnMut(&Message, bool) -> bool,
    ) -> bool {
        match self.store.journal().read_page(page) {
            Ok(messages) => messages
                .iter()
                .filter(|(index, _)| (first..=last).contains(index))
                .all(|(_, paged)| look(&paged.message, paged.delivery_count > 0)),
            Err(error) => {
                tracing::error!(%error, "messages cannot be read from disk");
                true
            }
        }
    }

    /// Takes messages out of memory while there are too many there and the disk keeps up. Counts what the queue holds,
    /// which was `held` when it was counted last, and returns it, and whether that is still too much.
    ///
    /// `memory_excess` is by how much all queues of the broker hold more than they should.
    pub(super) fn page_out(
        &self,
        queue: &mut Queue,
        held: usize,
        memory_excess: usize,
    ) -> (usize, bool) {
        let at_first = MemoryGauge::of(queue);
        let mut holds = at_first;
        self.account(held, holds);
        let is_over = |holds: usize| {
            let freed = at_first - holds;
            memory_excess > freed || self.is_durable() && self.store.is_over_budget()
        };
        while is_over(holds) && self.store.takes_pages() && self.page_out_once(queue) {
            let held = std::mem::replace(&mut holds, MemoryGauge::of(queue));
            self.account(held, holds);
        }
        (holds, is_over(holds))
    }

    /// There is too little memory, and the queue at work has given up what it can without harm.
    pub(super) fn note_shortage(&self) {
        self.store.note_shortage();
    }

    /// Takes everything out of memory, or so much that there is enough, of a queue that nobody takes from. Counts as
    /// [`page_out`](Self::page_out) does.
    pub(super) fn page_out_idle(
        &self,
        queue: &mut Queue,
        held: usize,
        memory_excess: usize,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let mut holds = held;
        while self.is_short(memory_excess.saturating_sub(held - holds))
            && self.store.takes_pages()
            && self.page_out_any(queue, effects)
        {
            let before = std::mem::replace(&mut holds, MemoryGauge::of(queue));
            self.account(before, holds);
        }
        holds
    }

    /// Whether the queue is one of those that hold too much memory.
    fn is_short(&self, memory_excess: usize) -> bool {
        memory_excess > 0 || self.is_durable() && self.store.is_above_aim()
    }

    /// Whether any queues hold too much memory.
    pub(super) fn is_anybody_short(&self, memory_excess: usize) -> bool {
        memory_excess > 0 || self.store.is_above_aim()
    }

    /// Whether a queue holds enough for it to be asked for memory.
    pub(super) fn is_worth_a_page(&self, holds: usize) -> bool {
        holds > self.store.page_worth()
    }

    fn account(&self, held: usize, holds: usize) {
        if self.is_durable() {
            self.store.account(held, holds);
        }
    }

    fn page_out_once(&self, queue: &mut Queue) -> bool {
        let page = self.store.journal().new_page();
        let out = queue.page_out(page);
        self.keep(queue.options().max_priority, page, out)
    }

    fn page_out_any(&self, queue: &mut Queue, effects: &mut Vec<Effect>) -> bool {
        let page = self.store.journal().new_page();
        let out = queue.page_out_any(page, self.store.page_worth());
        let is_out = self.keep(queue.options().max_priority, page, out);
        if is_out {
            self.join_pages(queue, effects);
        }
        is_out
    }

    /// Writes what was taken out of memory, if it has to be. False if that was nothing.
    fn keep(&self, max_priority: u8, page: PageId, out: Option<PagedOut>) -> bool {
        if let Some(PagedOut::New(messages)) = &out {
            self.write_page(max_priority, page, messages);
        } else {
            self.store.journal().release_page(page);
        }
        out.is_some()
    }

    /// Writes messages that all wait at one level.
    fn write_page(&self, max_priority: u8, page: PageId, messages: &[PagedMessage]) {
        let journal = self.store.journal();
        match self.log {
            Some(log) => {
                let priority = messages.first().map_or(0, |paged| paged.message.priority());
                let level = priority.min(max_priority);
                journal.write_page(log, page, Some(level), messages);
            }
            None => journal.write_swap_page(page, messages),
        }
    }

    /// Makes one page of small ones, if there are several. What cannot be read is let alone: whoever needs it will be told.
    fn join_pages(&self, queue: &mut Queue, effects: &mut Vec<Effect>) {
        let Some(pages) = queue.to_join(JOINED_MIN) else {
            return;
        };
        let journal = self.store.journal();
        let parts: Result<Vec<_>, _> = pages.iter().map(|page| journal.read_page(*page)).collect();
        let Ok(parts) = parts else { return };
        let page = journal.new_page();
        let messages = queue.join(page, JOINED_MIN, parts, effects);
        if messages.is_empty() {
            return journal.release_page(page);
        }
        self.write_page(queue.options().max_priority, page, &messages);
    }

    /// Copies to pages what only an old file of the log has, so that the file can go.
    pub(super) fn move_to_pages(&self, queue: &mut Queue, below: NonZeroU64) {
        let Some(log) = self.log else { return };
        let journal = self.store.journal();
        // If the disk does not keep up the rest has its turn later.
        while self.store.takes_pages() {
            let pages = queue.rehome(below, MOVED_MAX, || journal.new_page());
            if pages.is_empty() {
                return;
            }
            for (page, messages) in pages {
                journal.write_page(log, page, None, &messages);
            }
        }
    }

    /// The same for letters of the queue that have not arrived. Should they be found there they are in the queue again, as
    /// they were when they died. Those stay where they are that would have expired at some time and died of something else:
    /// when that is stands nowhere but in the log.
    pub(super) fn move_letters(&self, options: &QueueOptions, mut letters: Vec<&mut DeadLetter>) {
        let Some(log) = self.log else { return };
        letters.retain(|letter| letter.deadline(options).is_some());
        let level = |letter: &DeadLetter| letter.message.priority().min(options.max_priority);
        letters.sort_unstable_by_key(|it| (level(it), it.stored.map(|stored| stored.number)));
        let journal = self.store.journal();
        let mut letters = letters.into_iter().peekable();
        while self.store.takes_pages()
            && let Some(first) = letters.peek()
        {
            let (page, common) = (journal.new_page(), level(first));
            let (mut messages, mut bytes) = (Vec::new(), 0);
            while messages.len() < MOVED_MAX
                && bytes < MOVED_BYTES_MAX
                && let Some(letter) = letters.next_if(|letter| level(letter) == common)
            {
                bytes += letter.message.size_bytes();
                let copy = letter.as_it_was(options);
                if let Some(stored) = &mut letter.stored {
                    // There are no more than `MOVED_MAX`.
                    let index = messages.len() as u16;
                    stored.home = Some(PageSlot { page, index });
                    messages.push(copy);
                }
            }
            journal.write_page(log, page, Some(common), &messages);
        }
    }
}

impl DeadLetter {
    /// When the message was to expire in its queue, where that is known: it has, or it was never to.
    fn deadline(&self, options: &QueueOptions) -> Option<Time> {
        let is_timed = options.message_ttl_ms.is_some() || self.message.expiration_ms().is_some();
        match self.reason {
            DeathReason::Expired => Some(Time::default()),
            _ if is_timed => None,
            _ => Some(Time::MAX),
        }
    }

    /// The message as it would be found in its queue if the broker ended now.
    fn as_it_was(&self, options: &QueueOptions) -> PagedMessage {
        let delivery_count = match self.reason {
            DeathReason::Rejected => self.delivery_count.max(1),
            // That it came back once more is not on disk: it died of that.
            DeathReason::DeliveryLimit => self.delivery_count.saturating_sub(1).max(1),
            _ => self.delivery_count,
        };
        PagedMessage {
            message: self.message.clone(),
            stored: self.stored,
            deadline: self.deadline(options).unwrap_or(Time::MAX),
            delivery_count,
        }
    }
}

fn rebuilt(item: RecoveredItem) -> Rebuilt {
    match item {
        RecoveredItem::Message(message) => Rebuilt::Message(message),
        RecoveredItem::Page {
            page,
            level,
            len,
            body_bytes,
            timed,
            ..
        } => Rebuilt::Page {
            page,
            priority: level,
            len,
            body_bytes,
            timed,
        },
    }
}

fn is_only_for_the_journal(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Store { .. }
            | Effect::Handed { .. }
            | Effect::Returned { .. }
            | Effect::Gone { .. }
            | Effect::PageGone { .. }
            | Effect::SlotsGone { .. }
    )
}

#[cfg(test)]
mod tests {
    use leveret_queue_store::{
        ConsumerOptions, Journal, JournalOptions, MemoryStorage, MessageParts, TakeMode,
    };

    use super::*;
    use crate::metadata::Metadata;

    const NOW: Time = Time::from_millis(1);

    /// A queue of four pages and the rest of the broker that it needs.
    fn paged_out() -> (Disk, Queue) {
        let storage = Arc::new(MemoryStorage::new());
        let opened = Journal::open(storage, JournalOptions::default()).unwrap();
        let (alarms, metadata) = (Arc::default(), Arc::new(Metadata::off()));
        let store = Store::new(opened, 1 << 20, alarms, Arc::default(), metadata);
        let log = Some(store.journal().queue(QueueKey(1)));
        let disk = Disk { store, log };
        let options = QueueOptions {
            durable: true,
            ..QueueOptions::default()
        };
        let (mut queue, mut effects) = (Queue::new(options, NOW), Vec::new());
        let parts = MessageParts {
            body: &[7; 100],
            persistent: true,
            ..MessageParts::default()
        };
        let mut scratch = Vec::new();
        for _ in 0..(PAGES_AHEAD + 2) * 512 {
            let message = Message::new(&parts, &mut scratch);
            assert!(queue.publish(NOW, message, &mut effects).is_accepted());
        }
        disk.record(&mut effects, true, Leaving::Done);
        while disk.page_out_any(&mut queue, &mut effects) {}
        disk.store.journal().sync(NOW).unwrap();
        assert_eq!(queue.pages_to_come().count(), PAGES_AHEAD + 2);
        (disk, queue)
    }

    fn bring_in(disk: &Disk, queue: &mut Queue) {
        let page = queue.wanted_page().expect("somebody came to it");
        disk.bring_in("q", queue, NOW, page, &mut Vec::new())
            .unwrap();
    }

    #[test]
    fn the_pages_behind_are_read_for_a_consumer() {
        let (disk, mut queue) = paged_out();
        let options = ConsumerOptions {
            prefetch: 1,
            ..ConsumerOptions::default()
        };
        let consumer = queue.consume(NOW, options, &mut Vec::new());
        assert!(consumer.is_ok());
        bring_in(&disk, &mut queue);
        let journal = disk.store.journal();
        let read = std::iter::from_fn(|| journal.read_ahead().then_some(()));
        assert_eq!(read.count(), PAGES_AHEAD);
        assert_eq!(journal.stats().pages_ahead, PAGES_AHEAD);
    }

    #[test]
    fn nothing_is_read_ahead_where_nobody_consumes() {
        let (disk, mut queue) = paged_out();
        let taken = queue.take(NOW, TakeMode::NoAck, &mut Vec::new());
        assert!(taken.is_none(), "it is on disk");
        bring_in(&disk, &mut queue);
        assert!(!disk.store.journal().read_ahead());
    }
}
