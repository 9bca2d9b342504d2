//! Who a connection acts as.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use leveret_queue_store::Time;

use super::{Authorizer, LoginRefused};
use crate::access::Tag;

/// Who a connection acts as, once it has logged in.
///
/// One that has no more than a name may do what the broker's [`Accounts`](crate::Accounts) say, or everything, where there
/// are none. One [with an authorizer](Identity::with_authorizer) may do what that says, and the accounts are not asked.
#[derive(Clone)]
pub struct Identity {
    username: Arc<str>,
    tags: Arc<[Tag]>,
    authorizer: Option<Arc<dyn Authorizer>>,
    has_rights_of_account: bool,
    valid_until: Option<SystemTime>,
}

impl Identity {
    /// The identity of the user with this name.
    #[must_use]
    pub fn new(username: impl Into<Arc<str>>) -> Self {
        Self {
            username: username.into(),
            tags: Arc::default(),
            authorizer: None,
            has_rights_of_account: true,
            valid_until: None,
        }
    }

    /// What the user is beyond a client. [`Tag::Impersonator`] lets it publish in the name of others; the tags that its
    /// account has, where it has one, count as well.
    #[must_use]
    pub fn with_tags(mut self, tags: Vec<Tag>) -> Self {
        self.tags = tags.into();
        self
    }

    /// Has this authorizer, and not the accounts, say what the user may do. Limits of the user's account hold all the same,
    /// if it has one.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self.has_rights_of_account = false;
        self
    }

    /// Has the accounts say what the user may do after all. An authorizer is kept only to be shown
    /// [new secrets](Authorizer::renew).
    #[must_use]
    pub fn with_rights_of_account(mut self) -> Self {
        self.has_rights_of_account = true;
        self
    }

    /// Until when the login holds, to the millisecond; for ever unless this is said. Then the connection is closed, with
    /// `CONNECTION_FORCED - credential expired` for AMQP, and a client in this process is refused everything, unless
    /// [a new secret](Authorizer::renew) has come in time.
    #[must_use]
    pub fn valid_until(mut self, end: SystemTime) -> Self {
        self.valid_until = Some(end);
        self
    }

    /// The user's name, as the `user-id` property of its messages must state it.
    #[must_use]
    pub fn username(&self) -> &Arc<str> {
        &self.username
    }

    /// What [`Identity::with_tags`] has said.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// What [`Identity::with_authorizer`] has said.
    #[must_use]
    pub fn authorizer(&self) -> Option<&Arc<dyn Authorizer>> {
        self.authorizer.as_ref()
    }

    /// Whom to ask what the user may do; nobody, where the accounts say it.
    pub(crate) fn rights_from(&self) -> Option<&Arc<dyn Authorizer>> {
        let authorizer = self.authorizer.as_ref();
        authorizer.filter(|_| !self.has_rights_of_account)
    }

    /// What takes this identity's place when a secret has been renewed: of the same user, with rights from where they came
    /// from before.
    ///
    /// # Errors
    /// When it is of another user, or would have its rights from elsewhere.
    pub(crate) fn renewed(&self, by: Self) -> Result<Self, LoginRefused> {
        if by.username != self.username {
            return Err(LoginRefused::new(format!(
                "the new secret is that of user '{}'",
                by.username
            )));
        }
        if self.rights_from().is_none() {
            return Ok(by.with_rights_of_account());
        }
        if by.rights_from().is_none() {
            return Err(LoginRefused::new(
                "nobody says what the user may do with the new secret",
            ));
        }
        Ok(by)
    }

    /// The identity with another authorizer in the place of its own, if it has one.
    pub(crate) fn map_authorizer(
        mut self,
        other: impl FnOnce(Arc<dyn Authorizer>) -> Arc<dyn Authorizer>,
    ) -> Self {
        self.authorizer = self.authorizer.map(other);
        self
    }

    /// When it ends, for a clock that begins with Unix time.
    pub(crate) fn expiry(&self) -> Option<Time> {
        let since_epoch = self
            .valid_until?
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Some(Time::from_millis(ms))
    }

    /// What [`Identity::valid_until`] has said.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.valid_until
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("username", &self.username)
            .field("tags", &self.tags)
            .field("has_authorizer", &self.authorizer.is_some())
            .field("has_rights_of_account", &self.has_rights_of_account)
            .field("valid_until", &self.valid_until)
            .finish()
    }
}

/// Two identities are the same when all of it is; of authorizers only a clone is the same.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        let same_authorizer = match (&self.authorizer, &other.authorizer) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same_authorizer
            && self.username == other.username
            && self.tags == other.tags
            && self.has_rights_of_account == other.has_rights_of_account
            && self.valid_until == other.valid_until
    }
}

impl Eq for Identity {}
