//! Dead lettering: what a message becomes when it dies, and where it goes (behaviour reference, section 13).

use leveret_amqp_codec::{Properties, RawProperties, Table, Value};
use leveret_queue_store::{Message, MessageParts, Time};

use super::VirtualHost;
use super::queue::{DeadLetter, DeadLetterTarget};

impl VirtualHost {
    /// Publishes dead messages to their queue's dead letter exchange, in order.
    ///
    /// They may die again where they arrive; what comes of that is carried by whoever is at it already, so a chain of
    /// queues needs no deeper stack than a single one. Must be called without any lock.
    pub(super) fn dead_letter(&self, now: Time, letters: impl Iterator<Item = DeadLetter>) {
        {
            let mut dying = self.dying.lock();
            dying.letters.extend(letters);
            if dying.carried {
                return;
            }
            dying.carried = true;
        }
        loop {
            let letter = {
                let mut dying = self.dying.lock();
                let letter = dying.letters.pop_front();
                dying.carried = letter.is_some();
                letter
            };
            let Some(letter) = letter else { return };
            if !self.carry(now, &letter) && letter.queue.keeps_undelivered() {
                self.undelivered.keep(now, letter);
            } else {
                letter.queue.forget(&letter);
            }
        }
    }

    /// False when the message has not arrived wherever it should.
    fn carry(&self, now: Time, letter: &DeadLetter) -> bool {
        let Some(target) = &letter.queue.definition().dead_letter else {
            return true;
        };
        let message = died(letter, target, now);
        // For most queues an exchange that is missing at this moment means the end, as in RabbitMQ.
        let Some(route) = self.route_internally(&target.exchange, &message) else {
            return false;
        };
        self.capture(now, &route, &message);
        let mut refused = Vec::new();
        if route.passes.is_some() {
            Self::pass_letter(now, route, message, &mut refused);
            return refused.is_empty();
        }
        for queue in route
            .queues
            .iter()
            .filter(|queue| !is_cycle(&message, queue.name()))
        {
            queue.publish(now, std::iter::once((message.clone(), 0)), &mut refused);
        }
        refused.is_empty() && (!route.queues.is_empty() || !route.captures.is_empty())
    }
}

/// The message as it goes to the dead letter exchange.
fn died(letter: &DeadLetter, target: &DeadLetterTarget, now: Time) -> Message {
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
        for (name, value) in [
            ("x-first-death-queue", &**queue),
            ("x-first-death-reason", reason),
            ("x-first-death-exchange", old.exchange()),
        ] {
            if headers.get(name).is_none() {
                headers.insert(name, Value::from(value));
            }
        }
    }
    if target.routing_key.is_some() {
        headers.remove("CC");
    }
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
    match old.shared_body() {
        Some(body) => Message::with_shared_body(&parts, body.clone()),
        None => Message::new(&parts, &mut Vec::new()),
    }
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
    let mut deaths = match headers.remove("x-death") {
        Some(Value::Array(deaths)) => deaths,
        _ => Vec::new(),
    };
    let known = deaths
        .iter()
        .position(|death| is_death(death, queue, reason));
    let mut death = match known.map(|at| deaths.remove(at)) {
        Some(Value::Table(death)) => death,
        _ => new_death(headers, message, queue, reason, original_expiration, now),
    };
    let count = death.get("count").and_then(Value::as_integer).unwrap_or(0);
    death.insert("count", Value::I64(count.saturating_add(1)));
    deaths.insert(0, Value::Table(death));
    headers.insert("x-death", Value::Array(deaths));
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

fn is_death(death: &Value, queue: &str, reason: &str) -> bool {
    let Value::Table(death) = death else {
        return false;
    };
    has_text(death, "queue", queue) && has_text(death, "reason", reason)
}

fn has_text(table: &Table, name: &str, text: &str) -> bool {
    matches!(table.get(name), Some(Value::LongString(value)) if &value[..] == text.as_bytes())
}

/// A message that returns to a queue where it died is dropped, unless somebody rejected it on the way: then it was meant
/// to come back (section 13.3).
pub(super) fn is_cycle(message: &Message, queue: &str) -> bool {
    let properties = RawProperties::from_validated_bytes(message.properties());
    let Some(Value::Array(deaths)) = properties
        .headers()
        .and_then(|headers| headers.get("x-death"))
        .map(|deaths| deaths.to_value())
    else {
        return false;
    };
    let mut since = Vec::new();
    for death in &deaths {
        let Value::Table(death) = death else { continue };
        since.push(death);
        if has_text(death, "queue", queue) {
            return since
                .iter()
                .all(|death| !has_text(death, "reason", "rejected"));
        }
    }
    false
}
