//! Changing the accounts of a running broker.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::accounts::{AccountChange, UserPermissions, UserTopicPermissions};
use super::error::AccountError;
use super::table::{Access, Account, Orphans};
use super::user::User;
use crate::metadata::Change;

type Accounts = BTreeMap<Arc<str>, Account>;

impl Access {
    /// Makes a change and has it stored, where accounts are; the virtual host that it names exists. What it leaves behind
    /// is to be closed once no lock is held.
    ///
    /// # Errors
    /// When there is no such user, or one already that is to be added; for what is fixed; and when the change could not be
    /// stored. Nothing has changed then.
    pub(crate) fn apply(&self, change: AccountChange) -> Result<Option<Orphans>, AccountError> {
        self.fixed.check(&change)?;
        self.check_recordable()?;
        let mut accounts = self.accounts.write();
        let mut orphans = None;
        let mut records = Vec::new();
        match change {
            AccountChange::AddUser(user) => {
                if accounts.contains_key(&user.name) {
                    return Err(AccountError::UserExists(user.name));
                }
                put_user(&mut accounts, user, &mut records);
            }
            AccountChange::PutUser(user) => put_user(&mut accounts, user, &mut records),
            AccountChange::SetPassword { user, hash } => {
                change_user(&mut accounts, &user, &mut records, |user| {
                    user.password_hash = hash;
                })?;
            }
            AccountChange::SetTags { user, tags } => {
                change_user(&mut accounts, &user, &mut records, |user| user.tags = tags)?;
            }
            AccountChange::SetUserLimits { user, limits } => {
                change_user(&mut accounts, &user, &mut records, |user| {
                    user.limits = limits;
                })?;
            }
            AccountChange::DeleteUser { name } => {
                let removed = accounts.remove(&name);
                let account = removed.ok_or_else(|| AccountError::NoUser(Arc::clone(&name)))?;
                records.extend(Change::remove_user(&name));
                let connections = account.connections.iter();
                orphans = Some(Orphans {
                    user: name,
                    connections: connections.filter_map(Weak::upgrade).collect(),
                });
            }
            AccountChange::SetPermissions(entry) => {
                let account = find(&mut accounts, &entry.user)?;
                records.push(Change::add_permissions(&entry));
                let UserPermissions {
                    vhost, permissions, ..
                } = entry;
                account.permissions.insert(vhost, Arc::new(permissions));
            }
            AccountChange::ClearPermissions { user, vhost } => {
                find(&mut accounts, &user)?.permissions.remove(&vhost);
                records.push(Change::remove_permissions(&user, &vhost));
            }
            AccountChange::SetTopicPermissions(entry) => {
                let account = find(&mut accounts, &entry.user)?;
                records.push(Change::add_topic_permissions(&entry));
                let UserTopicPermissions {
                    vhost,
                    exchange,
                    permissions,
                    ..
                } = entry;
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
                    let stays =
                        *of != vhost || exchange.as_ref().is_some_and(|exchange| at != exchange);
                    if !stays {
                        records.push(Change::remove_topic_permissions(&user, of, at));
                    }
                    stays
                });
            }
        }
        // Under the lock: the order of what is stored is the order of the changes.
        self.record(records);
        self.generation.fetch_add(1, Ordering::Release);
        Ok(orphans)
    }

    /// Removes all permissions for a virtual host that is no more, so that another of its name begins with none.
    pub(crate) fn forget_vhost(&self, vhost: &str) {
        let mut accounts = self.accounts.write();
        let mut records = Vec::new();
        for (name, account) in accounts.iter_mut() {
            if account.permissions.remove(vhost).is_some() {
                records.push(Change::remove_permissions(name, vhost));
            }
            account.topic_permissions.retain(|(of, exchange), _| {
                let stays = **of != *vhost;
                if !stays {
                    records.push(Change::remove_topic_permissions(name, of, exchange));
                }
                stays
            });
        }
        self.record(records);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// # Errors
    /// When accounts are stored, and the store cannot be written any more.
    fn check_recordable(&self) -> Result<(), AccountError> {
        let metadata = self.metadata.as_ref();
        metadata
            .map_or(Ok(()), |metadata| metadata.check())
            .map_err(AccountError::NotStored)
    }

    fn record(&self, changes: Vec<Change>) {
        if let Some(metadata) = &self.metadata {
            metadata.record(changes);
        }
    }
}

fn put_user(accounts: &mut Accounts, user: User, records: &mut Vec<Change>) {
    match accounts.get_mut(&user.name) {
        Some(account) => {
            records.push(Change::add_user(&user));
            account.set_user(user);
        }
        None => {
            // What is stored of another one of this name, who was once fixed, is not this one's.
            records.extend(Change::remove_user(&user.name));
            records.push(Change::add_user(&user));
            accounts.insert(Arc::clone(&user.name), Account::new(user));
        }
    }
}

fn change_user(
    accounts: &mut Accounts,
    name: &Arc<str>,
    records: &mut Vec<Change>,
    change: impl FnOnce(&mut User),
) -> Result<(), AccountError> {
    let account = find(accounts, name)?;
    let mut user = account.user.clone();
    change(&mut user);
    records.push(Change::add_user(&user));
    account.set_user(user);
    Ok(())
}

fn find<'a>(accounts: &'a mut Accounts, name: &Arc<str>) -> Result<&'a mut Account, AccountError> {
    accounts
        .get_mut(name)
        .ok_or_else(|| AccountError::NoUser(Arc::clone(name)))
}
