//! A directory that knows the users.

mod authorizer;
mod directory;
mod pool;
mod query;
mod settings;
mod template;

use std::sync::Arc;

use leveret_broker::{
    Authenticator, Authorization, AuthorizationFuture, Authorizer, AuthorizerSource, Identity,
    Login, LoginFuture, LoginRefused, Tag,
};

use authorizer::User;
use pool::{NoDirectory, Pool, Servers};
use query::Directory;
pub use query::{Clause, Query, Value};
pub use settings::{LdapSettings, ServiceAccount, UserLookup};
use template::Values;
pub use template::{Template, Variable};

use crate::error::SetupError;
use crate::mechanism;

/// The result code of a login that succeeds (RFC 4511, section 4.1.9).
const SUCCESS: u32 = 0;

/// Those of logins that were looked at and refused: no such name, no name, wrong kind of login, wrong password, not
/// allowed, locked.
const REFUSALS: [u32; 6] = [32, 34, 48, 49, 50, 53];

/// What queries about users alone can ask for, and those about virtual hosts, exchanges and queues, and routing keys.
const OF_USER: &[Variable] = &[Variable::Username, Variable::UserDn];
const OF_VHOST: &[Variable] = &[Variable::Username, Variable::UserDn, Variable::Vhost];
const OF_RESOURCE: &[Variable] = &[
    Variable::Username,
    Variable::UserDn,
    Variable::Vhost,
    Variable::Resource,
    Variable::Name,
    Variable::Permission,
];
const OF_TOPIC: &[Variable] = &Variable::ALL;

/// Asks a directory over LDAP: whether it lets the user in with this password, and what it has of the user, for queries that
/// say what that user may do. The queries are those of RabbitMQ's plugin `rabbitmq_auth_backend_ldap`.
///
/// Clones are the same backend.
#[derive(Clone, Debug)]
pub struct Ldap(Arc<Asked>);

#[derive(Debug)]
struct Asked {
    /// For passwords: who its connections are changes all the time.
    logins: Pool,
    /// For what else has to be known of somebody who logs in. However many strangers try, those who are in are not kept from
    /// their own.
    lookups: Pool,
    /// For those who are in.
    questions: Pool,
    users: UserLookup,
    vhost: Query,
    resource: Query,
    topic: Query,
    tags: Vec<(Tag, Query)>,
}

impl Ldap {
    /// A backend that asks with these settings. The directory is not asked before there is a question.
    ///
    /// # Errors
    /// When an address is none, a query asks for what it cannot know, a file of TLS cannot be used, or a limit is zero.
    pub fn new(settings: LdapSettings) -> Result<Self, SetupError> {
        check(&settings)?;
        let servers = Arc::new(Servers::new(&settings, settings.tls.config()?));
        let pool = |account| Pool::new(&servers, account, settings.connections_max);
        let tags = settings.tags.into_iter();
        Ok(Self(Arc::new(Asked {
            logins: pool(None),
            lookups: pool(settings.account.clone()),
            questions: pool(settings.account),
            users: settings.users,
            vhost: settings.vhost,
            resource: settings.resource,
            topic: settings.topic,
            tags: tags
                .map(|(name, query)| (Tag::from(name.as_str()), query))
                .collect(),
        })))
    }

    async fn log_in(&self, login: Login) -> Result<Identity, LoginRefused> {
        let name = &*login.username;
        let user_dn = match mechanism::password(&login)? {
            Some(password) => {
                let user_dn = self.0.user_dn(name).await?;
                self.0.check_password(name, &user_dn, password).await?;
                user_dn
            }
            None => self.0.known_user_dn(name).await?,
        };
        let (user, tags) = self.user(name, user_dn).await?;
        Ok(Identity::new(name).with_tags(tags).with_authorizer(user))
    }

    async fn user(
        &self,
        name: &str,
        user_dn: String,
    ) -> Result<(Arc<dyn Authorizer>, Vec<Tag>), LoginRefused> {
        let values = Values {
            username: name,
            user_dn: &user_dn,
            ..Values::default()
        };
        let mut tags = Vec::new();
        for (tag, query) in &self.0.tags {
            let holds = query.holds(&self.0.lookups, &values).await;
            if holds.map_err(unavailable)? {
                tags.push(tag.clone());
            }
        }
        Ok((Arc::new(User::new(self.clone(), name, user_dn)), tags))
    }
}

impl Authenticator for Ldap {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(self.log_in(login))
    }
}

/// The user has to be in the directory; the password is not asked for.
impl AuthorizerSource for Ldap {
    fn authorizer_for<'a>(
        &'a self,
        identity: &'a Identity,
        _: &'a Login,
    ) -> AuthorizationFuture<'a> {
        Box::pin(async move {
            let name = identity.username();
            let user_dn = self.0.known_user_dn(name).await?;
            let (user, tags) = self.user(name, user_dn).await?;
            Ok(Authorization::new(user).with_tags(tags))
        })
    }
}

impl Asked {
    /// The distinguished name of a user, who may not be there.
    async fn user_dn(&self, name: &str) -> Result<String, LoginRefused> {
        match &self.users {
            UserLookup::Pattern(pattern) => Ok(pattern.dn(&Values {
                username: name,
                ..Values::default()
            })),
            UserLookup::Search { attribute, base } => {
                let found = self.lookups.find(base, attribute, name).await;
                let mut found = found.map_err(unavailable)?;
                match (found.pop(), found.is_empty()) {
                    (Some(only), true) => Ok(only),
                    (None, _) => Err(unknown(name)),
                    (Some(_), false) => Err(LoginRefused::new(format!(
                        "the directory has several users '{name}'"
                    ))),
                }
            }
        }
    }

    /// The distinguished name of a user who is there.
    async fn known_user_dn(&self, name: &str) -> Result<String, LoginRefused> {
        let user_dn = self.user_dn(name).await?;
        let is_there = match &self.users {
            UserLookup::Search { .. } => true,
            UserLookup::Pattern(_) => {
                let exists = self.lookups.exists(&user_dn).await;
                exists.map_err(unavailable)?
            }
        };
        is_there.then_some(user_dn).ok_or_else(|| unknown(name))
    }

    async fn check_password(
        &self,
        name: &str,
        user_dn: &str,
        password: &[u8],
    ) -> Result<(), LoginRefused> {
        let refused = || {
            LoginRefused::new(format!(
                "the directory did not let user '{name}' in with this password"
            ))
        };
        let password = str::from_utf8(password).map_err(|_| refused())?;
        let bind =
            |mut handle: ldap3::Ldap| async move { handle.simple_bind(user_dn, password).await };
        let outcome = self.logins.with(bind).await.map_err(unavailable)?;
        match outcome.rc {
            SUCCESS => Ok(()),
            code if REFUSALS.contains(&code) => Err(refused()),
            code => Err(unavailable(NoDirectory::Failed(format!(
                "result {code} of a login"
            )))),
        }
    }
}

fn unknown(name: &str) -> LoginRefused {
    LoginRefused::new(format!("the directory has no user '{name}'"))
}

fn unavailable(problem: impl std::fmt::Display) -> LoginRefused {
    LoginRefused::unavailable(format!("the directory cannot be asked: {problem}"))
}

fn check(settings: &LdapSettings) -> Result<(), SetupError> {
    if settings.servers.is_empty() {
        return Err(SetupError::new("there is no server"));
    }
    for address in &settings.servers {
        let host = address.strip_prefix("ldap://");
        let host = host.or_else(|| address.strip_prefix("ldaps://"));
        if !host.is_some_and(|host| host.starts_with(|c: char| c.is_alphanumeric() || c == '[')) {
            return Err(SetupError::new(format!(
                "'{address}' does not begin with ldap:// or ldaps:// and a host"
            )));
        }
    }
    if settings.connections_max == 0
        || settings.connect_timeout.is_zero()
        || settings.request_timeout.is_zero()
    {
        return Err(SetupError::new("a limit of zero lets no question through"));
    }
    match &settings.users {
        UserLookup::Pattern(pattern) => {
            if !pattern.variables().eq([Variable::Username]) {
                return Err(SetupError::new(
                    "the form of a user's name has ${username} in it, once, and no other variable",
                ));
            }
        }
        UserLookup::Search { attribute, .. } => query::check_attribute(attribute)?,
    }
    let within = |what: &str, query: &Query, allowed| {
        let checked = query.check(allowed);
        checked.map_err(|problem| SetupError::new(format!("{what}: {problem}")))
    };
    within("vhost", &settings.vhost, OF_VHOST)?;
    within("resource", &settings.resource, OF_RESOURCE)?;
    within("topic", &settings.topic, OF_TOPIC)?;
    for (tag, query) in &settings.tags {
        within(&format!("tag '{tag}'"), query, OF_USER)?;
    }
    Ok(())
}
