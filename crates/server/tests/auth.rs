//! Users whom somebody else knows: the section `[auth]` of the configuration file.
#![cfg(all(unix, feature = "auth-http", feature = "oauth2"))]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};

use issuer::{Issuer, claims, key_set};
use service::{Reply, Request, Service, nobody};
use support::amqp::{CHANNEL_CLOSE, CLOSE, Client, DECLARE_OK, OPEN_OK};
use support::{Outcome, Server, configured, fresh_path, leveret};

#[path = "../../auth/tests/support/issuer.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod issuer;
#[path = "../../auth/tests/support/pem.rs"]
mod pem;
#[path = "../../auth/tests/support/service.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod service;

/// The section of an HTTP service.
fn http_section(service: &Service) -> String {
    let url = |path| service.url(path);
    format!(
        "[auth.http]\nuser-url = '{}'\nvhost-url = '{}'\nresource-url = '{}'\ntopic-url = '{}'\nmethod = 'post'\n",
        url("/user"),
        url("/vhost"),
        url("/resource"),
        url("/topic")
    )
}

/// A service that knows `web` with password `web`, who may do anything with names that begin with `web`, in `/`.
fn service() -> (Service, Receiver<Request>) {
    let (sender, requests) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let service = Service::start(move |request| {
        // A test may have ended.
        let _ = sender.lock().unwrap().send(request.clone());
        let field = |name| request.field(name).unwrap_or_default();
        let is_allowed = match &*request.path {
            "/user" => match request.field("password") {
                Some(password) => (field("username"), password) == ("web", "web"),
                None => field("username") == "ann",
            },
            "/vhost" => field("vhost") == "/",
            _ => field("name").starts_with("web"),
        };
        Reply::ok(if is_allowed {
            "allow management"
        } else {
            "deny"
        })
    });
    (service, requests)
}

fn enter(address: SocketAddr, user: &str, password: &str) -> Client {
    let mut client = Client::log_in(address, user, password);
    client.open_vhost("/");
    client.expect(OPEN_OK);
    client
}

#[test]
fn an_http_service_says_who_may_do_what() {
    let (service, requests) = service();
    let config = format!(
        "[[vhost]]\nname = 'shop'\n[auth]\nbackends = ['http']\n{}",
        http_section(&service)
    );
    let (server, address) = configured("auth-http.toml", &config);
    assert_eq!(
        server.next_stdout_line(),
        "leveret: log in as whom a backend knows: http"
    );
    enter(address, "web", "web").declare_queue("web-1");
    Client::log_in(address, "web", "guess").expect(CLOSE);
    // The server's own users are not asked.
    Client::log_in(address, "guest", "guest").expect(CLOSE);

    let mut client = Client::log_in(address, "web", "web");
    client.open_vhost("shop");
    client.expect(CLOSE);
    let mut client = enter(address, "web", "web");
    client.declare_queue("web-2");
    client.expect_on(1, DECLARE_OK);
    let mut client = enter(address, "web", "web");
    client.declare_queue("other");
    client.expect_on(1, CHANNEL_CLOSE);
    let asked: Vec<Request> = requests.try_iter().collect();
    assert!(asked.iter().all(|request| request.method == "POST"));
    let of_other = asked
        .iter()
        .find(|request| request.field("name") == Some("other"));
    let of_other = of_other.expect("the service was asked about it");
    assert_eq!(of_other.field("tags"), Some("management"));
    assert_eq!(of_other.field("permission"), Some("configure"));
}

#[test]
fn whoever_operates_the_server_can_try_out_a_login() {
    let (service, _) = service();
    let socket = fresh_path("auth-ctl.sock");
    let socket = socket.to_str().unwrap();
    let config = format!(
        "ctl-socket = '{socket}'\n[auth]\nbackends = ['internal', 'http']\n{}",
        http_section(&service)
    );
    let (_server, _) = configured("auth-ctl.toml", &config);
    let ctl = |words: &[&str]| {
        let words = [&["ctl", "--ctl-socket", socket, "-q"], words].concat();
        Server::start(leveret(&words)).outcome()
    };
    assert_eq!(ctl(&["authenticate_user", "web", "web"]).code, Some(0));
    assert_eq!(ctl(&["authenticate_user", "guest", "guest"]).code, Some(0));
    assert_eq!(ctl(&["authenticate_user", "web", "guess"]).code, Some(65));
    let environment = ctl(&["environment"]).stdout.join("\n");
    let want = r#"auth.backends = ["internal","http"]"#;
    assert!(environment.contains(want), "{environment}");
}

#[test]
fn logins_that_were_asked_about_a_moment_ago_are_not_asked_about_again() {
    let (service, requests) = service();
    let config = format!(
        "[auth]\nbackends = ['http']\n[auth.cache]\nttl = '10min'\n{}",
        http_section(&service)
    );
    let (_server, address) = configured("auth-cache.toml", &config);
    for _ in 0..3 {
        enter(address, "web", "web").declare_queue("web-1");
        Client::log_in(address, "web", "guess").expect(CLOSE);
    }
    let asked = requests.try_iter();
    let about_users = asked.filter(|request| request.path == "/user").count();
    assert_eq!(about_users, 1 + 3, "refusals are not kept");
}

const ANN: &str = "[[user]]\nname = 'ann'\npassword = 'secret'\n[[permission]]\nuser = 'ann'\nvhost = '/'\n\
    configure = '^ann'\nwrite = ''\nread = ''\n";

#[test]
fn backends_are_asked_one_after_the_other() {
    let (service, _) = service();
    let config = format!(
        "{ANN}[auth]\nbackends = ['internal', 'http']\n{}",
        http_section(&service)
    );
    let (_server, address) = configured("auth-chain.toml", &config);
    let mut ann = enter(address, "ann", "secret");
    ann.declare_queue("ann-1");
    ann.expect_on(1, DECLARE_OK);
    let mut web = enter(address, "web", "web");
    web.declare_queue("web-1");
    web.expect_on(1, DECLARE_OK);
    let mut web = enter(address, "web", "web");
    web.declare_queue("ann-2");
    web.expect_on(1, CHANNEL_CLOSE);
    Client::log_in(address, "ann", "guess").expect(CLOSE);
}

#[test]
fn one_may_say_who_it_is_and_another_what_he_may_do() {
    let (service, _) = service();
    let config = format!(
        "{ANN}[auth]\nbackends = [{{ authn = 'internal', authz = 'http' }}]\n{}",
        http_section(&service)
    );
    let (server, address) = configured("auth-pair.toml", &config);
    assert_eq!(
        server.next_stdout_line(),
        "leveret: log in as whom a backend knows: internal with the permissions of http"
    );
    // The service knows ann, and her password is the server's.
    let mut ann = enter(address, "ann", "secret");
    ann.declare_queue("web-1");
    ann.expect_on(1, DECLARE_OK);
    let mut ann = enter(address, "ann", "secret");
    ann.declare_queue("ann-1");
    ann.expect_on(1, CHANNEL_CLOSE);
    Client::log_in(address, "web", "web").expect(CLOSE);
}

#[test]
fn a_service_that_is_down_is_told_of_in_the_log_and_passwords_are_not() {
    let nobody = nobody();
    let section = "user-url = 'http://mq:7hg2@ADDRESS/user'\nvhost-url = 'http://ADDRESS/vhost'\n\
        resource-url = 'http://ADDRESS/resource'\ntopic-url = 'http://ADDRESS/topic'\n\
        limits = { connect-retries = 0 }";
    let section = section.replace("ADDRESS", &nobody.to_string());
    let config =
        format!("log-level = 'trace'\n[auth]\nbackends = ['http']\n[auth.http]\n{section}");
    let (server, address) = configured("auth-down.toml", &config);
    Client::log_in(address, "ann", "hunter2").expect(CLOSE);
    let mut seen = Vec::new();
    loop {
        let line = server.next_stderr_line();
        let is_it = line.contains("ERROR") && line.contains("the service gives no answer");
        seen.push(line);
        if is_it {
            break;
        }
    }
    let told = seen.last().unwrap();
    assert!(told.contains(&format!("http://{nobody}/user")), "{told}");
    server.signal("TERM");
    let outcome = server.outcome();
    seen.extend(outcome.stderr);
    for line in seen {
        assert!(
            !line.contains("hunter2") && !line.contains("7hg2"),
            "{line}"
        );
    }
}

#[test]
fn tokens_are_taken_by_the_keys_of_their_issuer() {
    let issuer = Issuer::new("key-1");
    let keys = key_set(&[&issuer]);
    let service = Service::start(move |_| Reply::ok(&keys));
    let config = format!(
        "[auth]\nbackends = ['oauth2']\n[auth.oauth2]\nresource-server-id = 'mq'\njwks-url = '{}'\n\
         algorithms = ['ES256']\n[auth.oauth2.scope-aliases]\nclerk = ['mq.configure:*/clerk-*']\n",
        service.url("/keys")
    );
    let (_server, address) = configured("auth-oauth2.toml", &config);
    let token = issuer.sign(&claims("ann", "clerk"));
    let mut ann = enter(address, "", &token);
    ann.declare_queue("clerk-1");
    ann.expect_on(1, DECLARE_OK);
    let mut ann = enter(address, "", &token);
    ann.declare_queue("other");
    ann.expect_on(1, CHANNEL_CLOSE);
    let stranger = Issuer::new("key-1");
    Client::log_in(address, "ann", &stranger.sign(&claims("ann", "clerk"))).expect(CLOSE);
    Client::log_in(address, "guest", "guest").expect(CLOSE);
}

#[test]
fn a_large_token_takes_a_large_first_frame() {
    let issuer = Issuer::new("key-1");
    let pem = fresh_path("auth-large-key.pem");
    fs::write(&pem, issuer.public_pem()).unwrap();
    let scopes: Vec<_> = (0..520).map(|n| format!("mq.read:shop/{n:04}")).collect();
    let scopes = format!("mq.configure:*/clerk-* {}", scopes.join(" "));
    let token = issuer.sign(&claims("ann", &scopes));
    assert!(token.len() > 12 * 1024, "{}", token.len());
    let with = |limit: &str| {
        format!(
            "{limit}[auth]\nbackends = ['oauth2']\n[auth.oauth2]\nresource-server-id = 'mq'\n\
             [[auth.oauth2.key]]\nid = 'key-1'\nfile = '{}'\n",
            pem.display()
        )
    };
    let limit = "initial-frame-size-max = '16KiB'\n";
    let (_server, address) = configured("auth-large.toml", &with(limit));
    let mut ann = enter(address, "", &token);
    ann.declare_queue("clerk-1");
    ann.expect_on(1, DECLARE_OK);
    let (_server, address) = configured("auth-small.toml", &with(""));
    Client::log_in(address, "", &token).expect_end();
    let outcome = refused("initial-frame-size-max = '1MiB'\n");
    assert_eq!(outcome.code, Some(78), "{:?}", outcome.stderr);
    let line = outcome.stderr.last().unwrap();
    assert!(line.contains("from 8192 to 65536 bytes"), "{line}");
}

#[test]
fn keys_and_secrets_may_be_in_files() {
    let issuer = Issuer::new("key-1");
    let pem = fresh_path("auth-key.pem");
    fs::write(&pem, issuer.public_pem()).unwrap();
    let secret = fresh_path("auth-secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let config = format!(
        "[auth]\nbackends = ['oauth2']\n[auth.oauth2]\nresource-server-id = 'mq'\n\
         [[auth.oauth2.key]]\nid = 'key-1'\nfile = '{}'\n[[auth.oauth2.key]]\nid = 'hmac'\nsecret-file = '{}'\n",
        pem.display(),
        secret.display()
    );
    let (_server, address) = configured("auth-files.toml", &config);
    enter(address, "ann", &issuer.sign(&claims("ann", "mq.read:*/*")));
    let header = jsonwebtoken::Header {
        kid: Some("hmac".to_owned()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
    };
    let key = jsonwebtoken::EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let token = jsonwebtoken::encode(&header, &claims("bob", "mq.read:*/*"), &key).unwrap();
    enter(address, "bob", &token);
    Client::log_in(address, "ann", "x").expect(CLOSE);
}

#[test]
#[cfg(not(feature = "auth-ldap"))]
fn a_backend_that_this_program_does_not_have_is_told_of() {
    let outcome = refused("[auth]\nbackends = ['ldap']\n[auth.ldap]\nservers = []\n");
    assert_eq!(outcome.code, Some(78), "{:?}", outcome.stderr);
    let line = outcome.stderr.last().unwrap();
    assert!(
        line.contains("built without ldap: its feature auth-ldap is off"),
        "{line}"
    );
}

fn refused(config: &str) -> Outcome {
    let path = fresh_path("auth-mistake.toml");
    fs::write(&path, config).unwrap();
    let flags = ["--amqp", "127.0.0.1:0", "--config", path.to_str().unwrap()];
    Server::start(leveret(&flags)).outcome()
}

#[test]
fn mistakes_are_told_of_before_anything_runs() {
    let check = |config: &str, code: i32, want: &str| {
        let outcome = refused(config);
        assert_eq!(outcome.code, Some(code), "{:?}", outcome.stderr);
        let line = outcome.stderr.last().unwrap();
        assert!(line.contains(want), "{line}");
        assert!(!line.contains("7hg2"), "{line}");
    };
    let http = |change: &str| {
        let section = "user-url = 'http://x/u'\nvhost-url = 'http://x/v'\nresource-url = 'http://x/r'\ntopic-url = 'http://x/t'\n";
        format!("[auth]\nbackends = ['http']\n[auth.http]\n{section}{change}")
    };
    check(
        "[auth]\nbackends = []",
        78,
        ":2:12: without a backend nobody could log in",
    );
    check(
        "[auth]\nbackends = ['htp']",
        78,
        "unknown variant `htp`, expected one of `internal`, `http`, `oauth2`, `ldap`",
    );
    check(
        "[auth]\nbackends = ['http']",
        78,
        ":2:12: http needs the section [auth.http]",
    );
    check(
        "[auth]\nbackends = ['internal', 'internal']",
        78,
        "internal stands here twice",
    );
    check(
        "[auth]\nbackends = [{ authn = 'http' }]",
        78,
        "missing field `authz`",
    );
    check("[auth.cache]", 78, "auth.cache means nothing");
    check(
        &http("[auth.cache]\nttl = 'off'"),
        78,
        "cannot be unlimited",
    );
    check("[auth]\nbackend = ['http']", 78, "unknown field `backend`");
    let unnamed = http("").replace("['http']", "['internal']");
    check(
        &unnamed,
        78,
        "auth.http means nothing while auth.backends does not name it",
    );
    check(&http("user-path = 'x'"), 78, "unknown field `user-path`");
    check(&http("method = 'put'"), 78, "unknown variant `put`");
    check(
        &http("limits = { request-timeout = 'off' }"),
        78,
        "cannot be unlimited",
    );
    check(
        &http("limits = { concurrency-max = 0 }"),
        78,
        "auth.http: a limit of zero",
    );
    check(
        &http("tls = { ca = 'nowhere.pem' }"),
        78,
        "auth.http: nowhere.pem cannot be read",
    );
    let no_address = http("").replace("http://x/u", "ftp://mq:7hg2@x/u");
    check(&no_address, 78, "auth.http: an address begins with http://");
    let pair = http("").replace("['http']", "[{ authn = 'http', authz = 'oauth2' }]");
    let oauth2 = "[auth.oauth2]\nresource-server-id = 'mq'\n";
    check(
        &format!("{pair}{oauth2}"),
        78,
        "authz = \"oauth2\" goes with authn",
    );
    let oauth2 = |change: &str| format!("[auth]\nbackends = ['oauth2']\n{oauth2}{change}");
    check(&oauth2(""), 78, "auth.oauth2: there are no keys");
    check(
        &oauth2("algorithms = ['none']"),
        78,
        "unknown variant `none`",
    );
    check(
        &oauth2("[[auth.oauth2.key]]\nsecret = '7hg2'"),
        78,
        "at least 32 bytes",
    );
    check(
        &oauth2("[[auth.oauth2.key]]\nid = 'x'"),
        78,
        "a key is in one place",
    );
    check(
        &oauth2("[[auth.oauth2.key]]\nfile = 'nowhere.pem'"),
        66,
        "auth.oauth2: cannot read nowhere.pem: no such file",
    );
}
