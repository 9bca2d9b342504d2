//! Making durable definitions anew when the broker starts.

use std::sync::Arc;

use leveret_queue_store::Time;

use super::topology::{Binding, Topology};
use super::{VirtualHost, exchanges, queues};
use crate::error::Refusal;
use crate::exchange::{BindingArguments, Destination};
use crate::metadata::{BindingRecord, Change, ExchangeRecord, QueueRecord, VhostKey};

/// What a store holds of one virtual host.
#[derive(Debug, Default)]
pub(crate) struct StoredVhost {
    pub(crate) exchanges: Vec<ExchangeRecord>,
    pub(crate) queues: Vec<QueueRecord>,
    pub(crate) bindings: Vec<BindingRecord>,
}

impl VirtualHost {
    /// Makes what was stored, queues with the messages that the journal has of them, and their leases beginning now. From
    /// then on changes are recorded under `key`.
    ///
    /// A binding whose ends are not there is left out, and removed from the store: it would come to life with a queue or
    /// exchange that has the name by chance.
    ///
    /// # Errors
    /// With words for the operator, when this version would not let an exchange or queue be declared so.
    pub(crate) fn restore(
        &self,
        now: Time,
        key: VhostKey,
        stored: StoredVhost,
    ) -> Result<(), String> {
        let mut topology = self.topology.write();
        for record in &stored.exchanges {
            let exchange = self.restored_exchange(record).map_err(|problem| {
                format!(
                    "{}: {}",
                    self.exchange_phrase(&record.name),
                    problem.explanation
                )
            })?;
            topology.add_exchange(exchange);
        }
        for record in stored.queues {
            let phrase = self.queue_phrase(&record.name);
            let definition = queues::restored(record, &phrase)
                .map_err(|problem| format!("{phrase}: {}", problem.explanation))?;
            self.add_queue(&mut topology, now, definition);
        }
        let mut dangling = Vec::new();
        for record in &stored.bindings {
            match find_ends(&topology, record) {
                Some((binding, destination)) => {
                    if let Destination::Queue(queue) = destination
                        && let Some(past) = topology.past_of(&binding)
                    {
                        past.restore_binding(queue, &binding.key);
                    }
                    topology.bind(destination, binding, None);
                }
                None => {
                    tracing::warn!(
                        vhost = %self.name, source = %record.source, destination = %record.destination,
                        "a stored binding leads from or to nothing and is removed"
                    );
                    dangling.push(Change::remove_binding(key, record));
                }
            }
        }
        topology.start_recording(key);
        self.services.metadata.record(dangling);
        self.topology_changed(topology);
        Ok(())
    }

    fn restored_exchange(
        &self,
        record: &ExchangeRecord,
    ) -> Result<super::topology::Exchange, Refusal> {
        self.make_exchange(&exchanges::ExchangeDeclare {
            name: &record.name,
            kind: &record.kind,
            durable: true,
            auto_delete: record.auto_delete,
            internal: record.internal,
            arguments: record.arguments.table(),
        })
        .map(|mut exchange| {
            if let Some(key) = record.key {
                self.keep_delayed(&mut exchange, key);
            }
            exchange
        })
    }
}

fn find_ends(topology: &Topology, record: &BindingRecord) -> Option<(Binding, Destination)> {
    let source = topology.exchange_id(&record.source)?;
    let destination = if record.to_exchange {
        Destination::Exchange(topology.exchange_id(&record.destination)?)
    } else {
        Destination::Queue(topology.queue(&record.destination)?.id())
    };
    let binding = Binding {
        source,
        key: Arc::clone(&record.routing_key),
        arguments: BindingArguments::new(record.arguments.table()),
    };
    Some((binding, destination))
}
