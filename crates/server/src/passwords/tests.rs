use std::task::{Context, Poll, Waker};

use super::*;

/// A user's hash, as it may stand in the accounts.
fn slow(password: &str) -> StoredHash {
    StoredHash::parse(hash_password(password.as_bytes()).unwrap().as_str()).unwrap()
}

fn fast(password: &str) -> StoredHash {
    let hash = hash_published_password(password.as_bytes()).unwrap();
    StoredHash::parse(hash.as_str()).unwrap()
}

async fn check(passwords: &Passwords, password: &str, stored: Option<StoredHash>, want: bool) {
    let given = Zeroizing::new(password.as_bytes().to_vec());
    assert_eq!(
        passwords
            .is_right(Origin::of(None), "ann", given, stored.clone())
            .await,
        want,
        "{password:?} against {stored:?}"
    );
}

#[tokio::test]
async fn the_right_password_and_no_other_is_let_in() {
    let passwords = Passwords::new([]);
    for stored in [slow("secret"), fast("secret")] {
        check(&passwords, "secret", Some(stored.clone()), true).await;
        check(&passwords, "secret", Some(stored.clone()), true).await;
        check(&passwords, "Secret", Some(stored.clone()), false).await;
        check(&passwords, "", Some(stored), false).await;
    }
    for stored in [slow(""), fast("")] {
        check(&passwords, "", Some(stored), false).await;
    }
    check(&passwords, "secret", None, false).await;
}

#[tokio::test]
async fn a_changed_password_is_not_remembered() {
    let passwords = Passwords::new([]);
    check(&passwords, "secret", Some(slow("secret")), true).await;
    check(&passwords, "secret", Some(slow("changed")), false).await;
}

#[tokio::test]
async fn work_that_nobody_waits_for_gives_its_turn_back() {
    let passwords = Passwords::with_turns([], 2);
    for _ in 0..4 {
        let given = Zeroizing::new(b"secret".to_vec());
        let stored = Some(slow("secret"));
        let mut check = Box::pin(passwords.is_right(Origin::of(None), "ann", given, stored));
        // Begun and dropped.
        let begun = std::future::poll_fn(|cx| Poll::Ready(check.as_mut().poll(cx)));
        assert!(begun.await.is_pending());
    }
    check(&passwords, "secret", Some(slow("secret")), true).await;
    let _first = passwords.turns.take(Origin::of(None)).await;
    let _second = passwords.turns.take(Origin::of(None)).await;
}

/// Polled one after the other, and the one from elsewhere after each: how many of the others are done before it is a matter of
/// turns and not of time.
#[tokio::test]
async fn who_comes_from_elsewhere_does_not_wait_for_all_guesses_of_an_address() {
    let passwords = Passwords::with_turns([], 1);
    let (here, elsewhere) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let try_out = |from: [u8; 4], password: &str, stored| {
        let (passwords, origin) = (passwords.clone(), Origin::of(Some(from.into())));
        let given = Zeroizing::new(password.as_bytes().to_vec());
        Box::pin(async move { passwords.is_right(origin, "ann", given, stored).await })
    };
    let mut context = Context::from_waker(Waker::noop());
    let stored = slow("secret");
    let mut guesses: Vec<_> = (0..20)
        .map(|guess| try_out(here, &guess.to_string(), Some(stored.clone())))
        .collect();
    for guess in &mut guesses {
        assert!(guess.as_mut().poll(&mut context).is_pending());
    }
    let mut right = try_out(elsewhere, "secret", Some(stored));
    let mut failed = 0;
    let mut turn = 0;
    while right.as_mut().poll(&mut context).is_pending() {
        turn = (turn + 1) % guesses.len();
        if let Poll::Ready(is_right) = guesses[turn].as_mut().poll(&mut context) {
            assert!(!is_right);
            failed += 1;
            drop(guesses.remove(turn));
        }
        tokio::task::yield_now().await;
    }
    assert!(failed <= 2, "{failed} guesses went before");
}

#[test]
fn an_ipv4_address_on_an_ipv6_socket_is_what_it_is() {
    assert!(is_loopback("::ffff:127.0.0.1".parse().unwrap()));
    assert!(is_loopback("::1".parse().unwrap()));
    assert!(!is_loopback("192.0.2.1".parse().unwrap()));
}

#[test]
fn debug_output_shows_no_key() {
    assert_eq!(format!("{:?}", Recent::new()), "Recent { entries: 0, .. }");
}
