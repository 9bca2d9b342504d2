//! The broker under test as a check sees it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind, Result};

use crate::client::confirming;
use crate::harness::CLOSED;

/// Where the broker is when `AMQP_URL` does not say.
const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// Connections and names that last for one check.
pub(crate) struct Broker {
    uri: AMQPUri,
    leftovers: Mutex<Leftovers>,
}

#[derive(Default)]
struct Leftovers {
    connections: Vec<Arc<Connection>>,
    queues: Vec<ShortString>,
    exchanges: Vec<ShortString>,
}

impl Broker {
    /// The broker at `AMQP_URL`, or one on this machine with RabbitMQ's defaults.
    ///
    /// # Panics
    ///
    /// When `AMQP_URL` is not an AMQP address.
    pub(crate) fn from_env() -> Self {
        let url = std::env::var("AMQP_URL").unwrap_or_else(|_| DEFAULT_URL.to_owned());
        let uri = url
            .parse()
            .unwrap_or_else(|why| panic!("AMQP_URL is not an address: {why}"));
        Self {
            uri,
            leftovers: Mutex::default(),
        }
    }

    /// The broker's address.
    pub(crate) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    /// A new connection, closed after the check.
    pub(crate) async fn connect(&self) -> Result<Arc<Connection>> {
        self.connect_to(self.uri(), ConnectionProperties::default())
            .await
    }

    /// A new connection to another address, closed after the check.
    pub(crate) async fn connect_to(
        &self,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> Result<Arc<Connection>> {
        let connection = Arc::new(Connection::connect_uri(uri, properties).await?);
        self.leftovers().connections.push(Arc::clone(&connection));
        Ok(connection)
    }

    /// A channel with confirms on a connection of its own.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        confirming(self.connect().await?.as_ref()).await
    }

    /// A fresh queue name; a queue of that name is deleted after the check.
    pub(crate) fn queue_name(&self) -> ShortString {
        let name = fresh_name("queue");
        self.leftovers().queues.push(name.clone());
        name
    }

    /// A fresh exchange name; an exchange of that name is deleted after the check.
    pub(crate) fn exchange_name(&self) -> ShortString {
        let name = fresh_name("exchange");
        self.leftovers().exchanges.push(name.clone());
        name
    }

    /// Declares a fresh transient queue and returns its name.
    pub(crate) async fn queue(&self, channel: &Channel) -> Result<ShortString> {
        self.queue_with(
            channel,
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
    }

    /// Declares a fresh queue with these options and arguments and returns its name.
    pub(crate) async fn queue_with(
        &self,
        channel: &Channel,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<ShortString> {
        let name = self.queue_name();
        channel
            .queue_declare(name.clone(), options, arguments)
            .await?;
        Ok(name)
    }

    /// Declares a fresh transient exchange and returns its name.
    pub(crate) async fn exchange(
        &self,
        channel: &Channel,
        kind: ExchangeKind,
    ) -> Result<ShortString> {
        self.exchange_with(
            channel,
            kind,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
    }

    /// Declares a fresh exchange with these options and arguments and returns its name.
    pub(crate) async fn exchange_with(
        &self,
        channel: &Channel,
        kind: ExchangeKind,
        options: ExchangeDeclareOptions,
        arguments: FieldTable,
    ) -> Result<ShortString> {
        let name = self.exchange_name();
        channel
            .exchange_declare(name.clone(), kind, options, arguments)
            .await?;
        Ok(name)
    }

    /// Closes what the check opened and deletes what it declared.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let leftovers = std::mem::take(&mut *self.leftovers());
        for connection in leftovers.connections {
            // Those that the check or the broker has closed already refuse, which is just as well. One whose last
            // channel was dropped only now may never answer: when lapin's own close of that channel comes after that
            // of the connection, its loop ends and forgets who waits. It has let go of the socket by then.
            let closed = connection.close(200, "done".into());
            let _ = tokio::time::timeout(CLOSED, closed).await;
        }
        if leftovers.queues.is_empty() && leftovers.exchanges.is_empty() {
            return Ok(());
        }
        let connection =
            Connection::connect_uri(self.uri(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for name in leftovers.queues {
            channel.queue_delete(name, Default::default()).await?;
        }
        for name in leftovers.exchanges {
            channel.exchange_delete(name, Default::default()).await?;
        }
        connection.close(200, "done".into()).await
    }

    fn leftovers(&self) -> MutexGuard<'_, Leftovers> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no other run uses, such as `interop.queue.5f0c1d2e3b4a5968`.
pub(crate) fn fresh_name(kind: &str) -> ShortString {
    // The hasher's keys are random, which is all the randomness that is needed here.
    let random = RandomState::new().hash_one(kind);
    format!("interop.{kind}.{random:016x}").into()
}
