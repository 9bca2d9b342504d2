//! What a client does whose rights somebody else has to be asked for: it waits for the answers in its turn, and what it
//! publishes meanwhile waits in line.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use leveret_amqp_codec::Properties;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::confirm::Outcome;
use super::{Client, Confirm, Publish};
use crate::access::{OwnedQuestion, Resource, Right, no_access_to_vhost};
use crate::auth::Identity;
use crate::error::{Error, Refusal};
use crate::net::{self, Spawner};
use crate::outbox::{ConsumerKey, Outbox, Outgoing};
use crate::session::{Answered, Rights, Secret};

/// How many messages of a client wait for an answer at most.
const WAITING_MAX: usize = 1024;

/// How many bytes they have together, unless a single one has more.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Asking {
    /// Whoever has to ask, or to wait for those who have, does it in turn.
    turn: tokio::sync::Mutex<()>,
    line: Mutex<Line>,
    spawner: Spawner,
    /// Its consumers and the names of their queues, until they are dropped.
    consumers: Mutex<Vec<(Weak<Outbox>, Box<str>)>>,
}

/// What was published and cannot be yet.
#[derive(Debug, Default)]
struct Line {
    /// In their order. The first may be under way.
    waiting: VecDeque<Arc<Waiting>>,
    bytes: usize,
    /// A task will publish them.
    is_attended: bool,
}

#[derive(Debug)]
struct Waiting {
    exchange: Box<str>,
    routing_key: Box<str>,
    properties: Option<Properties>,
    body: Box<[u8]>,
    mandatory: bool,
    told: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Waiting {
    fn as_publish(&self) -> Publish<'_> {
        Publish {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            properties: self.properties.clone(),
            body: &self.body,
            mandatory: self.mandatory,
        }
    }
}

impl Asking {
    /// Called within a runtime, whose tasks publish what has to wait.
    pub(super) fn new() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            line: Mutex::default(),
            spawner: Spawner::current(),
            consumers: Mutex::default(),
        }
    }

    /// Has a consumer ended when the user may not read from its queue any more.
    pub(super) fn follow(&self, outbox: &Arc<Outbox>, queue: &str) {
        let mut consumers = self.consumers.lock();
        consumers.retain(|(outbox, _)| outbox.strong_count() > 0);
        consumers.push((Arc::downgrade(outbox), queue.into()));
    }

    fn is_line_empty(&self) -> bool {
        self.line.lock().waiting.is_empty()
    }
}

impl Client {
    /// Does something that may have to be asked for first: then whoever knows is asked, and it is tried again.
    ///
    /// # Cancel safety
    /// As long as this has not returned, nothing has been done.
    pub(super) async fn decided<T>(
        &self,
        operation: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(asking) = &self.inner.asking else {
            return operation();
        };
        if asking.is_line_empty() {
            self.forget_stale();
            match operation() {
                Err(error) if error.is_open() => {}
                outcome => return outcome,
            }
        }
        let _turn = asking.turn.lock().await;
        self.publish_waiting(asking).await;
        self.forget_stale();
        self.decide(operation).await
    }

    /// The same for one who has the turn.
    async fn decide<T>(&self, operation: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let caller = self.caller();
        let mut known: Vec<Answered> = Vec::new();
        let outcome = loop {
            // Anew each time: another clone of this client may have begun something, and forgotten what was too old.
            let now = self.inner.shared.now();
            for Answered { questions, answers } in &known {
                caller.note(now, questions, answers);
            }
            let mut error = match operation() {
                Err(error) => error,
                outcome => break outcome,
            };
            let asked = caller.authorizer().zip(caller.user());
            let Some((questions, (authorizer, user))) = error.take_questions().zip(asked) else {
                break Err(error);
            };
            let rights = Rights {
                authorizer,
                user: Arc::clone(user),
                questions,
                until_refused: true,
            };
            known.push(net::ask_for_rights(&self.inner.shared, rights).await);
        };
        caller.settle();
        outcome
    }

    fn forget_stale(&self) {
        let mut publisher = self.inner.publisher.lock();
        if self.caller().forget_stale(self.inner.shared.now()) {
            publisher.cache.forget();
        }
    }

    /// Publishes at once, if what that takes is known, or else when it is.
    #[cold]
    pub(super) fn publish_asked(&self, asking: &Asking, publish: &Publish<'_>) -> Confirm {
        let services = &self.inner.shared.services;
        if asking.is_line_empty() {
            self.forget_stale();
            match self.publish_if_permitted(publish) {
                Err(error) if error.is_open() => {}
                result => return Confirm::new(result, services),
            }
        }
        let (told, outcome) = oneshot::channel();
        let waiting = Arc::new(Waiting {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            properties: publish.properties.clone(),
            body: publish.body.into(),
            mandatory: publish.mandatory,
            told: Mutex::new(Some(told)),
        });
        let is_attended = {
            let mut line = asking.line.lock();
            let bytes = line.bytes.saturating_add(publish.body.len());
            let is_full = line.waiting.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX;
            if is_full && !line.waiting.is_empty() {
                let refusal =
                    "too many messages wait until it is known whether they may be published";
                let refused = Err(Refusal::resource_error(refusal).into());
                return Confirm::new(refused, services);
            }
            line.bytes = bytes;
            line.waiting.push_back(waiting);
            std::mem::replace(&mut line.is_attended, asking.spawner.can_spawn())
        };
        if !is_attended {
            let client = self.clone();
            asking.spawner.spawn(async move { client.attend().await });
        }
        Confirm::waiting(outcome, services)
    }

    async fn attend(self) {
        if let Some(asking) = &self.inner.asking {
            let _turn = asking.turn.lock().await;
            loop {
                self.publish_waiting(asking).await;
                let mut line = asking.line.lock();
                if line.waiting.is_empty() {
                    line.is_attended = false;
                    return;
                }
            }
        }
    }

    /// Publishes what waits in line, for one who has the turn.
    async fn publish_waiting(&self, asking: &Asking) {
        loop {
            let Some(first) = asking.line.lock().waiting.front().cloned() else {
                return;
            };
            let result = self
                .decide(|| self.publish_if_permitted(&first.as_publish()))
                .await;
            {
                let mut line = asking.line.lock();
                line.waiting.pop_front();
                line.bytes = line.bytes.saturating_sub(first.body.len());
            }
            if let Some(told) = first.told.lock().take() {
                // Nobody may want to know.
                let _ = told.send(result);
            }
        }
    }

    /// Shows a new secret for the user that the client acts for, as AMQP's `connection.update-secret` does: a fresh token in
    /// the place of one that is about to [expire](Identity::valid_until). What has been remembered of the user's rights is
    /// asked anew, and consumers of queues from which the user may not read any more end. Nothing happens where there is
    /// nobody to show it to.
    ///
    /// # Errors
    /// When the secret is refused, or the virtual host is not open to the user any more: the client then stays what it is,
    /// until its login expires.
    pub async fn update_secret(&self, secret: &[u8]) -> Result<(), Error> {
        let Some(old) = self.inner.identity.lock().clone() else {
            return Ok(());
        };
        let Some(authorizer) = old.authorizer() else {
            return Ok(());
        };
        let shared = &self.inner.shared;
        let secret = Secret {
            authorizer: Arc::clone(authorizer),
            user: Arc::clone(old.username()),
            secret: secret.to_vec().into(),
        };
        let renewed = net::renew(shared, &secret).await;
        let renewed = renewed.and_then(|new| new.map(|new| old.renewed(new)).transpose());
        match renewed {
            Ok(Some(identity)) => self.become_renewed(identity).await,
            Ok(None) => Ok(()),
            Err(reason) => {
                tracing::warn!(user = &**old.username(), %reason, "a new secret is refused");
                Err(Refusal::secret_refused().into())
            }
        }
    }

    async fn become_renewed(&self, identity: Identity) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let vhost = self.inner.vhost.name();
        let mut lost = Vec::new();
        if let Some(authorizer) = identity.rights_from() {
            let mut questions = vec![OwnedQuestion::entry(vhost, None)];
            questions.extend(
                self.consumed().into_iter().map(|queue| {
                    OwnedQuestion::resource(vhost, Right::Read, Resource::Queue(&queue))
                }),
            );
            let rights = Rights {
                authorizer: Arc::clone(authorizer),
                user: Arc::clone(identity.username()),
                questions,
                until_refused: false,
            };
            let Answered { questions, answers } = net::ask_for_rights(shared, rights).await;
            if answers.first() != Some(&true) {
                return Err(no_access_to_vhost(vhost, identity.username()).into());
            }
            lost = OwnedQuestion::refused(&questions, &answers);
        }
        self.caller().renew(&identity);
        self.inner.publisher.lock().cache.forget();
        self.set_expiry(&identity);
        let _old = self.inner.identity.lock().replace(identity);
        self.end_consumers_of(&lost);
        Ok(())
    }

    /// The queues that the client consumes from.
    fn consumed(&self) -> Vec<Box<str>> {
        let Some(asking) = &self.inner.asking else {
            return Vec::new();
        };
        let consumers = asking.consumers.lock();
        let alive = consumers
            .iter()
            .filter(|(outbox, _)| outbox.strong_count() > 0);
        let mut queues: Vec<_> = alive.map(|(_, queue)| queue.clone()).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    fn end_consumers_of(&self, queues: &[Box<str>]) {
        let Some(asking) = &self.inner.asking else {
            return;
        };
        let outboxes: Vec<_> = {
            let consumers = asking.consumers.lock();
            let lost = consumers.iter().filter(|(_, queue)| queues.contains(queue));
            lost.filter_map(|(outbox, _)| outbox.upgrade()).collect()
        };
        for outbox in outboxes {
            let cancelled = Outgoing::ConsumerCancelled {
                channel: Default::default(),
                consumer: ConsumerKey(0),
            };
            if let Some(waker) = outbox.push([cancelled]) {
                waker.wake();
            }
        }
    }
}
