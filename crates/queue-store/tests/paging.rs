//! What happens to a queue while some of its messages are out of memory.

mod support;

use std::num::{NonZeroU32, NonZeroU64};

use leveret_queue_store::{
    BrowsedItem, DeathReason, Delivery, Effect, MessageParts, PageId, PageSlot, PagedMessage,
    PagedOut, Queue, QueueOptions, Rebuilt, Settlement, TakeMode, Time,
};
use support::{Subject, body, no_ack, parts};

/// How many messages a page has that was full: as many as a chunk.
const PAGE_LEN: usize = 512;

fn page(this: u32) -> PageId {
    PageId(NonZeroU32::new(this).expect("pages begin at one"))
}

/// A queue with so many messages, named by their place.
fn queue_of(messages: usize, options: QueueOptions) -> Subject {
    let mut subject = Subject::new(options);
    for place in 0..messages {
        subject.publish(&place.to_string());
    }
    subject
}

/// A queue of five chunks, the middle three of which are out of memory; and those by their page.
fn paged(options: QueueOptions) -> (Subject, Vec<Vec<PagedMessage>>) {
    let mut subject = queue_of(5 * PAGE_LEN, options);
    let pages: Vec<_> = (1..)
        .map_while(|this| page_out(&mut subject, this))
        .collect();
    assert_eq!(pages.len(), 3);
    (subject, pages)
}

fn restore(subject: &mut Subject, this: u32, messages: Vec<PagedMessage>) -> bool {
    subject.restore(page(this), (0..).zip(messages))
}

/// What was taken out of memory to be written.
fn page_out(subject: &mut Subject, this: u32) -> Option<Vec<PagedMessage>> {
    written(subject.queue.page_out(page(this)))
}

fn written(out: Option<PagedOut>) -> Option<Vec<PagedMessage>> {
    match out? {
        PagedOut::New(messages) => Some(messages),
        PagedOut::Kept => panic!("it was in no page"),
    }
}

fn name(delivery: &Delivery) -> String {
    body(&delivery.message)
}

#[test]
fn what_is_needed_last_goes_first_and_both_ends_stay() {
    let (subject, pages) = paged(QueueOptions::default());
    let firsts = pages.iter().map(|page| body(&page[0].message));
    assert_eq!(firsts.collect::<Vec<_>>(), ["1536", "1024", "512"]);
    assert!(pages.iter().all(|page| page.len() == PAGE_LEN));
    assert_eq!(subject.queue.ready_len(), 5 * PAGE_LEN);
    assert_eq!(subject.queue.resident_len(), 2 * PAGE_LEN);
    assert_eq!(subject.queue.wanted_page(), None);
}

#[test]
fn a_chunk_that_was_just_filled_goes_before_what_is_nearer_to_the_head() {
    let (mut subject, _) = paged(QueueOptions::default());
    for place in 0..PAGE_LEN {
        subject.publish(&format!("new {place}"));
    }
    let messages = page_out(&mut subject, 4).expect("one more is full");
    assert_eq!(body(&messages[0].message), "2048");
    assert_eq!(subject.queue.page_out(page(5)), None);
}

#[test]
fn the_lowest_priority_goes_first() {
    let mut subject = Subject::new(QueueOptions {
        max_priority: 9,
        ..QueueOptions::default()
    });
    for priority in [9, 0, 4] {
        for _ in 0..3 * PAGE_LEN {
            let parts = MessageParts {
                priority,
                ..parts("x")
            };
            assert!(subject.offer(&parts).is_accepted());
        }
    }
    let priorities = (1..)
        .map_while(|this| page_out(&mut subject, this))
        .map(|page| page[0].message.priority());
    assert_eq!(priorities.collect::<Vec<_>>(), [0, 4, 9]);
}

#[test]
fn a_short_queue_stays_in_memory() {
    let mut subject = queue_of(2 * PAGE_LEN, QueueOptions::default());
    assert_eq!(subject.queue.page_out(page(1)), None);
}

#[test]
fn large_messages_make_pages_of_few() {
    let mut subject = Subject::new(QueueOptions::default());
    for _ in 0..12 {
        subject.publish(&"x".repeat(300_000));
    }
    // Four of them are more than a mebibyte.
    let messages = page_out(&mut subject, 1).expect("enough is waiting");
    assert_eq!(messages.len(), 4);
    let size = messages[0].message.size_bytes() as u64;
    assert!(size > 300_000);
    assert_eq!(subject.queue.resident_bytes(), 8 * size);
    assert_eq!(subject.queue.page_out(page(2)), None);
}

#[test]
fn properties_are_held_as_bodies_are() {
    let mut subject = Subject::new(QueueOptions::default());
    let properties = vec![0; 300_000];
    let parts = MessageParts {
        properties: &properties,
        ..parts("")
    };
    for _ in 0..12 {
        assert!(subject.offer(&parts).is_accepted());
    }
    assert_eq!(subject.queue.ready_bytes(), 0);
    let held = subject.queue.resident_bytes();
    assert!(held > 12 * 300_000);
    let taken = subject.take_id();
    assert_eq!(subject.queue.resident_bytes(), held, "it is not settled");
    subject.settle(taken, Settlement::Ack);
    let size = held / 12;
    assert_eq!(subject.queue.resident_bytes(), 11 * size);
    let messages = page_out(&mut subject, 1).expect("enough is waiting");
    assert_eq!(messages.len(), 4);
    assert_eq!(subject.queue.resident_bytes(), 7 * size);
    assert_eq!(subject.purge(), 11);
    assert_eq!(subject.queue.resident_bytes(), 0);
}

#[test]
fn what_passes_through_a_short_queue_does_not_make_it_page() {
    let mut subject = Subject::new(QueueOptions::default());
    for _ in 0..100 {
        subject.publish(&"x".repeat(300_000));
        let id = subject.take_id();
        subject.settle(id, Settlement::Ack);
    }
    assert_eq!(subject.queue.page_out(page(1)), None);
}

#[test]
fn a_page_is_wanted_when_it_is_next_and_nothing_overtakes_it() {
    let (mut subject, mut pages) = paged(QueueOptions::default());
    for place in 0..PAGE_LEN {
        let delivery = subject.take().expect("the front is in memory");
        assert_eq!(name(&delivery), place.to_string());
    }
    assert_eq!(subject.queue.wanted_page(), None, "nobody wants anything");
    assert!(subject.take().is_none());
    assert_eq!(subject.queue.wanted_page(), Some(page(3)));
    subject.consume(no_ack());
    subject.publish("last");
    assert_eq!(subject.deliveries(), []);

    // Only the wanted page can be brought back.
    assert!(!restore(&mut subject, 1, pages[0].clone()));
    while let Some(PageId(this)) = subject.queue.wanted_page() {
        let messages = pages.pop().expect("three pages");
        assert!(restore(&mut subject, this.get(), messages));
    }
    let effects = subject.effects();
    let names: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Deliver { delivery, .. } => Some(name(delivery)),
            _ => None,
        })
        .collect();
    let expected = (PAGE_LEN..5 * PAGE_LEN).map(|place| place.to_string());
    assert!(names[..4 * PAGE_LEN].iter().cloned().eq(expected));
    assert_eq!(names[4 * PAGE_LEN..], ["last"]);
    let gone = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::PageGone { .. }));
    assert_eq!(gone.count(), 3, "nothing in them has to survive");
}

#[test]
fn what_comes_back_goes_before_a_wanted_page() {
    let (mut subject, _) = paged(QueueOptions::default());
    let ids: Vec<_> = (0..PAGE_LEN).map(|_| subject.take_id()).collect();
    assert!(subject.take().is_none());
    assert!(subject.queue.wanted_page().is_some());
    subject.settle(ids[7], Settlement::Requeue);
    assert_eq!(subject.queue.wanted_page(), None);
    assert_eq!(
        subject.take().map(|delivery| name(&delivery)),
        Some("7".to_owned())
    );
    assert!(subject.take().is_none());
    assert!(subject.queue.wanted_page().is_some());
}

#[test]
fn purged_pages_are_gone_unread() {
    let (mut subject, _) = paged(QueueOptions::default());
    assert_eq!(subject.purge(), 5 * PAGE_LEN as u64);
    let gone = [3, 2, 1].map(|this| Effect::PageGone { page: page(this) });
    assert_eq!(subject.effects(), gone);
    assert_eq!(
        (subject.queue.ready_len(), subject.queue.ready_bytes()),
        (0, 0)
    );
    assert_eq!(
        (subject.queue.resident_len(), subject.queue.resident_bytes()),
        (0, 0)
    );
}

#[test]
fn a_lowered_limit_is_enforced_through_the_pages() {
    let (mut subject, mut pages) = paged(QueueOptions::default());
    subject.set_options(QueueOptions {
        max_length: Some(1),
        ..QueueOptions::default()
    });
    while let Some(PageId(this)) = subject.queue.wanted_page() {
        let messages = pages.pop().expect("three pages");
        assert!(restore(&mut subject, this.get(), messages));
    }
    let dropped = subject.effects().into_iter().filter(|effect| {
        let reason = DeathReason::MaxLength;
        matches!(effect, Effect::Dead { reason: this, .. } if *this == reason)
    });
    assert_eq!(dropped.count(), 5 * PAGE_LEN - 1);
    assert_eq!(subject.take_all(), [(5 * PAGE_LEN - 1).to_string()]);
}

#[test]
fn what_expired_in_a_page_dies_when_it_is_brought_back() {
    let options = QueueOptions {
        message_ttl_ms: Some(10),
        ..QueueOptions::default()
    };
    let (mut subject, mut pages) = paged(options);
    subject.pass(10);
    subject.poll();
    assert_eq!(subject.dead().len(), PAGE_LEN);
    while let Some(PageId(this)) = subject.queue.wanted_page() {
        let messages = pages.pop().expect("three pages");
        assert!(restore(&mut subject, this.get(), messages));
    }
    let effects = subject.effects();
    let dead = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Dead { .. }));
    assert_eq!(dead.count(), 4 * PAGE_LEN);
    assert_eq!((subject.queue.ready_len(), subject.due_in()), (0, None));
}

#[test]
fn a_page_of_which_less_is_left_is_counted_again() {
    let (mut subject, mut pages) = paged(QueueOptions::default());
    for _ in 0..PAGE_LEN {
        subject.take_id();
    }
    let mut left = pages.pop().expect("three pages");
    left.truncate(2);
    assert!(restore(&mut subject, 3, left));
    assert_eq!(subject.queue.ready_len(), 3 * PAGE_LEN + 2);
    let named = |places: std::ops::Range<usize>| places.map(|place| place.to_string().len() as u64);
    let bytes = named(512..514).chain(named(2 * PAGE_LEN..5 * PAGE_LEN));
    assert_eq!(subject.queue.ready_bytes(), bytes.sum::<u64>());
    subject.take_id();
    subject.take_id();
    assert!(restore(&mut subject, 2, Vec::new()));
    assert!(subject.take().is_none());
    assert_eq!(subject.queue.wanted_page(), Some(page(1)));
    assert_eq!(subject.queue.ready_len(), 2 * PAGE_LEN);
}

#[test]
fn browsing_tells_of_pages_in_their_place() {
    let (subject, _) = paged(QueueOptions::default());
    let pages = subject.queue.browse().filter_map(|item| match item {
        BrowsedItem::Message(_) => None,
        BrowsedItem::Page {
            page,
            position,
            len,
            ..
        } => Some((page, position, len)),
    });
    let expected = [(3, 512), (2, 1024), (1, 1536)];
    let expected = expected.map(|(this, position)| (page(this), position, PAGE_LEN));
    assert_eq!(pages.collect::<Vec<_>>(), expected);
    let last = subject.queue.browse().last();
    assert!(matches!(last, Some(BrowsedItem::Message(last)) if last.position == 5 * PAGE_LEN - 1));
}

/// A durable queue of three messages, the first of which somebody has.
fn three_stored() -> Subject {
    let mut subject = Subject::new(QueueOptions {
        durable: true,
        ..QueueOptions::default()
    });
    for body in ["0", "1", "2"] {
        let parts = MessageParts {
            persistent: true,
            ..parts(body)
        };
        assert!(subject.offer(&parts).is_accepted());
    }
    subject.take_id();
    subject.effects();
    subject
}

#[test]
fn what_gets_a_home_stays_in_memory_and_is_called_by_it() {
    let mut subject = three_stored();
    let below = NonZeroU64::new(3).expect("not zero");
    let copies = rehome(&mut subject, below, 10, 1).remove(0);
    let copied = copies.iter().map(|copy| {
        let number = copy.stored.map(|stored| stored.number.get());
        (body(&copy.message), number, copy.delivery_count)
    });
    // The one that somebody has will have come back after a restart.
    let expected = [("0".to_owned(), Some(1), 1), ("1".to_owned(), Some(2), 0)];
    assert_eq!(copied.collect::<Vec<_>>(), expected);
    assert!(rehome(&mut subject, below, 10, 2).is_empty());
    assert_eq!(subject.queue.resident_len(), 3);

    assert_eq!(subject.purge(), 2);
    let homes = subject.effects().into_iter().map(|effect| match effect {
        Effect::Gone { stored } => stored.home,
        other => panic!("not gone: {other:?}"),
    });
    let in_page = PageSlot {
        page: page(1),
        index: 1,
    };
    assert_eq!(homes.collect::<Vec<_>>(), [Some(in_page), None]);
}

/// Gives homes, in pages with ids from `first` on.
fn rehome(
    subject: &mut Subject,
    below: NonZeroU64,
    page_len: usize,
    first: u32,
) -> Vec<Vec<PagedMessage>> {
    let mut ids = (first..).map(page);
    let new_page = || ids.next().expect("there is no end of them");
    let pages = subject.queue.rehome(below, page_len, new_page).into_iter();
    pages.map(|(_, messages)| messages).collect()
}

#[test]
fn no_more_get_a_home_than_asked_for() {
    let mut subject = three_stored();
    let below = NonZeroU64::MAX;
    assert!(rehome(&mut subject, below, 0, 1).is_empty());
    let pages = rehome(&mut subject, below, 1, 1);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    assert!(rehome(&mut subject, below, 1, 4).is_empty());
}

#[test]
fn no_page_goes_around_what_is_delivered_and_has_a_home() {
    let mut subject = Subject::new(QueueOptions {
        durable: true,
        ..QueueOptions::default()
    });
    for place in 0..3 * PAGE_LEN {
        let body = place.to_string();
        let parts = MessageParts {
            persistent: true,
            ..parts(&body)
        };
        assert!(subject.offer(&parts).is_accepted());
    }
    let middle = page_out(&mut subject, 1).expect("it can go");
    // The first have no home, the middle have one, and both are delivered before what never left.
    for _ in 0..PAGE_LEN {
        subject.take_id();
    }
    assert!(restore(&mut subject, 1, middle));
    for _ in 0..PAGE_LEN {
        subject.take_id();
    }
    let pages = rehome(&mut subject, NonZeroU64::MAX, PAGE_LEN + 1, 2);
    let ends = pages.iter().map(|messages| {
        let number = |copy: Option<&PagedMessage>| copy?.stored.map(|stored| stored.number.get());
        (number(messages.first()), number(messages.last()))
    });
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [(Some(1), Some(512)), (Some(1025), Some(1536))]
    );
}

#[test]
fn a_rebuilt_page_is_wanted_when_it_is_next() {
    let (_, pages) = paged(QueueOptions::default());
    let now = Time::from_millis(1);
    let paged = |this, len, body_bytes| Rebuilt::Page {
        page: page(this),
        priority: 0,
        len,
        body_bytes,
        timed: 0,
    };
    let items = [paged(1, 2, 8), paged(2, 0, 0)];
    let next_number = NonZeroU64::MIN;
    let mut queue = Queue::rebuild(QueueOptions::default(), now, next_number, items);
    assert_eq!((queue.ready_len(), queue.ready_bytes()), (2, 8));
    assert_eq!((queue.resident_len(), queue.resident_bytes()), (0, 0));
    let mut effects = Vec::new();
    assert_eq!(queue.take(now, TakeMode::NoAck, &mut effects), None);
    assert_eq!(queue.wanted_page(), Some(page(1)));

    let alive = [3, 5].map(|index| (index, pages[0][usize::from(index)].clone()));
    assert!(queue.restore(now, page(1), alive, &mut effects));
    let take = |queue: &mut Queue| queue.take(now, TakeMode::NoAck, &mut Vec::new());
    let taken = [take(&mut queue), take(&mut queue), take(&mut queue)];
    let taken = taken.map(|delivery| delivery.map(|delivery| name(&delivery)));
    assert_eq!(
        taken,
        [Some("1539".to_owned()), Some("1541".to_owned()), None]
    );
    assert_eq!(queue.wanted_page(), None);
}

/// All unacknowledged, or all come back, or every other one: each call is to do much, since it looks
/// at all of them.
#[test]
fn a_hundred_thousand_that_are_away_get_homes_in_a_few_calls() {
    const LEN: usize = 100_000;
    for every in [1, 2] {
        let mut subject = Subject::new(QueueOptions {
            durable: true,
            ..QueueOptions::default()
        });
        for _ in 0..LEN {
            let parts = MessageParts {
                persistent: true,
                ..parts("x")
            };
            assert!(subject.offer(&parts).is_accepted());
        }
        let ids: Vec<_> = (0..LEN).map(|_| subject.take_id()).collect();
        for id in ids.iter().step_by(every).skip(every % 2) {
            subject.settle(*id, Settlement::Requeue);
        }
        subject.effects();
        let below = NonZeroU64::new(LEN as u64).expect("not zero");
        let (mut numbers, mut calls, mut next) = (Vec::new(), 0, 1);
        loop {
            let pages = rehome(&mut subject, below, PAGE_LEN, next);
            if pages.is_empty() {
                break;
            }
            calls += 1;
            next += u32::try_from(pages.len()).expect("few");
            for page in pages {
                let stored = page.iter().filter_map(|it| it.stored);
                numbers.extend(stored.map(|stored| stored.number.get()));
            }
        }
        assert!(calls < 10, "{calls} calls");
        assert!(
            numbers.iter().copied().eq(1..LEN as u64),
            "in order, each once"
        );
    }
}
