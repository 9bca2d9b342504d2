//! What a client has shown to prove who it is.

use std::fmt;
use std::ops::Deref;

/// A password or token of a client, exactly as it came. It is overwritten when it is dropped, each clone by itself, and
/// `Debug` does not show it.
#[derive(Clone, Default)]
pub struct Password(Vec<u8>);

impl Password {
    /// Whether this is what somebody expects. It takes as long for a wrong first byte as for a wrong last one; only the
    /// lengths can be told apart.
    #[must_use]
    pub fn is(&self, expected: impl AsRef<[u8]>) -> bool {
        let expected = expected.as_ref();
        self.len() == expected.len()
            && self
                .iter()
                .zip(expected)
                .fold(0, |difference, (x, y)| difference | (x ^ y))
                == 0
    }
}

impl Deref for Password {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Password {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.fill(0);
        // Nobody reads it again, so the zeros might be left out.
        std::hint::black_box(&mut self.0);
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(password: &str, expected: &str, want: bool) {
        let password = Password::from(password.as_bytes().to_vec());
        assert_eq!(password.is(expected), want, "{expected:?}");
    }

    #[test]
    fn only_the_same_is_it() {
        check("secret", "secret", true);
        check("secret", "secreT", false);
        check("secret", "Secret", false);
        check("secret", "secre", false);
        check("secre", "secret", false);
        check("", "", true);
    }

    #[test]
    fn debug_output_shows_nothing() {
        let password = Password::from(b"secret".to_vec());
        assert_eq!(format!("{password:?}"), "Password(..)");
    }
}
