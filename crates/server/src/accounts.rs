//! What the configuration file says of virtual hosts, users and permissions.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::ops::Range;

use leveret_broker::{
    Accounts, PasswordHash, Pattern, Permissions, Tag, TopicPattern, TopicPermissions, User,
    UserPermissions, UserTopicPermissions,
};
use serde::de::{Deserialize, Deserializer, Error as _};
use toml::Spanned;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::passwords::{StoredHash, hash_password, hash_published_password, is_published_password};

/// The user of a server whose configuration names none, as in RabbitMQ.
const DEFAULT_USER: &str = "guest";

/// The virtual host that is always there.
const DEFAULT_VHOST: &str = "/";

/// The tables of the file, in the order in which they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountSettings {
    pub(crate) vhosts: Vec<VhostEntry>,
    /// None of them: the default user.
    pub(crate) users: Vec<UserEntry>,
    pub(crate) permissions: Vec<PermissionEntry>,
    pub(crate) topic_permissions: Vec<TopicPermissionEntry>,
    /// `None` for the default, which is the default user.
    pub(crate) loopback_users: Option<Vec<String>>,
}

/// A virtual host beside `/`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VhostEntry {
    name: Spanned<String>,
}

/// A user. Without a password and a hash it cannot log in with a password.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct UserEntry {
    name: Spanned<String>,
    password: Option<Password>,
    #[serde(default, deserialize_with = "password_hash")]
    password_hash: Option<PasswordHash>,
    #[serde(default)]
    tags: Vec<String>,
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionEntry {
    user: Spanned<String>,
    vhost: Spanned<String>,
    #[serde(deserialize_with = "pattern")]
    configure: Pattern,
    #[serde(deserialize_with = "pattern")]
    write: Pattern,
    #[serde(deserialize_with = "pattern")]
    read: Pattern,
}

/// Which routing keys a user may use with a topic exchange.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicPermissionEntry {
    user: Spanned<String>,
    vhost: Spanned<String>,
    exchange: String,
    #[serde(deserialize_with = "topic_pattern")]
    write: TopicPattern,
    #[serde(deserialize_with = "topic_pattern")]
    read: TopicPattern,
}

/// A password in the clear, which is wiped from memory when it is dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let password = Zeroizing::new(String::deserialize(deserializer)?);
        if password.is_empty() {
            return Err(D::Error::custom(
                "an empty password lets nobody in; leave the key out for a user without one",
            ));
        }
        Ok(Self(password))
    }
}

fn password_hash<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PasswordHash>, D::Error> {
    let text = String::deserialize(deserializer)?;
    StoredHash::parse(&text).map_err(D::Error::custom)?;
    Ok(Some(PasswordHash::new(text)))
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    let text = String::deserialize(deserializer)?;
    Pattern::new(&text).map_err(D::Error::custom)
}

fn topic_pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicPattern, D::Error> {
    let text = String::deserialize(deserializer)?;
    TopicPattern::new(&text).map_err(D::Error::custom)
}

/// What is wrong with the tables as a whole, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

impl Contradiction {
    fn at(name: &Spanned<String>, message: String) -> Self {
        Self {
            span: name.span(),
            message,
        }
    }
}

impl AccountSettings {
    /// Whether everything that is named is there, and once.
    ///
    /// # Errors
    /// For the first thing that is not.
    pub(crate) fn check(&self) -> Result<(), Contradiction> {
        let mut vhosts = HashSet::from([DEFAULT_VHOST]);
        for VhostEntry { name } in &self.vhosts {
            // `/` may be named, because a list of all is easier to read.
            if !vhosts.insert(name.get_ref()) && name.get_ref() != DEFAULT_VHOST {
                return Err(twice("virtual host", name));
            }
        }
        let mut users = HashSet::new();
        for user in &self.users {
            if !users.insert(user.name.get_ref().as_str()) {
                return Err(twice("user", &user.name));
            }
            if user.password.is_some() && user.password_hash.is_some() {
                let message = "a user has a password or a hash of it, not both";
                return Err(Contradiction::at(&user.name, message.to_owned()));
            }
        }
        if self.users.is_empty() {
            users.insert(DEFAULT_USER);
        }
        let of_permissions = self.permissions.iter();
        let of_topics = self.topic_permissions.iter();
        let named = of_permissions
            .map(|entry| (&entry.user, &entry.vhost))
            .chain(of_topics.map(|entry| (&entry.user, &entry.vhost)));
        for (user, vhost) in named {
            if !users.contains(user.get_ref().as_str()) {
                let message = format!("there is no user '{}'", user.get_ref());
                return Err(Contradiction::at(user, message));
            }
            if !vhosts.contains(vhost.get_ref().as_str()) {
                let message = format!("there is no virtual host '{}'", vhost.get_ref());
                return Err(Contradiction::at(vhost, message));
            }
        }
        self.check_that_each_is_there_once()
    }

    fn check_that_each_is_there_once(&self) -> Result<(), Contradiction> {
        let mut seen = HashSet::new();
        for entry in &self.permissions {
            if !seen.insert((entry.user.get_ref(), entry.vhost.get_ref())) {
                return Err(twice("permission of", &entry.user));
            }
        }
        let mut seen = HashSet::new();
        for entry in &self.topic_permissions {
            let (user, vhost) = (entry.user.get_ref(), entry.vhost.get_ref());
            if !seen.insert((user, vhost, &entry.exchange)) {
                return Err(twice("topic permission of", &entry.user));
            }
        }
        Ok(())
    }

    /// Whether nobody but the default user can be meant.
    fn is_default(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the file says what the default user may do, who is one of the file then.
    fn is_about_default_user(&self) -> bool {
        let names_nobody = self.permissions.is_empty() && self.topic_permissions.is_empty();
        self.is_default() && !names_nobody
    }

    /// The virtual hosts beside `/`.
    pub(crate) fn vhosts(&self) -> impl Iterator<Item = &str> {
        let names = self
            .vhosts
            .iter()
            .map(|entry| entry.name.get_ref().as_str());
        names.filter(|name| *name != DEFAULT_VHOST)
    }

    /// The virtual hosts that the file has something to say about, which cannot be deleted while the server runs: they
    /// would be there again, or be missed, at the next start.
    pub(crate) fn fixed_vhosts(&self) -> HashSet<String> {
        let named = self.vhosts.iter().map(|entry| &entry.name);
        let permitted = self.permissions.iter().map(|entry| &entry.vhost);
        let topics = self.topic_permissions.iter().map(|entry| &entry.vhost);
        let all = named.chain(permitted).chain(topics);
        let mut names: HashSet<String> = all.map(|name| name.get_ref().clone()).collect();
        if self.is_about_default_user() {
            names.insert(DEFAULT_VHOST.to_owned());
        }
        names
    }

    /// Who may log in, for people.
    pub(crate) fn hint(&self, accounts: &Accounts) -> String {
        let from_here = self
            .loopback_users()
            .iter()
            .any(|user| user == DEFAULT_USER);
        let mut users = accounts.users.iter();
        let guest = users.find(|user| *user.name == *DEFAULT_USER);
        let hash = guest.and_then(|guest| guest.password_hash.as_ref());
        let is_published =
            hash.is_some_and(|hash| is_published_password(hash, DEFAULT_USER.as_bytes()));
        match accounts.users.len() {
            0 => "nobody can log in: make a user with leveret ctl add_user".to_owned(),
            _ if is_published && from_here => {
                "log in as guest with password guest, from this machine only".to_owned()
            }
            _ if is_published => {
                "log in as guest with password guest, from anywhere: change that".to_owned()
            }
            count if count == self.users.len() => {
                "log in as one of the users in the configuration file".to_owned()
            }
            count => format!("log in as one of {count} users, which leveret ctl list_users names"),
        }
    }

    /// The users who may not come from another machine.
    pub(crate) fn loopback_users(&self) -> Vec<String> {
        let named = self.loopback_users.clone();
        named.unwrap_or_else(|| vec![DEFAULT_USER.to_owned()])
    }

    /// The accounts that a new data directory begins with: the default user, unless the file names others.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn first_accounts(&self) -> Result<Accounts, Error> {
        if self.is_default() && !self.is_about_default_user() {
            default_accounts()
        } else {
            Ok(Accounts::default())
        }
    }

    /// The accounts of the file, which hold whatever is stored. Hashes what is given in the clear, which takes some ten
    /// milliseconds for each user.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn accounts(&self) -> Result<Accounts, Error> {
        let mut accounts = Accounts::default();
        if self.is_about_default_user() {
            accounts = default_accounts()?;
        }
        for entry in &self.users {
            accounts.users.push(entry.user()?);
        }
        let permissions = self.permissions.iter();
        accounts
            .permissions
            .extend(permissions.map(|entry| UserPermissions {
                user: entry.user.get_ref().as_str().into(),
                vhost: entry.vhost.get_ref().as_str().into(),
                permissions: Permissions {
                    configure: entry.configure.clone(),
                    write: entry.write.clone(),
                    read: entry.read.clone(),
                },
            }));
        let topics = self.topic_permissions.iter();
        accounts
            .topic_permissions
            .extend(topics.map(|entry| UserTopicPermissions {
                user: entry.user.get_ref().as_str().into(),
                vhost: entry.vhost.get_ref().as_str().into(),
                exchange: entry.exchange.as_str().into(),
                permissions: TopicPermissions {
                    write: entry.write.clone(),
                    read: entry.read.clone(),
                },
            }));
        Ok(accounts)
    }
}

impl UserEntry {
    fn user(&self) -> Result<User, Error> {
        let password_hash = match &self.password {
            Some(Password(password)) => {
                let hash = hash_password(password.as_bytes());
                Some(hash.map_err(|_| no_random_numbers())?)
            }
            None => self.password_hash.clone(),
        };
        Ok(User {
            password_hash,
            tags: self
                .tags
                .iter()
                .map(|tag| Tag::from(tag.as_str()))
                .collect(),
            ..User::new(self.name.get_ref().as_str())
        })
    }
}

fn default_accounts() -> Result<Accounts, Error> {
    let user = default_user().map_err(|_| no_random_numbers())?;
    Ok(Accounts::default().with_user(user, DEFAULT_VHOST, Permissions::everything()))
}

fn default_user() -> Result<User, getrandom::Error> {
    Ok(User {
        password_hash: Some(hash_published_password(DEFAULT_USER.as_bytes())?),
        tags: BTreeSet::from([Tag::Administrator]),
        ..User::new(DEFAULT_USER)
    })
}

fn no_random_numbers() -> Error {
    Error::System(io::Error::other("there are no random numbers"))
}

fn twice(what: &str, name: &Spanned<String>) -> Contradiction {
    let message = format!("the {what} '{}' is there already", name.get_ref());
    Contradiction::at(name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> AccountSettings {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Tables {
            #[serde(default)]
            user: Vec<UserEntry>,
            #[serde(default)]
            permission: Vec<PermissionEntry>,
        }
        let tables: Tables = toml::from_str(text).unwrap();
        AccountSettings {
            users: tables.user,
            permissions: tables.permission,
            ..AccountSettings::default()
        }
    }

    #[test]
    fn without_users_there_is_guest() {
        let settings = AccountSettings::default();
        settings.check().unwrap();
        assert_eq!(settings.loopback_users(), ["guest"]);
        assert_eq!(settings.accounts().unwrap(), Accounts::default());
        let accounts = settings.first_accounts().unwrap();
        let [guest] = &accounts.users[..] else {
            panic!("{accounts:?}");
        };
        assert_eq!(&*guest.name, "guest");
        assert_eq!(guest.tags, BTreeSet::from([Tag::Administrator]));
        let [of_guest] = &accounts.permissions[..] else {
            panic!("{accounts:?}");
        };
        assert_eq!((&*of_guest.user, &*of_guest.vhost), ("guest", "/"));
        assert_eq!(of_guest.permissions, Permissions::everything());
        assert_eq!(
            settings.hint(&accounts),
            "log in as guest with password guest, from this machine only"
        );
        assert_eq!(
            settings.hint(&Accounts::default()),
            "nobody can log in: make a user with leveret ctl add_user"
        );
    }

    #[test]
    fn with_users_there_is_no_guest() {
        let settings_of_ann =
            || settings("[[user]]\nname = 'ann'\npassword = 'secret'\ntags = ['management', 'x']");
        let accounts = settings_of_ann().accounts().unwrap();
        let [ann] = &accounts.users[..] else {
            panic!("{accounts:?}");
        };
        assert_eq!(&*ann.name, "ann");
        assert_eq!(
            ann.tags,
            BTreeSet::from([Tag::Management, Tag::Other("x".into())])
        );
        let hash = ann.password_hash.as_ref().unwrap().as_str();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_eq!(accounts.permissions, []);
        let first = settings_of_ann().first_accounts().unwrap();
        assert_eq!(first, Accounts::default());
    }

    #[test]
    fn guest_can_be_given_further_permissions() {
        let settings = settings(
            "[[permission]]\nuser = 'guest'\nvhost = '/'\nconfigure = ''\nwrite = ''\nread = '^q$'",
        );
        settings.check().unwrap();
        let accounts = settings.accounts().unwrap();
        // The last one counts.
        let last = accounts.permissions.last().unwrap();
        assert_eq!(last.permissions, Permissions::new("", "", "^q$").unwrap());
        assert_eq!(settings.first_accounts().unwrap(), Accounts::default());
        assert!(settings.fixed_vhosts().contains("/"));
    }

    #[test]
    fn debug_output_shows_no_password() {
        let settings = settings("[[user]]\nname = 'ann'\npassword = 'secret'");
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
