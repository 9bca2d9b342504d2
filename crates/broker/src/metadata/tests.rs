//! The way of a change from being recorded to being on the disk.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use leveret_amqp_codec::{ReplyCode, Table as FieldTable};

use super::faulty::FaultyStorage;
use super::*;
use crate::access::{
    Accounts, PasswordHash, Permissions, Tag, TopicPermissions, User, UserLimits, UserPermissions,
    UserTopicPermissions,
};
use crate::arguments::Arguments;
use crate::vhost::VhostLimits;

const ROOT: VhostKey = VhostKey(1);

fn open(disk: &FaultyStorage) -> (Arc<Metadata>, Store, Definitions) {
    let opened = Store::open(Box::new(disk.clone())).unwrap();
    let metadata = Arc::new(Metadata::on(opened.next_key));
    (metadata, opened.store, opened.definitions)
}

fn read(disk: &FaultyStorage) -> Definitions {
    open(disk).2
}

fn arguments() -> Arguments {
    let table = FieldTable::from_iter([("x-max-length", 10), ("x-expires", 1_000)]).to_bytes();
    Arguments::new(leveret_amqp_codec::RawTable::from_validated_bytes(&table))
}

fn queue(name: &str, key: u64) -> Change {
    let record = QueueRecord {
        name: name.into(),
        auto_delete: key % 2 == 1,
        key: QueueKey(key),
        arguments: arguments(),
    };
    Change::add_queue(ROOT, &record)
}

fn binding(queue: &str, source: &str, arguments: Arguments) -> BindingRecord {
    BindingRecord {
        source: source.into(),
        destination: queue.into(),
        to_exchange: false,
        routing_key: "k".into(),
        arguments,
    }
}

fn queue_names(definitions: &Definitions) -> Vec<&str> {
    let names = definitions.queues.iter().map(|(_, queue)| &*queue.name);
    names.collect()
}

/// Writes what has been recorded, in one transaction.
fn write_once(metadata: &Metadata, store: &mut Store) {
    let batch = metadata.take().unwrap();
    store.apply(&batch.changes, metadata.next_key()).unwrap();
    metadata.set_committed(batch.last);
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_new_store_has_the_root_virtual_host_and_nothing_else() {
    let found = read(&FaultyStorage::default());
    assert_eq!(found.vhosts, [("/".into(), ROOT)]);
    assert!(found.exchanges.is_empty() && found.queues.is_empty() && found.bindings.is_empty());
}

#[test]
fn everything_is_read_back_as_it_was_written() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    let exchange = ExchangeRecord {
        name: "e".into(),
        kind: "x-delayed-message".into(),
        auto_delete: true,
        internal: true,
        key: Some(QueueKey(77)),
        arguments: arguments(),
    };
    let bound = binding("q", "e", arguments());
    let changes = [
        Change::add_exchange(ROOT, &exchange),
        queue("q", 5),
        Change::add_binding(ROOT, &bound),
    ];
    store.apply(&changes, 100).unwrap();
    drop(store);

    let found = read(&disk);
    assert_eq!(
        format!("{:?}", found.exchanges),
        format!("{:?}", [(ROOT, exchange)])
    );
    assert_eq!(
        format!("{:?}", found.bindings),
        format!("{:?}", [(ROOT, bound)])
    );
    let [(ROOT, queue)] = &found.queues[..] else {
        panic!("{:?}", found.queues);
    };
    assert_eq!((&*queue.name, queue.key), ("q", QueueKey(5)));
    assert!(queue.auto_delete);
    assert_eq!(
        queue.arguments.table().as_bytes(),
        arguments().table().as_bytes()
    );
}

#[test]
fn later_changes_win_within_a_transaction() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    let changes = [
        queue("a", 2),
        Change::remove_queue(ROOT, "a"),
        queue("b", 3),
        Change::remove_queue(ROOT, "b"),
        queue("b", 4),
    ];
    store.apply(&changes, 100).unwrap();
    drop(store);
    let found = read(&disk);
    assert_eq!(queue_names(&found), ["b"]);
    assert_eq!(found.queues[0].1.key, QueueKey(4));
}

#[test]
fn bindings_to_a_queue_go_together_and_others_stay() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    let none = Arguments::default;
    let add =
        |queue, source, arguments| Change::add_binding(ROOT, &binding(queue, source, arguments));
    let mut to_exchange = binding("q", "e", none());
    to_exchange.to_exchange = true;
    let changes = [
        add("q", "e", none()),
        add("q", "e", arguments()),
        add("q", "f", none()),
        add("qq", "e", none()),
        add("", "e", none()),
        Change::add_binding(ROOT, &to_exchange),
        Change::remove_bindings_to_queue(ROOT, "q"),
    ];
    store.apply(&changes, 100).unwrap();
    drop(store);
    let mut left: Vec<_> = read(&disk)
        .bindings
        .into_iter()
        .map(|(_, binding)| (binding.to_exchange, binding.destination.to_string()))
        .collect();
    left.sort();
    let want = [(false, ""), (false, "qq"), (true, "q")].map(|(is, name)| (is, name.to_owned()));
    assert_eq!(left, want);
}

#[test]
fn a_virtual_host_goes_with_all_that_is_in_it_and_its_neighbours_stay() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    // Keys between which a mistake in the end of a range would show.
    for key in [0xFE, 0xFF, 0x100] {
        let vhost = VhostKey(key);
        let record = QueueRecord {
            name: "q".into(),
            auto_delete: false,
            key: QueueKey(key),
            arguments: Arguments::default(),
        };
        let changes = [
            Change::add_vhost(&format!("v{key}"), vhost),
            Change::add_queue(vhost, &record),
            Change::add_binding(vhost, &binding("q", "amq.topic", Arguments::default())),
        ];
        store.apply(&changes, 1000).unwrap();
    }
    let gone = Change::remove_vhost("v255", VhostKey(0xFF));
    store.apply(&gone, 1000).unwrap();
    drop(store);
    let found = read(&disk);
    let vhosts: Vec<_> = found.vhosts.iter().map(|(_, key)| key.0).collect();
    assert_eq!(vhosts, [1, 0xFE, 0x100]);
    let queues: Vec<_> = found.queues.iter().map(|(vhost, _)| vhost.0).collect();
    assert_eq!(queues, [0xFE, 0x100]);
    assert_eq!(found.bindings.len(), 2);
}

#[test]
fn keys_are_never_given_out_twice_however_a_run_ends() {
    let disk = FaultyStorage::default();
    let (metadata, mut store, _) = open(&disk);
    let first = metadata.new_key();
    metadata.record([queue("q", first)]);
    write_once(&metadata, &mut store);
    // Given out and used for messages, though its queue never reached the disk.
    let lost = metadata.new_key();
    drop(store);
    let (metadata, _, _) = open(&disk);
    assert!(metadata.new_key() > lost);
    let (metadata, _, _) = open(&disk);
    assert!(metadata.new_key() > lost + (1 << 32));
}

#[test]
fn a_run_that_uses_many_keys_reserves_more() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    let far = (1 << 32) - 5;
    store.apply(&[queue("q", far)], far + 1).unwrap();
    drop(store);
    let (metadata, ..) = open(&disk);
    assert!(metadata.new_key() > far + (1 << 31));
}

#[test]
fn a_ticket_is_committed_with_all_before_it_and_none_after() {
    let disk = FaultyStorage::default();
    let (metadata, mut store, _) = open(&disk);
    assert_eq!(metadata.latest(), Ticket::NONE);
    let first = metadata.record([queue("a", 2), queue("b", 3)]);
    let second = metadata.record([queue("c", 4)]);
    assert!(Ticket::NONE < first && first < second);
    assert_eq!(metadata.latest(), second);
    assert_eq!(metadata.backlog(), 3);

    let batch = metadata.take().unwrap();
    let third = metadata.record([queue("d", 5)]);
    store.apply(&batch.changes, metadata.next_key()).unwrap();
    metadata.set_committed(batch.last);
    assert_eq!(metadata.committed(), second);
    assert_eq!(metadata.latest(), third);

    write_once(&metadata, &mut store);
    assert_eq!(metadata.latest(), Ticket::NONE);
    assert_eq!(metadata.backlog(), 0);
}

#[test]
fn who_waits_is_woken_by_the_commit_of_his_ticket_and_not_before() {
    let disk = FaultyStorage::default();
    let (metadata, mut store, _) = open(&disk);
    let first = metadata.record([queue("a", 2)]);
    let batch = metadata.take().unwrap();
    let second = metadata.record([queue("b", 3)]);

    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    let mut wait = pin!(metadata.when_committed(second));
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    drop(metadata.when_committed(first));

    store.apply(&batch.changes, 10).unwrap();
    metadata.set_committed(batch.last);
    assert!(!flag.0.load(Ordering::SeqCst));
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    write_once(&metadata, &mut store);
    assert!(flag.0.load(Ordering::SeqCst));
    assert_eq!(wait.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
    assert!(metadata.state.lock().waiters.is_empty());
}

#[test]
fn who_no_longer_waits_is_forgotten() {
    let disk = FaultyStorage::default();
    let (metadata, _store, _) = open(&disk);
    let ticket = metadata.record([queue("a", 2)]);
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut wait = pin!(metadata.when_committed(ticket));
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        assert_eq!(metadata.state.lock().waiters.len(), 1);
    }
    assert!(metadata.state.lock().waiters.is_empty());
}

#[test]
fn changes_that_come_together_share_a_sync() {
    let disk = FaultyStorage::default();
    let (metadata, store, _) = open(&disk);
    for number in 0..1000 {
        metadata.record([queue(&number.to_string(), number)]);
    }
    let before = disk.syncs();
    metadata.close();
    writer::run(&metadata, store);
    // One for the changes, and what the database does to close.
    assert!(disk.syncs() - before < 10, "{}", disk.syncs() - before);
    assert_eq!(metadata.backlog(), 0);
    assert_eq!(read(&disk).queues.len(), 1000);
}

#[test]
fn once_the_broker_stops_nothing_more_is_recorded() {
    let disk = FaultyStorage::default();
    let (metadata, store, _) = open(&disk);
    metadata.record([queue("kept", 2)]);
    metadata.close();
    assert_eq!(
        metadata.record([Change::remove_queue(ROOT, "kept")]),
        Ticket::NONE
    );
    writer::run(&metadata, store);
    assert_eq!(queue_names(&read(&disk)), ["kept"]);
}

#[test]
fn without_a_store_nothing_is_recorded() {
    let metadata = Arc::new(Metadata::off());
    assert_eq!(metadata.record([queue("q", 2)]), Ticket::NONE);
    assert_eq!(metadata.latest(), Ticket::NONE);
    assert!(metadata.busy().is_idle());
    assert_eq!(metadata.check(), Ok(()));
}

#[test]
fn a_broken_disk_fails_who_waits_and_all_that_follows() {
    let disk = FaultyStorage::default();
    let (metadata, store, _) = open(&disk);
    disk.fail_with(Some(ErrorKind::Other));
    let ticket = metadata.record([queue("q", 2)]);
    assert!(!metadata.busy().is_idle());
    let mut cx = Context::from_waker(Waker::noop());
    let mut wait = pin!(metadata.when_committed(ticket));
    assert!(wait.as_mut().poll(&mut cx).is_pending());

    writer::run(&metadata, store);
    let Poll::Ready(Err(refusal)) = wait.as_mut().poll(&mut cx) else {
        panic!("nobody was told");
    };
    assert_eq!(refusal.code, ReplyCode::InternalError);
    assert_eq!(metadata.check().unwrap_err(), refusal);
    assert!(metadata.busy().is_idle());
    let late = metadata.record([queue("late", 3)]);
    let mut wait = pin!(metadata.when_committed(late));
    assert!(matches!(wait.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
    assert!(metadata.busy().is_idle());

    disk.fail_with(None);
    assert!(queue_names(&read(&disk)).is_empty());
}

/// After a sync that failed the system takes for written what is not, and a process that is started again reads it as if it
/// were. What is built on it must not go with the next power cut.
#[test]
fn what_a_failed_sync_has_left_is_safe_after_the_next_start() {
    for seed in 0..60 {
        let disk = leveret_queue_store::FaultyStorage::new(seed);
        let open = || Store::open(Box::new(OnFiles(Arc::new(disk.clone())))).unwrap();
        let mut first = open();
        first
            .store
            .apply(&[queue("before", 2)], first.next_key)
            .unwrap();
        disk.fail_syncs(1);
        let failed = first.store.apply(&[queue("during", 3)], first.next_key);
        assert!(failed.is_err());
        drop(first);
        disk.kill();

        let mut second = open();
        let mut expected = queue_names(&second.definitions);
        disk.cut_power_after(seed % 10);
        let later = second.store.apply(&[queue("later", 4)], second.next_key);
        disk.crash();
        let third = open();
        let mut found = queue_names(&third.definitions);
        if later.is_err() {
            found.retain(|name| *name != "later");
        } else {
            expected.push("later");
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = FaultyStorage::default();
    let (metadata, store, _) = open(&disk);
    disk.fail_with(Some(ErrorKind::StorageFull));
    let ticket = metadata.record([queue("q", 2)]);
    let writer = Writer::start(&metadata, store).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut wait = pin!(metadata.when_committed(ticket));
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    assert_eq!(metadata.check(), Ok(()));
    disk.fail_with(None);
    while wait.as_mut().poll(&mut cx).is_pending() {
        std::thread::yield_now();
    }
    drop(writer);
    assert_eq!(queue_names(&read(&disk)), ["q"]);
}

#[test]
fn a_disk_that_stays_full_does_not_keep_the_broker_from_stopping() {
    let disk = FaultyStorage::default();
    let (metadata, store, _) = open(&disk);
    disk.fail_with(Some(ErrorKind::StorageFull));
    metadata.record([queue("q", 2)]);
    drop(Writer::start(&metadata, store).unwrap());
    assert!(metadata.check().is_err());
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let disk = FaultyStorage::default();
    drop(open(&disk));
    store::pretend_schema(&disk, 3);
    let error = Store::open(Box::new(disk.clone())).unwrap_err();
    assert!(error.is_unreadable());
    assert_eq!(
        error.to_string(),
        "cannot read the disk of the test: it has version 3 and this leveret knows versions up to 2; start the version \
         that wrote it, or use another data directory"
    );
    store::pretend_schema(&disk, 2);
    assert_eq!(read(&disk).vhosts.len(), 1);
}

#[test]
fn accounts_and_limits_are_read_back_as_they_were_written() {
    let disk = FaultyStorage::default();
    let (_, mut store, found) = open(&disk);
    assert!(!found.accounts.begun);
    let ann = User {
        password_hash: Some(PasswordHash::new("$argon2id$x")),
        tags: ["administrator", "of the house"].map(Tag::from).into(),
        limits: UserLimits {
            connections_max: Some(0),
            channels_max: None,
        },
        ..User::new("ann")
    };
    let everything = Accounts {
        users: vec![User::new(""), ann],
        permissions: vec![UserPermissions {
            user: "ann".into(),
            vhost: "/".into(),
            permissions: Permissions::new("^a", "", ".*").unwrap(),
        }],
        topic_permissions: vec![UserTopicPermissions {
            user: "ann".into(),
            vhost: "/".into(),
            exchange: "amq.topic".into(),
            permissions: TopicPermissions::new("^{username}", "").unwrap(),
        }],
    };
    let limits = VhostLimits {
        connections_max: None,
        queues_max: Some(u32::MAX),
    };
    let changes = [
        Change::accounts_begun(),
        Change::add_user(&everything.users[0]),
        Change::add_user(&everything.users[1]),
        Change::add_permissions(&everything.permissions[0]),
        Change::add_topic_permissions(&everything.topic_permissions[0]),
        Change::limit_vhost(ROOT, limits),
    ];
    store.apply(&changes, 100).unwrap();
    drop(store);
    let (_, mut store, found) = open(&disk);
    assert!(found.accounts.begun);
    assert_eq!(found.accounts.accounts, everything);
    assert_eq!(found.vhost_limits, [(ROOT, limits)]);

    store.apply(&Change::remove_user("ann"), 100).unwrap();
    store.apply(&Change::remove_vhost("/", ROOT), 100).unwrap();
    drop(store);
    let found = read(&disk);
    assert_eq!(found.accounts.accounts.users, [User::new("")]);
    assert_eq!(found.accounts.accounts.permissions, []);
    assert_eq!(found.accounts.accounts.topic_permissions, []);
    assert_eq!(found.vhost_limits, []);
}

#[test]
fn a_user_goes_with_its_permissions_and_users_with_longer_names_keep_theirs() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    let entry = |user: &str| UserPermissions {
        user: user.into(),
        vhost: "/".into(),
        permissions: Permissions::everything(),
    };
    let changes = ["a", "aa", ""].map(|user| Change::add_permissions(&entry(user)));
    store.apply(&changes, 100).unwrap();
    store.apply(&Change::remove_user("a"), 100).unwrap();
    drop(store);
    let found = read(&disk).accounts.accounts.permissions;
    assert_eq!(found, [entry(""), entry("aa")]);
}

#[test]
fn a_store_of_the_first_version_has_no_accounts_and_becomes_one_of_this() {
    let disk = FaultyStorage::default();
    drop(open(&disk));
    store::pretend_schema(&disk, 1);
    assert!(!read(&disk).accounts.begun);
    assert_eq!(store::schema_of(&disk), 2);
}

#[test]
fn what_is_no_store_is_refused() {
    let disk = FaultyStorage::with_bytes(b"hello ".repeat(1000));
    let error = Store::open(Box::new(disk)).unwrap_err();
    assert!(error.is_unreadable(), "{error}");
    assert!(error.to_string().contains("it is damaged"), "{error}");
}

#[test]
fn damage_anywhere_is_an_error_or_of_no_consequence() {
    let disk = FaultyStorage::default();
    let (_, mut store, _) = open(&disk);
    let changes: Vec<_> = (0..50).map(|n| queue(&format!("queue {n}"), n)).collect();
    store.apply(&changes, 100).unwrap();
    drop(store);
    let sound = format!("{:?}", read(&disk));
    let (mut harmless, mut refused) = (0, 0);
    // A prime, so that every offset within a page is tried.
    for at in (0..disk.bytes().len()).step_by(499) {
        let mut bytes = disk.bytes();
        bytes[at] ^= 0x55;
        match Store::open(Box::new(FaultyStorage::with_bytes(bytes))) {
            Ok(opened) => {
                assert_eq!(format!("{:?}", opened.definitions), sound, "byte {at}");
                harmless += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(harmless > 0 && refused > 0);
}
