//! Messages that wait in a delayed exchange for their time (behaviour reference, section 16).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use leveret_amqp_codec::{Properties, RawProperties, RawTable, Value, ValueRef};
use leveret_queue_store::{Lsn, Message, MessageParts, Time};
use parking_lot::Mutex;

use super::VirtualHost;
use crate::memory::MemoryGauge;
use crate::timers::{Due, TimerId};

/// The header that says by how many milliseconds a message is to be delayed.
const X_DELAY: &str = "x-delay";

/// The longest delay; whatever is longer is not delayed at all, as in the plugin.
const DELAY_MAX_MS: i64 = 4_294_967_295;

/// What one delayed exchange holds: messages by the time at which they are routed, then in the order in which they were
/// published.
///
/// Its lock is taken with no other lock held, and none is taken under it.
#[derive(Debug)]
pub(crate) struct Delayed {
    exchange: Arc<str>,
    vhost: Weak<VirtualHost>,
    timer: TimerId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    messages: BTreeMap<(Time, u64), Message>,
    next_number: u64,
    /// The earliest entry among the broker's timers.
    timer_at: Option<Time>,
}

/// A message that waits, as an embedding program sees it.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Names it for [`Client::cancel_scheduled`](crate::Client::cancel_scheduled).
    pub id: u64,
    /// When it is routed.
    pub due: Time,
    /// The message as it will be delivered.
    pub message: Message,
}

impl Delayed {
    pub(super) fn new(exchange: Arc<str>, vhost: &VirtualHost) -> Arc<Self> {
        Arc::new(Self {
            exchange,
            vhost: Weak::clone(&vhost.myself),
            timer: vhost.services().timers.new_id(),
            state: Mutex::default(),
        })
    }

    /// Keeps a message for `delay_ms`.
    pub(super) fn schedule(
        self: &Arc<Self>,
        now: Time,
        delay_ms: u64,
        message: &Message,
    ) -> Option<Lsn> {
        let vhost = self.vhost.upgrade()?;
        let message = with_delay_taken(message);
        vhost.services().memory.account(0, cost(&message));
        let due = now.saturating_add(delay_ms);
        let timer = {
            let mut state = self.state.lock();
            let number = state.next_number;
            state.next_number += 1;
            state.messages.insert((due, number), message);
            state.next_timer()
        };
        self.set_timer(&vhost, timer);
        None
    }

    /// What waits, in the order in which it will be routed.
    pub(crate) fn list(&self) -> Vec<Scheduled> {
        let state = self.state.lock();
        let scheduled = state
            .messages
            .iter()
            .map(|(&(due, id), message)| Scheduled {
                id,
                due,
                message: message.clone(),
            });
        scheduled.collect()
    }

    /// Takes a message out before its time; none when it is not there any more.
    pub(crate) fn cancel(&self, id: u64) -> Option<Message> {
        let message = {
            let mut state = self.state.lock();
            let key = *state.messages.keys().find(|(_, number)| *number == id)?;
            state.messages.remove(&key)?
        };
        if let Some(vhost) = self.vhost.upgrade() {
            vhost.services().memory.account(cost(&message), 0);
        }
        Some(message)
    }

    fn set_timer(self: &Arc<Self>, vhost: &VirtualHost, timer: Option<Time>) {
        if let Some(at) = timer {
            let due: Weak<dyn Due> = Arc::<Self>::downgrade(self);
            vhost.services().timers.schedule(self.timer, at, due);
        }
    }
}

impl State {
    /// When a timer must be set, if an earlier one than before.
    fn next_timer(&mut self) -> Option<Time> {
        let (&(first, _), _) = self.messages.first_key_value()?;
        if self.timer_at.is_some_and(|at| at <= first) {
            return None;
        }
        self.timer_at = Some(first);
        Some(first)
    }

    fn take_due(&mut self, now: Time) -> Vec<Message> {
        let mut due = Vec::new();
        while let Some(entry) = self.messages.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        due
    }
}

impl Due for Delayed {
    /// Routes what is due by the bindings of this moment.
    fn run(self: Arc<Self>, now: Time) {
        let Some(vhost) = self.vhost.upgrade() else {
            return;
        };
        let due = {
            let mut state = self.state.lock();
            if state.timer_at.is_some_and(|at| at <= now) {
                state.timer_at = None;
            }
            state.take_due(now)
        };
        for message in due {
            vhost.services().memory.account(cost(&message), 0);
            vhost.publish_internally(now, &self.exchange, &message);
        }
        let timer = self.state.lock().next_timer();
        self.set_timer(&vhost, timer);
    }
}

impl Drop for Delayed {
    /// Deleting the exchange drops what waits in it.
    fn drop(&mut self) {
        if let Some(vhost) = self.vhost.upgrade() {
            let held = self.state.get_mut().messages.values().map(cost).sum();
            vhost.services().memory.account(held, 0);
            vhost.services().timers.cancel(self.timer);
        }
    }
}

fn cost(message: &Message) -> usize {
    MemoryGauge::cost(1, message.body_len() as u64)
}

/// By how many milliseconds a message with these headers is delayed. None for those that are not: without the header,
/// with one that is not a number, and with delays that are not positive or beyond 2^32 - 1.
pub(super) fn delay_ms(headers: RawTable<'_>) -> Option<u64> {
    let delay = match headers.get(X_DELAY)? {
        ValueRef::LongString(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        value => match value.as_integer() {
            Some(delay) => delay,
            // Cut off, as the plugin does; what does not fit becomes the nearest integer, which is beyond the limit.
            None => value.as_float()? as i64,
        },
    };
    (1..=DELAY_MAX_MS)
        .contains(&delay)
        .then_some(delay.unsigned_abs())
}

/// The same message with the sign of its delay turned, so that a second delayed exchange does not delay it again.
fn with_delay_taken(message: &Message) -> Message {
    let mut properties =
        Properties::from(RawProperties::from_validated_bytes(message.properties()));
    if let Some(delay) = properties
        .headers
        .as_mut()
        .and_then(|headers| headers.get_mut(X_DELAY))
    {
        *delay = negated(delay);
    }
    rebuild(message, &properties.to_bytes())
}

fn negated(delay: &Value) -> Value {
    match delay {
        Value::I8(delay) => Value::I8(delay.wrapping_neg()),
        Value::I16(delay) => Value::I16(delay.wrapping_neg()),
        Value::I32(delay) => Value::I32(delay.wrapping_neg()),
        Value::F32(delay) => Value::F32(-delay),
        Value::F64(delay) => Value::F64(-delay),
        // Delays in other forms were positive, or they would not have been taken.
        other => {
            let parsed = || other.as_str().and_then(|text| text.parse::<i64>().ok());
            Value::I64(
                other
                    .as_integer()
                    .or_else(parsed)
                    .unwrap_or(0)
                    .wrapping_neg(),
            )
        }
    }
}

/// A message with other properties.
fn rebuild(message: &Message, properties: &[u8]) -> Message {
    let parts = MessageParts {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties,
        body: message.body(),
        persistent: message.is_persistent(),
        priority: message.priority(),
        expiration_ms: message.expiration_ms(),
    };
    match message.shared_body() {
        Some(body) => Message::with_shared_body(&parts, body.clone()),
        None => Message::new(&parts, &mut Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_amqp_codec::Table;

    #[track_caller]
    fn check(value: Value, want: Option<u64>) {
        let table = Table::from_iter([(X_DELAY, value)]).to_bytes();
        assert_eq!(delay_ms(RawTable::from_validated_bytes(&table)), want);
    }

    #[test]
    fn delays_are_positive_numbers_of_any_kind() {
        check(Value::I32(5_000), Some(5_000));
        check(Value::U8(7), Some(7));
        check(Value::LongString(b"250".to_vec()), Some(250));
        check(Value::F64(12.9), Some(12));
        check(Value::I64(4_294_967_295), Some(4_294_967_295));
    }

    #[test]
    fn everything_else_is_not_delayed() {
        check(Value::I32(0), None);
        check(Value::I32(-5_000), None);
        check(Value::I64(4_294_967_296), None);
        check(Value::LongString(b"soon".to_vec()), None);
        check(Value::Bool(true), None);
        check(Value::F64(f64::NAN), None);
        check(Value::F64(1e300), None);
    }
}
