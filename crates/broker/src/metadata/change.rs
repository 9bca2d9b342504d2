//! A change as the store sees it: an entry of a table is set or goes.

use super::accounts;
use super::format::{self, Table};
use super::{BindingRecord, ExchangeRecord, QueueRecord, VhostKey};
use crate::access::{User, UserPermissions, UserTopicPermissions};
use crate::vhost::VhostLimits;

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
    pub(crate) fn remove_vhost(name: &str, vhost: VhostKey) -> [Self; 5] {
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
            all_of(Table::VhostLimits),
        ]
    }

    pub(crate) fn limit_vhost(vhost: VhostKey, limits: VhostLimits) -> Self {
        let key = format::vhost_prefix(vhost);
        Self::put(
            Table::VhostLimits,
            key,
            accounts::vhost_limits_value(limits),
        )
    }

    /// From now on it is the store that says which accounts there are, and be it none.
    pub(crate) fn accounts_begun() -> Self {
        Self::put(
            Table::Settings,
            accounts::BEGUN.into(),
            accounts::begun_value(),
        )
    }

    pub(crate) fn add_user(user: &User) -> Self {
        let key = user.name.as_bytes().into();
        Self::put(Table::Users, key, accounts::user_value(user))
    }

    /// What it takes to remove a user with all that it may do.
    pub(crate) fn remove_user(name: &str) -> [Self; 3] {
        let all_of = |table| Self {
            table,
            key: accounts::user_prefix(name),
            action: Action::RemoveAll,
        };
        [
            Self::remove_only_user(name),
            all_of(Table::Permissions),
            all_of(Table::TopicPermissions),
        ]
    }

    /// What the user may do stays.
    pub(crate) fn remove_only_user(name: &str) -> Self {
        Self::remove(Table::Users, name.as_bytes().into())
    }

    pub(crate) fn add_permissions(entry: &UserPermissions) -> Self {
        let key = accounts::permissions_key(&entry.user, &entry.vhost);
        let value = accounts::permissions_value(&entry.permissions);
        Self::put(Table::Permissions, key, value)
    }

    pub(crate) fn remove_permissions(user: &str, vhost: &str) -> Self {
        Self::remove(Table::Permissions, accounts::permissions_key(user, vhost))
    }

    pub(crate) fn add_topic_permissions(entry: &UserTopicPermissions) -> Self {
        let key = accounts::topic_permissions_key(&entry.user, &entry.vhost, &entry.exchange);
        let value = accounts::topic_permissions_value(&entry.permissions);
        Self::put(Table::TopicPermissions, key, value)
    }

    pub(crate) fn remove_topic_permissions(user: &str, vhost: &str, exchange: &str) -> Self {
        let key = accounts::topic_permissions_key(user, vhost, exchange);
        Self::remove(Table::TopicPermissions, key)
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
