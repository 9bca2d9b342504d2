//! What a queue has on disk.

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

use leveret_queue_store::{
    Effect, Lsn, Message, PageId, Queue, QueueKey, QueueLog, QueueOptions, Rebuilt, RecoveredItem,
    Stored, Time,
};

use crate::memory::MemoryGauge;
use crate::store::{Resident, Store};
use crate::vhost::{QueueCell, Services};

/// How many messages one page takes at most when an old file of the log is to be emptied.
const MOVED_MAX: usize = 512;

/// A queue's part of the store: its place in the journal if it is durable, and pages to save memory in any case.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    store: Arc<Store>,
    log: Option<QueueLog>,
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

    /// Writes down what happened to messages, in order. Tells up to where the journal must be safe before messages are
    /// that have just been stored, if there are any.
    ///
    /// Dead messages are gone only `with_the_dead`; otherwise they stay on disk until [`Disk::forget`].
    pub(super) fn record(&self, effects: &mut Vec<Effect>, with_the_dead: bool) -> Option<Lsn> {
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
                } => appender.gone(log, *stored),
                Effect::PageGone { page } => appender.page_gone(*page),
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
            appender.gone(log, stored);
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

    /// Brings a page back into the queue. False when it cannot be read: the queue stays as it is, and serves nobody from
    /// there on.
    pub(super) fn bring_in(
        &self,
        name: &str,
        queue: &mut Queue,
        now: Time,
        page: PageId,
        effects: &mut Vec<Effect>,
    ) -> bool {
        match self.store.journal().read_page(page) {
            Ok(messages) => {
                queue.restore(now, page, messages, effects);
                true
            }
            Err(error) => {
                tracing::error!(queue = name, %error, "messages cannot be read from disk");
                false
            }
        }
    }

    /// Shows the messages of a page, without touching them, until `look` returns false. What cannot be read is passed over.
    pub(super) fn browse_page(
        &self,
        page: PageId,
        look: &mut impl FnMut(&Message, bool) -> bool,
    ) -> bool {
        match self.store.journal().read_page(page) {
            Ok(messages) => messages
                .iter()
                .all(|(_, paged)| look(&paged.message, paged.delivery_count > 0)),
            Err(error) => {
                tracing::error!(%error, "messages cannot be read from disk");
                true
            }
        }
    }

    /// Takes messages out of memory while there are too many there and the disk keeps up. Counts what the queue holds,
    /// which was `held` when it was counted last, and returns it.
    ///
    /// `memory_excess` is by how much all queues of the broker hold more than they should.
    pub(super) fn page_out(&self, queue: &mut Queue, held: usize, memory_excess: usize) -> usize {
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
        holds
    }

    fn account(&self, held: usize, holds: usize) {
        if self.is_durable() {
            self.store.account(held, holds);
        }
    }

    fn page_out_once(&self, queue: &mut Queue) -> bool {
        let journal = self.store.journal();
        let page = journal.new_page();
        let Some(messages) = queue.page_out(page) else {
            journal.release_page(page);
            return false;
        };
        match self.log {
            Some(log) => {
                // They are all of one level.
                let priority = messages.first().map_or(0, |paged| paged.message.priority());
                let level = priority.min(queue.options().max_priority);
                journal.write_page(log, page, Some(level), &messages);
            }
            None => journal.write_swap_page(page, &messages),
        }
        true
    }

    /// Copies to pages what only an old file of the log has, so that the file can go.
    pub(super) fn move_to_pages(&self, queue: &mut Queue, below: NonZeroU64) {
        let Some(log) = self.log else { return };
        let journal = self.store.journal();
        loop {
            let page = journal.new_page();
            let messages = queue.rehome(below, MOVED_MAX, page);
            if messages.is_empty() {
                journal.release_page(page);
                return;
            }
            journal.write_page(log, page, None, &messages);
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
    )
}
