//! Users and permissions as data: what a broker starts with, what it can be asked for, and how it is changed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::permissions::{Permissions, TopicPermissions};
use super::user::{PasswordHash, Tag, User, UserLimits};

/// All users of a broker with all that they may do.
///
/// A broker that is given accounts ([`Builder::accounts`](crate::Builder::accounts)) lets its users into those virtual
/// hosts alone for which they have permissions, and checks every operation of theirs. A broker without accounts lets
/// everybody who can log in do everything.
///
/// ```
/// use leveret_broker::{Accounts, Broker, Permissions, User, UserTable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let accounts = Accounts::default()
///     .with_user(User::new("shop"), "/", Permissions::everything())
///     .with_user(User::new("mailer"), "/", Permissions::new("", "", "^mails$")?);
/// let broker = Broker::builder()
///     .authenticator(UserTable::new().with_user("shop", "7hg2").with_user("mailer", "k0x9"))
///     .accounts(accounts)
///     .start()
///     .await?;
/// assert_eq!(broker.accounts().map(|accounts| accounts.users.len()), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// The users, each name once.
    pub users: Vec<User>,
    /// At most one entry for each user and virtual host; without one, the user may not open it.
    pub permissions: Vec<UserPermissions>,
    /// At most one entry for each user, virtual host and exchange; without one, all keys may be used.
    pub topic_permissions: Vec<UserTopicPermissions>,
}

impl Accounts {
    /// Adds a user with permissions for one virtual host.
    #[must_use]
    pub fn with_user(mut self, user: User, vhost: &str, permissions: Permissions) -> Self {
        self.permissions.push(UserPermissions {
            user: Arc::clone(&user.name),
            vhost: Arc::from(vhost),
            permissions,
        });
        self.users.push(user);
        self
    }
}

/// What one user may do in one virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPermissions {
    /// The user's name.
    pub user: Arc<str>,
    /// The virtual host's name.
    pub vhost: Arc<str>,
    /// What the user may do there.
    pub permissions: Permissions,
}

/// Which routing keys one user may use with one topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTopicPermissions {
    /// The user's name.
    pub user: Arc<str>,
    /// The virtual host's name.
    pub vhost: Arc<str>,
    /// The exchange's name. It need not exist.
    pub exchange: Arc<str>,
    /// Which keys the user may use there.
    pub permissions: TopicPermissions,
}

impl Accounts {
    /// Takes out what `fixed` has as well: users by their names, permissions by what they are for.
    pub(crate) fn without(mut self, fixed: &Self) -> Self {
        let names: HashSet<_> = fixed.users.iter().map(|user| &*user.name).collect();
        self.users.retain(|user| !names.contains(&*user.name));
        let keys: HashSet<_> = fixed.permissions.iter().map(UserPermissions::key).collect();
        self.permissions
            .retain(|entry| !keys.contains(&entry.key()));
        let topics = fixed.topic_permissions.iter();
        let keys: HashSet<_> = topics.map(UserTopicPermissions::key).collect();
        self.topic_permissions
            .retain(|entry| !keys.contains(&entry.key()));
        self
    }
}

impl UserPermissions {
    /// What they are for: user and virtual host.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.user, &self.vhost)
    }
}

impl UserTopicPermissions {
    /// What they are for: user, virtual host and exchange.
    pub(crate) fn key(&self) -> (&str, &str, &str) {
        (&self.user, &self.vhost, &self.exchange)
    }
}

/// One change to the accounts of a running broker; see [`Broker::change_accounts`](crate::Broker::change_accounts).
///
/// A change holds for whatever clients do from then on, those who are connected included. What was begun before goes on:
/// a consumer is not cancelled because its user may no longer read from the queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AccountChange {
    /// Adds a user; one of this name that is there is left as it is, and the change refused.
    AddUser(User),
    /// Adds a user, or gives one of this name another password, other tags and limits. Its permissions stay, and so do its
    /// connections.
    PutUser(User),
    /// Gives a user another password, or none: then it cannot log in with one. Its connections stay.
    SetPassword {
        /// The user's name.
        user: Arc<str>,
        /// What is kept of the new password.
        hash: Option<PasswordHash>,
    },
    /// Gives a user these tags in place of those that it has.
    SetTags {
        /// The user's name.
        user: Arc<str>,
        /// All its tags.
        tags: BTreeSet<Tag>,
    },
    /// Limits what a user may have at once. What it has stays.
    SetUserLimits {
        /// The user's name.
        user: Arc<str>,
        /// All its limits.
        limits: UserLimits,
    },
    /// Removes a user with its permissions. Its connections are closed.
    DeleteUser {
        /// The user's name.
        name: Arc<str>,
    },
    /// Sets what a user may do in a virtual host, in place of what it could do there before.
    SetPermissions(UserPermissions),
    /// Takes all permissions for a virtual host from a user. Its connections stay open, and may do nothing.
    ClearPermissions {
        /// The user's name.
        user: Arc<str>,
        /// The virtual host's name.
        vhost: Arc<str>,
    },
    /// Sets which routing keys a user may use with a topic exchange.
    SetTopicPermissions(UserTopicPermissions),
    /// Lets a user use all keys again.
    ClearTopicPermissions {
        /// The user's name.
        user: Arc<str>,
        /// The virtual host's name.
        vhost: Arc<str>,
        /// The exchange's name, or none for all exchanges of the virtual host.
        exchange: Option<Arc<str>>,
    },
}

impl AccountChange {
    /// The virtual host that has to be there for the change to make sense.
    pub(crate) fn required_vhost(&self) -> Option<&str> {
        match self {
            Self::SetPermissions(UserPermissions { vhost, .. })
            | Self::SetTopicPermissions(UserTopicPermissions { vhost, .. }) => Some(vhost),
            Self::AddUser(_)
            | Self::PutUser(_)
            | Self::SetPassword { .. }
            | Self::SetTags { .. }
            | Self::SetUserLimits { .. }
            | Self::DeleteUser { .. }
            | Self::ClearPermissions { .. }
            | Self::ClearTopicPermissions { .. } => None,
        }
    }
}
