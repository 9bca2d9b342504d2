//! A change as the store sees it: an entry of a table is set or goes.

use super::format::{self, Table};
use super::{BindingRecord, ExchangeRecord, QueueRecord, VhostKey};

/// One thing to do to the store. Encoded where it happens, so that it holds nothing of the topology and two threads never
/// look at one definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(super) table: Table,
    pub(super) key: Box<[u8]>,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The entry gets this value, whether it was there or not.
    Put(Box<[u8]>),
    /// The entry goes; it may be gone already.
    Remove,
    /// All entries go whose keys begin with this key.
    RemoveAll,
}

impl Change {
    /// It defines something that can hold messages: a queue or an exchange, which may be a delayed one.
    pub(super) fn defines_holder(&self) -> bool {
        matches!(self.table, Table::Queues | Table::Exchanges)
            && matches!(self.action, Action::Put(_))
    }

    pub(crate) fn add_vhost(name: &str, vhost: VhostKey) -> Self {
        Self::put(
            Table::Vhosts,
            name.as_bytes().into(),
            format::vhost_value(vhost),
        )
    }

    /// What it takes to remove a virtual host with all that is in it.
    pub(crate) fn remove_vhost(name: &str, vhost: VhostKey) -> [Self; 4] {
        let all_of = |table| Self {
            table,
            key: format::vhost_prefix(vhost),
            action: Action::RemoveAll,
        };
        [
            Self::remove(Table::Vhosts, name.as_bytes().into()),
            all_of(Table::Exchanges),
            all_of(Table::Queues),
            all_of(Table::Bindings),
        ]
    }

    pub(crate) fn add_exchange(vhost: VhostKey, exchange: &ExchangeRecord) -> Self {
        let key = format::named_key(vhost, &exchange.name);
        Self::put(Table::Exchanges, key, format::exchange_value(exchange))
    }

    pub(crate) fn remove_exchange(vhost: VhostKey, name: &str) -> Self {
        Self::remove(Table::Exchanges, format::named_key(vhost, name))
    }

    pub(crate) fn add_queue(vhost: VhostKey, queue: &QueueRecord) -> Self {
        let key = format::named_key(vhost, &queue.name);
        Self::put(Table::Queues, key, format::queue_value(queue))
    }

    pub(crate) fn remove_queue(vhost: VhostKey, name: &str) -> Self {
        Self::remove(Table::Queues, format::named_key(vhost, name))
    }

    /// All bindings that lead to this queue go.
    pub(crate) fn remove_bindings_to_queue(vhost: VhostKey, name: &str) -> Self {
        Self {
            table: Table::Bindings,
            key: format::bindings_to(vhost, false, name).into(),
            action: Action::RemoveAll,
        }
    }

    /// All bindings that lead to this exchange go.
    pub(crate) fn remove_bindings_to_exchange(vhost: VhostKey, name: &str) -> Self {
        Self {
            table: Table::Bindings,
            key: format::bindings_to(vhost, true, name).into(),
            action: Action::RemoveAll,
        }
    }

    pub(crate) fn add_binding(vhost: VhostKey, binding: &BindingRecord) -> Self {
        Self::put(
            Table::Bindings,
            format::binding_key(vhost, binding),
            format::binding_value(binding),
        )
    }

    pub(crate) fn remove_binding(vhost: VhostKey, binding: &BindingRecord) -> Self {
        Self::remove(Table::Bindings, format::binding_key(vhost, binding))
    }

    fn put(table: Table, key: Box<[u8]>, value: Box<[u8]>) -> Self {
        Self {
            table,
            key,
            action: Action::Put(value),
        }
    }

    fn remove(table: Table, key: Box<[u8]>) -> Self {
        Self {
            table,
            key,
            action: Action::Remove,
        }
    }
}
