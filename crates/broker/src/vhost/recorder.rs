//! Notes what the store must know of a topology's changes.

use std::sync::Arc;

use super::queue::QueueDefinition;
use super::topology::Exchange;
use crate::metadata::{BindingRecord, Change, ExchangeRecord, QueueRecord, VhostKey};

/// What has been done to durable things and not been recorded yet. Costs nothing where there is no store.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// None without a store, before the predeclared exchanges are there, and once the virtual host is deleted.
    vhost: Option<VhostKey>,
    changes: Vec<Change>,
}

impl Recorder {
    pub(super) fn start(&mut self, vhost: VhostKey) {
        self.vhost = Some(vhost);
    }

    pub(super) fn stop(&mut self) {
        self.vhost = None;
        self.changes.clear();
    }

    pub(super) fn is_on(&self) -> bool {
        self.vhost.is_some()
    }

    pub(super) fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn exchange_added(&mut self, exchange: &Exchange) {
        let Some(vhost) = self.vhost.filter(|_| exchange.durable) else {
            return;
        };
        let record = ExchangeRecord {
            name: Arc::clone(&exchange.name),
            kind: Arc::from(exchange.kind.name()),
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            key: exchange.key,
            arguments: exchange.arguments.clone(),
        };
        self.changes.push(Change::add_exchange(vhost, &record));
    }

    /// An exchange has gone; its outgoing bindings are told of one by one.
    pub(super) fn exchange_removed(&mut self, exchange: &Exchange) {
        if let Some(vhost) = self.vhost.filter(|_| exchange.durable) {
            let changes = [
                Change::remove_exchange(vhost, &exchange.name),
                Change::remove_bindings_to_exchange(vhost, &exchange.name),
            ];
            self.changes.extend(changes);
        }
    }

    pub(super) fn queue_added(&mut self, queue: &QueueDefinition) {
        let (Some(vhost), Some(key)) = (self.vhost, queue.key) else {
            return;
        };
        let record = QueueRecord {
            name: Arc::clone(&queue.name),
            auto_delete: queue.auto_delete,
            key,
            arguments: queue.arguments.clone(),
        };
        self.changes.push(Change::add_queue(vhost, &record));
    }

    /// A queue has gone, and the bindings that led to it.
    pub(super) fn queue_removed(&mut self, queue: &QueueDefinition) {
        if let Some(vhost) = self.vhost.filter(|_| queue.key.is_some()) {
            let changes = [
                Change::remove_queue(vhost, &queue.name),
                Change::remove_bindings_to_queue(vhost, &queue.name),
            ];
            self.changes.extend(changes);
        }
    }

    /// A binding between durable things was made.
    pub(super) fn binding_added(&mut self, binding: &BindingRecord) {
        if let Some(vhost) = self.vhost {
            self.changes.push(Change::add_binding(vhost, binding));
        }
    }

    /// A binding between durable things has gone.
    pub(super) fn binding_removed(&mut self, binding: &BindingRecord) {
        if let Some(vhost) = self.vhost {
            self.changes.push(Change::remove_binding(vhost, binding));
        }
    }
}
