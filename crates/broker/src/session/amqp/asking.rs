//! What has to wait until the embedding program has said who may do what, and connection.update-secret (behaviour
//! reference, section 2.7).
//!
//! A command that needs an answer has done nothing yet. It stays in the input and is tried again with the answer, so that
//! what the client asks for is done in its order; deliveries, heartbeats and deadlines go on meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use leveret_amqp_codec::method::connection;
use leveret_amqp_codec::{ChannelId, EncodeMethod, RawProperties, write_method};
use leveret_queue_store::Time;

use super::closing::Failure;
use super::content::FIRST_BODY_CAPACITY;
use super::publish::{Body, Publish};
use super::{Core, Phase, Session};
use crate::access::{OwnedQuestion, Resource, Right, no_access_to_vhost};
use crate::auth::{Identity, LoginRefused};
use crate::error::Refusal;
use crate::memory::Held;
use crate::outbox::ConsumerKey;
use crate::session::{Answer, Answered, Ask, Output, Rights, Secret};

const UPDATE_SECRET: (u16, u16) = (
    connection::UpdateSecret::CLASS_ID,
    connection::UpdateSecret::METHOD_ID,
);

/// A question and what waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Until it has been taken.
    ask: Option<Ask>,
    suspended: Suspended,
}

#[derive(Debug)]
enum Suspended {
    /// The command that is next in the input.
    Command,
    /// A publish that is in the input no more.
    Publish(ChannelId, Box<CompletePublish>),
    /// connection.update-secret, whose secret is looked at.
    Secret,
    /// The same: the secret is good, and makes the user this.
    Renewal(Identity),
}

/// A publish all of which has come, on its own.
#[derive(Debug)]
pub(super) struct CompletePublish {
    pub(super) exchange: Box<str>,
    pub(super) routing_key: Box<str>,
    pub(super) mandatory: bool,
    pub(super) properties: Box<[u8]>,
    pub(super) body: Bytes,
    /// Counts the body against the memory limit.
    pub(super) held: Held,
}

impl CompletePublish {
    fn as_publish(&self) -> Publish<'_> {
        Publish {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            mandatory: self.mandatory,
            properties: RawProperties::from_validated_bytes(&self.properties),
            body: if self.body.len() < FIRST_BODY_CAPACITY {
                Body::Borrowed(&self.body)
            } else {
                Body::Shared(&self.body)
            },
        }
    }
}

impl Session {
    /// A question for the embedding program; the answer goes to [`Session::handle_answer`].
    pub(crate) fn take_ask(&mut self) -> Option<Ask> {
        if let Some(waiting) = &mut self.core.waiting {
            return waiting.ask.take();
        }
        let login = self.take_login()?;
        Some(Ask::Login(Box::new(login)))
    }

    /// The question that [`Session::take_ask`] gave has been answered. It may have come to nothing meanwhile.
    pub(crate) fn handle_answer(&mut self, now: Time, answer: Answer, out: &mut Output) {
        let waiting = match answer {
            Answer::Login(result) => {
                self.handle_login(now, result, out);
                return;
            }
            _ => self.core.waiting.take(),
        };
        let Some(waiting) = waiting else {
            return;
        };
        // Nobody has listened to the client since.
        self.core.received_at = now;
        match (waiting.suspended, answer) {
            (Suspended::Command, Answer::Rights(answered)) => {
                self.core.is_trying_again = true;
                self.core.note(now, &answered);
            }
            (Suspended::Publish(id, publish), Answer::Rights(answered)) => {
                self.core.note(now, &answered);
                if let Err(failure) = self.publish_complete(now, id, *publish, out) {
                    self.fail(now, failure, out);
                }
                if self.core.waiting.is_none() {
                    self.core.caller.settle();
                }
            }
            (Suspended::Secret, Answer::Secret(result)) => self.secret_checked(now, result, out),
            (Suspended::Renewal(identity), Answer::Rights(answered)) => {
                self.finish_renewal(now, identity, &answered, out);
            }
            // An answer to another question than this one, which has been dropped.
            _ => {}
        }
        self.flush(now, out);
    }

    /// The command that is next waits until somebody has answered.
    pub(super) fn suspend_command(&mut self, questions: Vec<OwnedQuestion>) {
        self.core.suspend(questions, Suspended::Command);
    }

    /// Publishes what has come in full, unless somebody has to be asked first.
    pub(super) fn publish_complete(
        &mut self,
        now: Time,
        id: ChannelId,
        mut publish: CompletePublish,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if self.channels.get(&id).is_none_or(|channel| channel.closing) {
            return Ok(());
        }
        // It goes into a queue, or a transaction that counts it.
        publish.held.hand_over();
        let Err(mut refusal) = self.publish(now, id, &publish.as_publish(), out) else {
            return Ok(());
        };
        let Some(questions) = refusal.take_questions() else {
            return Err(Failure::of_publish(id, refusal));
        };
        self.suspend_publish(id, publish, questions);
        Ok(())
    }

    /// A publish that is in the input no more waits until somebody has answered.
    fn suspend_publish(
        &mut self,
        id: ChannelId,
        mut publish: CompletePublish,
        questions: Vec<OwnedQuestion>,
    ) {
        publish.held.set(publish.body.len());
        let suspended = Suspended::Publish(id, Box::new(publish));
        self.core.suspend(questions, suspended);
    }

    pub(super) fn update_secret(&mut self, secret: &[u8], out: &mut Output) {
        let identity = self.core.identity.as_ref();
        let Some((authorizer, user)) = identity
            .and_then(|identity| Some((identity.authorizer()?.clone(), identity.username())))
        else {
            // Users whose credentials do not expire have nothing to refresh; RabbitMQ agrees all the same.
            secret_updated(out);
            return;
        };
        let ask = Ask::Secret(Box::new(Secret {
            authorizer,
            user: Arc::clone(user),
            secret: secret.to_vec().into(),
        }));
        self.core.wait(ask, Suspended::Secret);
    }

    fn secret_checked(
        &mut self,
        now: Time,
        result: Result<Option<Identity>, LoginRefused>,
        out: &mut Output,
    ) {
        let Some(old) = &self.core.identity else {
            return;
        };
        let renewed = result.and_then(|new| new.map(|new| old.renewed(new)).transpose());
        let identity = match renewed {
            Ok(Some(identity)) => identity,
            Ok(None) => return secret_updated(out),
            Err(reason) => {
                let user = old.username();
                tracing::warn!(connection = %self.core.name(), user = &**user, %reason, "a new secret is refused");
                return self.fail(now, failed_update(Refusal::secret_refused()), out);
            }
        };
        let Some(authorizer) = identity.rights_from().cloned() else {
            let nothing_asked = Answered {
                questions: Vec::new(),
                answers: Vec::new(),
            };
            return self.finish_renewal(now, identity, &nothing_asked, out);
        };
        let ask = Ask::Rights(Box::new(Rights {
            authorizer,
            user: Arc::clone(identity.username()),
            questions: self.questions_of_renewal(),
            until_refused: false,
        }));
        self.core.wait(ask, Suspended::Renewal(identity));
    }

    /// Whether the virtual host is still open to the user, and what it consumes from.
    fn questions_of_renewal(&self) -> Vec<OwnedQuestion> {
        let Some(vhost) = &self.core.vhost else {
            return Vec::new();
        };
        let mut questions = vec![OwnedQuestion::entry(vhost.name(), self.core.endpoints)];
        let mut queues: Vec<_> = self.consumed().map(|(_, _, queue)| queue).collect();
        queues.sort_unstable();
        queues.dedup();
        questions.extend(queues.into_iter().map(|queue| {
            OwnedQuestion::resource(vhost.name(), Right::Read, Resource::Queue(queue))
        }));
        questions
    }

    /// The consumers for which somebody has to have a right, and the names of their queues.
    fn consumed(&self) -> impl Iterator<Item = (ChannelId, ConsumerKey, &Arc<str>)> {
        self.channels.iter().flat_map(|(id, channel)| {
            let reply_consumer = channel.reply_to.as_ref().map(|(key, _)| *key);
            channel.consumers.iter().filter_map(move |(key, consumer)| {
                // Channels have fewer consumers than this.
                let key = ConsumerKey(u32::try_from(key).unwrap_or(u32::MAX));
                let is_asked = reply_consumer.is_none_or(|reply| reply.0 != key.0);
                is_asked.then(|| (*id, key, channel.queue_of(consumer).name()))
            })
        })
    }

    fn finish_renewal(
        &mut self,
        now: Time,
        identity: Identity,
        answered: &Answered,
        out: &mut Output,
    ) {
        let Answered { questions, answers } = answered;
        if let (Some(OwnedQuestion::VirtualHost { vhost, .. }), Some(false)) =
            (questions.first(), answers.first())
        {
            let refusal = no_access_to_vhost(vhost, identity.username());
            return self.fail(now, failed_update(refusal), out);
        }
        let lost = OwnedQuestion::refused(questions, answers);
        self.core.caller.renew(&identity);
        self.core.publisher.cache.forget();
        self.core.caller.note(now, questions, answers);
        self.core.caller.settle();
        self.core.is_now(identity);
        self.cancel_consumers_of(now, &lost, out);
        tracing::debug!(connection = %self.core.name(), "a new secret is in use");
        secret_updated(out);
    }

    /// Ends the consumers of queues from which the user may not read any more.
    fn cancel_consumers_of(&mut self, now: Time, queues: &[Box<str>], out: &mut Output) {
        let lost: Vec<_> = self
            .consumed()
            .filter(|(_, _, queue)| queues.iter().any(|lost| **lost == ***queue))
            .map(|(id, key, _)| (id, key))
            .collect();
        for &(id, key) in &lost {
            if let Some(channel) = self.channels.get(&id)
                && let Some(consumer) = channel.consumers.get(key.0 as usize)
            {
                let queue = Arc::clone(channel.queue_of(consumer));
                queue.cancel(now, consumer.id);
            }
        }
        if lost.is_empty() {
            return;
        }
        // What was on its way goes first.
        self.send_deliveries(now, usize::MAX, out);
        for (id, key) in lost {
            self.consumer_cancelled(id, key, out);
        }
    }
}

impl Core {
    /// Who the user is from now on.
    pub(super) fn is_now(&mut self, identity: Identity) {
        self.expires_at = identity.expiry();
        self.identity = Some(identity);
    }

    fn suspend(&mut self, questions: Vec<OwnedQuestion>, suspended: Suspended) {
        let Some(identity) = &self.identity else {
            return;
        };
        let authorizer = self.caller.authorizer();
        let Some(authorizer) = authorizer.or_else(|| identity.rights_from().cloned()) else {
            return;
        };
        let ask = Ask::Rights(Box::new(Rights {
            authorizer,
            user: Arc::clone(identity.username()),
            questions,
            until_refused: true,
        }));
        self.wait(ask, suspended);
    }

    fn wait(&mut self, ask: Ask, suspended: Suspended) {
        self.waiting = Some(Box::new(Waiting {
            ask: Some(ask),
            suspended,
        }));
    }

    fn note(&mut self, now: Time, answered: &Answered) {
        let Answered { questions, answers } = answered;
        if let [OwnedQuestion::VirtualHost { .. }] = &**questions {
            self.may_enter = answers.first().copied();
        } else {
            self.caller.note(now, questions, answers);
        }
    }

    /// The command that has waited has been tried again, and what comes behind it is another.
    #[cold]
    pub(super) fn has_tried_again(&mut self, now: Time) {
        self.is_trying_again = false;
        self.caller.settle();
        self.forget_stale(now);
    }

    /// Forgets answers that hold no longer, and routes that were found with them.
    #[inline]
    pub(super) fn forget_stale(&mut self, now: Time) {
        if self.caller.forget_stale(now) {
            self.publisher.cache.forget();
        }
    }

    /// Whether nothing is read because of us.
    #[inline]
    pub(super) fn is_held_up(&self) -> bool {
        self.blocked.is_some() || self.waiting.is_some()
    }
}

fn secret_updated(out: &mut Output) {
    write_method(
        out.buffer(),
        ChannelId::CONNECTION,
        &connection::UpdateSecretOk {},
    );
}

fn failed_update(refusal: Refusal) -> Failure {
    Failure {
        scope: ChannelId::CONNECTION,
        refusal,
        method: UPDATE_SECRET,
    }
}

impl Session {
    /// Whether the login has expired, in which case the connection is closed.
    pub(super) fn expire(&mut self, now: Time, out: &mut Output) -> bool {
        let is_over = self.core.expires_at.is_some_and(|at| at <= now);
        if is_over && matches!(self.phase, Phase::Running) {
            tracing::info!(connection = %self.core.name(), "closing connection: the login has expired");
            let Refusal {
                code, explanation, ..
            } = Refusal::expired();
            self.forced_close(now, code, &explanation, out);
        }
        is_over
    }
}
