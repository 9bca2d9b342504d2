//! A service is asked over HTTP as RabbitMQ's plugin asks it.
#![cfg(feature = "http")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use leveret_auth::{Http, HttpMethod, HttpSettings};
use leveret_broker::{
    Authenticator, AuthorizerSource, Identity, Login, LoginRefused, Question, ResourceKind, Right,
    Tag,
};
use support::service::{Reply, Request, Service, nobody};
use support::{authorizer, log_in, may};

fn settings(url: impl Fn(&str) -> String) -> HttpSettings {
    HttpSettings::new(url("/user"), url("/vhost"), url("/resource"), url("/topic"))
}

/// A backend for a service that does this with each request.
fn backend(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Http {
    let service = Service::start(handler);
    Http::new(settings(|path| service.url(path))).unwrap()
}

/// Lets everybody do everything, and tells of what it was asked.
fn recorder(method: HttpMethod) -> (Http, impl Fn() -> Request) {
    let (sender, requests) = mpsc::channel();
    let sender = Mutex::new(sender);
    let service = Service::start(move |request| {
        sender.lock().unwrap().send(request.clone()).unwrap();
        Reply::ok("allow administrator ops")
    });
    let mut settings = settings(|path| service.url(path));
    settings.method = method;
    let last = move || requests.try_recv().expect("the service has been asked");
    (Http::new(settings).unwrap(), last)
}

#[track_caller]
fn check_fields(request: &Request, method: &str, path: &str, want: &[(&str, &str)]) {
    assert_eq!((&*request.method, &*request.path), (method, path));
    let mut want: Vec<_> = want.to_vec();
    want.sort_unstable();
    let fields = request.fields.iter();
    let found: Vec<_> = fields
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, want);
}

fn resource<'a>(name: &'a str, right: Right) -> Question<'a> {
    Question::Resource {
        vhost: "/",
        kind: ResourceKind::Queue,
        name,
        right,
    }
}

#[tokio::test]
async fn every_question_has_the_fields_that_it_has_in_rabbitmq() {
    for (method, word) in [(HttpMethod::Get, "GET"), (HttpMethod::Post, "POST")] {
        let (backend, last) = recorder(method);
        let ann = log_in(&backend, "ann & bob", "p?=&ss\n").await.unwrap();
        let fields = [("username", "ann & bob"), ("password", "p?=&ss\n")];
        check_fields(&last(), word, "/user", &fields);
        assert_eq!(&**ann.username(), "ann & bob");
        let tags = [Tag::Administrator, Tag::Other("ops".into())];
        assert_eq!(ann.tags(), tags);
        assert_eq!(ann.expires_at(), None);

        let common = [("username", "ann & bob"), ("tags", "administrator ops")];
        let peer = Some("::ffff:192.0.2.7".parse().unwrap());
        assert!(may(&ann, Question::VirtualHost { vhost: "/", peer }).await);
        let fields = [&common[..], &[("vhost", "/"), ("ip", "192.0.2.7")]].concat();
        check_fields(&last(), word, "/vhost", &fields);

        assert!(may(&ann, resource("q", Right::Configure)).await);
        let own = [
            ("vhost", "/"),
            ("resource", "queue"),
            ("name", "q"),
            ("permission", "configure"),
        ];
        check_fields(&last(), word, "/resource", &[&common[..], &own].concat());

        let question = Question::Topic {
            vhost: "/",
            exchange: "news",
            routing_key: "a.#",
            right: Right::Read,
            client_id: Some("c-1"),
        };
        assert!(may(&ann, question).await);
        let own = [
            ("vhost", "/"),
            ("resource", "topic"),
            ("name", "news"),
            ("permission", "read"),
            ("routing_key", "a.#"),
            ("variable_map.username", "ann & bob"),
            ("variable_map.vhost", "/"),
            ("variable_map.client_id", "c-1"),
        ];
        check_fields(&last(), word, "/topic", &[&common[..], &own].concat());
    }
}

#[tokio::test]
async fn a_stomp_client_names_its_virtual_host() {
    let (backend, last) = recorder(HttpMethod::Get);
    let mut login = Login::new("ann".into(), b"secret".to_vec(), "PLAIN", None);
    login.connect_headers = vec![("host".into(), "shop".into())];
    backend.authenticate(login).await.unwrap();
    let fields = [
        ("username", "ann"),
        ("password", "secret"),
        ("vhost", "shop"),
    ];
    check_fields(&last(), "GET", "/user", &fields);
}

#[tokio::test]
async fn who_has_been_authenticated_elsewhere_is_asked_about_without_a_password() {
    let (backend, last) = recorder(HttpMethod::Get);
    let login = Login::new("token".into(), b"secret".to_vec(), "PLAIN", None);
    let identity = Identity::new("ann");
    let found = backend.authorizer_for(&identity, &login).await.unwrap();
    check_fields(&last(), "GET", "/user", &[("username", "ann")]);
    assert_eq!(found.tags, [Tag::Administrator, Tag::Other("ops".into())]);
    let external = Login::new("ann".into(), Vec::new(), "EXTERNAL", None);
    backend.authenticate(external).await.unwrap();
    check_fields(&last(), "GET", "/user", &[("username", "ann")]);
}

#[tokio::test]
async fn an_address_may_have_a_query_and_a_login_of_its_own() {
    let (sender, requests) = mpsc::channel();
    let sender = Mutex::new(sender);
    let service = Service::start(move |request| {
        sender.lock().unwrap().send(request.clone()).unwrap();
        Reply::ok("allow")
    });
    let url = |path: &str| {
        let url = service.url(path).replace("//", "//mq:7hg2@");
        format!("{url}?realm=a")
    };
    let backend = Http::new(settings(url)).unwrap();
    log_in(&backend, "ann", "secret").await.unwrap();
    let request = requests.recv().unwrap();
    let fields = [("username", "ann"), ("password", "secret"), ("realm", "a")];
    check_fields(&request, "GET", "/user", &fields);
    // mq:7hg2 in base64.
    assert_eq!(request.headers["authorization"], "Basic bXE6N2hnMg==");
}

#[test]
fn debug_output_shows_neither_passwords_nor_queries() {
    let settings = settings(|path| format!("http://ann:7hg2@users.example{path}?key=9kd4"));
    let backend = Http::new(settings.clone()).unwrap();
    for shown in [format!("{settings:?}"), format!("{backend:?}")] {
        assert!(
            !shown.contains("7hg2") && !shown.contains("9kd4"),
            "{shown}"
        );
    }
}

async fn refusal(backend: &Http) -> LoginRefused {
    log_in(backend, "ann", "secret").await.unwrap_err()
}

#[tokio::test]
async fn what_the_service_denies_is_refused_and_its_reason_told() {
    let refused = refusal(&backend(|_| Reply::ok("deny account is locked"))).await;
    assert!(!refused.is_unavailable());
    let text = refused.to_string();
    assert_eq!(
        text,
        "the HTTP service refused user 'ann': account is locked"
    );
    let denies_all_but_users = backend(|request| {
        Reply::ok(if request.path == "/user" {
            "allow"
        } else {
            "Deny"
        })
    });
    let ann = log_in(&denies_all_but_users, "ann", "secret")
        .await
        .unwrap();
    assert!(!may(&ann, resource("q", Right::Read)).await);
}

#[tokio::test]
async fn an_empty_password_is_not_even_asked_about() {
    let backend = backend(|_| Reply::ok("allow"));
    let refused = log_in(&backend, "ann", "").await.unwrap_err();
    assert!(!refused.is_unavailable(), "{refused}");
}

#[track_caller]
fn check_unavailable(refused: &LoginRefused, words: &str) {
    assert!(refused.is_unavailable(), "{refused}");
    assert!(refused.to_string().contains(words), "{refused}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

#[tokio::test]
async fn answers_that_are_not_understood_let_nobody_in() {
    let check = async |reply: Reply, words: &str| {
        let backend = backend(move |_| reply.clone());
        check_unavailable(&refusal(&backend).await, words);
    };
    check(Reply::Answer(500, b"allow".to_vec()), "status 500").await;
    // Where it leads to is not asked.
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    check(Reply::Bytes(redirect.to_vec()), "status 302").await;
    check(Reply::ok("perhaps"), "perhaps").await;
    check(
        Reply::Bytes(b"\x15\x03\x01garbage\r\n\r\n".to_vec()),
        "not HTTP",
    )
    .await;
    check(Reply::Close, "broke off").await;
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nallow";
    check(Reply::Bytes(half.to_vec()), "broke off").await;
}

#[tokio::test]
async fn a_huge_answer_is_given_up() {
    let check = async |reply: Reply| {
        let backend = backend(move |_| reply.clone());
        check_unavailable(&refusal(&backend).await, "more than 16384 bytes");
    };
    check(Reply::Endless).await;
    check(Reply::Answer(200, vec![b' '; 20_000])).await;
}

#[tokio::test]
async fn a_service_that_hangs_is_waited_for_only_so_long() {
    let service = Service::start(|_| Reply::Silence);
    let mut settings = settings(|path| service.url(path));
    settings.requests.request_timeout = Duration::from_millis(50);
    settings.requests.concurrency_max = 1;
    let backend = Http::new(settings).unwrap();
    // Those that wait for their turn have no more time than the first.
    let all = [refusal(&backend), refusal(&backend)];
    for outcome in all {
        check_unavailable(&outcome.await, "no answer within 50 ms");
    }
}

#[tokio::test]
async fn logins_that_hang_keep_nobody_waiting_who_is_in() {
    let (sender, arrived) = mpsc::channel();
    let sender = Mutex::new(sender);
    let service = Service::start(move |request| {
        if request.field("username") != Some("slow") {
            return Reply::ok("allow");
        }
        sender.lock().unwrap().send(()).unwrap();
        Reply::Silence
    });
    let mut settings = settings(|path| service.url(path));
    settings.requests.concurrency_max = 2;
    let backend = Http::new(settings).unwrap();
    let ann = log_in(&backend, "ann", "secret").await.unwrap();
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let backend = backend.clone();
        strangers.spawn(async move { log_in(&backend, "slow", "x").await.map(drop) });
    }
    let is_there = tokio::task::spawn_blocking(move || arrived.recv());
    is_there.await.unwrap().unwrap();
    assert!(may(&ann, resource("q", Right::Read)).await);
}

#[tokio::test]
async fn only_so_many_are_asked_at_once() {
    const AT_ONCE: usize = 3;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen) = (Arc::clone(&now), Arc::clone(&most));
    let service = Service::start(move |_| {
        let here = counted.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(here, Ordering::SeqCst);
        std::thread::yield_now();
        counted.fetch_sub(1, Ordering::SeqCst);
        Reply::ok("allow")
    });
    let mut settings = settings(|path| service.url(path));
    settings.requests.concurrency_max = AT_ONCE;
    let backend = Http::new(settings).unwrap();
    let logins: Vec<_> = (0..30)
        .map(|_| {
            let backend = backend.clone();
            async move { log_in(&backend, "ann", "secret").await.map(drop) }
        })
        .collect();
    for outcome in support::all(logins).await {
        outcome.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= AT_ONCE);
    assert!(service.connections() <= AT_ONCE, "connections are kept");
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_again_and_a_question_is_not() {
    let address: SocketAddr = nobody();
    let backend = Http::new(settings(|path| format!("http://{address}{path}"))).unwrap();
    check_unavailable(&refusal(&backend).await, "no connection");

    // Without an answer to the first message of TLS there is no connection either, and each try is seen.
    let silent = Service::start(|_| Reply::Close);
    let mut settings = settings(|path| silent.url(path).replace("http:", "https:"));
    settings.requests.connect_retries = 1;
    let backend = Http::new(settings).unwrap();
    check_unavailable(&refusal(&backend).await, "no connection");
    assert_eq!(silent.connections(), 2);

    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let backend = self::backend(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::Close
    });
    check_unavailable(&refusal(&backend).await, "broke off");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_that_is_down_refuses_what_was_not_answered() {
    let is_down = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let backend = backend(move |_| {
        if down.load(Ordering::SeqCst) {
            Reply::Close
        } else {
            Reply::ok("allow")
        }
    });
    let ann = log_in(&backend, "ann", "secret").await.unwrap();
    assert!(may(&ann, resource("q", Right::Write)).await);
    is_down.store(true, Ordering::SeqCst);
    let asked = authorizer(&ann).authorize(resource("q", Right::Write));
    let problem = asked.await.unwrap_err().to_string();
    assert!(
        problem.contains("the HTTP service cannot be asked"),
        "{problem}"
    );
    is_down.store(false, Ordering::SeqCst);
    assert!(may(&ann, resource("q", Right::Write)).await);
}

#[test]
fn mistakes_in_settings_are_told_of_without_what_is_secret() {
    let check = |change: &dyn Fn(&mut HttpSettings), words: &str| {
        let mut settings = settings(|path| format!("http://mq:7hg2@localhost{path}"));
        change(&mut settings);
        assert!(!format!("{settings:?}").contains("7hg2"));
        let problem = Http::new(settings).unwrap_err().to_string();
        assert!(problem.contains(words), "{problem}");
        assert!(!problem.contains("7hg2"), "{problem}");
    };
    check(&|to| to.vhost_url = "ftp://mq:7hg2@x/".into(), "http://");
    check(&|to| to.topic_url = "/topic".into(), "http://");
    check(&|to| to.requests.concurrency_max = 0, "zero");
    check(&|to| to.tls.ca = Some("nowhere.pem".into()), "nowhere.pem");
    check(
        &|to| to.tls.key = Some("key.pem".into()),
        "client certificate",
    );
}
