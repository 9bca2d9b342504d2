use super::*;

const GRACE_MS: u64 = 1000;

fn router(max: usize) -> PresenceRouter {
    PresenceRouter {
        roll: Roll::new(GRACE_MS, max),
        ..PresenceRouter::from_arguments(RawTable::EMPTY).unwrap()
    }
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn member(name: &str) -> Member {
    Member {
        name: name.into(),
        user: "u".into(),
    }
}

fn queue(id: u32) -> Destination {
    Destination::Queue(QueueId(id))
}

/// A binding of a queue, for which a connection of the same number asks.
fn join(router: &mut PresenceRouter, now: u64, number: u32, key: &str, name: &str) {
    let key: Arc<str> = key.into();
    router.insert(queue(number), &key, None);
    let who = (ConnectionId(u64::from(number)), &member(name));
    router.join(at(now), queue(number), &key, None, who);
}

fn breaks(router: &mut PresenceRouter, now: u64, number: u32) {
    router.connection_ended(at(now), ConnectionId(u64::from(number)), End::Broken);
}

/// What happened, as `joined a` or `watching a b`.
#[track_caller]
fn check(router: &mut PresenceRouter, what: &[&str]) {
    let changes = router.take_changes().into_iter();
    let told: Vec<String> = changes
        .map(|change| match change {
            Change::Happened { event, member, .. } => {
                format!("{event:?} {}", member.member.name)
            }
            Change::Watching { present, .. } => {
                present.iter().fold("Watching".to_owned(), |told, here| {
                    format!("{told} {}", here.member.name)
                })
            }
        })
        .collect();
    assert_eq!(told, what);
}

#[test]
fn a_member_joins_with_its_first_connection_and_leaves_with_its_last() {
    let mut router = router(10);
    for number in 0..3 {
        join(&mut router, 0, number, "k", "a");
    }
    check(&mut router, &["Joined a"]);
    assert_eq!(router.present("k")[0].connections, 3);
    let key: Arc<str> = "k".into();
    for number in 0..3 {
        check(&mut router, &[]);
        router.remove(queue(number), &key, None);
    }
    check(&mut router, &["Left a"]);
    assert!(router.present("k").is_empty());
    assert!(!router.is_present(ConnectionId(0)));
}

#[test]
fn who_comes_back_in_time_was_never_away() {
    let mut router = router(10);
    join(&mut router, 0, 0, "k", "a");
    breaks(&mut router, 10, 0);
    assert_eq!(router.next_deadline(), Some(at(10 + GRACE_MS)));
    assert_eq!(router.present("k")[0].connections, 0);
    router.expire(at(9 + GRACE_MS), 9);
    join(&mut router, 9 + GRACE_MS, 1, "k", "a");
    assert_eq!(router.next_deadline(), None);
    check(&mut router, &["Joined a"]);
    breaks(&mut router, 5000, 1);
    router.expire(at(5000 + GRACE_MS), 9);
    check(&mut router, &["Lost a"]);
}

#[test]
fn a_device_on_its_way_back_keeps_a_member_until_its_grace_is_over() {
    let mut router = router(10);
    join(&mut router, 0, 0, "k", "a");
    join(&mut router, 0, 1, "k", "a");
    breaks(&mut router, 0, 0);
    let key: Arc<str> = "k".into();
    router.remove(queue(1), &key, None);
    check(&mut router, &["Joined a"]);
    router.expire(at(GRACE_MS), 9);
    check(&mut router, &["Lost a"]);
    // Had it been over before, the member would have left.
    join(&mut router, 5000, 2, "k", "b");
    join(&mut router, 5000, 3, "k", "b");
    breaks(&mut router, 5000, 2);
    router.expire(at(5000 + GRACE_MS), 9);
    router.remove(queue(3), &key, None);
    check(&mut router, &["Joined b", "Left b"]);
}

#[test]
fn watchers_are_told_from_their_beginning_on() {
    let mut router = router(10);
    let (key, all): (Arc<str>, Arc<str>) = ("k".into(), "#".into());
    let table: leveret_amqp_codec::Table = [(MODE, "watch")].into_iter().collect();
    let bytes = table.to_bytes();
    let watch = BindingArguments::new(RawTable::from_validated_bytes(&bytes));
    join(&mut router, 0, 0, "k", "a");
    router.insert(queue(7), &key, watch.as_ref());
    join(&mut router, 0, 1, "k", "b");
    join(&mut router, 0, 2, "l", "c");
    // What it watches already it is not told of again.
    router.insert(queue(7), &all, watch.as_ref());
    let happened = router.roll.happened();
    assert_eq!(router.watchers_of("k", 0), []);
    assert_eq!(router.watchers_of("k", 1), [QueueId(7)]);
    assert_eq!(router.watchers_of("l", happened - 1), []);
    assert_eq!(router.watchers_of("l", happened), [QueueId(7)]);
    check(
        &mut router,
        &[
            "Joined a",
            "Watching a",
            "Joined b",
            "Joined c",
            "Watching c",
        ],
    );
    router.remove(queue(7), &key, watch.as_ref());
    assert_eq!(router.watchers_of("k", happened), [QueueId(7)]);
    router.remove(queue(7), &all, watch.as_ref());
    assert_eq!(router.watchers_of("k", happened), []);
}

#[test]
fn who_is_away_makes_room_for_who_is_there() {
    let mut router = router(2);
    join(&mut router, 0, 0, "k", "a");
    join(&mut router, 0, 1, "k", "b");
    assert!(!router.has_room("k", &member("c")));
    assert!(router.has_room("k", &member("b")));
    breaks(&mut router, 0, 0);
    assert!(router.has_room("k", &member("c")));
    join(&mut router, 1, 2, "k", "c");
    check(&mut router, &["Joined a", "Joined b", "Lost a", "Joined c"]);
    assert_eq!(router.next_deadline(), None);
}

#[test]
fn nothing_is_left_of_those_who_were_there() {
    let mut router = router(10);
    for number in 0..4 {
        join(&mut router, 0, number, "k", &number.to_string());
        // Asking again changes nothing.
        let key: Arc<str> = "k".into();
        let who = (ConnectionId(u64::from(number)), &member("another name"));
        router.join(at(0), queue(number), &key, None, who);
    }
    router.queue_unused(at(0), ConnectionId(0), QueueId(0));
    breaks(&mut router, 0, 1);
    router.connection_ended(at(0), ConnectionId(2), End::InOrder);
    for number in 0..4 {
        router.remove(queue(number), &"k".into(), None);
    }
    router.expire(at(GRACE_MS), 9);
    assert!(router.roll.is_empty());
    assert!(router.bound.is_empty() && router.by_connection.is_empty());
    check(
        &mut router,
        &[
            "Joined 0", "Joined 1", "Joined 2", "Joined 3", "Left 0", "Left 2", "Left 3", "Lost 1",
        ],
    );
}
