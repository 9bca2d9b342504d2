//! What waits to be written waits a little for more, so that both share a sync.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use leveret_queue_store::{
    FaultyStorage, Journal, JournalOptions, Message, MessageParts, PageSlot, PagedMessage,
    QueueKey, QueueLog, Storage, Stored, Time,
};

const NOW: Time = Time::from_millis(1_000);

/// When few pages are written that were seen at [`NOW`].
const LATER: Time = Time::from_millis(1_100);

struct Fixture {
    storage: FaultyStorage,
    journal: Arc<Journal>,
    queue: QueueLog,
    next: u64,
}

impl Fixture {
    fn new(options: JournalOptions) -> Self {
        let storage = FaultyStorage::new(1);
        let shared: Arc<dyn Storage> = Arc::new(storage.clone());
        let (journal, _) = Journal::open(shared, options).unwrap();
        Self {
            storage,
            queue: journal.queue(QueueKey(1)),
            journal: Arc::new(journal),
            next: 1,
        }
    }

    fn store(&mut self, body_len: usize) -> PagedMessage {
        let parts = MessageParts {
            body: &vec![7; body_len],
            persistent: true,
            ..MessageParts::default()
        };
        let message = Message::new(&parts, &mut Vec::new());
        let number = NonZeroU64::new(self.next).unwrap();
        self.next += 1;
        let mut appender = self.journal.append();
        appender.store(self.queue, number, Time::MAX, &message);
        appender.finish();
        PagedMessage {
            message,
            stored: Some(Stored { number, home: None }),
            deadline: Time::MAX,
            delivery_count: 0,
        }
    }

    /// A page with one message, which is in the log before.
    fn page(&mut self, body_len: usize) -> PageSlot {
        let message = self.store(body_len);
        let page = self.journal.new_page();
        self.journal
            .write_page(self.queue, page, Some(0), &[message]);
        PageSlot { page, index: 0 }
    }

    fn work(&self, now: Time) {
        while self.journal.work(now).more {}
    }

    fn waiting(&self) -> usize {
        self.journal.stats().unwritten_page_bytes
    }
}

#[test]
fn a_few_pages_wait_for_others_and_not_for_long() {
    let mut fixture = Fixture::new(JournalOptions::default());
    let slot = fixture.page(100);
    fixture.work(NOW);
    assert!(fixture.waiting() > 0);
    assert_eq!(fixture.journal.work(NOW).again_at, Some(LATER));
    assert_eq!(fixture.journal.read_page(slot.page).unwrap().len(), 1);
    fixture.page(100);
    fixture.work(Time::from_millis(1_099));
    let syncs = fixture.storage.syncs();
    fixture.work(LATER);
    assert_eq!(fixture.waiting(), 0);
    assert_eq!(fixture.journal.stats().log_messages, 0);
    // The log that nobody had asked for, both pages, and the log that says so.
    assert_eq!(fixture.storage.syncs(), syncs + 3);
    assert_eq!(fixture.journal.work(LATER).again_at, None);
}

#[test]
fn a_mebibyte_of_pages_waits_for_nothing() {
    let mut fixture = Fixture::new(JournalOptions::default());
    for _ in 0..10 {
        fixture.page(100_000);
    }
    fixture.work(NOW);
    assert!(fixture.waiting() > 0);
    fixture.page(100_000);
    fixture.work(NOW);
    assert_eq!(fixture.waiting(), 0);
}

#[test]
fn pages_do_not_keep_a_log_long_that_is_too_long() {
    let mut fixture = Fixture::new(JournalOptions {
        log_file_size: 4096,
        log_files_max: 2,
        ..JournalOptions::default()
    });
    // Each of these fills a file.
    for _ in 0..10 {
        fixture.page(5_000);
        fixture.work(NOW);
    }
    let files = fixture.journal.stats().log_files;
    assert!(files <= 3, "{files} files, though no time has passed");
}

#[test]
fn a_clean_end_writes_what_waits() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.page(100);
    fixture.work(NOW);
    fixture.journal.sync(NOW).unwrap();
    assert_eq!(fixture.waiting(), 0);
}

#[test]
fn a_full_disk_takes_what_waits_when_there_is_room() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.page(100);
    fixture.work(NOW);
    fixture.storage.leave_room(Some(0));
    fixture.work(LATER);
    assert!(fixture.waiting() > 0);
    fixture.storage.leave_room(None);
    fixture.work(LATER);
    assert_eq!(fixture.waiting(), 0);
}

/// Long enough that nobody would wait for its end: who returns was woken.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A thread that waits for more.
fn waits_for_more(fixture: &Fixture) -> JoinHandle<()> {
    let journal = Arc::clone(&fixture.journal);
    let thread = std::thread::Builder::new();
    let waits = move || journal.wait_for_more(FOR_EVER, FOR_EVER);
    thread.spawn(waits).unwrap()
}

fn want_all(fixture: &Fixture) {
    let lsn = fixture.journal.append().finish();
    assert!(!fixture.journal.when_safe(lsn, Waker::noop()));
}

#[test]
fn where_nothing_waits_nothing_is_waited_for() {
    let fixture = Fixture::new(JournalOptions::default());
    fixture.journal.wait_for_more(FOR_EVER, FOR_EVER);
}

#[test]
fn who_waits_for_each_answer_does_not_wait_for_others() {
    let mut fixture = Fixture::new(JournalOptions::default());
    for _ in 0..3 {
        fixture.store(1_000);
        want_all(&fixture);
        fixture.journal.wait_for_more(FOR_EVER, FOR_EVER);
        fixture.work(NOW);
    }
}

#[test]
fn what_nobody_wants_waits_until_somebody_does() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.store(100);
    let waits = waits_for_more(&fixture);
    want_all(&fixture);
    waits.join().unwrap();
}

#[test]
fn what_somebody_will_want_is_not_waited_for() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.store(1_000);
    want_all(&fixture);
    fixture.store(1_000);
    // Whoever waits says so before what it waits for is safe: nobody is to be asked first.
    let last = fixture.journal.append().finish();
    fixture.journal.want(last);
    fixture.work(NOW);
    fixture.store(1_000);
    let waits = waits_for_more(&fixture);
    fixture.journal.want(fixture.journal.append().finish());
    waits.join().unwrap();
    fixture.work(NOW);
    assert!(fixture.journal.safe() >= last);
}

#[test]
fn what_somebody_will_want_is_synced_with_the_next_turn() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.store(1_000);
    want_all(&fixture);
    fixture.work(NOW);
    let safe = fixture.journal.safe();
    fixture.store(1_000);
    let last = fixture.journal.append().finish();
    fixture.work(NOW);
    assert_eq!(fixture.journal.safe(), safe, "nobody has asked");
    fixture.store(1_000);
    fixture.journal.want(last);
    fixture.work(NOW);
    assert!(fixture.journal.safe() >= last);
}

#[test]
fn what_nobody_wants_waits_until_it_is_much() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.store(100);
    let waits = waits_for_more(&fixture);
    fixture.store(40_000);
    waits.join().unwrap();
}

#[test]
fn where_much_was_written_as_much_is_waited_for() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.store(50_000);
    fixture.work(NOW);
    fixture.store(10_000);
    want_all(&fixture);
    let waits = waits_for_more(&fixture);
    fixture.store(40_000);
    waits.join().unwrap();
}

#[test]
fn it_is_not_waited_for_more_than_a_moment() {
    let mut fixture = Fixture::new(JournalOptions::default());
    fixture.store(50_000);
    fixture.work(NOW);
    fixture.store(10_000);
    let moment = Duration::from_micros(1);
    fixture.journal.wait_for_more(moment, moment);
    fixture.work(NOW);
}
