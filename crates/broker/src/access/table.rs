//! The accounts of a running broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_amqp_codec::ReplyCode;
use parking_lot::RwLock;

use super::accounts::{Accounts, UserPermissions, UserTopicPermissions};
use super::fixed::Fixed;
use super::grants::{Grants, Held};
use super::permissions::{Permissions, TopicPermissions};
use super::user::{Tag, User};
use super::words;
use crate::allowances::Allowances;
use crate::error::Refusal;
use crate::metadata::{Change, Metadata};
use crate::outbox::Outbox;
use crate::quota::{Quota, Reached, Seat};

/// Users and permissions, and who is connected as whom.
///
/// Every change goes through [`Access::apply`]. After each one the generation is raised, which makes [`Grants`] ask
/// again. Its lock may be taken under all others but those of outboxes, and nothing is locked or woken under it.
#[derive(Debug, Default)]
pub(crate) struct Access {
    pub(super) accounts: RwLock<BTreeMap<Arc<str>, Account>>,
    pub(super) generation: AtomicU64,
    pub(super) fixed: Fixed,
    /// Changes are to be stored, where there is a store.
    pub(super) is_kept: bool,
    /// Where changes are stored, once there is one.
    pub(super) metadata: Option<Arc<Metadata>>,
    /// What has to be stored as soon as there is.
    pub(super) unrecorded: Vec<Change>,
    /// What users may have of whom nothing else is said.
    connections_max: u32,
    channels_max: u32,
}

/// A user with all that belongs to it.
#[derive(Debug)]
pub(super) struct Account {
    /// Changed by [`Account::set_user`].
    pub(super) user: User,
    /// By virtual host.
    pub(super) permissions: BTreeMap<Arc<str>, Arc<Permissions>>,
    /// By virtual host and exchange.
    pub(super) topic_permissions: BTreeMap<(Arc<str>, Arc<str>), TopicPermissions>,
    /// Its connections, to be closed when it is deleted.
    pub(super) connections: Vec<Weak<Outbox>>,
    usage: Usage,
}

/// How much a user has, of what is limited.
#[derive(Clone, Debug)]
struct Usage {
    connections: Arc<Quota>,
    channels: Arc<Quota>,
}

impl Account {
    pub(super) fn new(user: User) -> Self {
        let usage = Usage {
            connections: Arc::new(Quota::new(user.limits.connections_max)),
            channels: Arc::new(Quota::new(user.limits.channels_max)),
        };
        Self {
            user,
            permissions: BTreeMap::new(),
            topic_permissions: BTreeMap::new(),
            connections: Vec::new(),
            usage,
        }
    }

    pub(super) fn set_user(&mut self, user: User) {
        self.usage.connections.set_max(user.limits.connections_max);
        self.usage.channels.set_max(user.limits.channels_max);
        self.user = user;
    }

    fn follow(&mut self, outbox: &Arc<Outbox>) {
        if self.connections.len() == self.connections.capacity() {
            self.connections.retain(|outbox| outbox.strong_count() > 0);
        }
        self.connections.push(Arc::downgrade(outbox));
    }
}

/// The connections of a user that is no more.
#[derive(Debug)]
pub(crate) struct Orphans {
    pub(super) user: Arc<str>,
    pub(super) connections: Vec<Arc<Outbox>>,
}

impl Orphans {
    /// Asks them to close; not to be called under a lock.
    pub(crate) fn close(self) {
        for outbox in self.connections {
            let text = format!("user '{}' is deleted", self.user);
            outbox.ask_to_close(ReplyCode::ConnectionForced, text);
        }
    }
}

impl Access {
    /// What users may have who have no limit of their own; nothing before this is called.
    pub(crate) fn limited_by(mut self, allowances: &Allowances, connections_max: usize) -> Self {
        self.connections_max = allowances.connections_per_user(connections_max);
        self.channels_max = allowances.channels_per_user;
        self
    }

    /// The user of this name.
    pub(crate) fn user(&self, name: &str) -> Option<User> {
        Some(self.accounts.read().get(name)?.user.clone())
    }

    /// Everything, sorted.
    pub(crate) fn list(&self) -> Accounts {
        let accounts = self.accounts.read();
        let mut list = Accounts::default();
        for (name, account) in accounts.iter() {
            list.users.push(account.user.clone());
            let permissions = account.permissions.iter();
            list.permissions
                .extend(permissions.map(|(vhost, permissions)| UserPermissions {
                    user: Arc::clone(name),
                    vhost: Arc::clone(vhost),
                    permissions: Permissions::clone(permissions),
                }));
            let topics = account.topic_permissions.iter();
            list.topic_permissions
                .extend(
                    topics.map(|((vhost, exchange), permissions)| UserTopicPermissions {
                        user: Arc::clone(name),
                        vhost: Arc::clone(vhost),
                        exchange: Arc::clone(exchange),
                        permissions: permissions.clone(),
                    }),
                );
        }
        list
    }

    /// Whether a user is as it was configured, and stays so.
    pub(crate) fn is_fixed_user(&self, name: &str) -> bool {
        self.fixed.has_user(name)
    }

    /// Lets a connection of a user into a virtual host; it will be asked to close when the user is deleted.
    ///
    /// # Errors
    /// 530 when the user has as many connections as it may have, or no permissions there, not even empty ones.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &Arc<str>,
        vhost: &Arc<str>,
        outbox: &Arc<Outbox>,
    ) -> Result<Grants, Refusal> {
        let refused = || words::no_access_to_vhost(vhost, user);
        let mut accounts = self.accounts.write();
        let account = accounts.get_mut(user).ok_or_else(refused)?;
        let seat = self.seat(account)?;
        if !account.permissions.contains_key(vhost) {
            return Err(refused());
        }
        account.follow(outbox);
        Ok(Grants::new(
            Arc::clone(self),
            Arc::clone(user),
            Arc::clone(vhost),
            seat,
        ))
    }

    /// Counts a connection of a user of whose rights somebody else knows, if it has an account. It will be asked to close
    /// when that is deleted.
    ///
    /// # Errors
    /// 530 when the user has as many connections as it may have.
    pub(crate) fn count(&self, user: &str, outbox: &Arc<Outbox>) -> Result<Option<Seat>, Refusal> {
        let mut accounts = self.accounts.write();
        let Some(account) = accounts.get_mut(user) else {
            return Ok(None);
        };
        let seat = self.seat(account)?;
        account.follow(outbox);
        Ok(Some(seat))
    }

    fn seat(&self, account: &Account) -> Result<Seat, Refusal> {
        let seat = account.usage.connections.enter(self.connections_max);
        seat.map_err(|Reached(limit)| {
            Refusal::not_allowed(format!(
                "connection refused for user '{}': user connection limit ({limit}) is reached",
                account.user.name
            ))
        })
    }

    /// Has an outbox told when the user is deleted.
    pub(super) fn follow(&self, user: &str, outbox: &Arc<Outbox>) {
        if let Some(account) = self.accounts.write().get_mut(user) {
            account.follow(outbox);
        }
    }

    /// Room for one more channel of a user, for as long as the seat is held. None when the user is gone.
    ///
    /// # Errors
    /// 530 when the user has as many as it may have.
    pub(super) fn open_channel(&self, user: &str) -> Result<Option<Seat>, Refusal> {
        let channels = {
            let accounts = self.accounts.read();
            accounts
                .get(user)
                .map(|account| Arc::clone(&account.usage.channels))
        };
        let seat = channels
            .map(|channels| channels.enter(self.channels_max))
            .transpose();
        seat.map_err(|Reached(limit)| {
            Refusal::not_allowed(format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
            ))
        })
    }

    /// Changes with every change to the accounts.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What a user may do in a virtual host at this moment.
    pub(super) fn held(&self, user: &str, vhost: &str) -> Held {
        let accounts = self.accounts.read();
        let Some(account) = accounts.get(user) else {
            return Held::default();
        };
        let topics = account.topic_permissions.iter();
        let topics: HashMap<_, _, _> = topics
            .filter(|((of, _), _)| **of == *vhost)
            .map(|((_, exchange), permissions)| (Arc::clone(exchange), permissions.clone().into()))
            .collect();
        Held {
            permissions: account.permissions.get(vhost).cloned(),
            topics,
            is_impersonator: account.user.tags.contains(&Tag::Impersonator),
        }
    }
}
