//! A directory says who users are, and what it has of them says what they may do.
#![cfg(feature = "ldap")]

mod support;

use std::time::Duration;

use leveret_auth::{
    Clause, Ldap, LdapSettings, Query, Secret, ServiceAccount, UserLookup, Value, Variable,
};
use leveret_broker::{
    Authenticator, AuthorizerSource, Identity, Login, LoginRefused, Question, ResourceKind, Right,
    Tag,
};
use support::directory::{Directory, Mood};
use support::service::nobody;
use support::{authorizer, log_in, may};

fn directory() -> Directory {
    Directory::start(&[
        ("dc=x", &[]),
        ("cn=reader,dc=x", &[("userPassword", "r0")]),
        ("ou=people,dc=x", &[]),
        (
            "uid=ann,ou=people,dc=x",
            &[("uid", "ann"), ("userPassword", "secret")],
        ),
        (
            "uid=bob,ou=people,dc=x",
            &[("uid", "bob"), ("userPassword", "secret")],
        ),
        ("uid=twin,ou=people,dc=x", &[("uid", "twin")]),
        ("uid=twin,ou=others,ou=people,dc=x", &[("uid", "twin")]),
        ("cn=shop,dc=x", &[("member", "cn=staff,dc=x")]),
        ("cn=staff,dc=x", &[("member", "uid=ann,ou=people,dc=x")]),
    ])
}

fn pattern(form: &str) -> UserLookup {
    UserLookup::Pattern(form.parse().unwrap())
}

fn search() -> UserLookup {
    UserLookup::Search {
        attribute: "uid".into(),
        base: "ou=people,dc=x".into(),
    }
}

/// Users may open the virtual hosts in whose group they are, by way of others too, read everything there, and write and
/// configure what begins with their name.
fn settings(servers: Vec<String>, users: UserLookup) -> LdapSettings {
    let vhost = Query::InGroupNested {
        group: "cn=${vhost},dc=x".parse().unwrap(),
        attribute: "member".into(),
        base: "dc=x".into(),
    };
    let reads = Clause {
        variable: Variable::Permission,
        value: "read".into(),
        query: Query::Constant(true),
    };
    let own = Query::Match {
        value: Value::Text("${name}".parse().unwrap()),
        pattern: "^${username}-".parse().unwrap(),
    };
    let resource = Query::Or(vec![Query::For(vec![reads]), own]);
    let mut settings = LdapSettings::new(servers, users, vhost, resource);
    settings.account = Some(ServiceAccount {
        dn: "cn=reader,dc=x".into(),
        password: Secret::new("r0"),
    });
    settings.tags = vec![(
        "administrator".into(),
        Query::InGroup {
            group: "cn=staff,dc=x".parse().unwrap(),
            attribute: "member".into(),
        },
    )];
    settings
}

fn backend(directory: &Directory, users: UserLookup) -> Ldap {
    Ldap::new(settings(vec![directory.url()], users)).unwrap()
}

#[track_caller]
fn check_refused(outcome: Result<Identity, LoginRefused>, words: &str) {
    let refused = outcome.unwrap_err();
    assert!(refused.to_string().contains(words), "{refused}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
    assert!(!refused.is_unavailable(), "{refused}");
}

#[track_caller]
fn check_unavailable(outcome: Result<Identity, LoginRefused>, words: &str) {
    let refused = outcome.unwrap_err();
    assert!(refused.to_string().contains(words), "{refused}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
    assert!(refused.is_unavailable(), "{refused}");
}

#[tokio::test]
async fn users_log_in_with_the_passwords_of_the_directory() {
    let directory = directory();
    for users in [pattern("uid=${username},ou=people,dc=x"), search()] {
        let backend = backend(&directory, users);
        let ann = log_in(&backend, "ann", "secret").await.unwrap();
        assert_eq!(&**ann.username(), "ann");
        assert_eq!(ann.tags(), [Tag::Administrator]);
        let bob = log_in(&backend, "bob", "secret").await.unwrap();
        assert_eq!(bob.tags(), []);
        check_refused(
            log_in(&backend, "ann", "guess").await,
            "did not let user 'ann' in",
        );
        check_refused(log_in(&backend, "ann", "").await, "no password");
        check_refused(
            log_in(&backend, "ann", b"\xff").await,
            "did not let user 'ann' in",
        );
        check_refused(log_in(&backend, "nobody", "secret").await, "'nobody'");
    }
}

#[tokio::test]
async fn a_name_that_several_have_lets_nobody_in() {
    let directory = directory();
    let backend = backend(&directory, search());
    check_refused(
        log_in(&backend, "twin", "secret").await,
        "several users 'twin'",
    );
}

#[tokio::test]
async fn no_name_leads_to_another_entry() {
    let directory = directory();
    let form = backend(&directory, pattern("uid=${username},ou=people,dc=x"));
    let name = "ann,ou=people,dc=x+cn=x";
    check_refused(log_in(&form, name, "secret").await, "did not let");
    let bound = directory.binds().pop().unwrap();
    assert_eq!(
        bound,
        "uid=ann\\2cou\\3dpeople\\2cdc\\3dx\\2bcn\\3dx,ou=people,dc=x"
    );
    let search = backend(&directory, search());
    for name in ["*", "a*", "ann)(uid=*", "\\2a", "ann\0"] {
        check_refused(log_in(&search, name, "secret").await, "has no user");
    }
}

#[tokio::test]
async fn queries_say_what_a_user_may_do() {
    let directory = directory();
    let backend = backend(&directory, search());
    let ann = log_in(&backend, "ann", "secret").await.unwrap();
    let bob = log_in(&backend, "bob", "secret").await.unwrap();
    let vhost = |vhost| Question::VirtualHost { vhost, peer: None };
    assert!(may(&ann, vhost("shop")).await);
    assert!(!may(&ann, vhost("bank")).await);
    assert!(!may(&bob, vhost("shop")).await);
    let resource = |name, right| Question::Resource {
        vhost: "shop",
        kind: ResourceKind::Queue,
        name,
        right,
    };
    assert!(may(&ann, resource("any", Right::Read)).await);
    assert!(may(&ann, resource("ann-1", Right::Write)).await);
    assert!(!may(&ann, resource("bob-1", Right::Write)).await);
    let topic = Question::Topic {
        vhost: "shop",
        exchange: "news",
        routing_key: "a",
        right: Right::Write,
        client_id: None,
    };
    assert!(may(&ann, topic).await);
    // The account logs in once for logins and once for those who are in, and users each time, over connections of their own.
    assert_eq!(directory.connections(), 3);
    let binds = directory.binds();
    let of_account = binds.iter().filter(|dn| *dn == "cn=reader,dc=x");
    assert_eq!((of_account.count(), binds.len()), (2, 4));
}

#[tokio::test]
async fn who_has_been_authenticated_elsewhere_has_to_be_there() {
    let directory = directory();
    for users in [pattern("uid=${username},ou=people,dc=x"), search()] {
        let backend = backend(&directory, users);
        let login = Login::new("token".into(), b"x".to_vec(), "PLAIN", None);
        let ann = Identity::new("ann");
        let found = backend.authorizer_for(&ann, &login).await.unwrap();
        assert_eq!(found.tags, [Tag::Administrator]);
        let nobody = Identity::new("nobody");
        let refused = backend.authorizer_for(&nobody, &login).await.unwrap_err();
        assert!(!refused.is_unavailable(), "{refused}");
        let external = |name: &str| Login::new(name.into(), Vec::new(), "EXTERNAL", None);
        backend.authenticate(external("bob")).await.unwrap();
        let outcome = backend.authenticate(external("nobody")).await;
        check_refused(outcome, "has no user");
    }
    let directory = self::directory();
    let nameless = backend(&directory, search());
    let login = Login::new("twin".into(), Vec::new(), "EXTERNAL", None);
    check_refused(nameless.authenticate(login).await, "several users");
}

#[tokio::test]
async fn a_directory_that_is_down_lets_nobody_in_and_comes_back() {
    let directory = directory();
    let mut settings = settings(vec![directory.url()], search());
    settings.request_timeout = Duration::from_millis(300);
    let backend = Ldap::new(settings).unwrap();
    let ann = log_in(&backend, "ann", "secret").await.unwrap();
    let moods = [
        (Mood::Closes, "cannot be asked"),
        (Mood::Babbles, "cannot be asked"),
        (Mood::Silent, "no answer within 300 ms"),
        (Mood::Fails(52), "result 52"),
    ];
    let vhost = Question::VirtualHost {
        vhost: "shop",
        peer: None,
    };
    for (mood, words) in moods {
        directory.set_mood(mood);
        check_unavailable(log_in(&backend, "ann", "secret").await, words);
        authorizer(&ann).authorize(vhost).await.unwrap_err();
        directory.set_mood(Mood::Answers);
        log_in(&backend, "ann", "secret").await.unwrap();
        assert!(may(&ann, vhost).await);
    }
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_not_there() {
    let directory = directory();
    let servers = vec![format!("ldap://{}", nobody()), directory.url()];
    let backend = Ldap::new(settings(servers, search())).unwrap();
    log_in(&backend, "ann", "secret").await.unwrap();
    let nowhere = vec![format!("ldap://{}", nobody())];
    let backend = Ldap::new(settings(nowhere, search())).unwrap();
    check_unavailable(log_in(&backend, "ann", "secret").await, "no connection");
}

#[tokio::test]
async fn without_tls_nothing_is_sent_to_a_server_that_should_have_it() {
    let directory = directory();
    let mut settings = settings(vec![directory.url()], search());
    settings.start_tls = true;
    let backend = Ldap::new(settings).unwrap();
    check_unavailable(log_in(&backend, "ann", "secret").await, "no connection");
    assert_eq!(directory.binds(), [""; 0]);
}

#[tokio::test]
async fn an_account_that_may_not_log_in_is_told_of() {
    let directory = directory();
    let mut settings = settings(vec![directory.url()], search());
    settings.account.as_mut().unwrap().password = Secret::new("secret-of-old");
    assert!(!format!("{settings:?}").contains("secret-of-old"));
    let backend = Ldap::new(settings).unwrap();
    check_unavailable(log_in(&backend, "ann", "x").await, "service account");
    assert!(!format!("{backend:?}").contains("secret-of-old"));
}

#[tokio::test]
async fn many_share_a_few_connections() {
    let directory = directory();
    let mut settings = settings(vec![directory.url()], search());
    settings.connections_max = 2;
    let backend = Ldap::new(settings).unwrap();
    let logins = (0..20).map(|_| {
        let backend = backend.clone();
        async move { log_in(&backend, "ann", "secret").await.map(drop) }
    });
    for outcome in support::all(logins.collect()).await {
        outcome.unwrap();
    }
    assert!(directory.connections() <= 4);
}

#[test]
fn mistakes_in_settings_are_told_of() {
    let check = |change: &dyn Fn(&mut LdapSettings), words: &str| {
        let mut settings = settings(vec!["ldap://x".into()], search());
        change(&mut settings);
        let problem = Ldap::new(settings).unwrap_err().to_string();
        assert!(problem.contains(words), "{problem}");
    };
    let exists = |dn: &str| Query::Exists(dn.parse().unwrap());
    check(&|to| to.servers.clear(), "no server");
    check(&|to| to.servers.push("http://x".into()), "'http://x'");
    check(&|to| to.servers.push("ldap://".into()), "'ldap://'");
    check(&|to| to.servers.push("ldaps:///".into()), "'ldaps:///'");
    check(&|to| to.connections_max = 0, "zero");
    check(&|to| to.tls.ca = Some("nowhere.pem".into()), "nowhere.pem");
    check(&|to| to.users = pattern("uid=x"), "${username}");
    check(
        &|to| to.users = pattern("uid=${username},o=${vhost}"),
        "${username}",
    );
    check(&|to| to.vhost = exists("${name}"), "vhost: ");
    check(&|to| to.resource = exists("${routing_key}"), "resource: ");
    check(
        &|to| to.tags.push(("ops".into(), exists("${vhost}"))),
        "tag 'ops': ",
    );
}
