//! A durable queue with its journal, on a disk that is memory: into it, out to pages, back, and gone.

use std::sync::Arc;

use leveret_queue_store::{
    ConsumerOptions, DeliveryId, Effect, Journal, JournalOptions, MemoryStorage, Message,
    MessageParts, PageId, PagedOut, Queue, QueueKey, QueueLog, QueueOptions, Settlement, TakeMode,
    Time,
};

use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("journal/publish and write", publish),
    Case::new("journal/move to a page", page_out),
    Case::new("journal/write pages", write_pages),
    Case::new("journal/bring back from a page", bring_back),
    Case::new("journal/deliver and settle, in the log", || settle(false)),
    Case::new("journal/deliver and settle, in a page", || settle(true)),
];

const NOW: Time = Time::from_millis(1_700_000_000_000);

/// As many as come with one read of a busy publisher.
const BATCH: usize = 100;

/// A number of full pages.
const MESSAGES: usize = 20 * 512;

/// A durable queue, its journal, and what stands between them.
struct Durable {
    queue: Queue,
    journal: Journal,
    log: QueueLog,
    effects: Vec<Effect>,
}

impl Durable {
    fn new() -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let opened = Journal::open(storage, JournalOptions::default());
        let (journal, _) = opened.expect("an empty directory is in order");
        let options = QueueOptions {
            durable: true,
            ..QueueOptions::default()
        };
        Self {
            queue: Queue::new(options, NOW),
            log: journal.queue(QueueKey(1)),
            journal,
            effects: Vec::with_capacity(4 * BATCH),
        }
    }

    /// With so many messages in it, all of them written.
    fn filled() -> Self {
        let mut durable = Self::new();
        durable.publish(messages());
        durable
    }

    fn publish(&mut self, messages: Vec<Message>) {
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            for message in messages.by_ref().take(BATCH) {
                let published = self.queue.publish(NOW, message, &mut self.effects);
                assert!(published.is_accepted());
            }
            self.record();
        }
    }

    /// Has the journal know what happened, and write it; what was delivered is returned.
    fn record(&mut self) -> Vec<DeliveryId> {
        let mut delivered = Vec::new();
        let mut appender = self.journal.append();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Store {
                    number,
                    message,
                    deadline,
                } => appender.store(self.log, number, deadline, &message),
                Effect::Handed { stored } => appender.handed(self.log, stored),
                Effect::Gone { stored } => appender.gone(self.log, stored),
                Effect::Deliver { delivery, .. } => delivered.extend(delivery.id),
                other => panic!("not expected: {other:?}"),
            }
        }
        appender.finish();
        self.journal.work(NOW);
        delivered
    }

    fn page_out(&mut self) -> Vec<PageId> {
        let mut pages = Vec::new();
        loop {
            let page = self.journal.new_page();
            match self.queue.page_out_any(page, 0) {
                None => {
                    self.journal.release_page(page);
                    return pages;
                }
                Some(PagedOut::New(messages)) => {
                    self.journal.write_page(self.log, page, Some(0), &messages);
                    pages.push(page);
                }
                Some(PagedOut::Kept) => panic!("no page was read"),
            }
        }
    }

    /// Brings back the page that what is next lies in, if it is in one.
    fn bring_in(&mut self) {
        while let Some(page) = self.queue.wanted_page() {
            let messages = self.journal.read_page(page).expect("it was written");
            let is_next = self.queue.restore(NOW, page, messages, &mut self.effects);
            assert!(is_next);
        }
    }
}

/// Messages of a hundred bytes that are told apart by their bodies.
fn messages() -> Vec<Message> {
    let mut scratch = Vec::new();
    let messages = (0..MESSAGES).map(|at| {
        let mut body = [42; 60];
        body[..8].copy_from_slice(&(at as u64).to_le_bytes());
        let parts = MessageParts {
            exchange: "room",
            routing_key: "room.4711.message",
            properties: &[7; 19],
            body: &body,
            persistent: true,
            ..MessageParts::default()
        };
        Message::new(&parts, &mut scratch)
    });
    messages.collect()
}

fn publish() -> usize {
    let mut durable = Durable::new();
    let messages = messages();
    measured(|| durable.publish(messages));
    assert_eq!(durable.journal.stats().log_messages, MESSAGES as u64);
    MESSAGES
}

fn page_out() -> usize {
    let mut durable = Durable::filled();
    let pages = measured(|| durable.page_out());
    assert_eq!(pages.len(), MESSAGES / 512);
    MESSAGES
}

fn write_pages() -> usize {
    let mut durable = Durable::filled();
    durable.page_out();
    let journal = &durable.journal;
    measured(|| journal.sync(NOW)).expect("memory is no disk that fails");
    assert_eq!(journal.stats().log_messages, 0, "all are in pages");
    MESSAGES
}

fn bring_back() -> usize {
    let mut durable = Durable::filled();
    durable.page_out();
    durable
        .journal
        .sync(NOW)
        .expect("memory is no disk that fails");
    let taken = measured(|| {
        let mut taken = 0;
        while durable.queue.ready_len() > 0 {
            let took = durable
                .queue
                .take(NOW, TakeMode::NoAck, &mut durable.effects);
            match took {
                Some(_) => taken += 1,
                None => durable.bring_in(),
            }
            durable.effects.clear();
        }
        taken
    });
    assert_eq!(taken, MESSAGES);
    MESSAGES
}

/// Deliveries to a consumer that has few at a time, and settles them together.
fn settle(in_pages: bool) -> usize {
    let mut durable = Durable::filled();
    if in_pages {
        durable.page_out();
        durable
            .journal
            .sync(NOW)
            .expect("memory is no disk that fails");
    }
    let options = ConsumerOptions {
        prefetch: BATCH as u32,
        ..ConsumerOptions::default()
    };
    measured(|| {
        let consumer = durable.queue.consume(NOW, options, &mut durable.effects);
        assert!(consumer.is_ok(), "nobody is there before");
        loop {
            durable.bring_in();
            let delivered = durable.record();
            if delivered.is_empty() {
                break;
            }
            let settled =
                durable
                    .queue
                    .settle_many(NOW, delivered, Settlement::Ack, &mut durable.effects);
            assert!(settled > 0);
        }
    });
    assert_eq!(
        (durable.queue.ready_len(), durable.queue.unacked_len()),
        (0, 0)
    );
    assert_eq!(durable.journal.stats().pages, 0, "nothing is left");
    MESSAGES
}
