//! What of the accounts stays as it was at the start.

use std::collections::HashSet;
use std::sync::Arc;

use super::accounts::{AccountChange, Accounts};
use super::error::AccountError;

/// The names of what the embedding program decides alone: users, and permissions by what they are for.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    users: HashSet<Arc<str>>,
    permissions: HashSet<(Arc<str>, Arc<str>)>,
    topics: HashSet<(Arc<str>, Arc<str>, Arc<str>)>,
}

impl Fixed {
    pub(super) fn of(accounts: &Accounts) -> Self {
        let Accounts {
            users,
            permissions,
            topic_permissions,
        } = accounts;
        let permissions = permissions.iter();
        let topics = topic_permissions.iter();
        Self {
            users: users.iter().map(|user| Arc::clone(&user.name)).collect(),
            permissions: permissions
                .map(|entry| (Arc::clone(&entry.user), Arc::clone(&entry.vhost)))
                .collect(),
            topics: topics
                .map(|entry| {
                    let (user, vhost) = (Arc::clone(&entry.user), Arc::clone(&entry.vhost));
                    (user, vhost, Arc::clone(&entry.exchange))
                })
                .collect(),
        }
    }

    pub(super) fn has_user(&self, name: &str) -> bool {
        self.users.contains(name)
    }

    /// # Errors
    /// When the change would change something of it.
    pub(super) fn check(&self, change: &AccountChange) -> Result<(), AccountError> {
        let fixed = match change {
            // It exists, which is the better answer.
            AccountChange::AddUser(_) => None,
            AccountChange::PutUser(user) => self.user(&user.name),
            AccountChange::SetPassword { user, .. }
            | AccountChange::SetTags { user, .. }
            | AccountChange::SetUserLimits { user, .. }
            | AccountChange::DeleteUser { name: user } => self.user(user),
            AccountChange::SetPermissions(entry) => self.permissions(&entry.user, &entry.vhost),
            AccountChange::ClearPermissions { user, vhost } => self.permissions(user, vhost),
            AccountChange::SetTopicPermissions(entry) => {
                self.topics(&entry.user, &entry.vhost, Some(&entry.exchange))
            }
            AccountChange::ClearTopicPermissions {
                user,
                vhost,
                exchange,
            } => self.topics(user, vhost, exchange.as_ref()),
        };
        fixed.map_or(Ok(()), |what| Err(AccountError::Fixed(what)))
    }

    fn user(&self, name: &str) -> Option<String> {
        self.users
            .contains(name)
            .then(|| format!("user '{name}', which is configured,"))
    }

    fn permissions(&self, user: &Arc<str>, vhost: &Arc<str>) -> Option<String> {
        let key = (Arc::clone(user), Arc::clone(vhost));
        self.permissions.contains(&key).then(|| {
            format!("the permissions of user '{user}' in vhost '{vhost}', which are configured,")
        })
    }

    /// Without an exchange, for any of the virtual host.
    fn topics(
        &self,
        user: &Arc<str>,
        vhost: &Arc<str>,
        exchange: Option<&Arc<str>>,
    ) -> Option<String> {
        let concerns = |(of, at, name): &&(Arc<str>, Arc<str>, Arc<str>)| {
            of == user && at == vhost && exchange.is_none_or(|exchange| exchange == name)
        };
        let (_, _, name) = self.topics.iter().find(concerns)?;
        Some(format!(
            "the topic permissions of user '{user}' for exchange '{name}' in vhost '{vhost}', which are configured,"
        ))
    }
}
