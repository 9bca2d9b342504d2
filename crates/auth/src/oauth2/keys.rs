//! Keys with which signatures are verified.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use crate::error::SetupError;

/// How many keys of one set are kept; issuers have two or three.
const KEYS_MAX: usize = 100;

/// The shortest secret for HMAC, in bytes: that of its weakest hash. RFC 7518, section 3.2 asks for it.
const SECRET_SIZE_MIN: usize = 32;

/// A key that signs tokens, or its public half, under the id that they name.
///
/// Its `Debug` output does not show it.
#[derive(Clone)]
pub struct SigningKey {
    id: Option<String>,
    key: DecodingKey,
    /// What it is for; none for all that it can do.
    algorithm: Option<Algorithm>,
}

impl SigningKey {
    /// The public key in a text in PEM, as `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`: RSA, ECDSA with P-256 or
    /// P-384, or Ed25519.
    ///
    /// # Errors
    /// When there is none, and for a private key, which has no business here.
    pub fn from_pem(id: Option<String>, pem: &[u8]) -> Result<Self, SetupError> {
        if contains(pem, b"PRIVATE KEY-----") {
            return Err(SetupError::new(
                "this is a private key; only its public key is needed here",
            ));
        }
        let readers = [
            DecodingKey::from_rsa_pem,
            DecodingKey::from_ec_pem,
            DecodingKey::from_ed_pem,
        ];
        let key = readers.iter().find_map(|read| read(pem).ok());
        let key = key.ok_or_else(|| {
            SetupError::new("there is no public key of RSA, ECDSA or Ed25519 in PEM")
        })?;
        Ok(Self {
            id,
            key,
            algorithm: None,
        })
    }

    /// A secret that is shared with the issuer, for HMAC.
    ///
    /// # Errors
    /// When it has fewer than 32 bytes.
    pub fn from_secret(id: Option<String>, secret: &[u8]) -> Result<Self, SetupError> {
        if secret.len() < SECRET_SIZE_MIN {
            return Err(SetupError::new(format!(
                "a secret that signs tokens has at least {SECRET_SIZE_MIN} bytes"
            )));
        }
        Ok(Self {
            id,
            key: DecodingKey::from_secret(secret),
            algorithm: None,
        })
    }

    /// A key of a set; none for what is not to be used for signatures, or shared.
    fn from_jwk(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let is_for_others = jwk
            .common
            .public_key_use
            .as_ref()
            .is_some_and(|usage| *usage != PublicKeyUse::Signature);
        if is_for_others || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return None;
        }
        let algorithm = jwk.common.key_algorithm.map(Algorithm::try_from);
        Some(Self {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id,
            algorithm: algorithm.transpose().ok()?,
        })
    }

    pub(super) fn key(&self) -> &DecodingKey {
        &self.key
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        // A key is used for nothing but what it is: else a public key would be a secret of HMAC that everybody knows.
        self.key.family() == algorithm.family() && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("family", &self.key.family())
            .finish_non_exhaustive()
    }
}

/// Some keys of one origin.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(Vec<SigningKey>);

impl KeySet {
    pub(super) fn new(keys: Vec<SigningKey>) -> Self {
        Self(keys)
    }

    /// The keys of a JSON Web Key Set (RFC 7517, section 5) that are for signatures; those that are not understood are
    /// passed over. None for what is no such set.
    pub(super) fn from_jwks(json: &[u8]) -> Option<Self> {
        let set: Value = serde_json::from_slice(json).ok()?;
        let keys = set.get("keys")?.as_array()?;
        let keys = keys.iter().filter_map(SigningKey::from_jwk);
        Some(Self(keys.take(KEYS_MAX).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has_secret(&self) -> bool {
        let mut keys = self.0.iter();
        keys.any(|key| key.key.family() == AlgorithmFamily::Hmac)
    }

    /// The key with this id, or without an id the only one that is for this algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&SigningKey> {
        let mut fitting = self.0.iter().filter(|key| key.is_for(algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => {
                let only = fitting.next()?;
                fitting.next().is_none().then_some(only)
            }
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub(super) fn is_hmac(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}
