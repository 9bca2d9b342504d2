use leveret_queue_store::{
    FaultyStorage, JournalOptions, MemoryStorage, Message, MessageParts, Storage,
};

use std::task::Waker;

use super::*;
use crate::clock::VirtualClock;

const NOW: Time = Time::from_millis(1);

/// One that gives up a byte each time.
#[derive(Debug)]
struct Giving(Mutex<Weak<Store>>);

impl Holder for Giving {
    fn relieve(self: Arc<Self>, _: Time) -> Relieved {
        let Some(store) = self.0.lock().upgrade() else {
            return Relieved::Forget;
        };
        if !store.is_above_aim() {
            return Relieved::NotNeeded;
        }
        store.account(1, 0);
        Relieved::Some
    }
}

/// One that has nothing to give.
#[derive(Debug)]
struct Keeping;

impl Holder for Keeping {
    fn relieve(self: Arc<Self>, _: Time) -> Relieved {
        Relieved::None
    }
}

fn store(resident_max: usize) -> Arc<Store> {
    store_on(Arc::new(MemoryStorage::new()), resident_max)
}

/// A store that holds up publishers for a kibibyte.
fn store_on(storage: Arc<dyn Storage>, resident_max: usize) -> Arc<Store> {
    let options = JournalOptions {
        pending_max: 1 << 10,
        ..JournalOptions::default()
    };
    let opened = Journal::open(storage, options).unwrap();
    let (alarms, metadata) = (Arc::default(), Arc::new(Metadata::off()));
    Store::new(opened, resident_max, alarms, Arc::default(), metadata)
}

fn holds_up(store: &Store) -> bool {
    store.hold_up_if_congested();
    store.alarms.is_any_raised()
}

#[test]
fn publishers_wait_while_queues_give_up_what_is_too_much() {
    let store = store(1_000);
    let giving = Arc::new(Giving(Mutex::new(Arc::downgrade(&store))));
    let holder: Weak<dyn Holder> = Arc::<Giving>::downgrade(&giving);
    store.add_holder(holder);
    store.account(0, 2_000);
    assert!(!holds_up(&store), "nobody knows that it helps");
    store.note_shortage();
    let worked = store.turn(NOW, |_| Ok(()));
    assert!(worked.more, "a turn asks a bounded number");
    assert!(holds_up(&store));
    while store.turn(NOW, |_| Ok(())).more {}
    assert!(!store.alarms.is_any_raised());
    assert!(!store.is_above_aim());
}

#[test]
fn nobody_waits_for_what_does_not_come() {
    let store = store(1_000);
    let keeping = Arc::new(Keeping);
    let holder: Weak<dyn Holder> = Arc::<Keeping>::downgrade(&keeping);
    store.add_holder(holder);
    store.account(0, 2_000);
    store.note_shortage();
    assert!(!store.turn(NOW, |_| Ok(())).more);
    assert!(!holds_up(&store));
}

fn append_too_much(store: &Store, key: u64) {
    let queue = store.journal().queue(QueueKey(key));
    let parts = MessageParts {
        body: &[0; 2 << 10],
        ..MessageParts::default()
    };
    let message = Message::new(&parts, &mut Vec::new());
    let mut appender = store.journal().append();
    appender.store(queue, NonZeroU64::MIN, Time::MAX, &message);
}

#[test]
fn nobody_waits_for_a_disk_that_fails_to_write() {
    let disk = FaultyStorage::new(1);
    let store = store_on(Arc::new(disk.clone()), 1_000);
    append_too_much(&store, 1);
    assert!(holds_up(&store));
    disk.fail_writes(1);
    store.turn(NOW, |_| Ok(()));
    assert!(store.has_failed());
    assert!(!store.alarms.is_any_raised());
    assert!(!holds_up(&store));
}

#[test]
fn nobody_waits_for_what_comes_while_a_disk_fails_to_sync() {
    let disk = FaultyStorage::new(1);
    let store = store_on(Arc::new(disk.clone()), 1_000);
    append_too_much(&store, 1);
    store.want(store.appended());
    disk.fail_syncs(1);
    store.turn(NOW, |_| {
        append_too_much(&store, 2);
        assert!(holds_up(&store));
        Ok(())
    });
    assert!(store.has_failed());
    assert!(!store.alarms.is_any_raised());
    assert!(!holds_up(&store));
}

/// One that cannot be asked.
#[derive(Debug)]
struct Panicking;

impl Holder for Panicking {
    fn relieve(self: Arc<Self>, _: Time) -> Relieved {
        panic!("as it was told to");
    }
}

#[test]
fn nobody_waits_for_a_thread_that_has_panicked() {
    let store = store(1_000);
    append_too_much(&store, 1);
    let panicking = Arc::new(Panicking);
    let holder: Weak<dyn Holder> = Arc::<Panicking>::downgrade(&panicking);
    store.add_holder(holder);
    store.account(0, 2_000);
    store.note_shortage();
    assert!(holds_up(&store));
    store.start(Clock::Virtual(VirtualClock::new())).unwrap();
    let thread = store.threads.lock().remove(0);
    assert!(thread.join().is_err());
    let context = Context::from_waker(Waker::noop());
    let told = store.poll_safe(store.appended(), &context);
    assert_eq!(told, Poll::Ready(Err(JournalFailed)));
    assert!(!store.alarms.is_any_raised());
    store.stop(NOW);
}
