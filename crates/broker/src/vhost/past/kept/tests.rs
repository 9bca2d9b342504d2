use super::*;
use crate::random::mix;
use leveret_queue_store::MessageParts;

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn limits(length: Option<u64>, age_ms: Option<u64>) -> HistoryLimits {
    HistoryLimits { length, age_ms }
}

fn message(number: u64, expiration_ms: Option<u64>) -> Message {
    let body = number.to_string();
    let parts = MessageParts {
        body: body.as_bytes(),
        expiration_ms,
        ..MessageParts::default()
    };
    Message::new(&parts, &mut Vec::new())
}

fn add(kept: &mut Kept, ms: u64, number: u64, key: &str) {
    kept.expire(at(ms));
    kept.add(at(ms), number, key, &message(number, None));
}

fn numbers(found: &Found) -> Vec<u64> {
    let bodies = found.messages.iter().map(Message::body);
    bodies
        .map(|body| std::str::from_utf8(body).unwrap().parse().unwrap())
        .collect()
}

/// What is kept of one key after a number, and whether something is missing.
fn of(kept: &Kept, ms: u64, after: u64, name: &str) -> (Vec<u64>, bool) {
    let found = kept.find(at(ms), after, None, |key| (key == name).then(Vec::new));
    let alone = kept.find(at(ms), after, Some(name), |_| Some(Vec::new()));
    assert_eq!(
        (numbers(&alone), alone.is_missing),
        (numbers(&found), found.is_missing)
    );
    (numbers(&found), found.is_missing)
}

#[test]
fn each_key_has_its_own_length() {
    let mut kept = Kept::new(limits(Some(2), None), 0);
    add(&mut kept, 0, 1, "quiet");
    for number in 2..100 {
        add(&mut kept, 0, number, "busy");
    }
    assert_eq!(of(&kept, 0, 0, "quiet"), (vec![1], false));
    assert_eq!(of(&kept, 0, 0, "busy"), (vec![98, 99], true));
    assert_eq!(of(&kept, 0, 97, "busy"), (vec![98, 99], false));
    assert_eq!(of(&kept, 0, 98, "busy"), (vec![99], false));
}

#[test]
fn what_is_too_old_is_gone_at_that_moment_and_known_to_be_missing() {
    let mut kept = Kept::new(limits(None, Some(100)), 0);
    add(&mut kept, 0, 1, "a");
    add(&mut kept, 50, 2, "b");
    kept.expire(at(99));
    assert_eq!(of(&kept, 99, 0, "a"), (vec![1], false));
    kept.expire(at(100));
    assert_eq!(of(&kept, 100, 0, "a"), (vec![], true));
    assert_eq!(of(&kept, 100, 1, "a"), (vec![], false));
    assert_eq!(of(&kept, 100, 0, "b"), (vec![2], false), "b misses nothing");
    assert_eq!(kept.next_expiry(), Some(at(150)));
}

#[test]
fn a_message_that_would_have_expired_in_a_queue_is_not_given_out() {
    let mut kept = Kept::new(limits(Some(9), None), 0);
    kept.add(at(0), 1, "a", &message(1, Some(100)));
    let left = |ms| {
        let found = kept.find(at(ms), 0, None, |_| Some(Vec::new()));
        found.messages.first().and_then(Message::expiration_ms)
    };
    assert_eq!(left(40), Some(60));
    assert_eq!(left(100), None);
}

#[test]
fn what_was_had_is_not_given_again_nor_missing() {
    let mut kept = Kept::new(limits(Some(3), None), 0);
    for number in 1..=6 {
        add(&mut kept, 0, number, "a");
    }
    let find = |after, had: &[Had]| {
        let found = kept.find(at(0), after, None, |_| Some(had.to_vec()));
        (numbers(&found), found.is_missing)
    };
    assert_eq!(find(0, &[]), (vec![4, 5, 6], true));
    assert_eq!(find(0, &[(0, 3)]), (vec![4, 5, 6], false));
    assert_eq!(find(0, &[(2, 5), (0, 2)]), (vec![6], false));
    assert_eq!(find(0, &[(1, 5)]), (vec![6], true), "the first is missing");
    assert_eq!(find(0, &[(4, u64::MAX)]), (vec![4], true));
}

#[test]
fn a_message_with_several_keys_is_given_out_once() {
    let mut kept = Kept::new(limits(Some(3), None), 0);
    for key in ["a", "b", "a"] {
        kept.add(at(0), 1, key, &message(1, None));
    }
    let found = kept.find(at(0), 0, None, |_| Some(Vec::new()));
    assert_eq!(numbers(&found), [1]);
}

#[test]
fn what_is_pushed_out_is_the_oldest_and_all_memory_comes_back() {
    let mut kept = Kept::new(limits(Some(9), None), 0);
    for number in 1..=4 {
        add(
            &mut kept,
            0,
            number,
            if number % 2 == 0 { "a" } else { "b" },
        );
    }
    assert!(kept.push_out());
    assert_eq!(of(&kept, 0, 0, "b"), (vec![3], true));
    assert_eq!(of(&kept, 0, 0, "a"), (vec![2, 4], false));
    while kept.push_out() {}
    assert_eq!(kept.bytes(), 0);
    assert_eq!(of(&kept, 0, 3, "c"), (vec![], true), "who knows what c had");
    assert_eq!(of(&kept, 0, 4, "c"), (vec![], false));
}

#[test]
fn the_number_of_keys_is_bounded_and_the_oldest_make_room() {
    let mut kept = Kept::new(limits(Some(1), None), 0);
    let last = KEYS_MAX as u64 + 10;
    for number in 1..=last {
        add(&mut kept, 0, number, &number.to_string());
    }
    assert_eq!(kept.keys.len(), KEYS_MAX);
    assert_eq!(of(&kept, 0, 0, "10"), (vec![], true));
    assert_eq!(of(&kept, 0, 10, "11"), (vec![11], false));
    assert_eq!(of(&kept, 0, 10, &last.to_string()), (vec![last], false));
}

/// Against lists that are searched from end to end.
#[test]
fn a_naive_twin_keeps_the_same() {
    let mut random = 1_u64;
    let mut below = |end: u64| {
        random = random.wrapping_add(1);
        mix(random) % end
    };
    for round in 0..200 {
        let length = (round % 3 != 0).then(|| 1 + below(4));
        let age_ms = (round % 3 != 1).then(|| 1 + below(30));
        let mut kept = Kept::new(limits(length, age_ms), 0);
        let mut twin: Vec<(u64, u64, u64)> = Vec::new();
        let mut lost = [0; 4];
        let mut now = 0;
        for number in 1..80 {
            now += below(6);
            let key = below(4);
            add(&mut kept, now, number, &key.to_string());
            twin.push((number, now, key));
            let mut drop_if = |twin: &mut Vec<_>, gone: &dyn Fn(&(u64, u64, u64)) -> bool| {
                for (number, _, key) in twin.extract_if(.., |it| gone(it)) {
                    lost[key as usize] = lost[key as usize].max(number);
                }
            };
            drop_if(&mut twin, &|it| age_ms.is_some_and(|age| it.1 + age <= now));
            let of_key = twin.iter().filter(|it| it.2 == key).count() as u64;
            let first = twin.iter().find(|it| it.2 == key).map(|it| it.0);
            drop_if(&mut twin, &|it| {
                length.is_some_and(|limit| of_key > limit) && Some(it.0) == first
            });
            let after = below(number + 1);
            let want = twin.iter().filter(|it| it.2 == key && it.0 > after);
            let want: Vec<_> = want.map(|it| it.0).collect();
            let is_missing = lost[key as usize] > after;
            assert_eq!(of(&kept, now, after, &key.to_string()), (want, is_missing));
        }
    }
}

#[test]
fn what_was_had_by_several_bindings_is_put_together() {
    for seed in 0..200_u64 {
        let chance = |at: u64| mix(seed << 8 | at);
        let had: Vec<Had> = (0..seed % 6)
            .map(|at| (chance(at) % 20, chance(at) % 20 + chance(at + 100) % 6))
            .collect();
        let mut merged = had.clone();
        merge(&mut merged);
        for number in 0..30 {
            let was_had = |had: &[Had]| had.iter().any(|it| (it.0 + 1..=it.1).contains(&number));
            assert_eq!(was_had(&merged), was_had(&had), "{had:?}, {number}");
        }
        let apart = merged.windows(2).all(|two| two[0].1 < two[1].0);
        assert!(apart, "{merged:?}");
    }
}
