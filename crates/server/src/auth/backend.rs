//! The links of the chain, as they are written.

use std::fmt;
use std::str::FromStr;

use serde::de::value::{self, StrDeserializer};
use serde::de::{Deserialize, Deserializer};

use super::text_or_table::text_or_table;

/// Somebody who knows users, or what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// The users and permissions of this server.
    Internal,
    Http,
    OAuth2,
    Ldap,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Http => "http",
            Self::OAuth2 => "oauth2",
            Self::Ldap => "ldap",
        }
    }

    /// The feature of this crate that it takes, if this program was built without.
    pub(super) fn missing_feature(self) -> Option<&'static str> {
        match self {
            Self::Http if cfg!(not(feature = "auth-http")) => Some("auth-http"),
            Self::OAuth2 if cfg!(not(feature = "oauth2")) => Some("oauth2"),
            Self::Ldap if cfg!(not(feature = "auth-ldap")) => Some("auth-ldap"),
            _ => None,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is asked who a client is, and who is asked what it may do: `"http"`, or `{ authn = "ldap", authz = "internal" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) authn: Backend,
    pub(crate) authz: Backend,
}

impl Link {
    pub(super) const INTERNAL: Self = Self {
        authn: Backend::Internal,
        authz: Backend::Internal,
    };

    pub(super) fn names(&self, backend: Backend) -> bool {
        self.authn == backend || self.authz == backend
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.authn)?;
        if self.authz != self.authn {
            write!(f, " with the permissions of {}", self.authz)?;
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    authn: Backend,
    authz: Backend,
}

impl FromStr for Link {
    type Err = value::Error;

    fn from_str(name: &str) -> Result<Self, value::Error> {
        let backend = Backend::deserialize(StrDeserializer::new(name))?;
        Ok(Self {
            authn: backend,
            authz: backend,
        })
    }
}

impl From<Pair> for Link {
    fn from(Pair { authn, authz }: Pair) -> Self {
        Self { authn, authz }
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::<_, _, Pair>(deserializer)
    }
}
