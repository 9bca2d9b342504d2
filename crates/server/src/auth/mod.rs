//! Who is asked when clients log in, and what they may do: the section `[auth]` of the configuration file.

mod backend;
mod cache;
mod chain;
#[cfg(feature = "auth-http")]
mod http;
mod judge;
#[cfg(feature = "auth-ldap")]
mod ldap;
#[cfg(feature = "oauth2")]
mod oauth2;
#[cfg(feature = "auth-ldap")]
mod query;
#[cfg(any(feature = "auth-ldap", feature = "oauth2"))]
mod secret;
#[cfg(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2"))]
mod secret_text;
mod section;
#[cfg(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2"))]
mod service;
mod text_or_table;

#[cfg(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2"))]
use std::fmt;
use std::io;
use std::path::PathBuf;

use backend::Backend;
pub(crate) use chain::authenticator;
pub(crate) use judge::Judge;
pub(crate) use section::AuthSettings;

use crate::error::Reason;

/// Why a backend cannot be set up; for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// This program cannot ask it.
    #[error(
        "auth.backends: this leveret was built without {backend}: its feature {feature} is off"
    )]
    NotBuiltIn {
        backend: Backend,
        feature: &'static str,
    },
    /// Settings make no sense, or a file has not in it what it should.
    #[error("auth.{section}: {problem}")]
    #[cfg_attr(
        not(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2")),
        expect(dead_code, reason = "there are no settings")
    )]
    Settings {
        section: &'static str,
        problem: String,
    },
    /// A file with a key or a password cannot be read.
    #[error("auth.{section}: cannot read {}: {}", path.display(), Reason(source))]
    #[cfg_attr(
        not(any(feature = "auth-ldap", feature = "oauth2")),
        expect(dead_code, reason = "there are no such files")
    )]
    Unreadable {
        section: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

#[cfg(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2"))]
impl AuthError {
    fn wrong(section: &'static str, problem: impl fmt::Display) -> Self {
        let problem = problem.to_string();
        Self::Settings { section, problem }
    }
}
