//! Headers exchanges: the binding's arguments are compared with the message's headers (behaviour reference, 5.8).

use std::collections::HashMap;
use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};

use super::{BindingArguments, BindingId, Destination};
use crate::error::Refusal;
use crate::vhost::Term;

type Hasher = foldhash::fast::RandomState;

/// Up to so many headers of a message are looked through for each argument of a binding.
const FEW: usize = 8;

/// See the module. Bindings are tried one after the other, as in RabbitMQ.
#[derive(Debug, Default)]
pub(crate) struct HeadersRouter {
    bindings: Vec<Binding>,
    /// Where each of them stands.
    places: HashMap<BindingId, usize, Hasher>,
    /// How many arguments they have together, one at least each.
    arguments: usize,
}

#[derive(Debug)]
struct Binding {
    /// The key plays no role in routing.
    id: BindingId,
    mode: Mode,
    /// How many arguments it has, or one.
    arguments: usize,
}

/// The headers of a message that has more than a few, by their names. Made once for all bindings that a message is compared
/// with.
#[derive(Debug)]
pub(crate) struct HeaderIndex<'a>(HashMap<&'a [u8], ValueRef<'a>, Hasher>);

impl<'a> HeaderIndex<'a> {
    /// None where looking through them is as good.
    pub(crate) fn of_many(headers: RawTable<'a>) -> Option<Self> {
        headers.iter().nth(FEW)?;
        let mut by_name = HashMap::default();
        for (name, value) in headers.iter() {
            // Of several with one name the first counts, as everywhere.
            by_name.entry(name).or_insert(value);
        }
        Some(Self(by_name))
    }
}

/// The value of `x-match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    All { with_x: bool },
    Any { with_x: bool },
}

impl Mode {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All { with_x: false },
            "any" => Self::Any { with_x: false },
            "all-with-x" => Self::All { with_x: true },
            "any-with-x" => Self::Any { with_x: true },
            _ => return None,
        })
    }

    /// `all` where the arguments do not say; what is invalid was refused when it was bound.
    fn of(arguments: RawTable<'_>) -> Self {
        let name = arguments.get("x-match").and_then(ValueRef::as_str);
        name.and_then(Self::from_name)
            .unwrap_or(Self::All { with_x: false })
    }

    /// Whether the argument of this name is compared at all.
    fn looks_at(self, name: &[u8]) -> bool {
        match self {
            Self::All { with_x: true } | Self::Any { with_x: true } => name != b"x-match",
            Self::All { with_x: false } | Self::Any { with_x: false } => !name.starts_with(b"x-"),
        }
    }
}

pub(super) fn validate(arguments: RawTable<'_>) -> Result<(), Refusal> {
    let Some(mode) = arguments.get("x-match") else {
        return Ok(());
    };
    let shown = Term(mode);
    if !matches!(mode, ValueRef::LongString(_)) {
        return Err(Refusal::precondition_failed(format!(
            "Invalid x-match field type {} (value {shown}); expected longstr",
            mode.type_name()
        )));
    }
    match mode.as_str().and_then(Mode::from_name) {
        Some(_) => Ok(()),
        None => Err(Refusal::precondition_failed(format!(
            "Invalid x-match field value {shown}; expected all, any, all-with-x, or any-with-x"
        ))),
    }
}

impl HeadersRouter {
    pub(super) fn insert(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        let id = (destination, Arc::clone(key), arguments.cloned());
        self.places.insert(id.clone(), self.bindings.len());
        let table = arguments_of(&id);
        let mode = Mode::of(table);
        let arguments = table.iter().count().max(1);
        self.arguments += arguments;
        self.bindings.push(Binding {
            id,
            mode,
            arguments,
        });
    }

    pub(super) fn remove(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        let id = (destination, Arc::clone(key), arguments.cloned());
        let Some(at) = self.places.remove(&id) else {
            return;
        };
        self.arguments -= self.bindings.swap_remove(at).arguments;
        if let Some(moved) = self.bindings.get(at)
            && let Some(place) = self.places.get_mut(&moved.id)
        {
            *place = at;
        }
    }

    pub(super) fn route(
        &self,
        headers: RawTable<'_>,
        index: Option<&HeaderIndex<'_>>,
        found: &mut dyn FnMut(Destination),
    ) {
        for binding in &self.bindings {
            if binding.matches(headers, index) {
                found(binding.id.0);
            }
        }
    }

    /// How many arguments are looked at for a message, a binding without any counted as one.
    pub(super) fn len(&self) -> usize {
        self.arguments
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bindings.iter().map(|binding| binding.id.0).collect()
    }
}

impl Binding {
    fn matches(&self, headers: RawTable<'_>, index: Option<&HeaderIndex<'_>>) -> bool {
        let comparison = Comparison {
            arguments: arguments_of(&self.id),
            headers,
            index,
            mode: self.mode,
        };
        comparison.matches()
    }
}

fn arguments_of((_, _, arguments): &BindingId) -> RawTable<'_> {
    arguments
        .as_ref()
        .map_or(RawTable::EMPTY, |arguments| arguments.table())
}

/// A binding's arguments beside a message's headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison<'a> {
    arguments: RawTable<'a>,
    headers: RawTable<'a>,
    /// The same, if there are many.
    index: Option<&'a HeaderIndex<'a>>,
    mode: Mode,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(arguments: RawTable<'a>, headers: RawTable<'a>) -> Self {
        Self {
            arguments,
            headers,
            index: None,
            mode: Mode::of(arguments),
        }
    }

    pub(super) fn matches(&self) -> bool {
        let mut compared = self.compared();
        match self.mode {
            Mode::All { .. } => compared.all(|(name, wanted)| self.has(name, wanted)),
            Mode::Any { .. } => compared.any(|(name, wanted)| self.has(name, wanted)),
        }
    }

    /// The arguments that the headers do not satisfy.
    pub(super) fn differing(&self) -> Vec<(&'a [u8], ValueRef<'a>)> {
        self.compared()
            .filter(|(name, wanted)| !self.has(name, *wanted))
            .collect()
    }

    fn compared(&self) -> impl Iterator<Item = (&'a [u8], ValueRef<'a>)> + use<'a> {
        let mode = self.mode;
        self.arguments
            .iter()
            .filter(move |(name, _)| mode.looks_at(name))
    }

    fn has(&self, name: &[u8], wanted: ValueRef<'_>) -> bool {
        let value = match self.index {
            Some(index) => index.0.get(name).copied(),
            None => self.headers.get(name),
        };
        value.is_some_and(|value| wanted.matches(value))
    }
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::{Table, Value};

    use super::*;
    use crate::arguments::Arguments;
    use crate::exchange::QueueId;
    use crate::random::mix;

    fn table(name: &str, value: i32) -> Arguments {
        let table = Table::from_iter([(name, Value::I32(value))]);
        Arguments::new(RawTable::from_validated_bytes(&table.to_bytes()))
    }

    fn found(router: &HeadersRouter, headers: RawTable<'_>) -> Vec<Destination> {
        let mut found = Vec::new();
        router.route(headers, None, &mut |destination| found.push(destination));
        found.sort_unstable();
        let index = HeaderIndex::of_many(headers);
        let mut again = Vec::new();
        router.route(headers, index.as_ref(), &mut |destination| {
            again.push(destination)
        });
        again.sort_unstable();
        assert_eq!(again, found, "with an index");
        found
    }

    #[test]
    fn bindings_that_are_left_match_as_if_the_others_had_never_been() {
        let keys: [Arc<str>; 2] = ["", "a"].map(Arc::from);
        let arguments = [None, Some(table("n", 1)), Some(table("n", 2))];
        let arguments = arguments.map(|it| BindingArguments::new(it?.table()));
        for seed in 0..20_u64 {
            let mut router = HeadersRouter::default();
            let mut naive: Vec<BindingId> = Vec::new();
            for step in 0..150_u64 {
                let chance = mix(seed << 32 | step);
                if !naive.is_empty() && chance % 150 < step {
                    let at = (chance >> 32) as usize % naive.len();
                    let (destination, key, arguments) = naive.remove(at);
                    router.remove(destination, &key, arguments.as_ref());
                } else {
                    let destination = Destination::Queue(QueueId((chance >> 32) as u32 % 5));
                    let key = &keys[chance as usize % 2];
                    let arguments = arguments[(chance >> 8) as usize % 3].clone();
                    let id = (destination, Arc::clone(key), arguments);
                    if naive.contains(&id) {
                        continue;
                    }
                    router.insert(destination, key, id.2.as_ref());
                    naive.push(id);
                }
                for n in 0..4 {
                    let is_wanted =
                        |id: &&BindingId| id.2.is_none() || Some(&id.2) == arguments.get(n);
                    let mut want: Vec<_> = naive.iter().filter(is_wanted).map(|id| id.0).collect();
                    want.sort_unstable();
                    let headers = table("n", n as i32);
                    let found = found(&router, headers.table());
                    assert_eq!(found, want, "seed {seed}, step {step}");
                }
            }
        }
    }

    #[test]
    fn many_headers_match_as_few_do() {
        let names: Vec<String> = (0..30)
            .map(|n| format!("{}{n}", ["", "x-"][n % 2]))
            .collect();
        let modes = ["all", "any", "all-with-x", "any-with-x"];
        // The same names may come twice, and of those the first counts.
        let pick = |seed: u64, count: u64| {
            let entries = (0..count).map(|n| {
                let chance = mix(seed << 16 | n);
                let name = names[chance as usize % names.len()].as_str();
                (name, Value::I32((chance >> 32) as i32 % 2))
            });
            let mut bytes = Vec::new();
            entries.for_each(|entry| bytes.extend(Table::from_iter([entry]).to_bytes()));
            bytes
        };
        let mut router = HeadersRouter::default();
        for n in 0..400_u32 {
            let mode = Table::from_iter([("x-match", Value::from(modes[n as usize % 4]))]);
            let mut arguments = mode.to_bytes();
            arguments.extend(pick(u64::from(n), u64::from(n / 4 % 5)));
            let arguments = BindingArguments::new(RawTable::from_validated_bytes(&arguments));
            let destination = Destination::Queue(QueueId(n));
            router.insert(destination, &"".into(), arguments.as_ref());
        }
        for seed in 1000..1300_u64 {
            let headers = pick(seed, seed % 60);
            let headers = RawTable::from_validated_bytes(&headers);
            let found = found(&router, headers).len();
            assert!((20..400).contains(&found), "{found}");
            let has_many = headers.iter().count() > FEW;
            assert_eq!(HeaderIndex::of_many(headers).is_some(), has_many);
        }
    }

    #[test]
    fn arguments_are_counted_as_they_come_and_go() {
        let many: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let many = Table::from_iter(many.iter().map(|name| (name.as_str(), Value::I32(1))));
        let many = BindingArguments::new(RawTable::from_validated_bytes(&many.to_bytes()));
        let destination = Destination::Queue(QueueId(0));
        let mut router = HeadersRouter::default();
        let ids: [(Arc<str>, _); 3] = [
            ("a".into(), None),
            ("b".into(), many.as_ref()),
            ("c".into(), None),
        ];
        let count = |router: &mut HeadersRouter, step: &dyn Fn(&mut HeadersRouter)| {
            step(router);
            router.len()
        };
        let inserted = ids.each_ref().map(|(key, arguments)| {
            count(&mut router, &|router| {
                router.insert(destination, key, *arguments)
            })
        });
        assert_eq!(inserted, [1, 41, 42]);
        let removed = ids.each_ref().map(|(key, arguments)| {
            count(&mut router, &|router| {
                router.remove(destination, key, *arguments)
            })
        });
        assert_eq!(removed, [41, 1, 0]);
    }

    #[test]
    fn many_headers_are_not_looked_through_for_each_argument() {
        const ARGUMENTS: usize = 25_000;
        let entries = |prefix: &str, count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("{prefix}{n}")).collect();
            let named = names.iter().map(|name| (name.as_str(), Value::I32(1)));
            Table::from_iter(named.chain([("x-match", Value::from("any"))])).to_bytes()
        };
        let arguments = entries("a", ARGUMENTS);
        let arguments = BindingArguments::new(RawTable::from_validated_bytes(&arguments));
        let mut router = HeadersRouter::default();
        for n in 0..20 {
            let destination = Destination::Queue(QueueId(n));
            router.insert(destination, &"".into(), arguments.as_ref());
        }
        assert_eq!(router.len(), 20 * (ARGUMENTS + 1));
        let headers = entries("h", 1000);
        let headers = RawTable::from_validated_bytes(&headers);
        let index = HeaderIndex::of_many(headers);
        router.route(headers, index.as_ref(), &mut |_| panic!("nothing matches"));
    }

    #[test]
    fn many_bindings_of_one_queue_are_removed_in_a_moment() {
        const BINDINGS: usize = 50_000;
        let queue = Destination::Queue(QueueId(0));
        let mut router = HeadersRouter::default();
        let keys: Vec<Arc<str>> = (0..BINDINGS).map(|n| n.to_string().into()).collect();
        keys.iter().for_each(|key| router.insert(queue, key, None));
        assert_eq!(router.destinations().len(), BINDINGS);
        for key in keys.iter().skip(1) {
            router.remove(queue, key, None);
        }
        assert_eq!(router.destinations(), [queue]);
    }
}
