//! What is in a virtual host, for operators.

use std::sync::Arc;

use leveret_amqp_codec::Table;
use leveret_queue_store::Time;

use super::arguments::QueueType;
use super::{QueueCell, VirtualHost};
use crate::client;
use crate::error::Refusal;
use crate::overview::{BindingOverview, ConsumerOverview, ExchangeOverview, QueueOverview};

impl VirtualHost {
    /// The queue of this name, exclusive or not.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) fn queue_of_anybody(&self, name: &str) -> Result<Arc<QueueCell>, Refusal> {
        let topology = self.topology.read();
        let queue = topology.queue(name).ok_or_else(|| self.no_queue(name))?;
        Ok(Arc::clone(queue))
    }

    /// Deletes the queue of this name, exclusive or not, and tells how many messages were ready.
    ///
    /// # Errors
    /// 404 when there is none, 541 for a durable one whose end cannot be stored.
    pub(crate) fn delete_queue_of_anybody(&self, now: Time, name: &str) -> Result<u64, Refusal> {
        let queue = self.queue_of_anybody(name)?;
        self.check_recordable(queue.definition().durable)?;
        let deleted = self.remove_queue_if(&queue, now, |_| true);
        deleted
            .map(|deleted| deleted.ready)
            .ok_or_else(|| self.no_queue(name))
    }

    pub(crate) fn describe_exchanges(&self) -> Vec<ExchangeOverview> {
        let topology = self.topology.read();
        let exchanges = topology.exchanges();
        let mut exchanges: Vec<_> = exchanges
            .map(|exchange| ExchangeOverview {
                name: Arc::clone(&exchange.name),
                kind: exchange.kind.name(),
                durable: exchange.durable,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: exchange.arguments.table().to_table(),
            })
            .collect();
        drop(topology);
        exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        exchanges
    }

    pub(crate) fn describe_bindings(&self) -> Vec<BindingOverview> {
        let topology = self.topology.read();
        let mut bindings: Vec<_> = topology
            .bindings()
            .map(|(destination, binding)| BindingOverview {
                source: Arc::clone(&topology.exchange(binding.source).name),
                destination: Arc::clone(topology.destination_name(destination)),
                to_exchange: matches!(destination, crate::exchange::Destination::Exchange(_)),
                routing_key: Arc::clone(&binding.key),
                arguments: binding
                    .arguments
                    .as_ref()
                    .map_or_else(Table::default, |arguments| arguments.table().to_table()),
            })
            .collect();
        drop(topology);
        bindings.sort_by(|a, b| {
            let key = |binding: &BindingOverview| {
                (
                    Arc::clone(&binding.source),
                    binding.to_exchange,
                    Arc::clone(&binding.destination),
                    Arc::clone(&binding.routing_key),
                )
            };
            key(a).cmp(&key(b))
        });
        bindings
    }
}

impl QueueCell {
    pub(crate) fn describe(&self) -> QueueOverview {
        let definition = self.definition();
        let standing = self.standing();
        QueueOverview {
            name: Arc::clone(&definition.name),
            queue_type: match definition.queue_type {
                QueueType::Classic => client::QueueType::Classic,
                QueueType::Quorum => client::QueueType::Quorum,
            },
            durable: definition.durable,
            auto_delete: definition.auto_delete,
            owner: definition.owner.map(|owner| owner.0),
            arguments: definition.arguments.table().to_table(),
            ready: standing.counts.ready,
            unacked: standing.counts.unacked,
            consumers: standing.counts.consumers,
            ready_bytes: standing.ready_bytes,
            unacked_bytes: standing.unacked_bytes,
            resident: standing.resident,
            memory_bytes: standing.memory_bytes,
        }
    }

    pub(crate) fn describe_consumers(&self) -> Vec<ConsumerOverview> {
        let name = self.name();
        self.each_consumer(|link, options, is_active| ConsumerOverview {
            queue: Arc::clone(name),
            connection: link.holder.0,
            channel: link.channel.0,
            tag: link.tag.clone(),
            acknowledges: !options.no_ack,
            exclusive: options.exclusive,
            prefetch: options.prefetch,
            priority: options.priority,
            is_active,
        })
    }
}
