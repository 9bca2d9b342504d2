//! Headers exchanges: the binding's arguments are compared with the message's headers (behaviour reference, 5.8).

use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};

use super::{BindingArguments, Destination};
use crate::error::Refusal;

/// See the module. Bindings are tried one after the other, as in RabbitMQ.
#[derive(Debug, Default)]
pub(crate) struct HeadersRouter {
    bindings: Vec<Binding>,
}

#[derive(Debug)]
struct Binding {
    destination: Destination,
    /// Plays no role in routing, but is part of the binding's identity.
    key: Arc<str>,
    arguments: Option<Arc<BindingArguments>>,
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
    let ValueRef::LongString(name) = mode else {
        return Err(Refusal::precondition_failed(format!(
            "Invalid x-match field type {} (value {mode}); expected longstr",
            mode.type_name()
        )));
    };
    match mode.as_str().and_then(Mode::from_name) {
        Some(_) => Ok(()),
        None => {
            // As Erlang prints binaries, the empty one without quotes.
            let quote = if name.is_empty() { "" } else { "\"" };
            Err(Refusal::precondition_failed(format!(
                "Invalid x-match field value <<{quote}{}{quote}>>; expected all, any, all-with-x, or any-with-x",
                String::from_utf8_lossy(name)
            )))
        }
    }
}

impl HeadersRouter {
    pub(super) fn insert(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        self.bindings.push(Binding {
            destination,
            key: Arc::clone(key),
            arguments: arguments.cloned(),
            mode: arguments.map_or(Mode::All { with_x: false }, |arguments| {
                Mode::of(arguments.table())
            }),
        });
    }

    pub(super) fn remove(
        &mut self,
        destination: Destination,
        key: &Arc<str>,
        arguments: Option<&Arc<BindingArguments>>,
    ) {
        let at = self.bindings.iter().position(|known| {
            known.destination == destination
                && known.key == *key
                && known.arguments.as_ref() == arguments
        });
        if let Some(at) = at {
            self.bindings.swap_remove(at);
        }
    }

    pub(super) fn route(&self, headers: RawTable<'_>, found: &mut dyn FnMut(Destination)) {
        for binding in self
            .bindings
            .iter()
            .filter(|binding| binding.matches(headers))
        {
            found(binding.destination);
        }
    }

    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.bindings
            .iter()
            .map(|binding| binding.destination)
            .collect()
    }
}

impl Binding {
    fn matches(&self, headers: RawTable<'_>) -> bool {
        let arguments = self
            .arguments
            .as_ref()
            .map_or(RawTable::EMPTY, |arguments| arguments.table());
        let comparison = Comparison {
            arguments,
            headers,
            mode: self.mode,
        };
        comparison.matches()
    }
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
