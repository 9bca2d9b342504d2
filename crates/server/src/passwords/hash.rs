//! What is kept of a password: Argon2id for our own, and RabbitMQ's salted SHA-2.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_broker::PasswordHash;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// How much memory a hash may ask for, in KiB: 256 MiB, thirteen times the usual. A hash comes from an operator, who could
/// mistype it; several are computed at once.
const MEMORY_MAX_KIB: u32 = 256 * 1024;

/// How often a hash may go through that memory: minutes, with the largest of both.
const PASSES_MAX: u32 = 64;

/// How many bytes of salt RabbitMQ puts before the digest.
const SALT_SIZE: usize = 4;

/// A hash that can be compared with.
#[derive(Clone, Debug)]
pub(crate) enum StoredHash {
    /// Made to take time, against whoever gets hold of it.
    Slow(SlowHash),
    /// One pass of a fast function, as RabbitMQ keeps it.
    Fast(FastHash),
}

/// Why a text is not a hash that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownHash {
    /// Neither of the two forms.
    #[error(
        "neither `$argon2id$...` nor a hash of RabbitMQ, which is base64 of salt and SHA-256 or SHA-512"
    )]
    Form,
    /// RabbitMQ's oldest form.
    #[error("a hash by MD5, which is not supported: set the password anew")]
    Md5,
    /// An Argon2 hash that takes more than it may.
    #[error("takes more than {} MiB or {PASSES_MAX} passes", MEMORY_MAX_KIB / 1024)]
    TooExpensive,
}

/// An Argon2id hash.
#[derive(Clone)]
pub(crate) struct SlowHash(String);

/// RabbitMQ's hash: base64 of a salt and the digest of salt and password, SHA-256 or SHA-512 as the length tells.
#[derive(Clone)]
pub(crate) struct FastHash {
    salt: [u8; SALT_SIZE],
    digest: Vec<u8>,
}

impl StoredHash {
    /// Reads a hash as it stands in the accounts.
    ///
    /// # Errors
    /// When we do not know its form.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownHash> {
        if text.starts_with("$argon2id$") {
            return SlowHash::parse(text).map(Self::Slow);
        }
        let bytes = BASE64_STANDARD.decode(text);
        let bytes = bytes.map_err(|_| UnknownHash::Form)?;
        let (salt, digest) = bytes.split_first_chunk().ok_or(UnknownHash::Form)?;
        match digest.len() {
            16 => Err(UnknownHash::Md5),
            32 | 64 => Ok(Self::Fast(FastHash {
                salt: *salt,
                digest: digest.to_vec(),
            })),
            _ => Err(UnknownHash::Form),
        }
    }
}

impl SlowHash {
    fn parse(text: &str) -> Result<Self, UnknownHash> {
        let hash = phc::PasswordHash::new(text).map_err(|_| UnknownHash::Form)?;
        let params = Params::try_from(&hash).map_err(|_| UnknownHash::Form)?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(UnknownHash::Form);
        }
        if params.m_cost() > MEMORY_MAX_KIB || params.t_cost() > PASSES_MAX {
            return Err(UnknownHash::TooExpensive);
        }
        Ok(Self(text.to_owned()))
    }

    /// The hash as it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of this password. Takes its time.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let Ok(hash) = phc::PasswordHash::new(&self.0) else {
            return false;
        };
        argon2().verify_password(password, &hash).is_ok()
    }
}

impl FastHash {
    /// Whether it is that of this password.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let digest = if self.digest.len() == 32 {
            salted::<Sha256>(self.salt, password)
        } else {
            salted::<Sha512>(self.salt, password)
        };
        digest.ct_eq(&self.digest).into()
    }
}

impl fmt::Debug for SlowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowHash(..)")
    }
}

impl fmt::Debug for FastHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FastHash(..)")
    }
}

/// Hashes a password for keeping, with the parameters that OWASP recommends at the least (19 MiB, two passes), which are
/// the crate's own.
///
/// # Errors
/// When the system has no random numbers, or the password is longer than Argon2 takes (4 GiB).
pub(crate) fn hash_password(password: &[u8]) -> Result<PasswordHash, argon2::password_hash::Error> {
    let hash: phc::PasswordHash = argon2().hash_password(password)?;
    Ok(PasswordHash::new(hash.to_string()))
}

/// Hashes a password that everybody knows, such as that of guest. It takes no time, because there is nothing to protect.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn hash_published_password(password: &[u8]) -> Result<PasswordHash, getrandom::Error> {
    let mut salt = [0; SALT_SIZE];
    getrandom::fill(&mut salt)?;
    let digest = salted::<Sha256>(salt, password);
    let text = BASE64_STANDARD.encode([&salt[..], &digest].concat());
    Ok(PasswordHash::new(text))
}

/// Whether this was made by [`hash_published_password`] of this password.
pub(crate) fn is_published_password(hash: &PasswordHash, password: &[u8]) -> bool {
    match StoredHash::parse(hash.as_str()) {
        Ok(StoredHash::Fast(fast)) => fast.matches(password),
        _ => false,
    }
}

/// Takes the time that a comparison with a hash of [`hash_password`] takes.
pub(super) fn spend_time_on(password: &[u8]) {
    let mut unused = [0; Params::DEFAULT_OUTPUT_LEN];
    // What goes wrong goes wrong in an instant, and with passwords of several gigabytes only.
    let _ = argon2().hash_password_into(password, b"not anybody's salt", &mut unused);
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

fn salted<D: Digest>(salt: [u8; SALT_SIZE], password: &[u8]) -> Vec<u8> {
    D::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_fast(text: &str, password: &str, want: bool) {
        let Ok(StoredHash::Fast(hash)) = StoredHash::parse(text) else {
            panic!("{text} is not one of RabbitMQ's");
        };
        assert_eq!(hash.matches(password.as_bytes()), want, "{password:?}");
    }

    #[track_caller]
    fn check_unknown(text: &str, want: UnknownHash) {
        assert_eq!(StoredHash::parse(text).unwrap_err(), want, "{text}");
    }

    /// The example of RabbitMQ's documentation: password `test12`, salt 908D C60A.
    #[test]
    fn a_hash_of_rabbitmq_is_understood() {
        let text = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        check_fast(text, "test12", true);
        check_fast(text, "test13", false);
        check_fast(text, "", false);
    }

    #[test]
    fn a_longer_one_is_sha_512() {
        let salt = [1, 2, 3, 4];
        let text = BASE64_STANDARD.encode([&salt[..], &salted::<Sha512>(salt, b"secret")].concat());
        check_fast(&text, "secret", true);
        check_fast(&text, "Secret", false);
    }

    #[test]
    fn no_two_hashes_of_a_password_are_alike() {
        let hash = |_| hash_published_password(b"guest").unwrap();
        let [a, b] = [0, 1].map(hash);
        assert_ne!(a, b);
        check_fast(a.as_str(), "guest", true);
        let hash = |_| hash_password(b"guest").unwrap();
        let [a, b] = [0, 1].map(hash);
        assert_ne!(a, b);
        assert!(a.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn other_forms_are_unknown() {
        check_unknown("", UnknownHash::Form);
        check_unknown("secret", UnknownHash::Form);
        check_unknown("$2b$12$abcdefghijklmnopqrstuv", UnknownHash::Form);
        check_unknown("$argon2id$", UnknownHash::Form);
        check_unknown("$argon2id$v=19$m=19456,t=2,p=1", UnknownHash::Form);
        check_unknown(&BASE64_STANDARD.encode([0; 20]), UnknownHash::Md5);
        check_unknown(&BASE64_STANDARD.encode([0; 3]), UnknownHash::Form);
    }

    #[test]
    fn a_hash_that_takes_too_much_is_refused() {
        let hash = |cost: &str| {
            format!(
                "$argon2id$v=19${cost},p=1$c29tZXNhbHRzYWx0$u1GzP2MCgX0Xyqxy2gXoZw1xX0l1vmvFfGzF8wqTqLM"
            )
        };
        check_unknown(&hash("m=262145,t=2"), UnknownHash::TooExpensive);
        check_unknown(&hash("m=19456,t=65"), UnknownHash::TooExpensive);
        StoredHash::parse(&hash("m=19456,t=2")).unwrap();
    }

    #[test]
    fn debug_output_shows_no_hash() {
        let text = hash_published_password(b"guest").unwrap();
        let shown = format!("{:?}", StoredHash::parse(text.as_str()).unwrap());
        assert_eq!(shown, "Fast(FastHash(..))");
    }
}
