//! Transactions: publishes and acknowledgements held until commit (behaviour reference, section 10).
//!
//! When tx.commit-ok is said, all of it is on the disk where it is to survive: RabbitMQ promises that of the publishes
//! alone. A crash before may leave a part, as in RabbitMQ: the first of the publishes, without the rest or with all of
//! them and some of the settlements, never a settlement of a durable queue's message without all of the publishes.

use std::collections::HashSet;
use std::sync::Arc;

use leveret_amqp_codec::{ChannelId, EncodeMethod, method::tx, write_method};
use leveret_queue_store::{Settlement, Time};

use super::channel::Mode;
use super::promises::Promised;
use super::publish::RoutedPublish;
use super::{Core, Failure, Refusal, Session};
use crate::memory::{Held, MemoryGauge};
use crate::outbox::Outbox;
use crate::session::Output;
use crate::session::unacked::Outstanding;
use crate::vhost::Services;

/// What one transaction holds.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Routed when they were published, and delivered at commit.
    publishes: Vec<RoutedPublish>,
    /// The routes of these, each once, by their addresses.
    routes: HashSet<usize, foldhash::fast::RandomState>,
    /// Counts both against the memory limit.
    held: Held,
    pub(super) settlements: Vec<HeldSettlement>,
}

/// An acknowledgement; the delivery counts as settled meanwhile, and is outstanding again after a rollback.
#[derive(Debug)]
pub(super) struct HeldSettlement {
    pub(super) deliveries: Vec<(u64, Outstanding)>,
    pub(super) how: Settlement,
}

impl Transaction {
    fn new(services: &Arc<Services>, outbox: &Arc<Outbox>) -> Self {
        Self {
            publishes: Vec::new(),
            routes: HashSet::default(),
            held: Held::new(services, outbox),
            settlements: Vec::new(),
        }
    }

    /// How many publishes it holds.
    pub(super) fn publish_len(&self) -> usize {
        self.publishes.len()
    }

    /// How many deliveries its acknowledgements are about.
    pub(super) fn ack_len(&self) -> usize {
        let settlements = self.settlements.iter();
        settlements.map(|held| held.deliveries.len()).sum()
    }

    /// Keeps a publish until commit.
    ///
    /// # Errors
    /// When the transaction alone would keep the memory alarm from ever ending: its client could not be read from any
    /// more, so it could not commit either. RabbitMQ has no such limit, and leaves that client blocked.
    pub(super) fn hold(&mut self, publish: RoutedPublish) -> Result<(), Refusal> {
        let mut bytes = publish.message.size_bytes();
        if self.routes.insert(Arc::as_ptr(&publish.route) as usize) {
            bytes += publish.route.size_bytes();
        }
        // Each queue, and each exchange that keeps it, counts it once it has it.
        let places = publish.route.places().max(1);
        self.held.add(MemoryGauge::cost(places, bytes as u64));
        self.held.check()?;
        if self.held.is_too_much() {
            return Err(Refusal::precondition_failed(
                "the transaction holds more than the memory limit allows",
            ));
        }
        self.publishes.push(publish);
        Ok(())
    }
}

impl Session {
    pub(super) fn tx_select(&mut self, id: ChannelId, out: &mut Output) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        match channel.mode {
            Mode::Plain => {
                let Core { shared, outbox, .. } = &self.core;
                let transaction = Transaction::new(&shared.services, outbox);
                channel.mode = Mode::Transaction(transaction);
            }
            Mode::Transaction(_) => {}
            Mode::Confirm(_) => {
                return Err(Refusal::precondition_failed(
                    "cannot switch from confirm to tx mode",
                ));
            }
        }
        write_method(out.buffer(), id, &tx::SelectOk {});
        Ok(())
    }

    pub(super) fn tx_commit(
        &mut self,
        now: Time,
        id: ChannelId,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let transaction = self.take_transaction(id)?;
        let has_publishes = !transaction.publishes.is_empty();
        let vhost = self.vhost()?;
        // The queues count them from now on.
        drop(transaction.held);
        let mut safe_at = None;
        for mut held in transaction.publishes {
            // A queue may have been deleted since, and declared again.
            held.route = vhost.renew(held.route);
            // The number is only there to learn of a refusal.
            self.core.send(now, id, held, Some(0), out);
            let publisher = &mut self.core.publisher;
            if publisher.batch.is_heavy() {
                self.core.worked += publisher.batch.places_taken();
                safe_at = safe_at.max(publisher.hand_over(now));
            }
        }
        let publisher = &mut self.core.publisher;
        safe_at = safe_at.max(publisher.hand_over(now));
        publisher.tickets.clear();
        let was_refused = !publisher.refused.is_empty();
        publisher.refused.clear();
        if let Some(channel) = self.channels.get_mut(&id) {
            let mut has_durable = false;
            for held in transaction.settlements {
                let deliveries: Vec<_> = held
                    .deliveries
                    .iter()
                    .map(|(_, delivery)| *delivery)
                    .collect();
                has_durable |= channel.are_any_durable(&deliveries);
                if has_publishes {
                    channel.settle_behind_publishes(now, &deliveries, held.how);
                } else {
                    channel.settle(now, &deliveries, held.how);
                }
            }
            self.core.worked += channel.prefetch_opened(now);
            // Behind the publishes in the log, so that a crash never leaves the settlements without them.
            if has_durable && let Some(store) = &self.core.shared.services.store {
                safe_at = safe_at.max(Some(store.appended()));
            }
        }
        if was_refused {
            return Err(not_completed());
        }
        if !self.core.promises.add(safe_at, id, Promised::Commit) {
            write_method(out.buffer(), id, &tx::CommitOk {});
        }
        Ok(())
    }

    pub(super) fn tx_rollback(&mut self, id: ChannelId, out: &mut Output) -> Result<(), Refusal> {
        let transaction = self.take_transaction(id)?;
        if let Some(channel) = self.channels.get_mut(&id) {
            let deliveries = transaction
                .settlements
                .into_iter()
                .flat_map(|held| held.deliveries);
            channel.unacked.put_back(deliveries);
        }
        write_method(out.buffer(), id, &tx::RollbackOk {});
        Ok(())
    }

    /// Takes what the transaction holds; the next one begins at once.
    fn take_transaction(&mut self, id: ChannelId) -> Result<Transaction, Refusal> {
        match self.channels.get_mut(&id).map(|channel| &mut channel.mode) {
            Some(Mode::Transaction(transaction)) => {
                let Core { shared, outbox, .. } = &self.core;
                let next = Transaction::new(&shared.services, outbox);
                Ok(std::mem::replace(transaction, next))
            }
            _ => Err(Refusal::precondition_failed("channel is not transactional")),
        }
    }
}

fn not_completed() -> Refusal {
    Refusal::precondition_failed("partial tx completion")
}

/// What a commit comes to that the disk could not take.
pub(super) fn incomplete(channel: ChannelId) -> Failure {
    Failure {
        scope: channel,
        refusal: not_completed(),
        method: (tx::Commit::CLASS_ID, tx::Commit::METHOD_ID),
    }
}
