//! How tokens are checked.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

pub use jsonwebtoken::Algorithm;

use super::keys::SigningKey;
use crate::tls::TlsClient;
use crate::web::{Address, RequestLimits};

/// How an [`OAuth2`](super::OAuth2) backend checks tokens; made by [`OAuth2Settings::new`], its fields are then set.
///
/// There have to be keys, from at least one of `keys`, `jwks_url` and `issuer`. Their addresses may have a user and a password,
/// and a query of their own. `Debug` shows neither.
#[derive(Clone)]
#[non_exhaustive]
pub struct OAuth2Settings {
    /// What tokens have to name as their audience, and the beginning of scopes.
    pub resource_server_id: String,
    /// Whether the claim `aud` has to name `resource_server_id`; true at first.
    pub verify_aud: bool,
    /// Who issues tokens: the claim `iss` has to be this address. Without `jwks_url`, where its keys are is asked at
    /// `/.well-known/openid-configuration` under it.
    pub issuer: Option<String>,
    /// Where the issuer's keys are, as a JSON Web Key Set.
    pub jwks_url: Option<String>,
    /// Keys that are known from the start, with the ids that tokens may name.
    pub keys: Vec<SigningKey>,
    /// The id of the key that is meant by tokens that name none. Without one it is the only key that fits.
    pub default_key: Option<String>,
    /// The algorithms that signatures may use. Empty, as at first: all that the keys are for; of a key from an address
    /// that is never HMAC.
    pub algorithms: Vec<Algorithm>,
    /// How much the clocks here and at the issuer may differ: so much earlier a token holds, and so much longer. Nothing
    /// at first.
    pub leeway: Duration,
    /// Which claims may have the user's name; the first counts that is there and a text. At first `sub`, `client_id`.
    pub username_claims: Vec<String>,
    /// What those scopes begin with that are meant for us, the others being passed over; at first `resource_server_id`
    /// and a dot. Aliases are replaced before.
    pub scope_prefix: String,
    /// Further claims with scopes; a name with dots may lead into objects. Their value is like that of `scope`, or an
    /// object that has one under `resource_server_id`.
    pub additional_scopes_keys: Vec<String>,
    /// Scopes, or roles, that stand for others.
    pub scope_aliases: HashMap<String, Vec<String>>,
    /// How long has to pass before keys are asked for again because of a token whose key is not known, or because they
    /// could not be had; 10 s at first.
    pub jwks_retry: Duration,
    /// How old keys may become before they are asked for again; an hour at first. When they cannot be had, the old ones
    /// stay in use.
    pub jwks_refresh: Duration,
    /// How TLS is spoken with the issuer.
    pub tls: TlsClient,
    /// What asking for keys may take.
    pub requests: RequestLimits,
}

impl OAuth2Settings {
    /// For tokens that name this audience, with everything else as the fields say that it is at first.
    #[must_use]
    pub fn new(resource_server_id: impl Into<String>) -> Self {
        let resource_server_id = resource_server_id.into();
        Self {
            scope_prefix: format!("{resource_server_id}."),
            resource_server_id,
            verify_aud: true,
            issuer: None,
            jwks_url: None,
            keys: Vec::new(),
            default_key: None,
            algorithms: Vec::new(),
            leeway: Duration::ZERO,
            username_claims: vec!["sub".to_owned(), "client_id".to_owned()],
            additional_scopes_keys: Vec::new(),
            scope_aliases: HashMap::new(),
            jwks_retry: Duration::from_secs(10),
            jwks_refresh: Duration::from_secs(3600),
            tls: TlsClient::default(),
            requests: RequestLimits::for_keys(),
        }
    }
}

impl fmt::Debug for OAuth2Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &Option<String>| Some(Address::parse(text.as_deref()?));
        f.debug_struct("OAuth2Settings")
            .field("resource_server_id", &self.resource_server_id)
            .field("verify_aud", &self.verify_aud)
            .field("issuer", &shown(&self.issuer))
            .field("jwks_url", &shown(&self.jwks_url))
            .field("keys", &self.keys)
            .field("default_key", &self.default_key)
            .field("algorithms", &self.algorithms)
            .field("leeway", &self.leeway)
            .field("username_claims", &self.username_claims)
            .field("scope_prefix", &self.scope_prefix)
            .field("additional_scopes_keys", &self.additional_scopes_keys)
            .field("scope_aliases", &self.scope_aliases)
            .field("jwks_retry", &self.jwks_retry)
            .field("jwks_refresh", &self.jwks_refresh)
            .field("tls", &self.tls)
            .field("requests", &self.requests)
            .finish()
    }
}
