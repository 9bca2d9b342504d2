//! The queues that a session declares: with which properties, under which name (behaviour reference, sections 20.3 to
//! 20.6).

use std::collections::HashSet;
use std::sync::Arc;

use leveret_amqp_codec::{RawTable, Table, Value};
use leveret_queue_store::Time;
use leveret_stomp_codec::{Command, Frame};
use sha2::{Digest, Sha256};

use super::destination::NAME_SIZE_MAX;
use super::problem::Problem;
use super::{Session, headers};
use crate::random::base64_of;
use crate::session::Output;
use crate::vhost::{QueueDeclare, QueueDeclared};

type Hasher = foldhash::fast::RandomState;

/// What the names of subscription queues begin with. Permissions and policies refer to it.
const SUBSCRIPTION_PREFIX: &str = "stomp-subscription-";

/// The header of SUBSCRIBE that is `x-expires` with a unit, and keeps the queue of a subscription that can be found again.
const EXPIRES: &str = "expires";

/// How many names a session remembers. One that uses more declares them again, which changes nothing unless their
/// properties came with the first SEND alone.
const KNOWN_QUEUES_MAX: usize = 65_536;

/// Queue arguments that are texts, and those that are whole numbers. RabbitMQ knows fewer of them.
const TEXT_ARGUMENTS: [&str; 9] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-age",
    "x-overflow",
    "x-queue-leader-locator",
    "x-queue-mode",
    "x-queue-type",
    "x-queue-master-locator",
];
const NUMBER_ARGUMENTS: [&str; 11] = [
    "x-delivery-limit",
    "x-expires",
    "x-initial-cluster-size",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-message-ttl",
    "x-queue-version",
    "x-quorum-initial-group-size",
    "x-stream-filter-size-bytes",
    "x-stream-max-segment-size-bytes",
];
const BOOLEAN_ARGUMENTS: [&str; 1] = ["x-single-active-consumer"];

/// The names of the queues behind `/queue/` that the session has declared: each is declared once.
#[derive(Debug, Default)]
pub(super) struct KnownQueues {
    names: HashSet<Box<str>, Hasher>,
}

impl KnownQueues {
    fn remember(&mut self, name: &str) {
        if self.names.len() >= KNOWN_QUEUES_MAX {
            self.names.clear();
        }
        self.names.insert(name.into());
    }
}

/// How a queue is to be, as the headers of a SUBSCRIBE or SEND say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct QueueProperties {
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
}

impl QueueProperties {
    /// A queue behind `/queue/`: it stays, unless its first user says otherwise.
    fn of_named_queue(frame: &Frame) -> Result<Self, Problem> {
        let durable = durable(frame)?.unwrap_or(true);
        Ok(Self {
            durable,
            // What is not durable goes with the session, as in RabbitMQ.
            auto_delete: headers::boolean(frame, "auto-delete")?.unwrap_or(!durable),
            exclusive: headers::boolean(frame, "exclusive")?.unwrap_or(!durable),
        })
    }

    /// A queue behind a subscription to an exchange: it goes with the subscription, unless that says otherwise.
    fn of_subscription(frame: &Frame) -> Result<Self, Problem> {
        let durable = durable(frame)?.unwrap_or(false);
        // One that says how long it may be unused is to outlive its subscription, where that can find it again.
        let can_be_found = durable || frame.header("x-queue-name").is_some();
        let outlives = can_be_found && frame.header(EXPIRES).is_some();
        Ok(Self {
            durable,
            auto_delete: headers::boolean(frame, "auto-delete")?.unwrap_or(!outlives),
            exclusive: headers::boolean(frame, "exclusive")?.unwrap_or(false),
        })
    }
}

impl Session {
    /// Declares the queue behind `/queue/`, unless this session has before.
    pub(super) fn know_queue(
        &mut self,
        now: Time,
        name: &str,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<(), Problem> {
        if !self.known_queues.names.contains(name) {
            // What is in the batch was published before the queue was there.
            self.flush(now, out);
            let properties = QueueProperties::of_named_queue(frame)?;
            self.declare(now, name, properties, frame)?;
            self.known_queues.remember(name);
        }
        Ok(())
    }

    /// A name for the queue behind a subscription whose frame gives it none.
    pub(super) fn draw_subscription_queue(&self) -> String {
        let names = &self.core.shared.services.names;
        self.core.caller.draw_name(names, SUBSCRIPTION_PREFIX)
    }

    /// Declares the queue behind a subscription to an exchange.
    pub(super) fn declare_subscription_queue(
        &mut self,
        now: Time,
        name: &str,
        frame: &Frame,
    ) -> Result<QueueDeclared, Problem> {
        let properties = QueueProperties::of_subscription(frame)?;
        self.declare(now, name, properties, frame)
    }

    fn declare(
        &mut self,
        now: Time,
        name: &str,
        properties: QueueProperties,
        frame: &Frame,
    ) -> Result<QueueDeclared, Problem> {
        if name.len() > NAME_SIZE_MAX {
            return Err(Problem::processing());
        }
        let arguments = arguments(frame)?.to_bytes();
        self.declare_queue(
            now,
            &QueueDeclare {
                name,
                durable: properties.durable,
                exclusive: properties.exclusive,
                auto_delete: properties.auto_delete,
                arguments: RawTable::from_validated_bytes(&arguments),
            },
        )
    }

    /// Declares a queue as any client would, and remembers it if it goes with this session.
    pub(super) fn declare_queue(
        &mut self,
        now: Time,
        declare: &QueueDeclare<'_>,
    ) -> Result<QueueDeclared, Problem> {
        let declared = self
            .vhost()?
            .declare_queue(now, &self.core.caller, declare)?;
        self.core.unstored = self.core.unstored.max(declared.ticket);
        if declared.created && declared.queue.definition().owner.is_some() {
            let exclusive = &mut self.core.exclusive;
            if exclusive.len() == exclusive.capacity() {
                // A client that declares and deletes for ever must not make the list grow.
                exclusive.retain(|queue| queue.strong_count() > 0);
            }
            exclusive.push(Arc::downgrade(&declared.queue));
        }
        Ok(declared)
    }
}

/// The name of the queue of a subscription, where it follows from the frame: `x-queue-name`, or for a durable
/// subscription one that the same destination and id lead to on every connection, and after every restart. It is the same
/// for all users, as in RabbitMQ, unless `per-user` asks for one of the user's own.
pub(super) fn subscription_queue(
    source: (&str, &str),
    user: &str,
    frame: &Frame,
) -> Result<Option<String>, Problem> {
    let is_durable = is_durable(frame)?;
    let id = frame.header("id");
    if let Some(name) = frame.header("x-queue-name") {
        return Ok(Some(name.to_owned()));
    }
    let Some(id) = id.filter(|_| is_durable) else {
        return Ok(None);
    };
    let is_own = headers::boolean(frame, "per-user")?.unwrap_or(false);
    Ok(Some(match is_own {
        false => durable_name(source, &[id]),
        // The user's name stands at the end, so that permissions can tell whose it is.
        true => format!("{}.{user}", durable_name(source, &[id, user])),
    }))
}

/// Nobody computes these names, so they need not be RabbitMQ's; but two pairs must not come to the same name, whoever
/// chooses them: messages would go to the wrong subscriber.
fn durable_name((exchange, key): (&str, &str), subscriber: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in [exchange, key].iter().chain(subscriber) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let half = digest.first_chunk().copied().unwrap_or_default();
    format!(
        "{SUBSCRIPTION_PREFIX}{}",
        base64_of(u128::from_be_bytes(half))
    )
}

/// Both spellings are in use; where both are there, the one that stands last counts, as in RabbitMQ.
fn durable(frame: &Frame) -> Result<Option<bool>, Problem> {
    let names = frame.headers.iter().map(|(name, _)| name);
    let last = names
        .filter(|name| matches!(*name, "durable" | "persistent"))
        .last();
    last.map_or(Ok(None), |name| headers::boolean(frame, name))
}

/// Whether UNSUBSCRIBE asks for the end of a durable subscription.
pub(super) fn is_durable(frame: &Frame) -> Result<bool, Problem> {
    Ok(durable(frame)?.unwrap_or(false))
}

fn arguments(frame: &Frame) -> Result<Table, Problem> {
    let mut arguments = Table::default();
    for name in TEXT_ARGUMENTS {
        if let Some(text) = frame.header(name) {
            arguments.append(name, text);
        }
    }
    for name in NUMBER_ARGUMENTS {
        if let Some(number) = headers::integer::<i64>(frame, name)? {
            arguments.append(name, Value::I64(number));
        }
    }
    if let Some(expires_ms) = expires_ms(frame)? {
        arguments.append("x-expires", Value::I64(expires_ms));
    }
    for name in BOOLEAN_ARGUMENTS {
        if let Some(value) = headers::boolean(frame, name)? {
            arguments.append(name, value);
        }
    }
    Ok(arguments)
}

/// What [`EXPIRES`] says, in milliseconds: a whole number of them, or of seconds, minutes, hours or days (`45s`, `30min`,
/// `12h`, `1d`). In a SEND it is a header like any other.
///
/// # Errors
/// When it is neither, and beside `x-expires`, which says the same.
fn expires_ms(frame: &Frame) -> Result<Option<i64>, Problem> {
    let Some(text) = frame.header(EXPIRES) else {
        return Ok(None);
    };
    if frame.command != Command::Subscribe {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit_ms = match &text[digits.len()..] {
        "" | "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number = digits
        .parse::<u32>()
        .ok()
        .filter(|_| !digits.starts_with('+'));
    let expires_ms = number
        .zip(unit_ms)
        .map(|(number, ms)| i64::from(number) * ms);
    match expires_ms {
        Some(ms) if frame.header("x-expires").is_none() => Ok(Some(ms)),
        _ => Err(Problem::processing()),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn subscribe(headers: &[(&str, &str)]) -> Frame {
        Frame::new(Command::Subscribe, headers.iter().copied())
    }

    fn name(source: (&str, &str), headers: &[(&str, &str)]) -> Option<String> {
        subscription_queue(source, "ann", &subscribe(headers)).unwrap()
    }

    #[test]
    fn a_durable_subscription_has_the_same_queue_everywhere() {
        let durable = [("id", "1"), ("durable", "true")];
        let first = name(("amq.topic", "a"), &durable);
        // Names on disk outlive versions, so this one must stay as it is.
        assert_eq!(
            first.as_deref(),
            Some("stomp-subscription-skwxqNQi6B4RlOPvaPu5Jw")
        );
        assert_eq!(
            name(("amq.topic", "a"), &[("id", "1"), ("persistent", "true")]),
            first
        );
        assert_ne!(name(("amq.topic", "b"), &durable), first);
        assert_ne!(
            name(("amq.topic", ""), &[("id", "a1"), ("durable", "true")]),
            first
        );
    }

    #[test]
    fn a_durable_subscription_can_be_its_users_own() {
        let own = [("id", "1"), ("durable", "true"), ("per-user", "true")];
        let of = |user: &str| subscription_queue(("x", "a"), user, &subscribe(&own)).unwrap();
        assert_eq!(
            of("ann").as_deref(),
            Some("stomp-subscription-QbGDpamNxZjmly0i9RzJTQ.ann")
        );
        assert_ne!(of("bob"), of("ann"));
        let shared = name(("x", "a"), &[("id", "1"), ("durable", "true")]);
        assert!(!of("ann").unwrap().starts_with(&*shared.unwrap()));
    }

    #[test]
    fn the_lease_of_a_subscription_is_one_header() {
        let lease = |text| expires_ms(&subscribe(&[("expires", text)]));
        for (text, want) in [
            ("1500", 1_500),
            ("20ms", 20),
            ("45s", 45_000),
            ("30min", 1_800_000),
            ("12h", 43_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(lease(text), Ok(Some(want)), "{text}");
        }
        for text in [
            "",
            "d",
            "1w",
            "1m",
            "1.5h",
            "-1s",
            "+1s",
            "1 d",
            "99999999999",
            "1dd",
        ] {
            assert_eq!(lease(text), Err(Problem::processing()), "{text}");
        }
        let both = [("expires", "1d"), ("x-expires", "86400000")];
        assert!(expires_ms(&subscribe(&both)).is_err());
        let of = |headers: &[_]| QueueProperties::of_subscription(&subscribe(headers)).unwrap();
        let durable = ("durable", "true");
        assert!(of(&[durable]).auto_delete);
        assert!(!of(&[durable, ("expires", "1d")]).auto_delete);
        assert!(!of(&[("x-queue-name", "q"), ("expires", "1d")]).auto_delete);
        assert!(of(&[("expires", "1d")]).auto_delete, "nobody would find it");
        assert!(of(&[durable, ("expires", "1d"), ("auto-delete", "true")]).auto_delete);
    }

    #[test]
    fn without_durable_the_name_is_drawn_unless_it_is_given() {
        assert_eq!(name(("amq.topic", "a"), &[("id", "1")]), None);
        let named = [("id", "1"), ("x-queue-name", "mine")];
        assert_eq!(name(("amq.topic", "a"), &named).as_deref(), Some("mine"));
    }

    #[test]
    fn a_queue_that_is_not_durable_goes_with_its_session() {
        let of = |headers: &[_]| QueueProperties::of_named_queue(&subscribe(headers)).unwrap();
        let all = |value: bool| QueueProperties {
            durable: !value,
            auto_delete: value,
            exclusive: value,
        };
        assert_eq!(of(&[]), all(false));
        assert_eq!(of(&[("durable", "false")]), all(true));
        let shared = of(&[("durable", "false"), ("exclusive", "false")]);
        assert!(!shared.exclusive && shared.auto_delete);
    }

    #[test]
    fn arguments_have_the_types_that_queues_want() {
        let frame = subscribe(&[
            ("x-max-length", "5"),
            ("x-overflow", "reject-publish"),
            ("x-single-active-consumer", "true"),
        ]);
        let table = arguments(&frame).unwrap();
        assert_eq!(table.get("x-max-length"), Some(&Value::I64(5)));
        assert_eq!(
            table.get("x-overflow"),
            Some(&Value::from("reject-publish"))
        );
        assert_eq!(
            table.get("x-single-active-consumer"),
            Some(&Value::Bool(true))
        );
        assert_eq!(
            arguments(&subscribe(&[("x-expires", "soon")])),
            Err(Problem::processing())
        );
    }
}
