//! Declaring and binding with arguments as they are on the wire, for programs that bring definitions from elsewhere.

use leveret_amqp_codec::{RawTable, Table};

use super::{Client, QueueInfo, request};
use crate::error::Error;
use crate::vhost::{ExchangeDeclare, QueueDeclare};

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
        let now = self.inner.shared.now();
        let declared = self.vhost()?.declare_queue(now, self.caller(), &declare)?;
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
        let ticket = self.vhost()?.declare_exchange(self.caller(), &declare)?;
        self.recorded(ticket).await
    }

    /// As [`Client::bind_exchange`], with arguments.
    ///
    /// # Errors
    /// As [`Client::bind_exchange`], and for arguments that the exchange's type does not accept.
    pub async fn bind_exchange_with(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: &Table,
    ) -> Result<(), Error> {
        let arguments = arguments.to_bytes();
        let request = request(destination, source, routing_key, &arguments);
        let vhost = self.vhost()?;
        let ticket = vhost.bind_exchange(self.inner.shared.now(), self.caller(), &request)?;
        self.recorded(ticket).await
    }
}
