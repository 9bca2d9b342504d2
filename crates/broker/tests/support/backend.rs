//! A backend of authentication and authorisation outside of the broker, which answers what and when a test wants.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use leveret_broker::{
    Authenticator, Authorizer, Broker, Builder, Identity, Login, LoginFuture, LoginRefused,
    Question, RenewFuture, Unavailable, VerdictFuture,
};
use tokio::sync::Semaphore;

use super::{Greeting, Wire, start, until};

/// The backend. Clones are the same one.
///
/// Everybody is let in whose password is not `wrong`. A question is a text here: `read queue q`, `write topic k of x`,
/// `vhost / from 127.0.0.1`. Everything is permitted, at once, unless a test says otherwise.
#[derive(Clone)]
pub(crate) struct Backend(Arc<State>);

struct State {
    asked: Mutex<Vec<String>>,
    rule: Mutex<Rule>,
    when: Mutex<When>,
    answers: Semaphore,
    waiting: AtomicUsize,
    identity: Mutex<Box<dyn Fn(Identity) -> Identity + Send>>,
    secrets: Mutex<Box<Secrets>>,
}

type Rule = Box<dyn Fn(&str) -> Result<bool, Unavailable> + Send>;
type Secrets = dyn Fn(&str) -> Result<Option<Identity>, LoginRefused> + Send;

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    AtOnce,
    /// After a few turns of the runtime.
    Late,
    /// When the test says so.
    Held,
}

impl Backend {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            asked: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Ok(true))),
            when: Mutex::new(When::AtOnce),
            answers: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            identity: Mutex::new(Box::new(|identity| identity)),
            secrets: Mutex::new(Box::new(|_| Ok(None))),
        }))
    }

    /// A broker that has everything from this backend.
    pub(crate) async fn broker(&self) -> Broker {
        self.broker_with(Broker::builder()).await
    }

    pub(crate) async fn broker_with(&self, builder: Builder) -> Broker {
        start(builder.authenticator(self.clone())).await
    }

    /// Answers only after a few turns of the runtime from now on.
    pub(crate) fn answer_late(&self) {
        *self.0.when.lock().unwrap() = When::Late;
    }

    /// Answers only what is [released](Self::release) from now on.
    pub(crate) fn hold(&self) {
        *self.0.when.lock().unwrap() = When::Held;
    }

    /// Answers so many questions that are held, or will be.
    pub(crate) fn release(&self, count: usize) {
        self.0.answers.add_permits(count);
    }

    /// Answers everything at once from now on, and what is held too.
    pub(crate) fn release_all(&self) {
        *self.0.when.lock().unwrap() = When::AtOnce;
        self.release(self.waiting());
    }

    /// How many questions wait for their answers.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Until a question has come that is held.
    pub(crate) async fn until_asked(&self) {
        until("a question", || self.waiting() > 0).await;
    }

    /// Goes by this from now on.
    pub(crate) fn rule(&self, rule: impl Fn(&str) -> Result<bool, Unavailable> + Send + 'static) {
        *self.0.rule.lock().unwrap() = Box::new(rule);
    }

    /// Permits everything but these.
    pub(crate) fn refuse<const N: usize>(&self, questions: [&'static str; N]) {
        self.rule(move |question| Ok(!questions.contains(&question)));
    }

    /// Cannot answer these, and permits everything else.
    pub(crate) fn fail_at<const N: usize>(&self, questions: [&'static str; N]) {
        self.rule(move |question| match questions.contains(&question) {
            true => Err(Unavailable::new("the directory does not answer")),
            false => Ok(true),
        });
    }

    /// What has been asked since this was called last, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.asked.lock().unwrap())
    }

    /// The first of it, which is then left out of the rest.
    pub(crate) fn asked_first(&self) -> String {
        self.0.asked.lock().unwrap().remove(0)
    }

    /// How much that is.
    pub(crate) fn asked_so_far(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }

    /// Makes more of the identities of those who log in.
    pub(crate) fn identities(&self, make: impl Fn(Identity) -> Identity + Send + 'static) {
        *self.0.identity.lock().unwrap() = Box::new(make);
    }

    /// What comes of new secrets.
    pub(crate) fn secrets(
        &self,
        renew: impl Fn(&str) -> Result<Option<Identity>, LoginRefused> + Send + 'static,
    ) {
        *self.0.secrets.lock().unwrap() = Box::new(renew);
    }

    /// Who somebody of this name is.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let identity = Identity::new(name).with_authorizer(Arc::new(self.clone()));
        (self.0.identity.lock().unwrap())(identity)
    }

    async fn wait(&self) {
        let when = *self.0.when.lock().unwrap();
        match when {
            When::AtOnce => {}
            When::Late => {
                let mut turns = 3;
                poll_fn(|cx| {
                    if turns == 0 {
                        return Poll::Ready(());
                    }
                    turns -= 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            }
            When::Held => {
                let _waiting = Waiting::new(&self.0.waiting);
                let permit = self.0.answers.acquire().await;
                permit.expect("it is never closed").forget();
            }
        }
    }
}

/// Counts as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn text(question: Question<'_>) -> String {
    match question {
        Question::VirtualHost { vhost, peer } => match peer {
            Some(peer) => format!("vhost {vhost} from {peer}"),
            None => format!("vhost {vhost}"),
        },
        Question::Resource {
            vhost: _,
            kind,
            name,
            right,
        } => format!("{right} {kind} {name}"),
        Question::Topic {
            exchange,
            routing_key,
            right,
            ..
        } => format!("{right} topic {routing_key} of {exchange}"),
        other => panic!("{other:?} is new"),
    }
}

impl Authorizer for Backend {
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        let text = text(question);
        self.0.asked.lock().unwrap().push(text.clone());
        Box::pin(async move {
            self.wait().await;
            (self.0.rule.lock().unwrap())(&text)
        })
    }

    fn renew<'a>(&'a self, secret: &'a [u8]) -> RenewFuture<'a> {
        let secret = String::from_utf8_lossy(secret);
        Box::pin(async move {
            self.wait().await;
            (self.0.secrets.lock().unwrap())(&secret)
        })
    }
}

impl Authenticator for Backend {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(async move {
            if login.password.is(b"wrong") {
                return Err(LoginRefused::new("a wrong password"));
            }
            Ok(self.identity(&login.username))
        })
    }
}

/// A broker that has everything from the backend, and ann with channel 1 open.
pub(crate) async fn begin(backend: Backend) -> (Backend, Broker, Wire) {
    let broker = backend.broker().await;
    let wire = ann().open_channel(&broker).await;
    (backend, broker, wire)
}

/// What ann says.
pub(crate) fn ann() -> Greeting {
    greeting_of("ann")
}

/// What somebody of this name says.
pub(crate) fn greeting_of(name: &str) -> Greeting {
    Greeting {
        response: format!("\0{name}\0secret").into_bytes(),
        ..Greeting::default()
    }
}
