//! Several backends: who is asked after whom, and what is kept of their answers (behaviour reference, section 18.4).

mod support;

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use leveret_amqp_codec::method::{connection, queue};
use leveret_broker::{
    Accounts, AuthChain, Authenticator, Authorization, AuthorizationFuture, AuthorizerSource,
    Broker, CachedAuth, Identity, Login, LoginFuture, LoginRefused, Permissions, Properties, Tag,
    TlsPeer, User, UserTable, VirtualClock,
};
use support::backend::{Backend, ann, greeting_of};
use support::{Greeting, Wire, pass, short, start};

/// Says the same to everybody, and counts them.
#[derive(Clone)]
struct Says(Arc<(Result<Identity, LoginRefused>, AtomicUsize)>);

impl Says {
    fn new(answer: Result<Identity, LoginRefused>) -> Self {
        Self(Arc::new((answer, AtomicUsize::new(0))))
    }

    fn yes(name: &str) -> Self {
        Self::new(Ok(Identity::new(name)))
    }

    fn no() -> Self {
        Self::new(Err(LoginRefused::new("unknown")))
    }

    fn nothing() -> Self {
        Self::new(Err(LoginRefused::unavailable("no answer")))
    }

    fn count(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Authenticator for Says {
    fn authenticate(&self, _: Login) -> LoginFuture<'_> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(ready(self.0.0.clone()))
    }

    fn certificate_user(&self, _: &TlsPeer) -> Option<String> {
        let identity = self.0.0.as_ref().ok()?;
        Some(identity.username().to_string())
    }
}

/// Has the rights of all users but one from a backend.
struct Rights {
    backend: Backend,
    unknown: &'static str,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl AuthorizerSource for Rights {
    fn authorizer_for<'a>(
        &'a self,
        identity: &'a Identity,
        login: &'a Login,
    ) -> AuthorizationFuture<'a> {
        let user = identity.username().to_string();
        let known = user != self.unknown;
        self.asked
            .lock()
            .unwrap()
            .push((user, login.username.clone()));
        Box::pin(ready(if known {
            let authorizer = Arc::new(self.backend.clone());
            Ok(Authorization::new(authorizer).with_tags(vec![Tag::Impersonator]))
        } else {
            Err(LoginRefused::new("not in the directory"))
        }))
    }
}

/// Whether somebody is let in.
async fn may_log_in(broker: &Broker, greeting: &Greeting) -> bool {
    let mut wire = greeting.authenticate(broker).await;
    let heard = wire.hear().await.expect("an answer comes");
    match heard.method().name() {
        "connection.tune" => true,
        "connection.close" => {
            let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
            assert_eq!(heard.into_closed().text, text);
            false
        }
        other => panic!("{other}"),
    }
}

async fn may_not_declare(wire: &mut Wire) {
    wire.send(&queue::Declare {
        queue: short("q"),
        ..queue::Declare::default()
    })
    .await;
    assert_eq!(wire.expect_channel_closed().await.code, 403);
    wire.open_channel(1).await;
}

async fn broker(chain: impl Authenticator) -> Broker {
    start(Broker::builder().authenticator(chain)).await
}

#[tokio::test]
async fn the_first_who_knows_a_user_lets_it_in() {
    let (no, yes, never) = (Says::no(), Says::yes("ann"), Says::yes("bob"));
    let nothing = Says::nothing();
    let chain = AuthChain::new()
        .with("no", no.clone())
        .with("nothing", nothing.clone())
        .with("yes", yes.clone())
        .with("never", never.clone());
    let broker = broker(chain).await;
    assert!(may_log_in(&broker, &ann()).await);
    let counts = [&no, &nothing, &yes, &never].map(Says::count);
    assert_eq!(counts, [1, 1, 1, 0]);
}

#[tokio::test]
async fn nobody_is_let_in_whom_nobody_knows() {
    for chain in [
        AuthChain::new(),
        AuthChain::new().with("no", Says::no()),
        AuthChain::new().with("nothing", Says::nothing()),
        AuthChain::new()
            .with("nothing", Says::nothing())
            .with("no", Says::no()),
    ] {
        let broker = broker(chain).await;
        assert!(!may_log_in(&broker, &ann()).await);
    }
}

/// What a refusal tells the operator, and whether it counts as a guess.
#[tokio::test]
async fn a_refusal_names_everybody_and_what_he_said() {
    let login = login_of_ann().await;
    let ask = async |chain: AuthChain| chain.authenticate(login.clone()).await.unwrap_err();
    let both = AuthChain::new()
        .with("ldap", Says::nothing())
        .with("internal", Says::no());
    let refused = ask(both).await;
    assert_eq!(refused.to_string(), "ldap: no answer; internal: unknown");
    assert!(!refused.is_unavailable(), "somebody has looked at it");
    let refused = ask(AuthChain::new().with("ldap", Says::nothing())).await;
    assert!(refused.is_unavailable());
}

/// What the broker hands to an authenticator for ann.
async fn login_of_ann() -> Login {
    struct Keep(Arc<Mutex<Option<Login>>>);
    impl Authenticator for Keep {
        fn authenticate(&self, login: Login) -> LoginFuture<'_> {
            *self.0.lock().unwrap() = Some(login);
            Box::pin(ready(Err(LoginRefused::new("seen"))))
        }
    }
    let kept = Arc::default();
    let broker = broker(Keep(Arc::clone(&kept))).await;
    assert!(!may_log_in(&broker, &ann()).await);
    kept.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn one_authenticates_and_another_authorises() {
    let backend = Backend::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let rights = Rights {
        backend: backend.clone(),
        unknown: "carl",
        asked: Arc::clone(&asked),
    };
    let passwords = UserTable::new()
        .with_user("ann", "secret")
        .with_user("carl", "secret");
    let chain = AuthChain::new().with_authorization("table", passwords, "directory", rights);
    let broker = broker(chain).await;
    let mut wire = ann().open_channel(&broker).await;
    backend.refuse(["configure queue q"]);
    may_not_declare(&mut wire).await;
    // The tags of the one who authorises.
    let as_bob = Properties {
        user_id: Some("bob".to_owned()),
        ..Properties::default()
    };
    wire.publish_with("amq.fanout", "", &as_bob, b"m").await;
    wire.quiet().await;
    let carl = greeting_of("carl");
    assert!(!may_log_in(&broker, &carl).await);
    let name = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(*asked.lock().unwrap(), [name("ann"), name("carl")]);
}

#[tokio::test]
async fn the_accounts_can_authorise_whom_another_authenticates() {
    let backend = Backend::new();
    let chain = AuthChain::new().with_accounts("token", backend.clone());
    let permissions = Permissions::new("^q$", "", "").unwrap();
    let accounts = Accounts::default().with_user(User::new("ann"), "/", permissions);
    let builder = Broker::builder().authenticator(chain).accounts(accounts);
    let broker = start(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", b"m").await;
    assert_eq!(wire.expect_channel_closed().await.code, 403);
    assert_eq!(backend.asked(), [""; 0]);
}

/// Whoever has authenticated knows about new secrets, and the other goes on authorising.
#[tokio::test]
async fn secrets_are_renewed_where_they_came_from() {
    let (tokens, directory) = (Backend::new(), Backend::new());
    let clock = VirtualClock::new();
    let end = |after_s: u64| {
        SystemTime::UNIX_EPOCH
            + Duration::from_millis(clock.now().as_millis())
            + Duration::from_secs(after_s)
    };
    let (first, second) = (end(60), end(120));
    tokens.identities(move |identity| identity.valid_until(first));
    let fresh = tokens.identity("ann").valid_until(second);
    tokens.secrets(move |secret| match secret {
        "fresh" => Ok(Some(fresh.clone())),
        _ => Err(LoginRefused::new("stale")),
    });
    let rights = Rights {
        backend: directory.clone(),
        unknown: "",
        asked: Arc::default(),
    };
    let chain = AuthChain::new().with_authorization("token", tokens.clone(), "directory", rights);
    let builder = Broker::builder()
        .authenticator(chain)
        .virtual_clock(clock.clone());
    let broker = start(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    for _ in 0..2 {
        update_secret(&mut wire, b"fresh").await;
        wire.expect_on(0, "connection.update-secret-ok").await;
    }
    directory.asked();
    wire.declare("q").await;
    assert_eq!(directory.asked(), ["configure queue q"]);
    assert_eq!(tokens.asked(), [""; 0]);
    pass(&broker, &clock, 119_000).await;
    wire.quiet().await;
    update_secret(&mut wire, b"stale").await;
    assert_eq!(wire.expect_connection_closed().await.code, 530);
}

async fn update_secret(wire: &mut Wire, secret: &[u8]) {
    let update = connection::UpdateSecret {
        new_secret: secret,
        reason: short("the old one expires"),
    };
    wire.send_on(0, &update).await;
}

#[tokio::test]
async fn certificates_are_read_by_the_first_who_can() {
    let chain = AuthChain::new()
        .with("no", Says::no())
        .with("ann", Says::yes("ann"))
        .with("bob", Says::yes("bob"));
    let peer = TlsPeer::default();
    assert_eq!(chain.certificate_user(&peer).as_deref(), Some("ann"));
}

/// What was said holds for a while, and what was refused does not.
#[tokio::test]
async fn logins_are_cached() {
    let (backend, clock) = (Says::yes("ann"), VirtualClock::new());
    let cached = CachedAuth::new(backend.clone()).virtual_clock(clock.clone());
    let broker = broker(cached).await;
    for _ in 0..3 {
        assert!(may_log_in(&broker, &ann()).await);
    }
    assert_eq!(backend.count(), 1);
    let other_password = Greeting {
        response: b"\0ann\0other".to_vec(),
        ..Greeting::default()
    };
    assert!(may_log_in(&broker, &other_password).await);
    assert_eq!(backend.count(), 2, "another password is another login");
    clock.advance(Duration::from_millis(14_999));
    assert!(may_log_in(&broker, &ann()).await);
    assert_eq!(backend.count(), 2);
    clock.advance(Duration::from_millis(1));
    assert!(may_log_in(&broker, &ann()).await);
    assert_eq!(backend.count(), 3);
}

#[tokio::test]
async fn refusals_are_cached_when_that_is_wanted_and_outages_never() {
    for (answer, keeps, want) in [
        (Says::no(), false, 2),
        (Says::no(), true, 1),
        (Says::nothing(), true, 2),
    ] {
        let mut cached = CachedAuth::new(answer.clone());
        if keeps {
            cached = cached.keep_refusals();
        }
        let broker = broker(cached).await;
        for _ in 0..2 {
            assert!(!may_log_in(&broker, &ann()).await);
        }
        assert_eq!(answer.count(), want, "{keeps}");
    }
}

#[tokio::test]
async fn an_identity_is_cached_no_longer_than_it_lasts() {
    let clock = VirtualClock::new();
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(clock.now().as_millis());
    let identity = Identity::new("ann").valid_until(now + Duration::from_secs(5));
    let backend = Says::new(Ok(identity));
    let cached = CachedAuth::new(backend.clone()).virtual_clock(clock.clone());
    let login = login_of_ann().await;
    for (at_ms, want) in [(0, 1), (4_999, 1), (5_000, 2)] {
        let passed = clock.now().as_millis() - 1_767_225_600_000;
        clock.advance(Duration::from_millis(at_ms - passed));
        cached.authenticate(login.clone()).await.unwrap();
        assert_eq!(backend.count(), want, "after {at_ms} ms");
    }
    cached.clear();
    clock.advance(Duration::from_secs(1));
    cached.authenticate(login).await.unwrap();
    assert_eq!(backend.count(), 3);
}

/// Connections that log in alike share what has been answered; each has it from there for a while again.
#[tokio::test]
async fn answers_are_cached_for_all_who_log_in_alike() {
    let (backend, clock) = (Backend::new(), VirtualClock::new());
    backend.answer_late();
    let cached = CachedAuth::new(backend.clone()).virtual_clock(clock.clone());
    let broker = broker(cached).await;
    for _ in 0..3 {
        let mut wire = ann().open_channel(&broker).await;
        wire.declare("q").await;
    }
    assert_eq!(
        backend.asked(),
        ["vhost / from 127.0.0.1", "configure queue q"]
    );
    let bob = greeting_of("bob");
    let mut wire = bob.open_channel(&broker).await;
    backend.asked();
    backend.refuse(["configure queue q"]);
    for _ in 0..2 {
        may_not_declare(&mut wire).await;
    }
    assert_eq!(backend.asked(), ["configure queue q"; 2]);
    clock.advance(Duration::from_secs(15));
    let mut wire = ann().open_channel(&broker).await;
    wire.quiet().await;
    assert_eq!(backend.asked(), ["vhost / from 127.0.0.1"]);
}

/// Somebody who could not be asked has counted no guess: the next right password is looked at at once.
#[tokio::test]
async fn an_outage_slows_nobody_down() {
    let clock = VirtualClock::new();
    let down = Arc::new(AtomicBool::new(true));
    struct Sometimes(Arc<AtomicBool>);
    impl Authenticator for Sometimes {
        fn authenticate(&self, _: Login) -> LoginFuture<'_> {
            Box::pin(ready(if self.0.load(Ordering::SeqCst) {
                Err(LoginRefused::unavailable("no answer"))
            } else {
                Ok(Identity::new("ann"))
            }))
        }
    }
    let builder = Broker::builder()
        .authenticator(Sometimes(Arc::clone(&down)))
        .virtual_clock(clock)
        .free_login_failures(1);
    let broker = start(builder).await;
    for _ in 0..5 {
        assert!(!may_log_in(&broker, &ann()).await);
    }
    down.store(false, Ordering::SeqCst);
    // The clock stands still: whoever had to wait would wait for ever.
    assert!(may_log_in(&broker, &ann()).await);
}
