//! Definitions as they are stored: what a client declared, and nothing that follows from it.

use std::sync::Arc;

use leveret_queue_store::QueueKey;

#[cfg(feature = "journal")]
use super::VhostKey;
use crate::access::Accounts;
use crate::arguments::Arguments;
#[cfg(feature = "journal")]
use crate::vhost::VhostLimits;

/// A durable exchange.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeRecord {
    pub(crate) name: Arc<str>,
    /// The name of its type on the wire.
    pub(crate) kind: Arc<str>,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    /// Under which its messages are kept, for a type that keeps some.
    pub(crate) key: Option<QueueKey>,
    pub(crate) arguments: Arguments,
}

/// A durable queue. It is not exclusive: those go with their connection.
#[derive(Clone, Debug)]
pub(crate) struct QueueRecord {
    pub(crate) name: Arc<str>,
    pub(crate) auto_delete: bool,
    /// Under which its messages are kept.
    pub(crate) key: QueueKey,
    pub(crate) arguments: Arguments,
}

/// A binding between durable things.
#[derive(Clone, Debug)]
pub(crate) struct BindingRecord {
    pub(crate) source: Arc<str>,
    /// A queue's name, or an exchange's.
    pub(crate) destination: Arc<str>,
    pub(crate) to_exchange: bool,
    pub(crate) routing_key: Arc<str>,
    pub(crate) arguments: Arguments,
}

#[cfg(feature = "journal")]
/// Everything in a store, each kind in no particular order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definitions {
    pub(crate) vhosts: Vec<(Arc<str>, VhostKey)>,
    pub(crate) exchanges: Vec<(VhostKey, ExchangeRecord)>,
    pub(crate) queues: Vec<(VhostKey, QueueRecord)>,
    pub(crate) bindings: Vec<(VhostKey, BindingRecord)>,
    pub(crate) vhost_limits: Vec<(VhostKey, VhostLimits)>,
    pub(crate) accounts: StoredAccounts,
}

/// The accounts in a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredAccounts {
    /// Accounts have been stored before, and be it none.
    pub(crate) begun: bool,
    pub(crate) accounts: Accounts,
}
