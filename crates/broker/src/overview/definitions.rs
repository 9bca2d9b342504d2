//! What is in a virtual host.

use std::sync::Arc;

use leveret_amqp_codec::Table;

use crate::broker::Broker;
use crate::client::QueueType;
use crate::error::Error;

/// A queue, as it was when it was asked for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueOverview {
    /// Its name.
    pub name: Arc<str>,
    /// What kind of queue it is.
    pub queue_type: QueueType,
    /// It survives a restart, where there is a data directory.
    pub durable: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// The connection that alone may use it, by its [id](crate::ConnectionOverview::id); clients of this process have ids
    /// as well.
    pub owner: Option<u64>,
    /// What it was declared with.
    pub arguments: Table,
    /// How many messages are ready.
    pub ready: u64,
    /// How many are delivered and not settled.
    pub unacked: u64,
    /// How many consumers it has.
    pub consumers: u64,
    /// The bytes of the bodies of what is ready.
    pub ready_bytes: u64,
    /// The bytes of the bodies of what is delivered and not settled.
    pub unacked_bytes: u64,
    /// How many of the ready messages are in memory.
    pub resident: u64,
    /// What the [memory limit](crate::Builder::memory_limit) counts for it.
    pub memory_bytes: u64,
}

/// An exchange.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExchangeOverview {
    /// Its name; the default exchange has none.
    pub name: Arc<str>,
    /// The name of its type on the wire.
    pub kind: &'static str,
    /// It survives a restart, where there is a data directory.
    pub durable: bool,
    /// It goes with its last binding.
    pub auto_delete: bool,
    /// Clients cannot publish to it.
    pub internal: bool,
    /// What it was declared with.
    pub arguments: Table,
}

/// A binding. Those to the default exchange, one for each queue, are not among them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BindingOverview {
    /// The exchange that it begins at.
    pub source: Arc<str>,
    /// The queue or exchange that it leads to.
    pub destination: Arc<str>,
    /// It leads to an exchange.
    pub to_exchange: bool,
    /// Its routing key.
    pub routing_key: Arc<str>,
    /// What it was made with.
    pub arguments: Table,
}

/// A consumer of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerOverview {
    /// The queue's name.
    pub queue: Arc<str>,
    /// Whose it is, by the connection's [id](crate::ConnectionOverview::id); clients of this process have ids as well.
    pub connection: u64,
    /// The channel on that connection.
    pub channel: u16,
    /// Its tag; consumers of this process have none.
    pub tag: Option<Arc<str>>,
    /// Its deliveries have to be acknowledged.
    pub acknowledges: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// How many deliveries it may hold; 0 for any number.
    pub prefetch: u32,
    /// Who comes first.
    pub priority: i64,
    /// It gets messages, and does not stand by for the single active one.
    pub is_active: bool,
}

impl Broker {
    /// Removes the ready messages of a queue, whoever's it is, and tells how many there were.
    ///
    /// # Errors
    /// When there is no such virtual host or queue.
    pub fn purge_queue(&self, vhost: &str, name: &str) -> Result<u64, Error> {
        let queue = self.vhost(vhost)?.queue_of_anybody(name)?;
        Ok(queue.purge(self.shared.now()))
    }

    /// Deletes a queue with its messages, whoever's it is, and tells how many were ready. With a data directory it is gone
    /// from the disk a moment later, which [`Broker::definitions_stored`] waits for.
    ///
    /// # Errors
    /// When there is no such virtual host or queue, or the data directory can no longer be written to.
    pub fn delete_queue(&self, vhost: &str, name: &str) -> Result<u64, Error> {
        let vhost = self.vhost(vhost)?;
        Ok(vhost.delete_queue_of_anybody(self.shared.now(), name)?)
    }

    /// All queues of a virtual host, sorted by name; none when there is no such virtual host.
    #[must_use]
    pub fn queues(&self, vhost: &str) -> Option<Vec<QueueOverview>> {
        let queues = self.shared.vhost(vhost)?.queues();
        let mut queues: Vec<_> = queues.iter().map(|queue| queue.describe()).collect();
        queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Some(queues)
    }

    /// All consumers in a virtual host, by the names of their queues; none when there is no such virtual host.
    #[must_use]
    pub fn consumers(&self, vhost: &str) -> Option<Vec<ConsumerOverview>> {
        let queues = self.shared.vhost(vhost)?.queues();
        let mut consumers: Vec<_> = queues
            .iter()
            .flat_map(|queue| queue.describe_consumers())
            .collect();
        consumers.sort_by(|a, b| a.queue.cmp(&b.queue));
        Some(consumers)
    }

    /// All exchanges of a virtual host, sorted by name; none when there is no such virtual host.
    #[must_use]
    pub fn exchanges(&self, vhost: &str) -> Option<Vec<ExchangeOverview>> {
        Some(self.shared.vhost(vhost)?.describe_exchanges())
    }

    /// All bindings of a virtual host, sorted; none when there is no such virtual host.
    #[must_use]
    pub fn bindings(&self, vhost: &str) -> Option<Vec<BindingOverview>> {
        Some(self.shared.vhost(vhost)?.describe_bindings())
    }
}
