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
        passwords.is_right("ann", given, stored.clone()).await,
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
    let passwords = Passwords::new([]);
    let turns = passwords.turns.available_permits();
    for _ in 0..2 * turns {
        let given = Zeroizing::new(b"secret".to_vec());
        let mut check = Box::pin(passwords.is_right("ann", given, Some(slow("secret"))));
        // Begun and dropped.
        let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(check.as_mut().poll(cx)));
        assert!(begun.await.is_pending());
    }
    check(&passwords, "secret", Some(slow("secret")), true).await;
    let all = u32::try_from(turns).unwrap();
    let _all = passwords.turns.acquire_many(all).await.unwrap();
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
