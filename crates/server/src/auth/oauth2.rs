//! `[auth.oauth2]`: tokens as passwords.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leveret_auth::{OAuth2, OAuth2Settings, SigningKey, TokenAlgorithm};

use super::AuthError;
use super::secret;
use super::secret_text::SecretText;
use super::service::{LimitsSection, TlsSection};
use crate::time_span::FiniteTime;

const SECTION: &str = "oauth2";

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OAuth2Section {
    resource_server_id: String,
    verify_aud: Option<bool>,
    issuer: Option<SecretText>,
    jwks_url: Option<SecretText>,
    #[serde(default)]
    key: Vec<KeyEntry>,
    default_key: Option<String>,
    #[serde(default)]
    algorithms: Vec<TokenAlgorithm>,
    leeway: Option<FiniteTime>,
    username_claims: Option<Vec<String>>,
    scope_prefix: Option<String>,
    #[serde(default)]
    additional_scopes_keys: Vec<String>,
    #[serde(default)]
    scope_aliases: HashMap<String, Vec<String>>,
    jwks_retry: Option<FiniteTime>,
    jwks_refresh: Option<FiniteTime>,
    #[serde(default)]
    tls: TlsSection,
    #[serde(default)]
    limits: LimitsSection,
}

/// A key that is known from the start: one of the three.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeyEntry {
    id: Option<String>,
    /// A public key or a certificate in PEM.
    file: Option<PathBuf>,
    /// A secret for HMAC.
    secret: Option<SecretText>,
    secret_file: Option<PathBuf>,
}

impl OAuth2Section {
    /// # Errors
    /// When there are no keys, a file cannot be used, or an address is none.
    pub(super) fn backend(&self) -> Result<OAuth2, AuthError> {
        OAuth2::new(self.settings()?).map_err(wrong)
    }

    fn settings(&self) -> Result<OAuth2Settings, AuthError> {
        let mut settings = OAuth2Settings::new(self.resource_server_id.as_str());
        let address = |text: &Option<SecretText>| Some(text.as_ref()?.0.expose().to_owned());
        settings.issuer = address(&self.issuer);
        settings.jwks_url = address(&self.jwks_url);
        for entry in &self.key {
            settings.keys.push(entry.key()?);
        }
        settings.default_key.clone_from(&self.default_key);
        settings.algorithms.clone_from(&self.algorithms);
        settings.scope_aliases.clone_from(&self.scope_aliases);
        settings
            .additional_scopes_keys
            .clone_from(&self.additional_scopes_keys);
        if let Some(verify) = self.verify_aud {
            settings.verify_aud = verify;
        }
        if let Some(claims) = &self.username_claims {
            settings.username_claims.clone_from(claims);
        }
        if let Some(prefix) = &self.scope_prefix {
            settings.scope_prefix.clone_from(prefix);
        }
        let set = |time: Option<FiniteTime>, field: &mut Duration| {
            if let Some(FiniteTime(span)) = time {
                *field = span;
            }
        };
        set(self.leeway, &mut settings.leeway);
        set(self.jwks_retry, &mut settings.jwks_retry);
        set(self.jwks_refresh, &mut settings.jwks_refresh);
        self.tls.apply_to(&mut settings.tls);
        self.limits.apply_to(&mut settings.requests);
        Ok(settings)
    }
}

impl KeyEntry {
    fn key(&self) -> Result<SigningKey, AuthError> {
        let id = self.id.clone();
        match (&self.file, &self.secret, &self.secret_file) {
            (Some(path), None, None) => {
                let pem = secret::read(SECTION, path)?;
                SigningKey::from_pem(id, &pem).map_err(|problem| bad_file(path, problem))
            }
            (None, Some(SecretText(secret)), None) => {
                SigningKey::from_secret(id, secret.expose().as_bytes()).map_err(wrong)
            }
            (None, None, Some(path)) => {
                let secret = secret::read_secret(SECTION, path)?;
                SigningKey::from_secret(id, &secret).map_err(|problem| bad_file(path, problem))
            }
            _ => Err(wrong("a key is in one place: file, secret or secret-file")),
        }
    }
}

fn wrong(problem: impl fmt::Display) -> AuthError {
    AuthError::wrong(SECTION, problem)
}

fn bad_file(path: &Path, problem: impl fmt::Display) -> AuthError {
    wrong(format!("{}: {problem}", path.display()))
}
