//! `[auth.ldap]`: a directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use leveret_auth::{Ldap, LdapSettings, Secret, ServiceAccount, UserLookup};

use super::AuthError;
use super::query::{QueryEntry, Text};
use super::secret;
use super::secret_text::SecretText;
use super::service::TlsSection;
use crate::time_span::FiniteTime;

const SECTION: &str = "ldap";

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LdapSection {
    servers: Vec<String>,
    #[serde(default)]
    start_tls: bool,
    user_dn_pattern: Option<Text>,
    user_lookup: Option<LookupEntry>,
    account: Option<AccountEntry>,
    vhost: QueryEntry,
    resource: QueryEntry,
    topic: Option<QueryEntry>,
    #[serde(default)]
    tags: BTreeMap<String, QueryEntry>,
    #[serde(default)]
    tls: TlsSection,
    #[serde(default)]
    limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupEntry {
    attribute: String,
    base: String,
}

/// Who asks; its password stands here or in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AccountEntry {
    dn: String,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Limits {
    connect_timeout: Option<FiniteTime>,
    request_timeout: Option<FiniteTime>,
    connections_max: Option<usize>,
}

impl LdapSection {
    /// # Errors
    /// When settings contradict one another, a file cannot be used, or a query asks for what it cannot know.
    pub(super) fn backend(&self) -> Result<Ldap, AuthError> {
        let mut settings = LdapSettings::new(
            self.servers.clone(),
            self.users()?,
            self.vhost.0.clone(),
            self.resource.0.clone(),
        );
        settings.start_tls = self.start_tls;
        settings.account = self
            .account
            .as_ref()
            .map(AccountEntry::account)
            .transpose()?;
        if let Some(QueryEntry(topic)) = &self.topic {
            settings.topic = topic.clone();
        }
        let tags = self.tags.iter();
        settings.tags = tags
            .map(|(tag, query)| (tag.clone(), query.0.clone()))
            .collect();
        self.tls.apply_to(&mut settings.tls);
        if let Some(FiniteTime(timeout)) = self.limits.connect_timeout {
            settings.connect_timeout = timeout;
        }
        if let Some(FiniteTime(timeout)) = self.limits.request_timeout {
            settings.request_timeout = timeout;
        }
        if let Some(max) = self.limits.connections_max {
            settings.connections_max = max;
        }
        Ldap::new(settings).map_err(|problem| AuthError::wrong(SECTION, problem))
    }

    fn users(&self) -> Result<UserLookup, AuthError> {
        match (&self.user_dn_pattern, &self.user_lookup) {
            (Some(Text(pattern)), None) => Ok(UserLookup::Pattern(pattern.clone())),
            (None, Some(lookup)) => Ok(UserLookup::Search {
                attribute: lookup.attribute.clone(),
                base: lookup.base.clone(),
            }),
            _ => Err(AuthError::wrong(
                SECTION,
                "users are found in one way: user-dn-pattern or user-lookup",
            )),
        }
    }
}

impl AccountEntry {
    fn account(&self) -> Result<ServiceAccount, AuthError> {
        let password = match (&self.password, &self.password_file) {
            (Some(SecretText(password)), None) => password.clone(),
            (None, Some(path)) => {
                let bytes = secret::read_secret(SECTION, path)?;
                let text = str::from_utf8(&bytes).map_err(|_| {
                    AuthError::wrong(SECTION, format!("{} is not UTF-8", path.display()))
                })?;
                Secret::new(text)
            }
            _ => {
                return Err(AuthError::wrong(
                    SECTION,
                    "the password of the account is in one place: password or password-file",
                ));
            }
        };
        // Directories take an empty password for somebody who wants to be nobody, and say yes.
        if password.expose().is_empty() {
            return Err(AuthError::wrong(
                SECTION,
                "the password of the account is empty",
            ));
        }
        Ok(ServiceAccount {
            dn: self.dn.clone(),
            password,
        })
    }
}
