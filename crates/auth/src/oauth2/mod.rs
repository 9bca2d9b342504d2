//! JSON Web Tokens as passwords.

mod authorizer;
mod claims;
mod keys;
mod remote;
mod scopes;
mod settings;
mod wildcard;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, crypto};
use leveret_broker::{Authenticator, Identity, Login, LoginFuture, LoginRefused, Tag};
use serde_json::{Map, Value};

use authorizer::Bearer;
use claims::{ClaimProblem, Claims};
use keys::KeySet;
pub use keys::SigningKey;
use remote::{NoKeys, RemoteKeys};
use scopes::Scopes;
pub use settings::{Algorithm as TokenAlgorithm, OAuth2Settings};

use crate::clock;
use crate::error::SetupError;

/// How much of what a stranger sent is logged, in characters.
const LOGGED_MAX: usize = 64;

/// Lets in whoever has a token, a signed JSON Web Token in the place of a password, from an issuer that it trusts. The
/// token says who that is and what it permits, as RabbitMQ reads it, and until when; the name that came with it is not
/// looked at.
///
/// Clones are the same backend.
#[derive(Clone, Debug)]
pub struct OAuth2(Arc<Verifier>);

#[derive(Debug)]
struct Verifier {
    settings: OAuth2Settings,
    known: KeySet,
    remote: Option<RemoteKeys>,
}

/// Who a token makes its bearer.
struct Accepted {
    username: String,
    scopes: Scopes,
    until: SystemTime,
}

/// Why a token lets nobody in.
#[derive(Debug, thiserror::Error)]
enum TokenRefused {
    #[error("what was given as password is no JSON Web Token")]
    NoToken,
    #[error("the token's algorithm {0:?} is not allowed")]
    Algorithm(Algorithm),
    #[error("the token has header parameters that have to be understood, and are not (crit)")]
    Critical,
    #[error("the token is signed with key '{0}', which is not known")]
    UnknownKey(String),
    #[error("the token names no key, and there is not one alone that fits")]
    NoKeyNamed,
    #[error("the keys of the issuer cannot be had: {0}")]
    NoKeys(#[from] NoKeys),
    #[error("the token's signature is wrong")]
    Signature,
    #[error(transparent)]
    Claims(#[from] ClaimProblem),
}

impl From<TokenRefused> for LoginRefused {
    fn from(refused: TokenRefused) -> Self {
        match refused {
            TokenRefused::NoKeys(_) => Self::unavailable(refused.to_string()),
            _ => Self::new(refused.to_string()),
        }
    }
}

impl OAuth2 {
    /// A backend with these settings. Keys at an address are fetched when the first token needs them.
    ///
    /// # Errors
    /// When the settings name no keys, an address is none, a file of TLS cannot be used, or HMAC is among the algorithms
    /// and there is no secret.
    pub fn new(settings: OAuth2Settings) -> Result<Self, SetupError> {
        if settings.resource_server_id.is_empty() {
            return Err(SetupError::new("resource-server-id is empty"));
        }
        let known = KeySet::new(settings.keys.clone());
        let remote = RemoteKeys::new(&settings)?;
        if known.is_empty() && remote.is_none() {
            return Err(SetupError::new(
                "there are no keys: name an issuer, the address of its keys, or keys in files",
            ));
        }
        let is_hmac = |algorithm: &Algorithm| keys::is_hmac(*algorithm);
        if settings.algorithms.iter().any(is_hmac) && !known.has_secret() {
            return Err(SetupError::new("algorithms of HMAC need a secret"));
        }
        Ok(Self(Arc::new(Verifier {
            settings,
            known,
            remote,
        })))
    }

    async fn check(&self, token: &[u8]) -> Result<Identity, LoginRefused> {
        let accepted = self
            .0
            .accept(token, clock::now(), clock::wall_time())
            .await?;
        Ok(self.identity(accepted))
    }

    fn identity(&self, accepted: Accepted) -> Identity {
        let tags: Vec<Tag> = accepted.scopes.tags().iter().cloned().collect();
        let username: Arc<str> = accepted.username.into();
        let bearer = Bearer::new(self.clone(), Arc::clone(&username), accepted.scopes);
        Identity::new(username)
            .with_tags(tags)
            .with_authorizer(Arc::new(bearer))
            .valid_until(accepted.until)
    }
}

impl Authenticator for OAuth2 {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(async move { self.check(&login.password).await })
    }
}

impl Verifier {
    /// `now` is for how old keys are, `wall_time` for what tokens say of time.
    async fn accept(
        &self,
        token: &[u8],
        now: Instant,
        wall_time: SystemTime,
    ) -> Result<Accepted, TokenRefused> {
        let token = str::from_utf8(token).map_err(|_| TokenRefused::NoToken)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefused::NoToken)?;
        let allowed = &self.settings.algorithms;
        if !allowed.is_empty() && !allowed.contains(&header.alg) {
            return Err(TokenRefused::Algorithm(header.alg));
        }
        // RFC 7515, section 4.1.11: what is not understood and has to be makes a token invalid.
        if header.crit.is_some() {
            return Err(TokenRefused::Critical);
        }
        let key = self.key(&header, now).await?;
        let claims = verified_claims(token, header.alg, &key)?;
        let until = claims.check(&self.settings, wall_time)?;
        Ok(Accepted {
            username: claims.username(&self.settings)?.to_owned(),
            scopes: Scopes::new(claims.scopes(&self.settings), &self.settings.scope_prefix),
            until,
        })
    }

    async fn key(&self, header: &Header, now: Instant) -> Result<SigningKey, TokenRefused> {
        let id = header.kid.as_deref();
        let id = id.or(self.settings.default_key.as_deref());
        if let Some(key) = self.known.find(id, header.alg) {
            return Ok(key.clone());
        }
        // A secret that is shared is never fetched.
        if let Some(remote) = &self.remote
            && !keys::is_hmac(header.alg)
        {
            let is_there = |keys: &KeySet| keys.find(id, header.alg).is_some();
            let keys = remote.get(now, is_there).await?;
            if let Some(key) = keys.find(id, header.alg) {
                return Ok(key.clone());
            }
        }
        Err(match id {
            Some(id) => TokenRefused::UnknownKey(
                id.chars()
                    .take(LOGGED_MAX)
                    .flat_map(char::escape_debug)
                    .collect(),
            ),
            None => TokenRefused::NoKeyNamed,
        })
    }
}

/// What the token says, if this key has signed it.
fn verified_claims(
    token: &str,
    algorithm: Algorithm,
    key: &SigningKey,
) -> Result<Claims, TokenRefused> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenRefused::NoToken)?;
    let (_, payload) = message.rsplit_once('.').ok_or(TokenRefused::NoToken)?;
    let is_right = crypto::verify(signature, message.as_bytes(), key.key(), algorithm);
    if !is_right.unwrap_or(false) {
        return Err(TokenRefused::Signature);
    }
    let json = URL_SAFE_NO_PAD.decode(payload);
    let json = json.map_err(|_| TokenRefused::NoToken)?;
    let claims: Map<String, Value> =
        serde_json::from_slice(&json).map_err(|_| TokenRefused::NoToken)?;
    Ok(Claims(claims))
}

#[cfg(test)]
mod tests;
