//! Keys that are fetched, on a clock of the test's own.

use std::collections::HashMap;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::issuer::{AUDIENCE, Issuer, claims, key_set};
use self::service::{Reply, Service};
use super::*;

#[path = "../../tests/support/issuer.rs"]
#[expect(dead_code, reason = "shared with tests that use more of it")]
mod issuer;
#[path = "../../tests/support/pem.rs"]
mod pem;
#[path = "../../tests/support/service.rs"]
#[expect(dead_code, reason = "shared with tests that use more of it")]
mod service;

/// A server of keys whose answers can be changed.
struct KeyServer {
    service: Service,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    replies: HashMap<String, Reply>,
    asked: HashMap<String, usize>,
}

impl KeyServer {
    fn start() -> Self {
        let pages = Arc::new(Mutex::new(Pages::default()));
        let shared = Arc::clone(&pages);
        let service = Service::start(move |request| {
            let mut pages = shared.lock().unwrap();
            *pages.asked.entry(request.path.clone()).or_default() += 1;
            let reply = pages.replies.get(&request.path).cloned();
            reply.unwrap_or_else(|| Reply::Answer(404, Vec::new()))
        });
        Self { service, pages }
    }

    fn set(&self, path: &str, reply: Reply) {
        let mut pages = self.pages.lock().unwrap();
        pages.replies.insert(path.to_owned(), reply);
    }

    fn set_keys(&self, issuers: &[&Issuer]) {
        self.set("/keys", Reply::ok(&key_set(issuers)));
    }

    fn asked(&self, path: &str) -> usize {
        let pages = self.pages.lock().unwrap();
        pages.asked.get(path).copied().unwrap_or_default()
    }
}

/// A backend whose keys are at a server, and the time at which it is asked.
struct Checked {
    server: KeyServer,
    backend: OAuth2,
    now: Instant,
}

const RETRY: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(3600);

impl Checked {
    fn new(change: impl FnOnce(&KeyServer, &mut OAuth2Settings)) -> Self {
        let server = KeyServer::start();
        let mut settings = OAuth2Settings::new(AUDIENCE);
        settings.jwks_retry = RETRY;
        settings.jwks_refresh = REFRESH;
        settings.requests.connect_retries = 0;
        settings.requests.request_timeout = Duration::from_millis(500);
        change(&server, &mut settings);
        Self {
            server,
            backend: OAuth2::new(settings).unwrap(),
            now: clock::now(),
        }
    }

    fn with_keys(issuers: &[&Issuer]) -> Self {
        let checked = Self::new(|server, settings| {
            settings.jwks_url = Some(server.service.url("/keys"));
        });
        checked.server.set_keys(issuers);
        checked
    }

    async fn outcome(&self, token: &str) -> Result<String, TokenRefused> {
        let verifier = &self.backend.0;
        let accepted = verifier.accept(token.as_bytes(), self.now, clock::wall_time());
        accepted.await.map(|accepted| accepted.username)
    }

    async fn is_accepted(&self, token: &str) -> bool {
        match self.outcome(token).await {
            Ok(username) => username == "ann",
            Err(TokenRefused::UnknownKey(_)) => false,
            Err(refused) => panic!("{refused}"),
        }
    }
}

fn token(issuer: &Issuer) -> String {
    issuer.sign(&claims("ann", ""))
}

#[tokio::test]
async fn keys_are_fetched_once_and_kept() {
    let old = Issuer::new("old");
    let checked = Checked::with_keys(&[&old]);
    assert_eq!(checked.server.asked("/keys"), 0, "before there is a token");
    for _ in 0..3 {
        assert!(checked.is_accepted(&token(&old)).await);
    }
    assert_eq!(checked.server.asked("/keys"), 1);
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_but_not_too_often() {
    let (old, new, never) = (Issuer::new("old"), Issuer::new("new"), Issuer::new("x"));
    let mut checked = Checked::with_keys(&[&old]);
    assert!(checked.is_accepted(&token(&old)).await);
    checked.server.set_keys(&[&old, &new]);
    assert!(
        !checked.is_accepted(&token(&new)).await,
        "it is too early to ask again"
    );
    checked.now += RETRY;
    assert!(checked.is_accepted(&token(&new)).await);
    assert!(checked.is_accepted(&token(&old)).await);
    assert_eq!(checked.server.asked("/keys"), 2);
    for _ in 0..10 {
        assert!(!checked.is_accepted(&token(&never)).await);
    }
    assert_eq!(checked.server.asked("/keys"), 2);
    checked.now += RETRY;
    for _ in 0..10 {
        assert!(!checked.is_accepted(&token(&never)).await);
    }
    assert_eq!(checked.server.asked("/keys"), 3);
}

#[tokio::test]
async fn many_who_come_together_ask_once() {
    let old = Issuer::new("old");
    let checked = Arc::new(Checked::with_keys(&[&old]));
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (checked, token) = (Arc::clone(&checked), token(&old));
        logins.spawn(async move { checked.is_accepted(&token).await });
    }
    assert!(logins.join_all().await.into_iter().all(|accepted| accepted));
    assert_eq!(checked.server.asked("/keys"), 1);
}

/// A server of keys that answers when it is told to: what says that it has been asked, and what tells it to.
fn keys_on_demand(keys: String) -> (Service, UnboundedReceiver<()>, mpsc::Sender<()>) {
    let (asked, questions) = unbounded_channel();
    let (answer, answers) = mpsc::channel();
    let answers = Mutex::new(answers);
    let service = Service::start(move |_| {
        asked.send(()).unwrap();
        answers.lock().unwrap().recv().unwrap();
        Reply::ok(&keys)
    });
    (service, questions, answer)
}

#[tokio::test]
async fn whoever_hangs_up_takes_the_keys_from_nobody() {
    let (old, never) = (Issuer::new("old"), Issuer::new("x"));
    let (service, mut questions, answer) = keys_on_demand(key_set(&[&old]));
    let checked = Checked::new(|_, settings| {
        settings.jwks_url = Some(service.url("/keys"));
        settings.requests.request_timeout = Duration::from_secs(30);
    });
    let unknown = token(&never);
    tokio::select! {
        _ = checked.outcome(&unknown) => panic!("the issuer has not answered yet"),
        asked = questions.recv() => asked.unwrap(),
    }
    answer.send(()).unwrap();
    assert!(checked.is_accepted(&token(&old)).await);
    assert!(questions.is_empty(), "asked for it once more");
}

#[tokio::test]
async fn a_key_that_the_issuer_has_withdrawn_is_believed_until_the_keys_are_too_old() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let mut checked = Checked::with_keys(&[&old]);
    assert!(checked.is_accepted(&token(&old)).await);
    checked.server.set_keys(&[&new]);
    checked.now += REFRESH - Duration::from_secs(1);
    assert!(checked.is_accepted(&token(&old)).await);
    checked.now += Duration::from_secs(1);
    assert!(!checked.is_accepted(&token(&old)).await);
    assert!(checked.is_accepted(&token(&new)).await);
}

#[tokio::test]
async fn the_last_good_keys_stay_when_there_are_no_new_ones() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let mut checked = Checked::with_keys(&[&old]);
    assert!(checked.is_accepted(&token(&old)).await);
    let bad = [
        Reply::Answer(503, Vec::new()),
        Reply::Answer(302, Vec::new()),
        Reply::ok("<html>"),
        Reply::ok(r#"{"keys":[]}"#),
        Reply::ok(r#"{"keys":{"kid":"old"}}"#),
        Reply::ok(r#"{"keys":[{"kty":"oct","kid":"old","k":"c2VjcmV0"},{"kty":"new"},7]}"#),
        Reply::Answer(200, vec![b' '; 300_000]),
        Reply::Bytes(b"garbage".to_vec()),
        Reply::Close,
        Reply::Silence,
    ];
    for reply in bad {
        checked.now += REFRESH;
        checked.server.set("/keys", reply.clone());
        assert!(checked.is_accepted(&token(&old)).await, "{reply:?}");
        checked.now += RETRY;
        let outcome = checked.outcome(&token(&new)).await;
        assert!(matches!(outcome, Err(TokenRefused::NoKeys(_))), "{reply:?}");
    }
    checked.now += RETRY;
    checked.server.set_keys(&[&new]);
    assert!(checked.is_accepted(&token(&new)).await);
}

#[tokio::test]
async fn without_any_keys_nobody_could_be_asked() {
    let old = Issuer::new("old");
    let checked = Checked::with_keys(&[]);
    checked.server.set("/keys", Reply::Close);
    let refused: LoginRefused = checked.outcome(&token(&old)).await.unwrap_err().into();
    assert!(refused.is_unavailable(), "{refused}");
    // The next one within the span is told the same without a question.
    let refused: LoginRefused = checked.outcome(&token(&old)).await.unwrap_err().into();
    assert!(refused.is_unavailable(), "{refused}");
    assert_eq!(checked.server.asked("/keys"), 1);
}

const DESCRIPTION: &str = "/realm/.well-known/openid-configuration";

fn described(describe: impl FnOnce(&Service) -> Value) -> Checked {
    Checked::new(|server, settings| {
        settings.issuer = Some(server.service.url("/realm"));
        let description = describe(&server.service).to_string();
        server.set(DESCRIPTION, Reply::ok(&description));
    })
}

fn token_of_realm(issuer: &Issuer, checked: &Checked) -> String {
    let mut claims = claims("ann", "");
    claims["iss"] = json!(checked.server.service.url("/realm"));
    issuer.sign(&claims)
}

#[tokio::test]
async fn an_issuer_tells_where_his_keys_are() {
    let issuer = Issuer::new("a");
    let checked = described(
        |service| json!({"issuer": service.url("/realm"), "jwks_uri": service.url("/keys")}),
    );
    checked.server.set_keys(&[&issuer]);
    assert!(
        checked
            .is_accepted(&token_of_realm(&issuer, &checked))
            .await
    );
    assert_eq!(checked.server.asked(DESCRIPTION), 1);
    let of_nobody = issuer.sign(&claims("ann", ""));
    let outcome = checked.outcome(&of_nobody).await;
    assert!(matches!(
        outcome,
        Err(TokenRefused::Claims(ClaimProblem::Issuer { .. }))
    ));
}

#[tokio::test]
async fn a_description_of_somebody_else_is_not_believed() {
    let issuer = Issuer::new("a");
    let descriptions = [
        json!({"issuer": "http://evil.example", "jwks_uri": "/keys"}),
        json!({"issuer": "http://evil.example"}),
        json!({"jwks_uri": "/keys"}),
        json!([]),
    ];
    for mut description in descriptions {
        let checked = described(|service| {
            if let Some(uri) = description.get_mut("jwks_uri") {
                *uri = json!(service.url("/keys"));
            }
            description
        });
        checked.server.set_keys(&[&issuer]);
        let outcome = checked.outcome(&token_of_realm(&issuer, &checked)).await;
        assert!(matches!(outcome, Err(TokenRefused::NoKeys(_))));
        assert_eq!(checked.server.asked("/keys"), 0);
    }
}
