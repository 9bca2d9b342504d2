//! What the accounts of a broker begin with.

use std::sync::Arc;

use super::accounts::{AccountChange, Accounts};
use super::error::AccountError;
use super::fixed::Fixed;
use super::table::Access;
use crate::metadata::{Change, Metadata, StoredAccounts};

impl Access {
    /// Accounts that can be changed and are not stored.
    ///
    /// # Errors
    /// For permissions of a user that is not among the users, or for a virtual host that does not exist.
    pub(crate) fn new(
        accounts: Accounts,
        vhost_exists: impl Fn(&str) -> bool,
    ) -> Result<Self, AccountError> {
        let access = Self::default();
        access.begin(accounts, vhost_exists)?;
        Ok(access)
    }

    /// Accounts that are stored where there is a store: those that are stored, or `first` where none ever were, and the
    /// fixed ones, which go before both and cannot be changed.
    ///
    /// Stored permissions of users who are neither stored nor fixed are passed over and stay stored: such a user was fixed
    /// once, and may be again.
    ///
    /// # Errors
    /// As [`Access::new`], of the fixed ones and `first`.
    pub(crate) fn kept(
        fixed: Accounts,
        first: Accounts,
        stored: Option<StoredAccounts>,
        vhost_exists: impl Fn(&str) -> bool,
    ) -> Result<Self, AccountError> {
        let mut access = Self::default();
        let mut changes = Vec::new();
        // What is not fixed may be about users who are.
        for user in fixed.users.iter().cloned() {
            access.apply(AccountChange::PutUser(user))?;
        }
        match stored.filter(|stored| stored.begun) {
            None => {
                let first = first.without(&fixed);
                changes.push(Change::accounts_begun());
                changes.extend(put_all(&first));
                access.begin(first, &vhost_exists)?;
            }
            Some(stored) => {
                let stored = stored.accounts;
                changes.extend(remove_fixed(&stored, &fixed));
                access.begin_stored(stored.without(&fixed), &vhost_exists);
            }
        }
        let names = Fixed::of(&fixed);
        access.begin(fixed, &vhost_exists)?;
        access.fixed = names;
        access.unrecorded = changes;
        access.is_kept = true;
        Ok(access)
    }

    /// From now on changes are stored, if they are to be.
    pub(crate) fn record_to(mut self, metadata: &Arc<Metadata>) -> Self {
        let changes = std::mem::take(&mut self.unrecorded);
        if self.is_kept {
            metadata.record(changes);
            self.metadata = Some(Arc::clone(metadata));
        }
        self
    }

    fn begin(
        &self,
        accounts: Accounts,
        vhost_exists: impl Fn(&str) -> bool,
    ) -> Result<(), AccountError> {
        for change in accounts.into_changes() {
            if let Some(vhost) = change.required_vhost()
                && !vhost_exists(vhost)
            {
                return Err(AccountError::no_vhost(vhost));
            }
            self.apply(change)?;
        }
        Ok(())
    }

    fn begin_stored(&self, stored: Accounts, vhost_exists: impl Fn(&str) -> bool) {
        for change in stored.into_changes() {
            if change
                .required_vhost()
                .is_some_and(|name| !vhost_exists(name))
            {
                continue;
            }
            if let Err(problem) = self.apply(change) {
                tracing::debug!(%problem, "a stored permission is passed over");
            }
        }
    }
}

impl Accounts {
    /// What makes them, users first.
    fn into_changes(self) -> impl Iterator<Item = AccountChange> {
        let Self {
            users,
            permissions,
            topic_permissions,
        } = self;
        let topics = topic_permissions.into_iter();
        users
            .into_iter()
            .map(AccountChange::PutUser)
            .chain(permissions.into_iter().map(AccountChange::SetPermissions))
            .chain(topics.map(AccountChange::SetTopicPermissions))
    }
}

fn put_all(accounts: &Accounts) -> impl Iterator<Item = Change> {
    let permissions = accounts.permissions.iter();
    let topics = accounts.topic_permissions.iter();
    accounts
        .users
        .iter()
        .map(Change::add_user)
        .chain(permissions.map(Change::add_permissions))
        .chain(topics.map(Change::add_topic_permissions))
}

/// Takes out of the store what is fixed from now on, so that it does not come back when it no longer is.
fn remove_fixed(stored: &Accounts, fixed: &Accounts) -> Vec<Change> {
    let mut changes = Vec::new();
    for user in &fixed.users {
        if stored.users.iter().any(|stored| stored.name == user.name) {
            tracing::warn!(
                user = &*user.name,
                "what is stored of this user gives way to what is configured"
            );
            changes.push(Change::remove_only_user(&user.name));
        }
    }
    for entry in &fixed.permissions {
        if stored
            .permissions
            .iter()
            .any(|stored| stored.key() == entry.key())
        {
            changes.push(Change::remove_permissions(&entry.user, &entry.vhost));
        }
    }
    for entry in &fixed.topic_permissions {
        let mut topics = stored.topic_permissions.iter();
        if topics.any(|stored| stored.key() == entry.key()) {
            changes.push(Change::remove_topic_permissions(
                &entry.user,
                &entry.vhost,
                &entry.exchange,
            ));
        }
    }
    changes
}
