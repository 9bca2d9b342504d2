//! Headers exchanges: the binding's arguments are compared with the message's headers (behaviour reference, 5.8).

use std::collections::HashMap;
use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};

use super::{BindingArguments, BindingId, Destination};
use crate::error::Refusal;
use crate::vhost::Term;

/// See the module. Bindings are tried one after the other, as in RabbitMQ.
#[derive(Debug, Default)]
pub(crate) struct HeadersRouter {
    bindings: Vec<Binding>,
    /// Where each of them stands.
    places: HashMap<BindingId, usize, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Binding {
    /// The key plays no role in routing.
    id: BindingId,
    mode: Mode,
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
        let mode = Mode::of(arguments_of(&id));
        self.bindings.push(Binding { id, mode });
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
        self.bindings.swap_remove(at);
        if let Some(moved) = self.bindings.get(at)
            && let Some(place) = self.places.get_mut(&moved.id)
        {
            *place = at;
        }
    }

    pub(super) fn route(&self, headers: RawTable<'_>, found: &mut dyn FnMut(Destination)) {
        for binding in self
            .bindings
            .iter()
            .filter(|binding| binding.matches(headers))
        {
            found(binding.id.0);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bindings.iter().map(|binding| binding.id.0).collect()
    }
}

impl Binding {
    fn matches(&self, headers: RawTable<'_>) -> bool {
        let comparison = Comparison {
            arguments: arguments_of(&self.id),
            headers,
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
    mode: Mode,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(arguments: RawTable<'a>, headers: RawTable<'a>) -> Self {
        Self {
            arguments,
            headers,
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
        self.headers
            .get(name)
            .is_some_and(|value| wanted.matches(value))
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
        router.route(headers, &mut |destination| found.push(destination));
        found.sort_unstable();
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
