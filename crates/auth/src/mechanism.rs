//! What a client shows beside its name.

use leveret_broker::{Login, LoginRefused};

/// The mechanism of clients whose certificate says who they are, and has been verified.
const EXTERNAL: &str = "EXTERNAL";

/// The password to check; none where a certificate has said already who the client is.
///
/// # Errors
/// For an empty password. RabbitMQ refuses it, and directories take it for one who does not want to log in at all, to
/// whom they say yes.
pub(crate) fn password(login: &Login) -> Result<Option<&[u8]>, LoginRefused> {
    if login.mechanism == EXTERNAL {
        return Ok(None);
    }
    if login.password.is_empty() {
        return Err(LoginRefused::new(format!(
            "user '{}' gave no password",
            login.username
        )));
    }
    Ok(Some(&login.password))
}
