//! Whoever issues tokens in the tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use super::pem::pem;

/// The audience of its tokens, which is also the beginning of their scopes.
pub(crate) const AUDIENCE: &str = "mq";

/// A key of ECDSA on P-256, under an id.
pub(crate) struct Issuer {
    id: &'static str,
    key: KeyPair,
}

impl Issuer {
    pub(crate) fn new(id: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { id, key }
    }

    /// The key as an issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let point = self.key.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    pub(crate) fn public_pem(&self) -> String {
        public_pem(&self.key)
    }

    pub(crate) fn private_pem(&self) -> String {
        private_pem(&self.key)
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            kid: Some(self.id.to_owned()),
            ..Header::new(Algorithm::ES256)
        }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        encode(header, claims, &key).unwrap()
    }
}

/// The public half of a key, in PEM.
pub(crate) fn public_pem(key: &KeyPair) -> String {
    pem("PUBLIC KEY", &key.subject_public_key_info())
}

/// A key in PEM, as whoever signs has it.
pub(crate) fn private_pem(key: &KeyPair) -> String {
    pem("PRIVATE KEY", key.serialized_der())
}

/// What a set of these keys looks like.
pub(crate) fn key_set(issuers: &[&Issuer]) -> String {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// A token's claims that are right for an hour.
pub(crate) fn claims(user: &str, scope: &str) -> Value {
    json!({"sub": user, "aud": AUDIENCE, "scope": scope, "exp": in_an_hour()})
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens hold until a time of the calendar"
)]
pub(crate) fn in_an_hour() -> u64 {
    let end = SystemTime::now() + Duration::from_secs(3600);
    end.duration_since(UNIX_EPOCH).unwrap().as_secs()
}
