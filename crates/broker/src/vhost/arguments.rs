//! The `x-` arguments of queues: what each may be, and what it means (behaviour reference, section 6.2).

use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};
use leveret_queue_store::{Overflow, QueueOptions, RequeueOrder};

use super::past::{RESUME_FROM, ResumeFrom};
use super::queue::DeadLetterTarget;
use crate::error::Refusal;

/// Which family of rules a queue follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueType {
    #[default]
    Classic,
    Quorum,
}

impl QueueType {
    /// What RabbitMQ calls it inside, and in error texts.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// What the arguments of a queue come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParsedArguments {
    pub(crate) queue_type: QueueType,
    pub(crate) options: QueueOptions,
    pub(crate) dead_letter: Option<DeadLetterTarget>,
}

/// Longest TTL and lease that are accepted: ten years, as RabbitMQ 4 has it.
const DURATION_MAX_MS: i64 = 315_360_000_000;

/// The kinds of values that arguments have.
#[derive(Clone, Copy)]
enum Rule {
    /// An integer of any width, at least zero.
    Count,
    /// Milliseconds, at least zero.
    Duration,
    /// Milliseconds, at least one.
    PositiveDuration,
    /// 0 to 255.
    Priority,
    /// RabbitMQ does not look at it.
    Anything,
    /// 1 or 2.
    Version,
    /// An integer above zero.
    Positive,
    Bool,
    /// A long string, whatever it says.
    Name,
    /// The same; RabbitMQ words the refusal of another type in its other way.
    Text,
    /// A long string that is one of these; the text that names a value which is not.
    OneOf(&'static [&'static str], &'static str),
}

/// Which queue types know an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Both,
    Classic,
    Quorum,
    /// Streams only, which are not served here.
    Stream,
}

const OVERFLOWS: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];

/// In the order in which they are checked.
const ARGUMENTS: &[(&str, Known, Rule)] = &[
    ("x-expires", Known::Both, Rule::PositiveDuration),
    ("x-message-ttl", Known::Both, Rule::Duration),
    ("x-dead-letter-exchange", Known::Both, Rule::Name),
    ("x-dead-letter-routing-key", Known::Both, Rule::Text),
    (
        "x-dead-letter-strategy",
        Known::Quorum,
        Rule::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy"),
    ),
    ("x-max-length", Known::Both, Rule::Count),
    ("x-max-length-bytes", Known::Both, Rule::Count),
    ("x-max-in-memory-length", Known::Quorum, Rule::Count),
    ("x-max-in-memory-bytes", Known::Quorum, Rule::Count),
    ("x-max-priority", Known::Classic, Rule::Priority),
    (
        "x-overflow",
        Known::Both,
        Rule::OneOf(OVERFLOWS, "invalid_overflow"),
    ),
    (
        "x-queue-mode",
        Known::Classic,
        Rule::OneOf(&["default", "lazy"], ""),
    ),
    ("x-queue-version", Known::Classic, Rule::Version),
    ("x-single-active-consumer", Known::Both, Rule::Bool),
    (
        "x-queue-leader-locator",
        Known::Quorum,
        Rule::OneOf(
            &["client-local", "balanced", "random", "least-leaders"],
            "invalid_queue_locator_arg",
        ),
    ),
    ("x-quorum-initial-group-size", Known::Quorum, Rule::Positive),
    ("x-delivery-limit", Known::Quorum, Rule::Anything),
    ("x-max-age", Known::Stream, Rule::Name),
    (
        "x-stream-max-segment-size-bytes",
        Known::Stream,
        Rule::Count,
    ),
    ("x-initial-cluster-size", Known::Stream, Rule::Positive),
];

/// The argument that chooses the queue's type; compared like any other, but its absence means classic.
pub(super) const QUEUE_TYPE: &str = "x-queue-type";

/// Reads the arguments of a new queue; `phrase` names the queue in error texts.
///
/// # Errors
/// 406 with RabbitMQ's text for the first argument that is not acceptable.
pub(super) fn parse(arguments: RawTable<'_>, phrase: &str) -> Result<ParsedArguments, Refusal> {
    let queue_type = parse_type(arguments, phrase)?;
    for &(name, known, rule) in ARGUMENTS {
        let Some(value) = arguments.get(name) else {
            continue;
        };
        let applies = match queue_type {
            QueueType::Classic => matches!(known, Known::Both | Known::Classic),
            QueueType::Quorum => matches!(known, Known::Both | Known::Quorum),
        };
        if !applies {
            return Err(Refusal::precondition_failed(format!(
                "invalid arg '{name}' for {phrase} of queue type {}",
                queue_type.module()
            )));
        }
        check(name, value, rule, phrase)?;
    }
    check_resume(arguments, phrase)?;
    read(arguments, queue_type, phrase)
}

/// Reads the arguments of a queue that was declared before, and stays what it was whatever is accepted now.
///
/// # Errors
/// As [`parse`], for arguments that mean nothing.
#[cfg(feature = "journal")]
pub(super) fn parse_stored(
    arguments: RawTable<'_>,
    phrase: &str,
) -> Result<ParsedArguments, Refusal> {
    read(arguments, parse_type(arguments, phrase)?, phrase)
}

fn read(
    arguments: RawTable<'_>,
    queue_type: QueueType,
    phrase: &str,
) -> Result<ParsedArguments, Refusal> {
    let mut dead_letter = dead_letter(arguments, phrase)?;
    if let Some(target) = &mut dead_letter {
        // Any other combination falls back to at most once without a word, as in RabbitMQ.
        target.at_least_once = queue_type == QueueType::Quorum
            && text(arguments, "x-dead-letter-strategy").as_deref() == Some("at-least-once")
            && text(arguments, "x-overflow").as_deref() == Some("reject-publish");
    }
    Ok(ParsedArguments {
        queue_type,
        options: options(arguments, queue_type),
        dead_letter,
    })
}

/// Whether the arguments ask for a quorum queue.
pub(super) fn names_quorum(arguments: RawTable<'_>) -> bool {
    text(arguments, QUEUE_TYPE).as_deref() == Some("quorum")
}

/// The exchange that a queue's dead letters are to go to, if its arguments name one as they should.
pub(super) fn dead_letter_exchange(arguments: RawTable<'_>) -> Option<String> {
    text(arguments, "x-dead-letter-exchange")
}

fn parse_type(arguments: RawTable<'_>, phrase: &str) -> Result<QueueType, Refusal> {
    match arguments.get(QUEUE_TYPE) {
        None => Ok(QueueType::Classic),
        Some(ValueRef::LongString(name)) => match name {
            b"classic" => Ok(QueueType::Classic),
            b"quorum" => Ok(QueueType::Quorum),
            other => {
                let other = String::from_utf8_lossy(other);
                Err(invalid(
                    QUEUE_TYPE,
                    phrase,
                    &format!("\"unsupported queue type '{other}'\""),
                ))
            }
        },
        Some(other) => Err(invalid(
            QUEUE_TYPE,
            phrase,
            &format!("\"expected string, got {}\"", other.type_name()),
        )),
    }
}

/// The argument that asks for history. It is for the queue as it is made and not compared when it is declared again: whoever
/// comes back to it has another position by then.
fn check_resume(arguments: RawTable<'_>, phrase: &str) -> Result<(), Refusal> {
    let Some(value) = arguments.get(RESUME_FROM) else {
        return Ok(());
    };
    check(RESUME_FROM, value, Rule::Text, phrase)?;
    let resume: Result<ResumeFrom, _> = value.as_str().unwrap_or_default().parse();
    match resume {
        Ok(_) => Ok(()),
        Err(problem) => Err(invalid(RESUME_FROM, phrase, &format!("\"{problem}\""))),
    }
}

fn check(name: &str, value: ValueRef<'_>, rule: Rule, phrase: &str) -> Result<(), Refusal> {
    match rule {
        Rule::Bool if !matches!(value, ValueRef::Bool(_)) => {
            Err(unacceptable_type(name, value, phrase))
        }
        Rule::Text if !matches!(value, ValueRef::LongString(_)) => {
            Err(unacceptable_type(name, value, phrase))
        }
        Rule::Bool | Rule::Text => Ok(()),
        Rule::Name if !matches!(value, ValueRef::LongString(_)) => {
            Err(Refusal::precondition_failed(format!(
                "invalid type '{}' for arg '{name}' in {phrase}",
                value.type_name()
            )))
        }
        Rule::Name | Rule::Anything => Ok(()),
        Rule::OneOf(choices, problem) => check_choice(name, value, choices, problem, phrase),
        _ => check_integer(name, value, rule, phrase),
    }
}

fn check_choice(
    name: &str,
    value: ValueRef<'_>,
    choices: &[&str],
    problem: &str,
    phrase: &str,
) -> Result<(), Refusal> {
    let ValueRef::LongString(text) = value else {
        return Err(unacceptable_type(name, value, phrase));
    };
    if choices.iter().any(|choice| choice.as_bytes() == text) {
        return Ok(());
    }
    if problem.is_empty() {
        let text = String::from_utf8_lossy(text);
        return Err(invalid(
            name,
            phrase,
            &format!(
                "\"unsupported {} '{text}'\"",
                name.trim_start_matches("x-").replace('-', " ")
            ),
        ));
    }
    Err(invalid(name, phrase, problem))
}

fn check_integer(name: &str, value: ValueRef<'_>, rule: Rule, phrase: &str) -> Result<(), Refusal> {
    let Some(number) = value.as_integer() else {
        return Err(invalid(
            name,
            phrase,
            &format!("\"expected integer, got {}\"", value.type_name()),
        ));
    };
    let problem = match rule {
        _ if number < 0 => Some(format!("{{value_negative,{number}}}")),
        Rule::PositiveDuration | Rule::Positive if number == 0 => Some("{value_zero,0}".to_owned()),
        Rule::Duration | Rule::PositiveDuration if number > DURATION_MAX_MS => {
            Some(format!("{{value_too_large,{number}}}"))
        }
        Rule::Version if !matches!(number, 1 | 2) => {
            Some(format!("\"unsupported queue version '{number}'\""))
        }
        Rule::Priority if number > 255 => Some(format!("{{max_value_exceeded,{number}}}")),
        _ => None,
    };
    problem.map_or(Ok(()), |problem| Err(invalid(name, phrase, &problem)))
}

/// An integer above zero among the arguments of whatever `phrase` names, if it is there.
///
/// # Errors
/// 406 when it is something else.
pub(super) fn positive_count(
    arguments: RawTable<'_>,
    name: &str,
    phrase: &str,
) -> Result<Option<u64>, Refusal> {
    checked_number(arguments, name, Rule::Positive, phrase)
}

/// As [`positive_count`]: milliseconds, ten years at most.
pub(super) fn positive_duration(
    arguments: RawTable<'_>,
    name: &str,
    phrase: &str,
) -> Result<Option<u64>, Refusal> {
    checked_number(arguments, name, Rule::PositiveDuration, phrase)
}

fn checked_number(
    arguments: RawTable<'_>,
    name: &str,
    rule: Rule,
    phrase: &str,
) -> Result<Option<u64>, Refusal> {
    let Some(value) = arguments.get(name) else {
        return Ok(None);
    };
    check_integer(name, value, rule, phrase)?;
    Ok(value.as_integer().map(i64::unsigned_abs))
}

fn unacceptable_type(name: &str, value: ValueRef<'_>, phrase: &str) -> Refusal {
    let problem = format!("{{unacceptable_type,{}}}", value.type_name());
    invalid(name, phrase, &problem)
}

fn invalid(name: &str, phrase: &str, problem: &str) -> Refusal {
    Refusal::precondition_failed(format!("invalid arg '{name}' for {phrase}: {problem}"))
}

fn dead_letter(arguments: RawTable<'_>, phrase: &str) -> Result<Option<DeadLetterTarget>, Refusal> {
    let routing_key = text(arguments, "x-dead-letter-routing-key").map(Arc::from);
    match text(arguments, "x-dead-letter-exchange") {
        Some(exchange) => Ok(Some(DeadLetterTarget {
            exchange: Arc::from(exchange),
            routing_key,
            at_least_once: false,
        })),
        None if routing_key.is_some() => Err(invalid(
            "x-dead-letter-routing-key",
            phrase,
            "routing_key_but_no_dlx_defined",
        )),
        None => Ok(None),
    }
}

fn options(arguments: RawTable<'_>, queue_type: QueueType) -> QueueOptions {
    let number = |name: &str| arguments.get(name).and_then(ValueRef::as_integer);
    let count = |name: &str| number(name).and_then(|number| u64::try_from(number).ok());
    QueueOptions {
        durable: false,
        message_ttl_ms: count("x-message-ttl"),
        expires_ms: count("x-expires"),
        max_length: count("x-max-length"),
        max_length_bytes: count("x-max-length-bytes"),
        overflow: match text(arguments, "x-overflow").as_deref() {
            Some("reject-publish") => match queue_type {
                QueueType::Classic => Overflow::RejectPublish,
                QueueType::Quorum => Overflow::RejectPublishBeyond,
            },
            // A quorum queue does not know it, and passes it over.
            Some("reject-publish-dlx") if queue_type == QueueType::Classic => {
                Overflow::RejectPublishDlx
            }
            _ => Overflow::DropHead,
        },
        max_priority: number("x-max-priority")
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(0),
        single_active_consumer: matches!(
            arguments.get("x-single-active-consumer"),
            Some(ValueRef::Bool(true))
        ),
        delivery_limit: arguments.get("x-delivery-limit").and_then(delivery_limit),
        requeue: match queue_type {
            QueueType::Classic => RequeueOrder::OldPlace,
            QueueType::Quorum => RequeueOrder::Returns,
        },
    }
}

/// A negative limit is none. What is no number is never reached: in Erlang it is more than any number.
fn delivery_limit(limit: ValueRef<'_>) -> Option<u32> {
    match limit {
        ValueRef::F32(limit) if limit >= 0.0 => Some(limit as u32),
        ValueRef::F64(limit) if limit >= 0.0 => Some(limit as u32),
        ValueRef::F32(_) | ValueRef::F64(_) => None,
        _ => match limit.as_integer() {
            Some(limit) => u32::try_from(limit).ok(),
            None => Some(u32::MAX),
        },
    }
}

fn text(arguments: RawTable<'_>, name: &str) -> Option<String> {
    match arguments.get(name) {
        Some(ValueRef::LongString(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

pub(super) fn is_classic(queue_type: ValueRef<'_>) -> bool {
    matches!(queue_type, ValueRef::LongString(name) if name == b"classic")
}

/// The arguments that take part in the comparison of a declaration with what exists, the queue's type last.
pub(super) fn compared() -> impl Iterator<Item = &'static str> {
    ARGUMENTS
        .iter()
        .map(|(name, _, _)| *name)
        .chain(std::iter::once(QUEUE_TYPE))
}

/// Values are compared as RabbitMQ compares them: by what they say, whatever the type of integer, float or string.
pub(super) fn equivalent(received: Option<ValueRef<'_>>, current: Option<ValueRef<'_>>) -> bool {
    match (received, current) {
        (None, None) => true,
        // Here a void is a value like any other, and asks for nothing.
        (Some(ValueRef::Void), Some(current)) => current == ValueRef::Void,
        (Some(received), Some(current)) => {
            is_float(received) == is_float(current) && received.matches(current)
        }
        _ => false,
    }
}

fn is_float(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::F32(_) | ValueRef::F64(_))
}
