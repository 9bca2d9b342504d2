//! Exchanges that spread messages over their bindings: each message goes to exactly one (behaviour reference, 5.10).

use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};

use super::{Destination, Subject};
use crate::error::Refusal;

/// What is hashed to choose a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HashedBy {
    RoutingKey,
    Header(Arc<str>),
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashedBy {
    /// Reads the exchange's arguments `hash-header` and `hash-property`.
    ///
    /// # Errors
    /// 406 when both are given, or the property is not one of the three.
    pub(super) fn from_arguments(arguments: RawTable<'_>) -> Result<Self, Refusal> {
        let text = |name| arguments.get(name).and_then(ValueRef::as_str);
        match (text("hash-header"), text("hash-property")) {
            (Some(_), Some(_)) => Err(Refusal::precondition_failed(
                "hash-header and hash-property are mutually exclusive",
            )),
            (Some(header), None) => Ok(Self::Header(Arc::from(header))),
            (None, Some("message_id")) => Ok(Self::MessageId),
            (None, Some("correlation_id")) => Ok(Self::CorrelationId),
            (None, Some("timestamp")) => Ok(Self::Timestamp),
            (None, Some(other)) => Err(Refusal::precondition_failed(format!(
                "Unsupported property: {other}"
            ))),
            (None, None) => Ok(Self::RoutingKey),
        }
    }

    /// A message without the header or property hashes like an empty one.
    fn hash(&self, subject: &Subject<'_>) -> u64 {
        match self {
            Self::RoutingKey => hash(subject.routing_key.as_bytes()),
            Self::Header(name) => hash_value(subject.headers.get(&**name)),
            Self::MessageId => hash(
                subject
                    .properties
                    .message_id()
                    .unwrap_or_default()
                    .as_bytes(),
            ),
            Self::CorrelationId => hash(
                subject
                    .properties
                    .correlation_id()
                    .unwrap_or_default()
                    .as_bytes(),
            ),
            Self::Timestamp => hash(
                &subject
                    .properties
                    .timestamp()
                    .unwrap_or_default()
                    .to_be_bytes(),
            ),
        }
    }
}

fn hash_value(value: Option<ValueRef<'_>>) -> u64 {
    match value {
        None | Some(ValueRef::Void) => hash(b""),
        Some(ValueRef::LongString(text) | ValueRef::ByteArray(text)) => hash(text),
        Some(other) => match other.as_integer() {
            // An integer hashes the same in every width.
            Some(number) => hash(&number.to_be_bytes()),
            None => hash(other.to_string().as_bytes()),
        },
    }
}

/// FNV-1a, then a finalizer that lets every bit of the input reach every bit of the hash. Without a seed: the same key
/// must find the same queue after a restart. A client that makes up keys to overload one queue could publish to that
/// queue directly.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^ (hash >> 32)
}

/// `x-consistent-hash`: the binding key is a weight; when a queue comes or goes, few keys change their queue.
#[derive(Debug)]
pub(crate) struct ConsistentHashRouter {
    hashed_by: HashedBy,
    /// A destination has as many buckets as its weight says.
    buckets: Vec<Destination>,
    /// One binding per destination counts: the first. The others wait for it to go.
    bindings: Vec<(Destination, u32)>,
}

/// The largest weight of a binding; RabbitMQ's bound, which keeps the ring small.
const WEIGHT_MAX: u32 = 10_000;

/// Reads a binding key of an `x-consistent-hash` exchange.
pub(super) fn validate_weight(key: &str) -> Result<u32, Refusal> {
    let refuse = |text: &str| Err(Refusal::precondition_failed(text));
    match key.parse::<i64>() {
        Err(_) => Err(Refusal::precondition_failed(format!(
            "The binding key must be an integer: {key}"
        ))),
        Ok(weight) if weight < 1 => refuse("The binding key must be greater than 0"),
        Ok(weight) if weight > i64::from(WEIGHT_MAX) => {
            refuse("The binding key must not exceed 10000")
        }
        Ok(weight) => Ok(u32::try_from(weight).unwrap_or(WEIGHT_MAX)),
    }
}

impl ConsistentHashRouter {
    pub(super) fn new(hashed_by: HashedBy) -> Self {
        Self {
            hashed_by,
            buckets: Vec::new(),
            bindings: Vec::new(),
        }
    }

    pub(super) fn looks_at_key_only(&self) -> bool {
        self.hashed_by == HashedBy::RoutingKey
    }

    pub(super) fn insert(&mut self, destination: Destination, key: &str) {
        let weight = validate_weight(key).unwrap_or(1);
        if !self.bindings.iter().any(|(known, _)| *known == destination) {
            self.add_buckets(destination, weight);
        }
        self.bindings.push((destination, weight));
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &str) {
        let weight = validate_weight(key).unwrap_or(1);
        let first = self
            .bindings
            .iter()
            .position(|(known, _)| *known == destination);
        let Some(at) = self
            .bindings
            .iter()
            .position(|known| *known == (destination, weight))
        else {
            return;
        };
        self.bindings.remove(at);
        if first == Some(at) {
            self.buckets.retain(|known| *known != destination);
            let next = self
                .bindings
                .iter()
                .find(|(known, _)| *known == destination)
                .copied();
            if let Some((destination, weight)) = next {
                self.add_buckets(destination, weight);
            }
        }
    }

    fn add_buckets(&mut self, destination: Destination, weight: u32) {
        self.buckets
            .extend(std::iter::repeat_n(destination, weight as usize));
    }

    pub(super) fn route(&self, subject: &Subject<'_>, found: &mut dyn FnMut(Destination)) {
        if !self.buckets.is_empty() {
            found(self.buckets[jump(self.hashed_by.hash(subject), self.buckets.len())]);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bindings
            .iter()
            .map(|(destination, _)| *destination)
            .collect()
    }
}

/// Jump consistent hashing (Lamping and Veach, 2014): the bucket of a key among `buckets`, which must be at least one.
/// With one bucket more, only the keys that move into it change theirs.
fn jump(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // Both numbers have at most 33 bits, which a float holds exactly; the quotient is cut off as the method wants.
        let step = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * step) as u64;
    }
    bucket as usize
}

/// `x-modulus-hash`: the hash of the routing key modulo the number of bindings, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct ModulusHashRouter {
    bindings: Vec<(Destination, Arc<str>)>,
}

impl ModulusHashRouter {
    pub(super) fn insert(&mut self, destination: Destination, key: &Arc<str>) {
        self.bindings.push((destination, Arc::clone(key)));
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &Arc<str>) {
        let at = self
            .bindings
            .iter()
            .position(|(known, by)| *known == destination && by == key);
        if let Some(at) = at {
            self.bindings.remove(at);
        }
    }

    pub(super) fn route(&self, routing_key: &str, found: &mut dyn FnMut(Destination)) {
        if !self.bindings.is_empty() {
            let at = hash(routing_key.as_bytes()) % self.bindings.len() as u64;
            found(self.bindings[at as usize].0);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bindings
            .iter()
            .map(|(destination, _)| *destination)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::QueueId;
    use leveret_amqp_codec::RawProperties;

    fn queue(id: u32) -> Destination {
        Destination::Queue(QueueId(id))
    }

    fn destination_of(router: &ConsistentHashRouter, key: &str) -> Destination {
        let subject = Subject {
            routing_key: key,
            headers: RawTable::EMPTY,
            properties: RawProperties::EMPTY,
        };
        let mut found = Vec::new();
        router.route(&subject, &mut |destination| found.push(destination));
        assert_eq!(found.len(), 1, "exactly one destination");
        found[0]
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let mut router = ConsistentHashRouter::new(HashedBy::RoutingKey);
        router.insert(queue(0), "1");
        router.insert(queue(1), "3");
        let heavy = (0..10_000)
            .filter(|n| destination_of(&router, &format!("key-{n}")) == queue(1))
            .count();
        assert!(
            (7_000..8_000).contains(&heavy),
            "{heavy} of 10,000 with three quarters of the weight"
        );
    }

    #[test]
    fn a_new_queue_takes_keys_over_and_moves_no_other() {
        let mut router = ConsistentHashRouter::new(HashedBy::RoutingKey);
        (0..4).for_each(|id| router.insert(queue(id), "10"));
        let keys: Vec<String> = (0..5_000).map(|n| format!("user.{n}")).collect();
        let before: Vec<_> = keys
            .iter()
            .map(|key| destination_of(&router, key))
            .collect();
        router.insert(queue(4), "10");
        let mut moved = 0;
        for (key, before) in keys.iter().zip(before) {
            let after = destination_of(&router, key);
            if after != before {
                assert_eq!(after, queue(4));
                moved += 1;
            }
        }
        assert!(
            (800..1_200).contains(&moved),
            "{moved} of 5,000 moved to the fifth queue"
        );
    }

    #[test]
    fn a_second_binding_of_a_queue_counts_when_the_first_is_gone() {
        let mut router = ConsistentHashRouter::new(HashedBy::RoutingKey);
        router.insert(queue(0), "5");
        router.insert(queue(0), "7");
        assert_eq!(router.buckets.len(), 5);
        router.remove(queue(0), "5");
        assert_eq!(router.buckets.len(), 7);
        router.remove(queue(0), "7");
        assert!(router.buckets.is_empty());
    }

    #[test]
    fn weights_are_positive_integers() {
        assert!(validate_weight("1").is_ok());
        assert!(validate_weight("10000").is_ok());
        for key in ["0", "-1", "10001", "", "a", "1.5", "99999999999999999999"] {
            assert!(validate_weight(key).is_err(), "{key}");
        }
    }
}
