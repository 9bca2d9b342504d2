//! Secrets in the configuration file.

use leveret_auth::Secret;
use serde::de::{Deserialize, Deserializer};

/// A secret that stands in the configuration file itself, or an address in which one may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretText(pub(super) Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}
