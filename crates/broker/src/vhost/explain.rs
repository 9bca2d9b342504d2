//! Why a message goes where it goes, for people.

use std::fmt;
use std::sync::Arc;

use leveret_amqp_codec::{Properties, RawProperties, RawTable, Table};

use super::topology::{Addressing, Binding, Topology};
use super::{Refusal, VirtualHost};
use crate::exchange::{Destination, ExchangeId, near_miss};

/// How many near misses are told of one exchange.
const NEAR_MISSES_MAX: usize = 10;

/// What [`Client::explain`](crate::Client::explain) found out: how a message would be routed at this moment.
///
/// Nothing is published. Displayed, it is a text of several lines. Exchanges that choose by chance may choose otherwise
/// the next time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The exchanges on the way, in the order in which they are visited; the first is the one that was asked for.
    pub steps: Vec<Step>,
    /// The queues that would get the message, each once.
    pub queues: Vec<Arc<str>>,
}

/// What one exchange does with the message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The exchange; empty for the default one.
    pub exchange: Arc<str>,
    /// Its type, as on the wire.
    pub kind: &'static str,
    /// The bindings that lead on.
    pub matched: Vec<ExplainedBinding>,
    /// Bindings that nearly matched, and why they did not; ten at most.
    pub near_misses: Vec<(ExplainedBinding, String)>,
    /// It has no place for the message and passes it to its alternate exchange.
    pub alternate: Option<Arc<str>>,
    /// It keeps the message for so many milliseconds first.
    pub delayed_ms: Option<u64>,
}

/// A binding, by names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainedBinding {
    /// The name of the queue or exchange that it leads to.
    pub destination: Arc<str>,
    /// It leads to an exchange.
    pub to_exchange: bool,
    /// The binding key.
    pub routing_key: Arc<str>,
    /// The binding's arguments.
    pub arguments: Table,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let name = if step.exchange.is_empty() {
                "(default)"
            } else {
                &step.exchange
            };
            writeln!(f, "exchange {name} ({})", step.kind)?;
            if let Some(delay) = step.delayed_ms {
                writeln!(
                    f,
                    "  keeps it for {delay} ms; by then bindings may be others"
                )?;
            }
            for binding in &step.matched {
                writeln!(f, "  matched {binding}")?;
            }
            for (binding, reason) in &step.near_misses {
                writeln!(f, "  missed {binding}: {reason}")?;
            }
            if let Some(alternate) = &step.alternate {
                writeln!(
                    f,
                    "  leads nowhere: on to its alternate exchange {alternate}"
                )?;
            }
        }
        match &self.queues[..] {
            [] => write!(f, "no queue gets the message"),
            queues => write!(f, "queues: {}", queues.join(", ")),
        }
    }
}

impl fmt::Display for ExplainedBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.to_exchange {
            "exchange"
        } else {
            "queue"
        };
        write!(f, "'{}' to {what} {}", self.routing_key, self.destination)?;
        if !self.arguments.is_empty() {
            write!(f, " with {}", self.arguments)?;
        }
        Ok(())
    }
}

impl VirtualHost {
    /// How a message would be routed.
    ///
    /// Looks at every binding of the virtual host, with the topology locked for reading: a tool for people, not for
    /// programs.
    ///
    /// # Errors
    /// As for publishing: 404 when the exchange does not exist, 403 when it is internal, 406 for CC or BCC headers that
    /// are not arrays or have too many keys.
    pub(crate) fn explain(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
    ) -> Result<Explanation, Refusal> {
        let properties = properties.to_bytes();
        let properties = RawProperties::from_validated_bytes(&properties);
        let headers = properties.headers().unwrap_or(RawTable::EMPTY);
        let topology = self.topology.read();
        let first = self.require_publishable(&topology, exchange)?;
        let addressing = Addressing {
            keys: super::publish::publishable_keys(routing_key, headers)?,
            headers,
            properties,
        };

        let mut visited = vec![first];
        let mut steps = Vec::new();
        while let Some(&id) = visited.get(steps.len()) {
            let (step, next) = explain_step(&topology, id, &addressing);
            steps.push(step);
            for id in next {
                if !visited.contains(&id) {
                    visited.push(id);
                }
            }
        }
        let route = topology.route(first, &addressing);
        let queues = route
            .queues
            .iter()
            .map(|queue| Arc::clone(queue.name()))
            .collect();
        Ok(Explanation { steps, queues })
    }
}

/// What one exchange does, and which exchanges come next.
fn explain_step(
    topology: &Topology,
    id: ExchangeId,
    addressing: &Addressing<'_>,
) -> (Step, Vec<ExchangeId>) {
    let exchange = topology.exchange(id);
    let mut step = Step {
        exchange: Arc::clone(&exchange.name),
        kind: exchange.kind.name(),
        matched: Vec::new(),
        near_misses: Vec::new(),
        alternate: None,
        delayed_ms: topology.delay_ms(id, addressing),
    };
    if step.delayed_ms.is_some() {
        return (step, Vec::new());
    }
    if exchange.name.is_empty() {
        step.matched = default_bindings(topology, addressing);
        return (step, Vec::new());
    }
    let reached = topology.destinations(id, addressing);
    for (destination, binding) in topology
        .bindings()
        .filter(|(_, binding)| binding.source == id)
    {
        let leads_on = reached.contains(&destination);
        let arguments = binding_arguments(binding);
        let Addressing { keys, headers, .. } = addressing;
        match near_miss(exchange.router(), &binding.key, arguments, keys, *headers) {
            None if leads_on => step.matched.push(explained(topology, destination, binding)),
            Some(reason) if step.near_misses.len() < NEAR_MISSES_MAX && !reason.is_empty() => {
                step.near_misses
                    .push((explained(topology, destination, binding), reason));
            }
            _ => {}
        }
    }
    let mut next: Vec<ExchangeId> = reached
        .iter()
        .filter_map(|destination| match destination {
            Destination::Exchange(id) => Some(*id),
            Destination::Queue(_) => None,
        })
        .collect();
    if reached.is_empty()
        && let Some(alternate) = &exchange.alternate
    {
        step.alternate = Some(Arc::clone(alternate));
        next.extend(topology.exchange_id(alternate));
    }
    (step, next)
}

/// The default exchange's bindings are not made by anybody: every queue is bound by its name.
fn default_bindings(topology: &Topology, addressing: &Addressing<'_>) -> Vec<ExplainedBinding> {
    let queues = addressing.keys.iter().filter_map(|key| topology.queue(key));
    let bindings = queues.map(|queue| ExplainedBinding {
        destination: Arc::clone(queue.name()),
        to_exchange: false,
        routing_key: Arc::clone(queue.name()),
        arguments: Table::default(),
    });
    bindings.collect()
}

fn explained(topology: &Topology, destination: Destination, binding: &Binding) -> ExplainedBinding {
    ExplainedBinding {
        destination: Arc::clone(topology.destination_name(destination)),
        to_exchange: matches!(destination, Destination::Exchange(_)),
        routing_key: Arc::clone(&binding.key),
        arguments: binding_arguments(binding).to_table(),
    }
}

fn binding_arguments(binding: &Binding) -> RawTable<'_> {
    binding
        .arguments
        .as_ref()
        .map_or(RawTable::EMPTY, |arguments| arguments.table())
}
