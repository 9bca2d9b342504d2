//! Declaring exchanges and queues, and deleting them: with options, or with arguments as they are on the wire, for programs
//! that bring definitions from elsewhere.

use std::sync::Arc;

use leveret_amqp_codec::{RawTable, Table};

use super::{Client, ExchangeOptions, ExchangeType, QueueInfo, QueueOptions};
use crate::error::Error;
use crate::vhost::{ExchangeDeclare, QueueDeclare, QueueDeclared, QueueDelete};

/// The properties of a queue or an exchange, with arguments as AMQP clients give them (`x-max-length`,
/// `alternate-exchange`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawOptions {
    /// It survives a restart, where there is a data directory.
    pub durable: bool,
    /// It goes with its last consumer, or binding.
    pub auto_delete: bool,
    /// Clients cannot publish to it; for exchanges.
    pub internal: bool,
    /// Everything else.
    pub arguments: Table,
}

impl Client {
    /// Declares an exchange. Nothing happens when one of this name with the same properties exists.
    ///
    /// # Errors
    /// For reserved names, and when an exchange of this name has other properties.
    pub async fn declare_exchange(
        &self,
        name: &str,
        kind: ExchangeType,
        options: ExchangeOptions,
    ) -> Result<(), Error> {
        let arguments = options.to_arguments().to_bytes();
        self.declare_exchange_as(&ExchangeDeclare {
            name,
            kind: kind.name(),
            durable: options.durable,
            auto_delete: options.auto_delete,
            internal: options.internal,
            arguments: RawTable::from_validated_bytes(&arguments),
        })
        .await
    }

    async fn declare_exchange_as(&self, declare: &ExchangeDeclare<'_>) -> Result<(), Error> {
        let make = || Ok(self.vhost()?.declare_exchange(self.caller(), declare)?);
        let ticket = self.decided(make).await?;
        self.recorded(ticket).await
    }

    /// Deletes an exchange with its bindings. One that does not exist is fine.
    ///
    /// # Errors
    /// For the exchanges that every virtual host has.
    pub async fn delete_exchange(&self, name: &str) -> Result<(), Error> {
        let delete = || {
            let vhost = self.vhost()?;
            Ok(vhost.delete_exchange(self.caller(), name, false)?)
        };
        let ticket = self.decided(delete).await?;
        self.recorded(ticket).await
    }

    /// Declares a queue; an empty name has the broker choose one, which is in the answer. Nothing happens when a queue of
    /// this name with the same properties exists.
    ///
    /// # Errors
    /// For reserved names (`amq.`), unacceptable options, a queue of this name with other properties, or one that is
    /// exclusive to another client.
    pub async fn declare_queue(
        &self,
        name: &str,
        options: QueueOptions,
    ) -> Result<QueueInfo, Error> {
        let arguments = options.to_arguments().to_bytes();
        let declare = QueueDeclare {
            name,
            durable: options.durable,
            exclusive: options.exclusive,
            auto_delete: options.auto_delete,
            arguments: RawTable::from_validated_bytes(&arguments),
        };
        let declared = self.declare_queue_as(&declare).await?;
        if declared.created && options.exclusive {
            let mut exclusive = self.inner.exclusive.lock();
            exclusive.retain(|queue| queue.strong_count() > 0);
            exclusive.push(Arc::downgrade(&declared.queue));
        }
        self.recorded(declared.ticket).await?;
        Ok(QueueInfo::new(declared.queue.name(), declared.counts))
    }

    async fn declare_queue_as(&self, declare: &QueueDeclare<'_>) -> Result<QueueDeclared, Error> {
        let now = self.inner.shared.now();
        self.decided(|| Ok(self.vhost()?.declare_queue(now, self.caller(), declare)?))
            .await
    }

    /// Deletes a queue with its messages and tells how many were ready. One that does not exist is fine. Its consumers
    /// see the end of their stream.
    ///
    /// # Errors
    /// When it is exclusive to another client.
    pub async fn delete_queue(&self, name: &str) -> Result<u64, Error> {
        let delete = QueueDelete {
            name,
            if_unused: false,
            if_empty: false,
        };
        let now = self.inner.shared.now();
        let delete = || Ok(self.vhost()?.delete_queue(now, self.caller(), &delete)?);
        let deleted = self.decided(delete).await?;
        self.recorded(deleted.ticket).await?;
        Ok(deleted.ready)
    }

    /// Removes the messages that are ready and tells how many there were. Those that consumers hold stay theirs.
    ///
    /// # Errors
    /// When the queue does not exist, or is exclusive to another client.
    pub async fn purge_queue(&self, name: &str) -> Result<u64, Error> {
        let queue = self.decided(|| self.queue(name)).await?;
        Ok(queue.purge(self.inner.shared.now()))
    }

    /// As [`Client::declare_queue`], with raw options; `internal` has no meaning.
    ///
    /// # Errors
    /// As [`Client::declare_queue`], and for arguments that make no sense.
    pub async fn declare_queue_raw(
        &self,
        name: &str,
        options: &RawOptions,
    ) -> Result<QueueInfo, Error> {
        let arguments = options.arguments.to_bytes();
        let declare = QueueDeclare {
            name,
            durable: options.durable,
            exclusive: false,
            auto_delete: options.auto_delete,
            arguments: RawTable::from_validated_bytes(&arguments),
        };
        let declared = self.declare_queue_as(&declare).await?;
        self.recorded(declared.ticket).await?;
        Ok(QueueInfo::new(declared.queue.name(), declared.counts))
    }

    /// As [`Client::declare_exchange`], with the type's name on the wire and raw options.
    ///
    /// # Errors
    /// As [`Client::declare_exchange`], for types that are not known, and for arguments that make no sense.
    pub async fn declare_exchange_raw(
        &self,
        name: &str,
        kind: &str,
        options: &RawOptions,
    ) -> Result<(), Error> {
        let arguments = options.arguments.to_bytes();
        let declare = ExchangeDeclare {
            name,
            kind,
            durable: options.durable,
            auto_delete: options.auto_delete,
            internal: options.internal,
            arguments: RawTable::from_validated_bytes(&arguments),
        };
        self.declare_exchange_as(&declare).await
    }
}
