//! Files that hold secrets.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::AuthError;

/// What a file holds, wiped when it is dropped.
///
/// # Errors
/// When it cannot be read; `section` is who wants it.
pub(super) fn read(section: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let bytes = fs::read(path).map_err(|source| AuthError::Unreadable {
        section,
        path: path.to_owned(),
        source,
    })?;
    Ok(Zeroizing::new(bytes))
}

/// The secret in a file: all of it but a line end at its end, which editors put there.
///
/// # Errors
/// As [`read`].
pub(super) fn read_secret(
    section: &'static str,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let mut secret = read(section, path)?;
    for end in [b'\n', b'\r'] {
        if secret.last() == Some(&end) {
            secret.pop();
        }
    }
    Ok(secret)
}
