//! A broker without threads on a disk that can be cut off.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use leveret_amqp_codec::{Properties, RawProperties, ValueRef};
use leveret_queue_store::{FaultyStorage, JournalOptions, JournalState, Message, Time};

use super::plan::{Key, QUEUES};
use crate::access::Caller;
use crate::alarms::Alarm;
use crate::auth::UserTable;
use crate::beginning::Beginning;
use crate::client::Client;
use crate::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::connection::ConnectionId;
use crate::metadata::{ByHand as WriterByHand, OnFiles};
use crate::net::ByHand;
use crate::shared::Shared;
use crate::vhost::QueueCell;

/// What a queue holds, as its users could find out.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// In the order of delivery, with whether they were delivered before.
    pub(super) ready: Vec<(Key, bool)>,
    /// In the order in which they were delivered.
    pub(super) unacked: Vec<Key>,
    /// Died here, and waits for a place to go.
    pub(super) undelivered: Vec<Key>,
}

/// One run of a broker, from its start to its end or the disk's.
pub(super) struct World {
    shared: Arc<Shared>,
    definitions: WriterByHand,
    pub(super) client: Client,
}

impl World {
    /// Starts a broker on what the disk has.
    ///
    /// # Errors
    /// With the text for the operator, when it does not start.
    pub(super) fn start(
        disk: &FaultyStorage,
        clock: &VirtualClock,
        durable_memory: usize,
    ) -> Result<Self, String> {
        // Files as small as the journal makes them: a few dozen messages fill one.
        let options = JournalOptions {
            log_file_size: 4096,
            page_file_size: 4096,
            log_files_max: 2,
            ..JournalOptions::default()
        };
        let config = Config {
            name_seed: Some(1),
            durable_memory,
            ..Config::default()
        };
        let files = Arc::new(disk.clone());
        let definitions = Box::new(OnFiles(files.clone()));
        let beginning = Beginning::on(definitions, files, options, None);
        let beginning = beginning.map_err(|error| error.to_string())?;
        let started = beginning.start_by_hand(|metadata, messages| {
            Shared::new(
                config,
                Clock::Virtual(clock.clone()),
                Arc::new(UserTable::guest()),
                None,
                None,
                metadata,
                messages,
            )
        });
        let (shared, definitions) = started
            .map_err(|error| error.to_string())?
            .expect("there is a store");
        let vhost = shared.vhost("/").ok_or("there is no virtual host")?;
        let client = Client::new(Arc::clone(&shared), vhost).ok_or("the broker is closed")?;
        // What is overdue and out of memory is for them.
        let is_due = |at| at <= shared.now();
        while shared.services.timers.earliest().is_some_and(is_due) {
            shared.run_timers();
        }
        Ok(Self {
            shared,
            definitions: WriterByHand::new(definitions),
            client,
        })
    }

    pub(super) fn write_messages(&mut self) {
        let services = &self.shared.services;
        if let Some(store) = &services.store {
            store.turn(self.shared.now(), |ticket| {
                self.definitions.turn(&services.metadata);
                services.metadata.wait_committed(ticket)
            });
            store.journal().read_ahead();
        }
    }

    pub(super) fn write_definitions(&mut self) {
        self.definitions.turn(&self.shared.services.metadata);
    }

    pub(super) fn run_timers(&self) {
        self.shared.run_timers();
    }

    /// Whether the disk has failed the broker.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.services.metadata.check().is_err() || self.journal_has_failed()
    }

    /// Whether no more messages will be safe.
    pub(super) fn journal_has_failed(&self) -> bool {
        let store = self.shared.services.store.as_ref();
        store.is_none_or(|store| matches!(store.journal().state(), JournalState::Failed(_)))
    }

    /// A client that has a connection and has said nothing.
    pub(super) fn connect(&self) -> Option<ByHand> {
        ByHand::new(&self.shared, crate::session::amqp::Session::new)
    }

    pub(super) fn is_raised(&self, alarm: Alarm) -> bool {
        self.shared.services.alarms.is_raised(alarm)
    }

    /// Ends in peace: everything is on the disk afterwards.
    pub(super) fn stop(mut self) {
        self.write_definitions();
        if let Some(store) = &self.shared.services.store {
            store.stop(self.shared.now());
        }
    }

    /// What is in a queue; none when there is no such queue.
    pub(super) fn contents(&self, queue: usize) -> Option<Contents> {
        let cell = self.cell(QUEUES[queue].name)?;
        let mut contents = Contents::default();
        cell.browse(|message, redelivered| {
            contents.ready.push((key_of(message), redelivered));
            true
        });
        let unacked = cell.unacked();
        contents.unacked = unacked.iter().map(|held| key_of(&held.message)).collect();
        let undelivered = self.shared.vhost("/")?.undelivered_of(QUEUES[queue].name);
        contents.undelivered = undelivered.iter().map(key_of).collect();
        Some(contents)
    }

    /// How many messages of a queue are ready, and how many are not settled.
    pub(super) fn counts(&self, queue: usize) -> Option<(u64, u64)> {
        let counts = self.cell(QUEUES[queue].name)?.counts();
        Some((counts.ready, counts.unacked))
    }

    /// How many messages are ready in the queue of this name.
    pub(super) fn ready(&self, name: &str) -> u64 {
        self.cell(name).map_or(0, |cell| cell.counts().ready)
    }

    fn cell(&self, name: &str) -> Option<Arc<QueueCell>> {
        let nobody = Caller::trusted(ConnectionId(0));
        self.shared.vhost("/")?.readable_queue(&nobody, name).ok()
    }

    /// Whether messages with this key get from an exchange to a queue; false when there is no such exchange.
    pub(super) fn is_bound(&self, exchange: &str, key: &str, queue: usize) -> bool {
        let properties = Properties::default();
        let explained = self.client.explain(exchange, key, &properties);
        let Poll::Ready(Ok(explained)) = once(explained) else {
            return false;
        };
        explained
            .queues
            .iter()
            .any(|name| **name == *QUEUES[queue].name)
    }

    pub(super) fn has_exchange(&self, exchange: &str) -> bool {
        matches!(
            once(self.client.explain(exchange, "", &Properties::default())),
            Poll::Ready(Ok(_))
        )
    }
}

/// Which message this is: its number stands in its body, and where it has died first in its headers.
pub(super) fn key_of(message: &Message) -> Key {
    let properties = RawProperties::from_validated_bytes(message.properties());
    Key {
        number: number_in(message.body()),
        died_in: died_in(properties),
    }
}

/// The number of a message with this body.
pub(super) fn number_in(body: &[u8]) -> u64 {
    let number = body.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    number.expect("every message begins with its number")
}

/// The queue in which a message with these properties died first.
pub(super) fn died_in(properties: RawProperties<'_>) -> Option<usize> {
    let ValueRef::LongString(name) = properties.headers()?.get("x-first-death-queue")? else {
        return None;
    };
    QUEUES
        .iter()
        .position(|queue| queue.name.as_bytes() == name)
}

/// Polls a future once.
pub(super) fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future that is kept.
pub(super) fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Poll<T> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// The deadline of a message that arrives now and may wait so long.
pub(super) fn deadline(now: Time, ttl_ms: Option<u64>) -> Time {
    ttl_ms.map_or(Time::MAX, |ttl| now.saturating_add(ttl))
}
