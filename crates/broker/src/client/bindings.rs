//! Having exchanges route to queues and to other exchanges.

use leveret_amqp_codec::{RawTable, Table};

use super::Client;
use crate::error::Error;
use crate::vhost::BindingRequest;

impl Client {
    /// Has an exchange route to a queue. Nothing happens when it does so already.
    ///
    /// # Errors
    /// When either does not exist, for the default exchange, or for an exclusive queue of another client.
    pub async fn bind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        self.bind_queue_with(queue, exchange, routing_key, &Table::default())
            .await
    }

    /// As [`Client::bind_queue`], with arguments: what a headers exchange compares.
    ///
    /// # Errors
    /// As [`Client::bind_queue`], and for arguments that the exchange's type does not accept.
    pub async fn bind_queue_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &Table,
    ) -> Result<(), Error> {
        let arguments = arguments.to_bytes();
        let request = request(queue, exchange, routing_key, &arguments);
        let now = self.inner.shared.now();
        let bind = || Ok(self.vhost()?.bind_queue(now, self.caller(), &request)?);
        let ticket = self.decided(bind).await?;
        self.recorded(ticket).await
    }

    /// Removes a binding that was made without arguments. What does not exist is fine.
    ///
    /// # Errors
    /// For the default exchange, and for an exclusive queue of another client.
    pub async fn unbind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        self.unbind_queue_with(queue, exchange, routing_key, &Table::default())
            .await
    }

    /// Removes the binding that was made with these arguments, in any order. What does not exist is fine.
    ///
    /// # Errors
    /// As [`Client::unbind_queue`].
    pub async fn unbind_queue_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &Table,
    ) -> Result<(), Error> {
        let arguments = arguments.to_bytes();
        let request = request(queue, exchange, routing_key, &arguments);
        let now = self.inner.shared.now();
        let unbind = || Ok(self.vhost()?.unbind_queue(now, self.caller(), &request)?);
        let ticket = self.decided(unbind).await?;
        self.recorded(ticket).await
    }

    /// Has an exchange route to another exchange. Cycles are harmless: a queue gets a message once.
    ///
    /// # Errors
    /// When either does not exist, and for the default exchange.
    pub async fn bind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        self.bind_exchange_with(destination, source, routing_key, &Table::default())
            .await
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
        let now = self.inner.shared.now();
        let bind = || Ok(self.vhost()?.bind_exchange(now, self.caller(), &request)?);
        let ticket = self.decided(bind).await?;
        self.recorded(ticket).await
    }

    /// Removes a binding between exchanges that was made without arguments. What does not exist is fine.
    ///
    /// # Errors
    /// For the default exchange.
    pub async fn unbind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        let request = request(destination, source, routing_key, &[]);
        let now = self.inner.shared.now();
        let unbind = || {
            Ok(self
                .vhost()?
                .unbind_exchange(now, self.caller(), &request)?)
        };
        let ticket = self.decided(unbind).await?;
        self.recorded(ticket).await
    }
}

fn request<'a>(
    destination: &'a str,
    source: &'a str,
    routing_key: &'a str,
    arguments: &'a [u8],
) -> BindingRequest<'a> {
    BindingRequest {
        destination,
        source,
        routing_key,
        arguments: RawTable::from_validated_bytes(arguments),
        resume: None,
    }
}
