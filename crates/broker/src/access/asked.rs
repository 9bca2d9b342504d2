//! What an authorizer has said that one connection may do, remembered.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use leveret_queue_store::Time;
use parking_lot::Mutex;

use super::question::OwnedQuestion;
use super::right::{Resource, Right};
use super::table::Access;
use super::words;
use crate::auth::Authorizer;
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::quota::Seat;
use crate::random::RandomNames;

type Hasher = foldhash::fast::RandomState;

/// How many permissions one connection remembers before it begins anew. RabbitMQ remembers 12 for each channel; this is for
/// all channels together, as for users who have accounts. One command may need more of them: they are there until it is
/// done.
const REMEMBERED_MAX: usize = 128;

/// The rights of a connection whose user is authorised by somebody else.
///
/// Nobody is asked here: a check that finds no answer refuses and says [what would have to be
/// asked](Refusal::take_questions); whoever can wait does so and tries again. Its lock is taken under those of the virtual
/// host, and nothing under it.
pub(crate) struct Asked {
    user: Arc<str>,
    vhost: Arc<str>,
    ttl_ms: u64,
    state: Mutex<State>,
    /// Knows the user's account, where it has one.
    access: Option<Arc<Access>>,
    /// Counts as one of the user's connections.
    _seat: Option<Seat>,
}

struct State {
    authorizer: Arc<dyn Authorizer>,
    /// What was permitted: keys as [`State::find`] makes them.
    permitted: HashSet<Box<[u8]>, Hasher>,
    /// What the command under way was refused.
    refused: Vec<Box<[u8]>>,
    /// When the first of all that is remembered was answered.
    since: Option<Time>,
    /// A name that was made up for a queue whose user may perhaps declare it.
    drawn: Option<String>,
    /// The key that is being looked for.
    key: Vec<u8>,
}

/// What is known of a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Permitted,
    Refused,
    Unknown,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

/// Where the rights of a connection come from, and how long they are remembered.
pub(crate) struct Source {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) ttl_ms: u64,
}

impl Asked {
    pub(crate) fn new(
        source: Source,
        user: &Arc<str>,
        vhost: &Arc<str>,
        access: Option<Arc<Access>>,
        seat: Option<Seat>,
    ) -> Self {
        Self {
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            ttl_ms: source.ttl_ms,
            state: Mutex::new(State {
                authorizer: source.authorizer,
                permitted: HashSet::default(),
                refused: Vec::new(),
                since: None,
                drawn: None,
                key: Vec::new(),
            }),
            access,
            _seat: seat,
        }
    }

    /// Whose rights they are.
    pub(super) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// Room for one more channel, for as long as the seat is held; none where nothing is counted.
    ///
    /// # Errors
    /// 530 when the user has as many as it may have.
    pub(super) fn open_channel(&self) -> Result<Option<Seat>, Refusal> {
        match &self.access {
            Some(access) => access.open_channel(&self.user),
            None => Ok(None),
        }
    }

    /// Has this outbox told, too, when the user's account is deleted.
    pub(super) fn follow(&self, outbox: &Arc<Outbox>) {
        if let Some(access) = &self.access {
            access.follow(&self.user, outbox);
        }
    }

    /// Whom to ask.
    pub(super) fn authorizer(&self) -> Arc<dyn Authorizer> {
        Arc::clone(&self.state.lock().authorizer)
    }

    /// Asks somebody else from now on, and everything anew.
    pub(super) fn replace_authorizer(&self, authorizer: Arc<dyn Authorizer>) {
        let _old = {
            let mut state = self.state.lock();
            state.forget();
            std::mem::replace(&mut state.authorizer, authorizer)
        };
    }

    /// # Errors
    /// 403 when the user does not have the right, or may not have it: then the refusal says what has to be asked.
    pub(super) fn require(&self, right: Right, resource: Resource<'_>) -> Result<(), Refusal> {
        let known = self.state.lock().find_resource(right, resource);
        if known == Known::Permitted {
            return Ok(());
        }
        let refusal = words::no_access(resource, &self.vhost, &self.user);
        Err(match known {
            Known::Unknown => {
                refusal.unless(vec![OwnedQuestion::resource(&self.vhost, right, resource)])
            }
            Known::Refused | Known::Permitted => refusal,
        })
    }

    /// The right to use routing keys with a topic exchange, for whoever has the right to the exchange. What has to be asked
    /// is asked for all of them at once.
    ///
    /// # Errors
    /// As [`Asked::require`].
    pub(super) fn require_keys(
        &self,
        right: Right,
        exchange: &str,
        routing_keys: &[&str],
    ) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let mut questions = Vec::new();
        let mut first = None;
        for routing_key in routing_keys {
            match state.find_key(right, exchange, routing_key) {
                Known::Permitted => {}
                // What comes before it is not known, and might have been refused first.
                Known::Refused if questions.is_empty() => {
                    return Err(words::no_access_to_key(
                        routing_key,
                        exchange,
                        &self.vhost,
                        &self.user,
                    ));
                }
                Known::Refused => break,
                Known::Unknown => {
                    first.get_or_insert(*routing_key);
                    questions.push(self.topic(right, exchange, routing_key));
                }
            }
        }
        let Some(first) = first else {
            return Ok(());
        };
        let refusal = words::no_access_to_key(first, exchange, &self.vhost, &self.user);
        Err(refusal.unless(questions))
    }

    /// Has what several operations are going to need asked together, before the first of them.
    ///
    /// # Errors
    /// When something has to be asked. What is refused is for the operations to tell.
    #[cfg(feature = "stomp")]
    pub(super) fn foresee(
        &self,
        rights: &[(Right, Resource<'_>)],
        topic: Option<(&str, &str)>,
    ) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let mut questions = Vec::new();
        for &(right, resource) in rights {
            match state.find_resource(right, resource) {
                Known::Permitted => {}
                // Nothing after it will matter.
                Known::Refused => return unless(questions),
                Known::Unknown => {
                    questions.push(OwnedQuestion::resource(&self.vhost, right, resource));
                }
            }
        }
        if let Some((exchange, routing_key)) = topic
            && state.find_key(Right::Read, exchange, routing_key) == Known::Unknown
        {
            questions.push(self.topic(Right::Read, exchange, routing_key));
        }
        unless(questions)
    }

    fn topic(&self, right: Right, exchange: &str, routing_key: &str) -> OwnedQuestion {
        OwnedQuestion::Topic {
            vhost: Arc::clone(&self.vhost),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            right,
            client_id: None,
        }
    }

    /// Remembers what was answered to the first of these questions, one by one.
    pub(super) fn note(&self, now: Time, questions: &[OwnedQuestion], answers: &[bool]) {
        let mut state = self.state.lock();
        state.since.get_or_insert(now);
        for (question, may) in questions.iter().zip(answers) {
            match question {
                OwnedQuestion::VirtualHost { .. } => continue,
                OwnedQuestion::Resource {
                    kind, name, right, ..
                } => state.write_resource(*right, kind.as_str(), name),
                OwnedQuestion::Topic {
                    exchange,
                    routing_key,
                    right,
                    ..
                } => state.write_key(*right, exchange, routing_key),
            }
            let key = state.key.as_slice().into();
            if *may {
                state.permitted.insert(key);
            } else {
                state.refused.push(key);
            }
        }
    }

    /// The command that has asked is done: what it was refused will be asked again.
    pub(super) fn settle(&self) {
        self.state.lock().refused.clear();
    }

    /// Forgets what was answered too long ago, and everything when it is too much; not while a command is under way. True
    /// when routes that were found with it are to be forgotten as well.
    pub(super) fn forget_stale(&self, now: Time) -> bool {
        let mut state = self.state.lock();
        let is_stale = state
            .since
            .is_some_and(|since| since.saturating_add(self.ttl_ms) <= now);
        if is_stale {
            state.forget();
        } else if state.permitted.len() > REMEMBERED_MAX {
            // Their time runs on: routes are remembered that were found with them.
            state.permitted = HashSet::default();
        }
        is_stale
    }

    /// A name for a queue: the one that was kept, if its prefix is right, or a new one.
    pub(super) fn draw_name(&self, names: &RandomNames, prefix: &str) -> String {
        let kept = self.state.lock().drawn.take();
        kept.filter(|name| name.starts_with(prefix))
            .unwrap_or_else(|| names.name(prefix))
    }

    /// Keeps a name for the next try.
    pub(super) fn keep_name(&self, name: &str) {
        self.state.lock().drawn = Some(name.to_owned());
    }
}

/// # Errors
/// When there are questions.
#[cfg(feature = "stomp")]
fn unless(questions: Vec<OwnedQuestion>) -> Result<(), Refusal> {
    if questions.is_empty() {
        return Ok(());
    }
    Err(Refusal::until_asked(questions))
}

impl State {
    fn find_resource(&mut self, right: Right, resource: Resource<'_>) -> Known {
        self.write_resource(right, resource.kind().as_str(), resource.name());
        self.find()
    }

    fn find_key(&mut self, right: Right, exchange: &str, routing_key: &str) -> Known {
        self.write_key(right, exchange, routing_key);
        self.find()
    }

    fn write_resource(&mut self, right: Right, kind: &str, name: &str) {
        self.key.clear();
        self.key.push(right as u8);
        self.key.extend_from_slice(kind.as_bytes());
        self.key.extend_from_slice(name.as_bytes());
    }

    fn write_key(&mut self, right: Right, exchange: &str, routing_key: &str) {
        self.key.clear();
        self.key.push(right as u8);
        // No kind of resource begins with it.
        self.key.push(b'#');
        self.key
            .extend_from_slice(&(exchange.len() as u64).to_le_bytes());
        self.key.extend_from_slice(exchange.as_bytes());
        self.key.extend_from_slice(routing_key.as_bytes());
    }

    fn find(&self) -> Known {
        if self.refused.iter().any(|key| **key == *self.key) {
            Known::Refused
        } else if self.permitted.contains(self.key.as_slice()) {
            Known::Permitted
        } else {
            Known::Unknown
        }
    }

    fn forget(&mut self) {
        self.permitted = HashSet::default();
        self.refused.clear();
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Question, VerdictFuture};

    struct Nobody;

    impl Authorizer for Nobody {
        fn authorize<'a>(&'a self, _: Question<'a>) -> VerdictFuture<'a> {
            unreachable!("the sessions ask, and there is none")
        }
    }

    const QUEUE: Resource<'_> = Resource::Queue("q");

    fn asked() -> Asked {
        let source = Source {
            authorizer: Arc::new(Nobody),
            ttl_ms: 1000,
        };
        Asked::new(source, &"ann".into(), &"/".into(), None, None)
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// What has to be asked before the right is known; none when it is.
    #[track_caller]
    fn questions(outcome: Result<(), Refusal>) -> Option<Vec<OwnedQuestion>> {
        outcome
            .err()
            .and_then(|mut refusal| refusal.take_questions())
    }

    #[test]
    fn an_answer_holds_until_its_time_is_over() {
        let asked = asked();
        let first = questions(asked.require(Right::Read, QUEUE)).unwrap();
        asked.note(at(5), &first, &[true]);
        assert!(!asked.forget_stale(at(1004)));
        assert_eq!(asked.require(Right::Read, QUEUE), Ok(()));
        assert!(questions(asked.require(Right::Write, QUEUE)).is_some());
        let exchange = Resource::Exchange("q");
        assert!(questions(asked.require(Right::Read, exchange)).is_some());
        assert!(asked.forget_stale(at(1005)));
        assert_eq!(questions(asked.require(Right::Read, QUEUE)), Some(first));
    }

    #[test]
    fn a_refusal_holds_for_one_command() {
        let asked = asked();
        let first = questions(asked.require(Right::Read, QUEUE)).unwrap();
        asked.note(at(0), &first, &[false]);
        let refused = asked.require(Right::Read, QUEUE);
        assert_eq!(questions(refused.clone()), None);
        assert_eq!(
            refused.unwrap_err().explanation,
            "access to queue 'q' in vhost '/' refused for user 'ann'"
        );
        asked.settle();
        assert_eq!(questions(asked.require(Right::Read, QUEUE)), Some(first));
    }

    #[test]
    fn what_is_permitted_is_bounded_between_commands_alone() {
        let asked = asked();
        let names: Vec<_> = (0..=REMEMBERED_MAX).map(|n| n.to_string()).collect();
        for name in &names {
            let first = questions(asked.require(Right::Read, Resource::Queue(name))).unwrap();
            asked.note(at(0), &first, &[true]);
        }
        for name in &names {
            assert_eq!(asked.require(Right::Read, Resource::Queue(name)), Ok(()));
        }
        assert!(!asked.forget_stale(at(1)), "their time is not over");
        assert!(questions(asked.require(Right::Read, Resource::Queue("0"))).is_some());
    }

    #[test]
    fn keys_are_asked_together_up_to_the_first_that_is_refused() {
        let asked = asked();
        let keys = ["a", "b", "c"];
        let require = || asked.require_keys(Right::Write, "x", &keys);
        let first = questions(require()).unwrap();
        assert_eq!(first.len(), 3);
        // Nobody asks for more after a refusal.
        asked.note(at(0), &first, &[true, false]);
        let refused = require().unwrap_err();
        assert_eq!(
            refused.explanation,
            "access to topic 'b' in exchange 'x' in vhost '/' refused for user 'ann'"
        );
        assert_eq!(questions(Err(refused)), None);
        asked.settle();
        assert_eq!(questions(require()), Some(first[1..].to_vec()));
    }

    #[cfg(feature = "stomp")]
    #[test]
    fn what_is_foreseen_is_asked_unless_it_is_refused_anyway() {
        let asked = asked();
        let rights = [
            (Right::Configure, QUEUE),
            (Right::Read, QUEUE),
            (Right::Write, QUEUE),
        ];
        let foresee = || asked.foresee(&rights, Some(("x", "k")));
        let all = questions(foresee()).unwrap();
        assert_eq!(all.len(), 4);
        asked.note(at(0), &all, &[true, false]);
        assert_eq!(foresee(), Ok(()));
        asked.settle();
        assert_eq!(questions(foresee()), Some(all[1..].to_vec()));
    }

    #[test]
    fn a_name_is_kept_for_the_next_try() {
        let (asked, names) = (asked(), RandomNames::seeded(1));
        let name = asked.draw_name(&names, "amq.gen-");
        asked.keep_name(&name);
        assert_ne!(asked.draw_name(&names, "other-"), name);
        asked.keep_name(&name);
        assert_eq!(asked.draw_name(&names, "amq.gen-"), name);
        assert_ne!(asked.draw_name(&names, "amq.gen-"), name, "once alone");
    }
}
