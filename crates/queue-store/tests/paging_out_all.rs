//! What happens to a queue of which nothing stays in memory, since nobody takes from it.

mod support;

use std::num::NonZeroU32;

use leveret_queue_store::{
    ConsumerId, DeathReason, Delivery, Effect, MessageParts, PageId, PageSlot, PagedMessage,
    PagedOut, QueueOptions, RequeueOrder, Settlement,
};
use support::{Subject, body, no_ack, parts, prefetch};

/// How many messages share a chunk.
const CHUNK_LEN: usize = 512;

fn page(this: u32) -> PageId {
    PageId(NonZeroU32::new(this).expect("pages begin at one"))
}

fn durable() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

/// A queue, and what was written of it, page after page.
struct Paged {
    subject: Subject,
    pages: Vec<Vec<PagedMessage>>,
}

impl Paged {
    fn new(options: QueueOptions) -> Self {
        Self {
            subject: Subject::new(options),
            pages: Vec::new(),
        }
    }

    /// A queue with so many persistent messages, named by their place, none of which is in memory.
    fn filled(messages: usize, options: QueueOptions) -> Self {
        let mut paged = Self::new(options);
        paged.publish(0..messages);
        paged.page_out_all();
        assert_eq!(paged.subject.queue.resident_len(), 0);
        paged.subject.effects();
        paged
    }

    fn publish(&mut self, places: std::ops::Range<usize>) {
        for place in places {
            let body = place.to_string();
            let parts = MessageParts {
                persistent: true,
                ..parts(&body)
            };
            assert!(self.subject.offer(&parts).is_accepted());
        }
    }

    /// Takes everything out of memory that may go. Says how often nothing had to be written.
    fn page_out_all(&mut self) -> usize {
        let mut kept = 0;
        loop {
            let this = u32::try_from(self.pages.len()).expect("few") + 1;
            match self.subject.queue.page_out_any(page(this), 0) {
                None => return kept,
                Some(PagedOut::Kept) => kept += 1,
                Some(PagedOut::New(messages)) => self.pages.push(messages),
            }
        }
    }

    fn read(&self, this: PageId) -> Vec<(u16, PagedMessage)> {
        let index = this.0.get() as usize - 1;
        (0..).zip(self.pages[index].clone()).collect()
    }

    /// Brings back what is wanted; says whether anything was.
    fn bring_back(&mut self) -> bool {
        let mut any = false;
        while let Some(this) = self.subject.queue.wanted_page() {
            let messages = self.read(this);
            assert!(self.subject.restore(this, messages));
            any = true;
        }
        any
    }

    fn take(&mut self) -> Option<Delivery> {
        loop {
            let taken = self.subject.take();
            if taken.is_some() || !self.bring_back() {
                return taken;
            }
        }
    }

    fn join(&mut self, at_least: usize) -> Option<Vec<Effect>> {
        let pages = self.subject.queue.to_join(at_least)?;
        let parts = pages.iter().map(|page| self.read(*page)).collect();
        let this = u32::try_from(self.pages.len()).expect("few") + 1;
        let mut effects = Vec::new();
        let joined = self
            .subject
            .queue
            .join(page(this), at_least, parts, &mut effects);
        self.pages.push(joined);
        Some(effects)
    }
}

fn name(delivery: &Delivery) -> String {
    body(&delivery.message)
}

/// The only delivery since the last time.
fn delivered_one(paged: &mut Paged) -> (ConsumerId, Delivery) {
    let effects = paged.subject.effects().into_iter();
    let mut delivered = effects.filter_map(|effect| match effect {
        Effect::Deliver { consumer, delivery } => Some((consumer, delivery)),
        _ => None,
    });
    let one = delivered.next().expect("one was delivered");
    assert_eq!(delivered.next(), None);
    one
}

#[test]
fn everything_goes_the_last_first_and_comes_back_in_order() {
    let mut paged = Paged::filled(2 * CHUNK_LEN + 10, durable());
    let lens: Vec<_> = paged.pages.iter().map(Vec::len).collect();
    assert_eq!(lens, [10, CHUNK_LEN, CHUNK_LEN]);
    paged.publish(2 * CHUNK_LEN + 10..2 * CHUNK_LEN + 12);
    for place in 0..2 * CHUNK_LEN + 12 {
        let delivery = paged.take().expect("there is more");
        assert_eq!(name(&delivery), place.to_string());
    }
    assert!(paged.take().is_none());
}

#[test]
fn a_page_is_wanted_by_whom_it_could_be_given_to_alone() {
    let mut paged = Paged::filled(3, durable());
    paged.subject.poll();
    assert_eq!(paged.subject.queue.wanted_page(), None);
    paged.subject.consume(prefetch(1));
    assert!(paged.bring_back());
    let delivered = paged.subject.effects();
    let [Effect::Handed { .. }, Effect::Deliver { delivery, .. }] = delivered.as_slice() else {
        panic!("{delivered:?}")
    };
    let id = delivery.id.expect("it is to be settled");
    assert_eq!(name(delivery), "0");

    // It has enough: what is left goes again, and is in a page already.
    assert_eq!(paged.page_out_all(), 1);
    assert_eq!(paged.pages.len(), 1);
    paged.publish(3..4);
    paged.subject.poll();
    assert_eq!(paged.subject.queue.wanted_page(), None);
    paged.subject.settle(id, Settlement::Ack);
    assert!(paged.bring_back());
}

#[test]
fn an_overdue_page_takes_nobodys_turn() {
    let mut paged = Paged::new(QueueOptions {
        max_priority: 1,
        ..durable()
    });
    for (priority, expiration_ms) in [(1, None), (0, Some(0))] {
        let parts = MessageParts {
            persistent: true,
            priority,
            expiration_ms,
            ..parts("x")
        };
        assert!(paged.subject.offer(&parts).is_accepted());
    }
    paged.page_out_all();
    let first = paged.subject.consume(prefetch(1));
    assert!(paged.bring_back());
    assert_eq!(paged.subject.queue.ready_len(), 0, "one is overdue");
    let (_, delivery) = delivered_one(&mut paged);
    let id = delivery.id.expect("it is to be settled");

    paged.subject.consume(prefetch(1));
    paged.subject.settle(id, Settlement::Requeue);
    let (again, _) = delivered_one(&mut paged);
    assert_eq!(again, first, "it came first, and was never passed over");
}

#[test]
fn what_is_with_a_consumer_is_not_given_again_and_not_purged() {
    let mut paged = Paged::filled(4, durable());
    let taken: Vec<_> = (0..2).filter_map(|_| paged.take()).collect();
    assert_eq!(paged.page_out_all(), 1);
    assert_eq!(paged.take().map(|it| name(&it)), Some("2".to_owned()));
    assert_eq!(paged.page_out_all(), 1);
    paged.subject.effects();
    assert_eq!(paged.subject.purge(), 1);
    let gone = Effect::SlotsGone {
        page: page(1),
        first: 3,
        last: 3,
    };
    assert_eq!(paged.subject.effects(), [gone]);
    let id = taken[1].id.expect("it is to be settled");
    paged.subject.settle(id, Settlement::Requeue);
    let again = paged.take().expect("it came back");
    assert_eq!((name(&again).as_str(), again.redelivered), ("1", true));
}

#[test]
fn what_came_back_goes_too_once_nothing_is_delivered() {
    let mut paged = Paged::filled(4, durable());
    let ids: Vec<_> = (0..3).map(|_| paged.take().and_then(|it| it.id)).collect();
    let settle = |paged: &mut Paged, at: usize, how| {
        paged.subject.settle(ids[at].expect("to be settled"), how);
    };
    settle(&mut paged, 2, Settlement::Requeue);
    paged.page_out_all();
    assert_eq!(paged.subject.queue.resident_len(), 3, "two are delivered");
    settle(&mut paged, 1, Settlement::Ack);
    settle(&mut paged, 0, Settlement::Requeue);
    paged.page_out_all();
    assert_eq!(paged.subject.queue.resident_len(), 0);
    let taken = std::iter::from_fn(|| paged.take()).map(|it| (name(&it), it.redelivered));
    let expected = [("0", true), ("2", true), ("3", false)];
    let expected = expected.map(|(name, redelivered)| (name.to_owned(), redelivered));
    assert_eq!(taken.collect::<Vec<_>>(), expected);
}

#[test]
fn a_list_of_returned_messages_stays_in_memory() {
    let options = QueueOptions {
        requeue: RequeueOrder::Returns,
        delivery_limit: Some(5),
        ..durable()
    };
    let mut paged = Paged::filled(3, options);
    let id = paged.take().and_then(|it| it.id).expect("to be settled");
    paged.subject.settle(id, Settlement::Requeue);
    paged.page_out_all();
    assert_eq!(paged.subject.queue.resident_len(), 1);
    assert_eq!(paged.take().map(|it| name(&it)), Some("0".to_owned()));
}

#[test]
fn what_expires_first_is_known_without_its_page() {
    let options = QueueOptions {
        message_ttl_ms: Some(10),
        ..durable()
    };
    let mut paged = Paged::filled(2, options);
    assert_eq!(paged.subject.due_in(), Some(10));
    paged.subject.pass(9);
    paged.subject.poll();
    assert!(!paged.bring_back());
    paged.subject.pass(1);
    paged.subject.poll();
    assert_eq!(
        paged.subject.due_in(),
        None,
        "time is not what it waits for"
    );
    assert!(paged.bring_back());
    let dead = ["0", "1"].map(|name| (name.to_owned(), DeathReason::Expired));
    assert_eq!(paged.subject.dead(), dead);
}

#[test]
fn one_too_many_is_dropped_though_it_is_out_of_memory() {
    let options = QueueOptions {
        max_length: Some(2),
        ..durable()
    };
    let mut paged = Paged::filled(2, options);
    paged.publish(2..3);
    assert!(paged.bring_back());
    assert_eq!(paged.subject.queue.ready_len(), 2);
    assert_eq!(paged.take().map(|it| name(&it)), Some("1".to_owned()));
}

#[test]
fn too_little_to_be_worth_a_page_stays() {
    let mut paged = Paged::new(durable());
    paged.publish(0..1);
    assert_eq!(paged.subject.queue.page_out_any(page(1), 10_000), None);
    assert!(paged.subject.queue.page_out_any(page(1), 1).is_some());
}

#[test]
fn small_pages_become_one() {
    let mut paged = Paged::new(durable());
    for first in [0, 10, 20, 30] {
        assert_eq!(paged.subject.queue.to_join(4), None);
        paged.publish(first..first + 10);
        paged.page_out_all();
    }
    assert_eq!(paged.subject.queue.to_join(5), None);
    assert_eq!(paged.join(4), Some(Vec::new()));
    assert_eq!(paged.subject.queue.to_join(2), None, "one is left");
    let homes = paged.pages[4]
        .iter()
        .map(|it| it.stored.and_then(|it| it.home));
    let expected = (0..40).map(|_| None);
    assert!(homes.eq(expected), "the pages that were read had not told");
    let taken = std::iter::from_fn(|| paged.take()).map(|it| name(&it));
    assert!(taken.eq((0..40).map(|place| place.to_string())));
}

#[test]
fn no_more_pages_become_one_than_a_page_holds() {
    let mut paged = Paged::new(durable());
    for first in [0, 200, 400, 600] {
        paged.publish(first..first + 200);
        paged.page_out_all();
    }
    assert_eq!(paged.subject.queue.to_join(4), Some(vec![page(1), page(2)]));
    paged.join(4);
    assert_eq!(paged.pages[4].len(), 400);
    assert_eq!(paged.subject.queue.to_join(4), None);
}

#[test]
fn pages_of_what_does_not_survive_a_restart_are_gone_when_they_are_joined() {
    let mut paged = Paged::new(QueueOptions::default());
    for name in ["a", "b"] {
        paged.subject.publish(name);
        paged.page_out_all();
    }
    let gone = [1, 2].map(|this| Effect::PageGone { page: page(this) });
    assert_eq!(paged.join(2), Some(gone.to_vec()));
    paged.subject.consume(no_ack());
    assert!(paged.bring_back());
    let names = paged
        .subject
        .effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Deliver { delivery, .. } => Some(name(&delivery)),
            _ => None,
        });
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_got_a_home_need_not_be_written_again() {
    let mut paged = Paged::new(durable());
    paged.publish(0..3);
    let below = std::num::NonZeroU64::MAX;
    let homes = paged.subject.queue.rehome(below, 10, || page(1));
    paged
        .pages
        .extend(homes.into_iter().map(|(_, copies)| copies));
    assert_eq!(paged.page_out_all(), 1);
    let first = paged.take().expect("three are there");
    assert_eq!(name(&first), "0");
    paged.subject.effects();
    let id = first.id.expect("to be settled");
    paged.subject.settle(id, Settlement::Ack);
    let gone = paged.subject.effects();
    let [Effect::Gone { stored }] = gone.as_slice() else {
        panic!("{gone:?}")
    };
    let slot = PageSlot {
        page: page(1),
        index: 0,
    };
    assert_eq!(stored.home, Some(slot));
}
