//! What a client answers to the SASL challenge (behaviour reference, section 2.2).

use leveret_amqp_codec::{Limits, RawTable, ValueRef};

/// The mechanism of clients that do not say who they are. Off unless the embedding program turns it on.
pub(super) const ANONYMOUS: &str = "ANONYMOUS";

/// The mechanism of clients that are who their certificate says.
pub(super) const EXTERNAL: &str = "EXTERNAL";

/// The mechanisms that are offered, in order of preference, as connection.start lists them.
pub(super) fn offered(external: bool, anonymous: bool) -> &'static str {
    match (external, anonymous) {
        (false, false) => "PLAIN AMQPLAIN",
        (false, true) => "PLAIN AMQPLAIN ANONYMOUS",
        (true, false) => "PLAIN AMQPLAIN EXTERNAL",
        (true, true) => "PLAIN AMQPLAIN EXTERNAL ANONYMOUS",
    }
}

/// A name and a password.
pub(super) struct Credentials {
    pub(super) mechanism: &'static str,
    pub(super) username: String,
    pub(super) password: Vec<u8>,
}

/// Why an answer cannot be used. RabbitMQ drops the connection after a while, without a word, in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaslError {
    UnknownMechanism,
    Malformed,
}

/// Reads the response of a mechanism that answers in one step. `certified` is who the client's certificate says it is; what
/// it says itself counts for nothing then.
pub(super) fn parse(
    mechanism: &str,
    response: &[u8],
    certified: Option<&str>,
) -> Result<Credentials, SaslError> {
    match mechanism {
        EXTERNAL => {
            let username = certified.ok_or(SaslError::UnknownMechanism)?;
            credentials(EXTERNAL, username.as_bytes(), b"")
        }
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => Err(SaslError::UnknownMechanism),
    }
}

/// RFC 4616, with an empty authorization identity: `NUL user NUL password`.
fn plain(response: &[u8]) -> Result<Credentials, SaslError> {
    let rest = response.strip_prefix(b"\0").ok_or(SaslError::Malformed)?;
    let mut parts = rest.split(|byte| *byte == 0);
    let (Some(username), Some(password), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(SaslError::Malformed);
    };
    credentials("PLAIN", username, password)
}

/// A field table without its length: `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Result<Credentials, SaslError> {
    let table = RawTable::decode(response, &Limits::default()).map_err(|_| SaslError::Malformed)?;
    let text = |name| match table.get(name) {
        Some(ValueRef::LongString(text) | ValueRef::ByteArray(text)) => Ok(text),
        _ => Err(SaslError::Malformed),
    };
    credentials("AMQPLAIN", text("LOGIN")?, text("PASSWORD")?)
}

fn credentials(
    mechanism: &'static str,
    username: &[u8],
    password: &[u8],
) -> Result<Credentials, SaslError> {
    let username = std::str::from_utf8(username).map_err(|_| SaslError::Malformed)?;
    Ok(Credentials {
        mechanism,
        username: username.to_owned(),
        password: password.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mechanism: &str, response: &[u8], want: Result<(&str, &str), SaslError>) {
        let got = parse(mechanism, response, None)
            .map(|got| (got.username, String::from_utf8(got.password).unwrap()));
        let want = want.map(|(username, password)| (username.to_owned(), password.to_owned()));
        assert_eq!(got, want);
    }

    #[test]
    fn plain_is_two_parts_after_an_empty_one() {
        check("PLAIN", b"\0ann\0secret", Ok(("ann", "secret")));
        check("PLAIN", b"\0ann\0", Ok(("ann", "")));
        check("PLAIN", b"\0ann\0secret\0", Err(SaslError::Malformed));
        check("PLAIN", b"bob\0ann\0secret", Err(SaslError::Malformed));
        check("PLAIN", b"\0ann", Err(SaslError::Malformed));
        check("PLAIN", b"", Err(SaslError::Malformed));
    }

    #[test]
    fn amqplain_is_a_table_without_length() {
        check(
            "AMQPLAIN",
            b"\x05LOGINS\0\0\0\x03ann\x08PASSWORDS\0\0\0\x06secret",
            Ok(("ann", "secret")),
        );
        check(
            "AMQPLAIN",
            b"\x05LOGINS\0\0\0\x03ann",
            Err(SaslError::Malformed),
        );
        check(
            "AMQPLAIN",
            b"\x05LOGINS\0\0\0\xffann",
            Err(SaslError::Malformed),
        );
    }

    #[test]
    fn external_is_who_the_certificate_says() {
        let parsed = parse("EXTERNAL", b"bob", Some("ann")).unwrap();
        assert_eq!((&*parsed.username, parsed.password.len()), ("ann", 0));
    }

    #[test]
    fn other_mechanisms_are_unknown() {
        check("EXTERNAL", b"", Err(SaslError::UnknownMechanism));
        check("plain", b"\0ann\0secret", Err(SaslError::UnknownMechanism));
    }
}
