//! What a message becomes when it dies: the header that records its deaths, and what that says of where it may go.

use std::collections::HashMap;

use leveret_amqp_codec::{Properties, RawProperties, Table, Value};
use leveret_queue_store::{Message, MessageParts, Time};

use crate::vhost::queue::{DeadLetter, DeadLetterTarget};

/// The message as it goes to the dead letter exchange, and where it must not come back.
pub(super) fn died(letter: &DeadLetter, target: &DeadLetterTarget, now: Time) -> (Message, Cycle) {
    let old = &letter.message;
    let mut properties = Properties::from(RawProperties::from_validated_bytes(old.properties()));
    let mut headers = properties.headers.take().unwrap_or_default();
    // A message that a client sends with deaths of its own has had its first one elsewhere.
    let is_first = headers.get("x-death").is_none();
    let reason = letter.reason.as_str();
    let queue = letter.queue.name();
    let original_expiration = properties.expiration.take();
    record_death(&mut headers, old, queue, reason, original_expiration, now);
    if is_first {
        headers.insert("x-first-death-queue", &**queue);
        headers.insert("x-first-death-reason", reason);
        headers.insert("x-first-death-exchange", old.exchange());
    }
    if target.routing_key.is_some() {
        headers.remove("CC");
    }
    // As RabbitMQ leaves a table that it has changed.
    headers.sort();
    let cycle = Cycle::of(&headers);
    properties.headers = Some(headers);
    let properties = properties.to_bytes();
    let parts = MessageParts {
        exchange: &target.exchange,
        routing_key: target
            .routing_key
            .as_deref()
            .unwrap_or_else(|| old.routing_key()),
        properties: &properties,
        body: old.body(),
        persistent: old.is_persistent(),
        priority: old.priority(),
        expiration_ms: None,
    };
    let message = match old.shared_body() {
        Some(body) => Message::with_shared_body(&parts, body.clone()),
        None => Message::new(&parts, &mut Vec::new()),
    };
    (message, cycle)
}

/// Adds the death to the header `x-death`, most recent first: one entry per queue and reason, whose count grows.
fn record_death(
    headers: &mut Table,
    message: &Message,
    queue: &str,
    reason: &str,
    original_expiration: Option<String>,
    now: Time,
) {
    let recorded = match headers.remove("x-death") {
        Some(Value::Array(deaths)) => Some(grouped(deaths)),
        _ => None,
    };
    let is_recorded = recorded.is_some();
    let mut deaths = recorded.unwrap_or_default();
    let known = deaths
        .iter()
        .position(|death| has_text(death, "queue", queue) && has_text(death, "reason", reason));
    let mut death = match known {
        Some(at) => deaths.remove(at),
        None => new_death(headers, message, queue, reason, original_expiration, now),
    };
    let count = death.get("count").and_then(Value::as_integer).unwrap_or(0);
    death.insert("count", Value::I64(count.saturating_add(1)));
    // RabbitMQ sorts the fields of all entries but the very first.
    if is_recorded {
        death.sort();
    }
    deaths.insert(0, death);
    let deaths = deaths.into_iter().map(Value::Table).collect();
    headers.insert("x-death", Value::Array(deaths));
}

/// One entry per queue and reason, in reverse. RabbitMQ turns the earlier deaths round at each further one, and by that order
/// it tells cycles, so that some end there which would not otherwise, and the other way round.
///
/// Clients may have sent more than one of a kind: the first stays. One without a count gets the number of its kind.
fn grouped(deaths: Vec<Value>) -> Vec<Table> {
    let mut deaths: Vec<Table> = deaths
        .into_iter()
        .filter_map(|death| match death {
            Value::Table(death) => Some(death),
            _ => None,
        })
        .collect();
    if deaths.len() > 1 {
        let mut counts = HashMap::new();
        for death in &deaths {
            *counts.entry(kind(death)).or_insert(0_i64) += 1;
        }
        deaths.retain_mut(|death| match counts.remove(&kind(death)) {
            Some(count) => {
                ensure_count(death, count);
                true
            }
            None => false,
        });
        deaths.reverse();
    }
    deaths
}

/// What tells an entry from others.
fn kind(death: &Table) -> [Option<Box<[u8]>>; 2] {
    ["queue", "reason"].map(|name| match death.get(name) {
        Some(Value::LongString(text)) => Some(text[..].into()),
        _ => None,
    })
}

fn ensure_count(death: &mut Table, count: i64) {
    if death.get("count").is_none() {
        let mut counted = Table::from_iter([("count", Value::I64(count))]);
        counted.extend(death.iter().map(|(name, value)| (name, value.clone())));
        *death = counted;
    }
}

fn new_death(
    headers: &Table,
    message: &Message,
    queue: &str,
    reason: &str,
    original_expiration: Option<String>,
    now: Time,
) -> Table {
    let mut routing_keys = vec![Value::from(message.routing_key())];
    if let Some(Value::Array(copies)) = headers.get("CC") {
        routing_keys.extend(
            copies
                .iter()
                .filter(|key| matches!(key, Value::LongString(_)))
                .cloned(),
        );
    }
    let mut death = Table::default();
    death.insert("count", Value::I64(0));
    death.insert("reason", Value::from(reason));
    death.insert("queue", Value::from(queue));
    death.insert("time", Value::Timestamp(now.as_millis() / 1000));
    death.insert("exchange", Value::from(message.exchange()));
    death.insert("routing-keys", Value::Array(routing_keys));
    if let Some(expiration) = original_expiration {
        death.insert("original-expiration", Value::from(expiration.as_str()));
    }
    death
}

fn has_text(table: &Table, name: &str, text: &str) -> bool {
    matches!(table.get(name), Some(Value::LongString(value)) if &value[..] == text.as_bytes())
}

/// The queues to which a letter does not return. A message that returns to a queue where it died is dropped, unless somebody
/// rejected it on the way: then it was meant to come back (section 13.3).
///
/// Found once for each letter: it may go to many queues, and a client may have sent it with many deaths.
#[derive(Debug)]
pub(in crate::vhost) struct Cycle {
    /// Their names, sorted.
    queues: Box<[Box<[u8]>]>,
}

impl Cycle {
    fn of(headers: &Table) -> Self {
        let deaths = match headers.get("x-death") {
            Some(Value::Array(deaths)) => deaths.as_slice(),
            _ => &[],
        };
        let deaths = deaths.iter().filter_map(|death| match death {
            Value::Table(death) => Some(death),
            _ => None,
        });
        let since = deaths.take_while(|death| !has_text(death, "reason", "rejected"));
        let queues = since.filter_map(|death| match death.get("queue") {
            Some(Value::LongString(queue)) => Some(queue.as_slice().into()),
            _ => None,
        });
        let mut queues: Box<[Box<[u8]>]> = queues.collect();
        queues.sort_unstable();
        Self { queues }
    }

    /// Whether the letter would be in a circle if it went there.
    pub(in crate::vhost) fn has(&self, queue: &str) -> bool {
        self.queues
            .binary_search_by(|name| (**name).cmp(queue.as_bytes()))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &str, reason: &str) -> Value {
        Value::Table(Table::from_iter([
            ("queue", Value::from(queue)),
            ("reason", Value::from(reason)),
        ]))
    }

    #[track_caller]
    fn check_cycle(deaths: &[(&str, &str)], want: &[&str]) {
        let mut recorded = vec![Value::I32(1)];
        recorded.extend(deaths.iter().map(|(queue, reason)| death(queue, reason)));
        let headers = Table::from_iter([("x-death", Value::Array(recorded))]);
        let cycle = Cycle::of(&headers);
        let found = ["a", "b", "c"].into_iter().filter(|queue| cycle.has(queue));
        assert_eq!(found.collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_letter_does_not_return_to_where_it_died_since_it_was_rejected() {
        check_cycle(&[], &[]);
        check_cycle(&[("b", "expired"), ("a", "maxlen")], &["a", "b"]);
        check_cycle(&[("b", "rejected"), ("a", "expired")], &[]);
        check_cycle(&[("b", "expired"), ("a", "rejected")], &["b"]);
        check_cycle(
            &[
                ("b", "expired"),
                ("a", "rejected"),
                ("b", "expired"),
                ("c", "expired"),
            ],
            &["b"],
        );
    }
}
