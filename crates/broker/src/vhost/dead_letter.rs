//! Dead lettering: what a message becomes when it dies, and where it goes (behaviour reference, section 13).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use leveret_amqp_codec::{Properties, RawProperties, Table, Value};
use leveret_queue_store::{Message, MessageParts, Time};

use super::VirtualHost;
use super::queue::{DeadLetter, DeadLetterTarget};
use crate::memory::MemoryGauge;
use crate::timers::Due;

/// How many steps are done for letters before other timers have their turn: one for each, and for each queue that it is given
/// to, and for each part of its properties.
const TURN_MAX: usize = 4096;

/// How many bytes of a letter's properties are one step. To read deaths that a client has made up, and to write them down again,
/// takes as long as some queues do.
const STEP_BYTES: usize = 1024;

/// Who brings letters, and how much it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Whoever has made messages die: a turn, and no fewer than it has brought, so that they do not become more and more.
    Cause,
    /// A timer, which all others wait for: a turn, but nothing while the store has enough to write. They are safe where they
    /// died.
    Timer,
}

impl VirtualHost {
    /// Publishes dead messages to their queue's dead letter exchange, in order.
    ///
    /// They may die again where they arrive; what comes of that is carried by whoever is at it already, so a chain of
    /// queues needs no deeper stack than a single one. What is left at the end of a turn has a turn of its own at once. All
    /// that waits counts against the memory limit, so that whoever brings more than is carried is stopped in the end. Must be
    /// called without any lock.
    pub(super) fn dead_letter(
        &self,
        now: Time,
        letters: impl Iterator<Item = DeadLetter>,
        carrier: Carrier,
    ) {
        let (brought, held, carries) = {
            let mut dying = self.dying.lock();
            let before = dying.letters.len();
            dying.letters.extend(letters);
            let brought = dying.letters.range(before..);
            let (brought, held) = (brought.len(), brought.map(cost).sum());
            let is_left_alone = dying.has_timer && carrier == Carrier::Timer;
            let carries = !dying.carried && !is_left_alone;
            dying.carried |= carries;
            (brought, held, carries)
        };
        self.services.letters.fetch_add(held, Ordering::Relaxed);
        self.services.account(0, held);
        if carries {
            let least = match carrier {
                Carrier::Timer => 0,
                Carrier::Cause => brought,
            };
            self.carry_letters(now, least, carrier, false);
        }
    }

    /// Carries so many letters at least, and on to the end of the turn, which is one for all timers of a moment. It ends when
    /// the store has enough to write, unless letters `have_waited` for that: publishers may always be quicker.
    fn carry_letters(&self, now: Time, least: usize, carrier: Carrier, have_waited: bool) {
        let by_timer = carrier == Carrier::Timer;
        let (at, used) = self.dying.lock().turn;
        let mut reached = if by_timer && at == now { used } else { 0 };
        let mut carried = 0;
        loop {
            let has_carried = carried >= least;
            let is_held = has_carried && !have_waited && self.services.is_congested();
            let letter = {
                let mut dying = self.dying.lock();
                let is_over = is_held || has_carried && reached >= TURN_MAX;
                if is_over && !dying.letters.is_empty() {
                    dying.carried = false;
                    dying.turn = (now, 0);
                    let is_timed = std::mem::replace(&mut dying.has_timer, true);
                    dying.is_held |= is_held && !is_timed;
                    drop(dying);
                    if !is_timed {
                        self.give_letters_a_turn(now, is_held);
                    }
                    return;
                }
                let letter = dying.letters.pop_front();
                dying.carried = letter.is_some();
                if by_timer && letter.is_none() {
                    dying.turn = (now, reached);
                }
                letter
            };
            let Some(letter) = letter else { return };
            let held = cost(&letter);
            self.services.letters.fetch_sub(held, Ordering::Relaxed);
            self.services.memory.account(held, 0);
            let (has_arrived, steps) = self.carry(now, &letter);
            carried += 1;
            reached += steps;
            if !has_arrived && letter.queue.keeps_undelivered() {
                self.undelivered.keep(now, letter);
            } else {
                letter.queue.forget(&letter);
            }
        }
    }

    /// At once, or when the store takes more.
    fn give_letters_a_turn(&self, now: Time, is_held: bool) {
        let due: Weak<dyn Due> = Weak::<Self>::clone(&self.myself);
        match &self.services.store {
            Some(store) if is_held => store.hold(self.dying_timer, due),
            _ => self.services.timers.schedule(self.dying_timer, now, due),
        }
    }

    /// Whether the message has arrived wherever it should, and how many steps that took.
    fn carry(&self, now: Time, letter: &DeadLetter) -> (bool, usize) {
        let Some(target) = &letter.queue.definition().dead_letter else {
            return (true, 1);
        };
        let (message, cycle) = died(letter, target, now);
        let steps = 1 + message.properties().len() / STEP_BYTES;
        // For most queues an exchange that is missing at this moment means the end, as in RabbitMQ.
        let Some(route) = self.route_internally(&target.exchange, &message) else {
            return (false, steps);
        };
        let steps = steps + route.queues.len();
        self.capture(now, &route, &message);
        let mut refused = Vec::new();
        if route.passes.is_some() {
            Self::pass_letter(now, route, message, cycle, &mut refused);
            return (refused.is_empty(), steps);
        }
        for queue in route.queues.iter().filter(|queue| !cycle.has(queue.name())) {
            queue.publish(now, std::iter::once((message.clone(), 0)), &mut refused);
        }
        let has_way = !route.queues.is_empty() || !route.captures.is_empty();
        (refused.is_empty() && has_way, steps)
    }
}

impl Due for VirtualHost {
    /// Letters that were left have their turn.
    fn run(self: Arc<Self>, now: Time) {
        let have_waited = {
            let mut dying = self.dying.lock();
            dying.has_timer = false;
            let have_waited = std::mem::take(&mut dying.is_held);
            if dying.carried {
                return;
            }
            dying.carried = true;
            have_waited
        };
        self.carry_letters(now, 0, Carrier::Timer, have_waited);
    }
}

impl Drop for VirtualHost {
    /// Letters that are still on their way go with it.
    fn drop(&mut self) {
        let letters = &self.dying.get_mut().letters;
        let held = letters.iter().map(cost).sum();
        self.services.letters.fetch_sub(held, Ordering::Relaxed);
        self.services.memory.account(held, 0);
        self.undelivered.forget(&self.services.memory);
    }
}

/// What a letter counts for while it waits.
pub(super) fn cost(letter: &DeadLetter) -> usize {
    MemoryGauge::cost(1, letter.message.size_bytes() as u64)
}

/// The message as it goes to the dead letter exchange, and where it must not come back.
fn died(letter: &DeadLetter, target: &DeadLetterTarget, now: Time) -> (Message, Cycle) {
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
pub(super) struct Cycle {
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
    pub(super) fn has(&self, queue: &str) -> bool {
        self.queues
            .binary_search_by(|name| (**name).cmp(queue.as_bytes()))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Alarm, Broker, Client, ExchangeOptions, ExchangeType, Overflow, Publish, QueueOptions,
        QueueType, VirtualClock,
    };

    const BEHIND: usize = 10;
    const MESSAGES: usize = 3000;
    /// How many letters a timer carries.
    const TURN: usize = TURN_MAX / (1 + BEHIND) + 1;

    /// Queues `q0` and so on whose messages expire together, all of them to each of ten queues.
    async fn broker(clock: &VirtualClock, dying: usize) -> (Broker, Client) {
        let builder = Broker::builder().virtual_clock(clock.clone());
        let broker = builder.start().await.unwrap();
        let client = broker.client().unwrap();
        for n in 0..BEHIND {
            let queue = n.to_string();
            client
                .declare_queue(&queue, QueueOptions::default())
                .await
                .unwrap();
            client.bind_queue(&queue, "amq.fanout", "").await.unwrap();
        }
        for n in 0..dying {
            let options = QueueOptions {
                message_ttl: Some(Duration::from_secs(1)),
                dead_letter_exchange: Some("amq.fanout".to_owned()),
                max_length: Some(MESSAGES as u64),
                ..QueueOptions::default()
            };
            let queue = format!("q{n}");
            client.declare_queue(&queue, options).await.unwrap();
        }
        (broker, client)
    }

    async fn publish(client: &Client, queue: usize, n: usize) {
        let (queue, body) = (format!("q{queue}"), n.to_string());
        client
            .publish(Publish::to_queue(&queue, body.as_bytes()))
            .await
            .unwrap();
    }

    async fn arrived(client: &Client) -> usize {
        client.queue_info("0").await.unwrap().ready as usize
    }

    async fn check_order(client: &Client) {
        let found = client.browse("9", 3 * MESSAGES).await.unwrap();
        for (n, message) in found.iter().enumerate() {
            assert_eq!(message.body(), n.to_string().as_bytes());
        }
    }

    #[tokio::test]
    async fn a_timer_carries_so_many_letters_and_lets_others_have_their_turn() {
        let clock = VirtualClock::new();
        let (broker, client) = broker(&clock, 1).await;
        for n in 0..MESSAGES {
            publish(&client, 0, n).await;
        }
        clock.advance(Duration::from_secs(1));
        for turns in 1..4 {
            // Not the timer task, which has not run yet.
            broker.shared.run_timers();
            assert_eq!(arrived(&client).await, turns * TURN);
            assert!(!broker.shared.is_idle(), "the rest is due");
        }
        // Whoever has messages die carries a turn as well.
        for n in MESSAGES..3 * MESSAGES {
            publish(&client, 0, n).await;
        }
        assert_eq!(arrived(&client).await, 2 * MESSAGES);
        broker.wait_idle().await;
        assert_eq!(arrived(&client).await, 2 * MESSAGES);
        check_order(&client).await;
    }

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

    #[tokio::test]
    async fn letters_with_many_made_up_deaths_take_more_of_a_turn() {
        const LETTERS: usize = 200;
        let clock = VirtualClock::new();
        let (broker, client) = broker(&clock, 1).await;
        let deaths = (0..1000).map(|n| death(&format!("elsewhere {n}"), "expired"));
        let headers = Table::from_iter([("x-death", Value::Array(deaths.collect()))]);
        let properties = Properties {
            headers: Some(headers),
            ..Properties::default()
        };
        let steps = properties.to_bytes().len() / STEP_BYTES + BEHIND;
        for _ in 0..LETTERS {
            let properties = Some(properties.clone());
            drop(client.publish(Publish {
                properties,
                ..Publish::to_queue("q0", b"")
            }));
        }
        clock.advance(Duration::from_secs(1));
        broker.shared.run_timers();
        let carried = arrived(&client).await;
        assert!(
            (1..=TURN_MAX / steps).contains(&carried),
            "{carried} carried"
        );
        broker.wait_idle().await;
        assert_eq!(arrived(&client).await, LETTERS);
    }

    #[tokio::test]
    async fn a_cause_carries_a_turn() {
        const LEVELS: usize = 4;
        let (broker, client) = broker(&VirtualClock::new(), 0).await;
        // What comes to one of the exchanges dies at once in ten queues, which send it on to the next.
        for level in 0..LEVELS {
            let next = match level + 1 == LEVELS {
                true => "amq.fanout".to_owned(),
                false => format!("level {}", level + 1),
            };
            let exchange = format!("level {level}");
            client
                .declare_exchange(&exchange, ExchangeType::Fanout, ExchangeOptions::default())
                .await
                .unwrap();
            for n in 0..BEHIND {
                let options = QueueOptions {
                    max_length: Some(0),
                    dead_letter_exchange: Some(next.clone()),
                    ..QueueOptions::default()
                };
                let queue = format!("{exchange}, {n}");
                client.declare_queue(&queue, options).await.unwrap();
                client.bind_queue(&queue, &exchange, "").await.unwrap();
            }
        }
        client
            .publish(Publish::to_queue("level 0, 0", b""))
            .await
            .unwrap();
        // Letters to each of the exchanges: one, 10, 100 and 1000.
        assert_eq!(arrived(&client).await, TURN - (1 + 10 + 100));
        broker.wait_idle().await;
        assert_eq!(arrived(&client).await, 1000);
    }

    #[tokio::test]
    async fn what_waits_counts_against_the_memory_limit() {
        const SIZE: usize = 1000;
        let clock = VirtualClock::new();
        let (broker, client) = broker(&clock, 1).await;
        for _ in 0..MESSAGES {
            drop(client.publish(Publish::to_queue("q0", &[0; SIZE])));
        }
        clock.advance(Duration::from_secs(1));
        broker.shared.run_timers();
        for n in 0..BEHIND {
            client.purge_queue(&n.to_string()).await.unwrap();
        }
        assert!(broker.memory_used() > (MESSAGES - TURN) * SIZE);
        broker.set_memory_limit(MESSAGES * SIZE / 2);
        assert_eq!(broker.alarms(), [Alarm::Memory]);
        broker.wait_idle().await;
        assert_eq!(arrived(&client).await, MESSAGES - TURN);
        for n in 0..BEHIND {
            client.purge_queue(&n.to_string()).await.unwrap();
        }
        assert_eq!(broker.memory_used(), 0);
        assert!(broker.alarms().is_empty());
    }

    /// A virtual host that has been deleted while some letters were kept and others on their way.
    async fn deleted() -> (Broker, Client) {
        let clock = VirtualClock::new();
        let builder = Broker::builder().virtual_clock(clock.clone());
        let broker = builder.start().await.unwrap();
        broker.create_vhost("v");
        let client = broker.client_of("v").unwrap();
        let options = QueueOptions {
            durable: true,
            queue_type: QueueType::Quorum,
            overflow: Overflow::RejectPublish,
            message_ttl: Some(Duration::from_secs(1)),
            dead_letter_exchange: Some("missing".to_owned()),
            dead_letter_at_least_once: true,
            ..QueueOptions::default()
        };
        client.declare_queue("q", options).await.unwrap();
        for _ in 0..2 * TURN_MAX {
            drop(client.publish(Publish::to_queue("q", b"")));
        }
        clock.advance(Duration::from_secs(1));
        broker.shared.run_timers();
        let held = broker.memory_used();
        assert!(broker.delete_vhost("v"));
        let on_their_way = broker.memory_used();
        assert!(0 < on_their_way && on_their_way < held);
        (broker, client)
    }

    #[tokio::test]
    async fn letters_on_their_way_are_kept_for_no_queue_that_is_gone() {
        let (broker, _client) = deleted().await;
        broker.shared.run_timers();
        assert_eq!(broker.memory_used(), 0);
    }

    #[tokio::test]
    async fn letters_on_their_way_go_with_their_virtual_host() {
        let (broker, client) = deleted().await;
        drop(client);
        assert_eq!(broker.memory_used(), 0);
    }

    #[tokio::test]
    async fn all_timers_of_a_moment_have_one_turn() {
        let clock = VirtualClock::new();
        let (broker, client) = broker(&clock, MESSAGES).await;
        for n in 0..MESSAGES {
            publish(&client, n, n).await;
        }
        clock.advance(Duration::from_secs(1));
        for turns in 1..4 {
            broker.shared.run_timers();
            assert_eq!(arrived(&client).await, turns * TURN);
        }
        broker.wait_idle().await;
        assert_eq!(arrived(&client).await, MESSAGES);
        check_order(&client).await;
    }
}
