//! The accounts of a running broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_amqp_codec::ReplyCode;
use parking_lot::RwLock;

use super::accounts::{AccountChange, Accounts, UserPermissions, UserTopicPermissions};
use super::grants::{Grants, Held};
use super::permissions::{Permissions, TopicPermissions};
use super::user::{Tag, User};
use crate::error::Refusal;
use crate::outbox::{Outbox, Outgoing};

/// Users and permissions, and who is connected as whom.
///
/// Every change goes through [`Access::apply`]. After each one the generation is raised, which makes [`Grants`] ask
/// again. Its lock may be taken under all others but those of outboxes, and nothing is locked or woken under it.
#[derive(Debug)]
pub(crate) struct Access {
    accounts: RwLock<BTreeMap<Arc<str>, Account>>,
    generation: AtomicU64,
}

/// A user with all that belongs to it.
#[derive(Debug)]
struct Account {
    user: User,
    /// By virtual host.
    permissions: BTreeMap<Arc<str>, Arc<Permissions>>,
    /// By virtual host and exchange.
    topic_permissions: BTreeMap<(Arc<str>, Arc<str>), TopicPermissions>,
    /// Its connections, to be closed when it is deleted.
    connections: Vec<Weak<Outbox>>,
}

impl Account {
    fn new(user: User) -> Self {
        Self {
            user,
            permissions: BTreeMap::new(),
            topic_permissions: BTreeMap::new(),
            connections: Vec::new(),
        }
    }
}

/// The connections of a user that is no more.
#[derive(Debug)]
pub(crate) struct Orphans {
    user: Arc<str>,
    connections: Vec<Arc<Outbox>>,
}

impl Orphans {
    /// Asks them to close; not to be called under a lock.
    pub(crate) fn close(self) {
        for outbox in self.connections {
            let close = Outgoing::Close {
                code: ReplyCode::ConnectionForced,
                text: format!("user '{}' is deleted", self.user),
            };
            if let Some(waker) = outbox.push([close]) {
                waker.wake();
            }
        }
    }
}

impl Access {
    /// # Errors
    /// 404 for permissions of a user that is not among the users, or for a virtual host that does not exist.
    pub(crate) fn new(
        accounts: Accounts,
        vhost_exists: impl Fn(&str) -> bool,
    ) -> Result<Self, Refusal> {
        let access = Self {
            accounts: RwLock::default(),
            generation: AtomicU64::new(0),
        };
        let Accounts {
            users,
            permissions,
            topic_permissions,
        } = accounts;
        let changes = users.into_iter().map(AccountChange::PutUser);
        let changes = changes.chain(permissions.into_iter().map(AccountChange::SetPermissions));
        let topics = topic_permissions
            .into_iter()
            .map(AccountChange::SetTopicPermissions);
        for change in changes.chain(topics) {
            if let Some(vhost) = change.required_vhost()
                && !vhost_exists(vhost)
            {
                return Err(no_vhost(vhost));
            }
            access.apply(change)?;
        }
        Ok(access)
    }

    /// Makes a change; the virtual host that it names exists. What it leaves behind is to be closed once no lock is held.
    ///
    /// # Errors
    /// 404 when there is no such user; nothing has changed then.
    pub(crate) fn apply(&self, change: AccountChange) -> Result<Option<Orphans>, Refusal> {
        let mut accounts = self.accounts.write();
        let mut orphans = None;
        match change {
            AccountChange::PutUser(user) => match accounts.get_mut(&user.name) {
                Some(account) => account.user = user,
                None => {
                    accounts.insert(Arc::clone(&user.name), Account::new(user));
                }
            },
            AccountChange::DeleteUser { name } => {
                let account = accounts.remove(&name).ok_or_else(|| no_user(&name))?;
                let connections = account.connections.iter();
                orphans = Some(Orphans {
                    user: name,
                    connections: connections.filter_map(Weak::upgrade).collect(),
                });
            }
            AccountChange::SetPermissions(UserPermissions {
                user,
                vhost,
                permissions,
            }) => {
                let account = find(&mut accounts, &user)?;
                account.permissions.insert(vhost, Arc::new(permissions));
            }
            AccountChange::ClearPermissions { user, vhost } => {
                find(&mut accounts, &user)?.permissions.remove(&vhost);
            }
            AccountChange::SetTopicPermissions(UserTopicPermissions {
                user,
                vhost,
                exchange,
                permissions,
            }) => {
                let account = find(&mut accounts, &user)?;
                let key = (vhost, exchange);
                account.topic_permissions.insert(key, permissions);
            }
            AccountChange::ClearTopicPermissions {
                user,
                vhost,
                exchange,
            } => {
                let account = find(&mut accounts, &user)?;
                account.topic_permissions.retain(|(of, at), _| {
                    *of != vhost || exchange.as_ref().is_some_and(|exchange| at != exchange)
                });
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
        Ok(orphans)
    }

    /// Removes all permissions for a virtual host that is no more, so that another of its name begins with none.
    pub(crate) fn forget_vhost(&self, vhost: &str) {
        let mut accounts = self.accounts.write();
        for account in accounts.values_mut() {
            account.permissions.remove(vhost);
            account
                .topic_permissions
                .retain(|(of, _), _| **of != *vhost);
        }
        self.generation.fetch_add(1, Ordering::Release);
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

    /// Lets a connection of a user into a virtual host; it will be asked to close when the user is deleted. None when
    /// the user has no permissions there, not even empty ones.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &Arc<str>,
        vhost: &Arc<str>,
        outbox: &Arc<Outbox>,
    ) -> Option<Grants> {
        let mut accounts = self.accounts.write();
        let account = accounts.get_mut(user)?;
        if !account.permissions.contains_key(vhost) {
            return None;
        }
        if account.connections.len() == account.connections.capacity() {
            account
                .connections
                .retain(|outbox| outbox.strong_count() > 0);
        }
        account.connections.push(Arc::downgrade(outbox));
        Some(Grants::new(
            Arc::clone(self),
            Arc::clone(user),
            Arc::clone(vhost),
        ))
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

fn find<'a>(
    accounts: &'a mut BTreeMap<Arc<str>, Account>,
    name: &str,
) -> Result<&'a mut Account, Refusal> {
    accounts.get_mut(name).ok_or_else(|| no_user(name))
}

/// The words for a virtual host that a change needs and that is not there.
pub(crate) fn no_vhost(name: &str) -> Refusal {
    Refusal::not_found(format!("vhost {name} not found"))
}

fn no_user(name: &str) -> Refusal {
    Refusal::not_found(format!("no user '{name}'"))
}
