//! Exchanges that spread messages over their bindings: each message goes to exactly one (behaviour reference, 5.10).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};

use super::shares::{ShareId, Shares};
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
    buckets: Shares,
    bound: HashMap<Destination, Bound, foldhash::fast::RandomState>,
}

/// The bindings of one destination. One counts: the first.
#[derive(Debug)]
struct Bound {
    buckets: ShareId,
    weight: u32,
    /// The weights of those that wait for it to go, by their order.
    waiting: BTreeMap<u64, u32>,
    /// The same, by their weights.
    by_weight: BTreeSet<(u32, u64)>,
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
            buckets: Shares::default(),
            bound: HashMap::default(),
        }
    }

    pub(super) fn looks_at_key_only(&self) -> bool {
        self.hashed_by == HashedBy::RoutingKey
    }

    pub(super) fn insert(&mut self, destination: Destination, key: &str) {
        let weight = validate_weight(key).unwrap_or(1);
        match self.bound.entry(destination) {
            Entry::Occupied(mut bound) => bound.get_mut().wait(weight),
            Entry::Vacant(vacant) => {
                vacant.insert(Bound {
                    buckets: self.buckets.push(destination, weight),
                    weight,
                    waiting: BTreeMap::new(),
                    by_weight: BTreeSet::new(),
                });
            }
        }
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &str) {
        let weight = validate_weight(key).unwrap_or(1);
        let Some(bound) = self.bound.get_mut(&destination) else {
            return;
        };
        if weight != bound.weight {
            return bound.stop_waiting(weight);
        }
        self.buckets.remove(bound.buckets);
        match bound.take_next() {
            Some(next) => {
                bound.weight = next;
                bound.buckets = self.buckets.push(destination, next);
            }
            None => {
                self.bound.remove(&destination);
            }
        }
    }

    pub(super) fn route(&self, subject: &Subject<'_>, found: &mut dyn FnMut(Destination)) {
        if self.buckets.total() > 0 {
            let bucket = jump(self.hashed_by.hash(subject), self.buckets.total());
            self.buckets.at(bucket).into_iter().for_each(found);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bound.keys().copied().collect()
    }
}

impl Bound {
    fn wait(&mut self, weight: u32) {
        let last = self.waiting.last_key_value();
        let number = last.map_or(0, |(number, _)| number + 1);
        self.waiting.insert(number, weight);
        self.by_weight.insert((weight, number));
    }

    /// The first that waits with this weight is gone.
    fn stop_waiting(&mut self, weight: u32) {
        let mut of_weight = self.by_weight.range((weight, 0)..=(weight, u64::MAX));
        if let Some(&(_, number)) = of_weight.next() {
            self.waiting.remove(&number);
            self.by_weight.remove(&(weight, number));
        }
    }

    /// The weight of the first that waits.
    fn take_next(&mut self) -> Option<u32> {
        let (number, weight) = self.waiting.pop_first()?;
        self.by_weight.remove(&(weight, number));
        Some(weight)
    }
}

/// Jump consistent hashing (Lamping and Veach, 2014): the bucket of a key among `buckets`, which must be at least one.
/// With one bucket more, only the keys that move into it change theirs.
fn jump(mut key: u64, buckets: u64) -> u64 {
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < buckets {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // Both numbers have at most 33 bits, which a float holds exactly; the quotient is cut off as the method wants.
        let step = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * step) as u64;
    }
    bucket
}

/// `x-modulus-hash`: the hash of the routing key modulo the number of bindings, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct ModulusHashRouter {
    /// Each binding has one place.
    places: Shares,
    bindings: BTreeSet<(Destination, Arc<str>, ShareId)>,
}

impl ModulusHashRouter {
    pub(super) fn insert(&mut self, destination: Destination, key: &Arc<str>) {
        let place = self.places.push(destination, 1);
        self.bindings.insert((destination, Arc::clone(key), place));
    }

    pub(super) fn remove(&mut self, destination: Destination, key: &Arc<str>) {
        let first = (destination, Arc::clone(key), ShareId::MIN);
        let found = self.bindings.range(&first..).next();
        if let Some(binding) = found.filter(|(to, by, _)| *to == destination && by == key) {
            let binding = binding.clone();
            self.places.remove(binding.2);
            self.bindings.remove(&binding);
        }
    }

    pub(super) fn route(&self, routing_key: &str, found: &mut dyn FnMut(Destination)) {
        if self.places.total() > 0 {
            let place = hash(routing_key.as_bytes()) % self.places.total();
            self.places.at(place).into_iter().for_each(found);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.places.destinations().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::QueueId;
    use crate::random::mix;
    use leveret_amqp_codec::RawProperties;

    fn queue(id: u32) -> Destination {
        Destination::Queue(QueueId(id))
    }

    fn destination_of(router: &ConsistentHashRouter, key: &str) -> Destination {
        let subject = Subject {
            routing_key: key,
            headers: RawTable::EMPTY,
            index: None,
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
        assert_eq!(router.buckets.total(), 5);
        router.remove(queue(0), "5");
        assert_eq!(router.buckets.total(), 7);
        router.remove(queue(0), "7");
        assert_eq!(router.buckets.total(), 0);
    }

    /// The same with every bucket written out.
    #[derive(Default)]
    struct Naive {
        buckets: Vec<Destination>,
        bindings: Vec<(Destination, u32)>,
    }

    impl Naive {
        fn add_buckets(&mut self, (destination, weight): (Destination, u32)) {
            let buckets = std::iter::repeat_n(destination, weight as usize);
            self.buckets.extend(buckets);
        }

        fn insert(&mut self, destination: Destination, weight: u32) {
            if self.bindings.iter().all(|(known, _)| *known != destination) {
                self.add_buckets((destination, weight));
            }
            self.bindings.push((destination, weight));
        }

        fn remove(&mut self, at: usize) {
            let removed = self.bindings[at];
            let first_of = |bindings: &[(Destination, u32)]| {
                bindings.iter().position(|(known, _)| *known == removed.0)
            };
            // Of equal ones the first goes.
            let equal = self.bindings.iter().position(|known| *known == removed);
            let counted = first_of(&self.bindings) == equal;
            self.bindings.remove(equal.unwrap_or(at));
            if counted {
                self.buckets.retain(|known| *known != removed.0);
                if let Some(next) = first_of(&self.bindings) {
                    self.add_buckets(self.bindings[next]);
                }
            }
        }

        fn destination_of(&self, key: &str) -> Destination {
            let bucket = jump(hash(key.as_bytes()), self.buckets.len() as u64);
            self.buckets[bucket as usize]
        }
    }

    #[test]
    fn messages_go_where_they_went_with_every_bucket_written_out() {
        for seed in 0..20_u64 {
            let mut router = ConsistentHashRouter::new(HashedBy::RoutingKey);
            let mut naive = Naive::default();
            for step in 0..150_u64 {
                let chance = mix(seed << 32 | step);
                if !naive.bindings.is_empty() && chance % 150 < step {
                    let at = (chance >> 32) as usize % naive.bindings.len();
                    let (destination, weight) = naive.bindings[at];
                    router.remove(destination, &weight.to_string());
                    naive.remove(at);
                } else {
                    // Few queues and weights, so that queues are bound several times, also with the same weight.
                    let destination = queue((chance >> 32) as u32 % 12);
                    let weight = [1, 2, 3, 20][(chance >> 48) as usize % 4];
                    router.insert(destination, &weight.to_string());
                    naive.insert(destination, weight);
                }
                assert_eq!(router.buckets.total(), naive.buckets.len() as u64);
                let mut destinations: Vec<_> = naive.bindings.iter().map(|it| it.0).collect();
                destinations.sort_unstable();
                destinations.dedup();
                let mut known = router.destinations();
                known.sort_unstable();
                assert_eq!(known, destinations);
                if naive.buckets.is_empty() {
                    continue;
                }
                for n in 0..30 {
                    let key = format!("key-{n}");
                    let (found, want) = (destination_of(&router, &key), naive.destination_of(&key));
                    assert_eq!(found, want, "seed {seed}, step {step}, {key}");
                }
            }
        }
    }

    #[test]
    fn heavy_bindings_take_no_more_than_light_ones() {
        const QUEUES: u32 = 50_000;
        let mut router = ConsistentHashRouter::new(HashedBy::RoutingKey);
        (0..QUEUES).for_each(|id| router.insert(queue(id), "10000"));
        assert_eq!(router.buckets.total(), u64::from(QUEUES) * 10_000);
        assert!(router.buckets.places() <= 65_536);
        (0..QUEUES).for_each(|id| router.remove(queue(id), "10000"));
        assert_eq!(router.buckets.places(), 0);
        assert!(router.destinations().is_empty());
    }

    #[test]
    fn a_queue_bound_many_times_is_unbound_as_fast() {
        const BINDINGS: u32 = 50_000;
        let mut router = ConsistentHashRouter::new(HashedBy::RoutingKey);
        let weights = (0..BINDINGS).map(|n| (1 + n % 10_000).to_string());
        let weights: Vec<_> = weights.collect();
        for weight in &weights {
            router.insert(queue(0), weight);
        }
        for weight in weights.iter().rev() {
            router.remove(queue(0), weight);
        }
        assert_eq!(router.buckets.total(), 0);
    }

    fn modulus_destination_of(router: &ModulusHashRouter, key: &str) -> Option<Destination> {
        let mut found = Vec::new();
        router.route(key, &mut |destination| found.push(destination));
        assert!(found.len() <= 1, "one destination at most");
        found.pop()
    }

    #[test]
    fn a_modulus_is_that_of_the_bindings_in_order() {
        let keys: [Arc<str>; 3] = ["", "a", "b"].map(Arc::from);
        for seed in 0..20_u64 {
            let mut router = ModulusHashRouter::default();
            let mut naive: Vec<(Destination, &Arc<str>)> = Vec::new();
            for step in 0..150_u64 {
                let chance = mix(seed << 32 | step);
                if !naive.is_empty() && chance % 150 < step {
                    let wanted = naive[(chance >> 32) as usize % naive.len()];
                    // Of equal ones the first goes.
                    let at = naive.iter().position(|known| *known == wanted);
                    naive.remove(at.expect("it is there"));
                    router.remove(wanted.0, wanted.1);
                } else {
                    // Few, so that the same is bound several times, with other arguments.
                    let binding = (queue((chance >> 32) as u32 % 5), &keys[chance as usize % 3]);
                    router.insert(binding.0, binding.1);
                    naive.push(binding);
                }
                let want: Vec<_> = naive.iter().map(|(destination, _)| *destination).collect();
                assert_eq!(router.destinations(), want, "seed {seed}, step {step}");
                for n in 0..10 {
                    let key = format!("key-{n}");
                    let at = hash(key.as_bytes()).checked_rem(want.len() as u64);
                    let want = at.map(|at| want[at as usize]);
                    assert_eq!(modulus_destination_of(&router, &key), want);
                }
            }
            router.remove(queue(99), &keys[0]);
        }
    }

    #[test]
    fn many_bindings_of_a_modulus_are_removed_in_a_moment() {
        const BINDINGS: usize = 50_000;
        let mut router = ModulusHashRouter::default();
        let keys: Vec<Arc<str>> = (0..BINDINGS).map(|n| n.to_string().into()).collect();
        keys.iter().for_each(|key| router.insert(queue(0), key));
        for key in keys.iter().rev() {
            router.remove(queue(0), key);
        }
        assert_eq!(router.destinations(), []);
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
