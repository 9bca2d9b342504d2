//! Where the broker is and who logs in.

use std::fmt;
use std::str::FromStr;

/// The port that IANA has assigned to AMQP.
const DEFAULT_PORT: u16 = 5672;

/// A broker, an account and a virtual host, as `amqp://user:password@host:port/vhost`.
///
/// Follows RabbitMQ's specification of URIs: everything but the host may be left out, which means `guest`, `guest`, 5672
/// and `/`; a virtual host that begins with a slash has it written as `%2F`; an empty one (`amqp://host/`) is the one
/// without a name. Only `Debug` leaves out the password.
#[derive(Clone, Eq, PartialEq)]
pub struct AmqpUri {
    /// The user who logs in.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The virtual host.
    pub virtual_host: String,
}

/// Why a text is not an [`AmqpUri`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// TLS is asked for.
    #[error("amqps is not supported: measure without TLS, or through a proxy")]
    Tls,
    /// It begins with something else than `amqp://`.
    #[error("it has to begin with amqp://")]
    Scheme,
    /// There is nothing where the host should be.
    #[error("the host is missing")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port has to be a number from 1 to 65535")]
    Port,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("what follows a % has to be two hexadecimal digits, and the whole UTF-8")]
    Escape,
    /// There is a query or a fragment.
    #[error("there may be nothing behind the virtual host")]
    Query,
}

impl FromStr for AmqpUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.starts_with("amqps://") {
            return Err(UriError::Tls);
        }
        let rest = text.strip_prefix("amqp://").ok_or(UriError::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(UriError::Query);
        }
        let (authority, virtual_host) = match rest.split_once('/') {
            Some((authority, path)) => (authority, unescape(path)?),
            None => (rest, "/".to_owned()),
        };
        let (account, address) = authority.rsplit_once('@').unwrap_or(("guest", authority));
        let (user, password) = account.split_once(':').unwrap_or((account, "guest"));
        let (host, port) = split_port(address)?;
        if host.is_empty() {
            return Err(UriError::Host);
        }
        Ok(Self {
            user: unescape(user)?,
            password: unescape(password)?,
            host: unescape(host)?,
            port,
            virtual_host,
        })
    }
}

impl AmqpUri {
    /// Host and port, as they stand in a URI.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpUri")
            .field("user", &self.user)
            .field("address", &self.address())
            .field("virtual_host", &self.virtual_host)
            .finish_non_exhaustive()
    }
}

/// Cuts the port off an address; the colons of an IPv6 address stand in brackets.
fn split_port(address: &str) -> Result<(&str, u16), UriError> {
    let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(UriError::Host)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(UriError::Port),
        }
    } else {
        match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(digits) => digits.parse().map_err(|_| UriError::Port)?,
    };
    if port == 0 {
        return Err(UriError::Port);
    }
    Ok((host, port))
}

fn unescape(text: &str) -> Result<String, UriError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let [high, low, tail @ ..] = rest else {
                return Err(UriError::Escape);
            };
            bytes.push(hex(*high)? << 4 | hex(*low)?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| UriError::Escape)
}

fn hex(digit: u8) -> Result<u8, UriError> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(UriError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, user: &str, password: &str, address: &str, virtual_host: &str) {
        let uri: AmqpUri = text.parse().unwrap();
        assert_eq!(
            (&*uri.user, &*uri.password, &*uri.virtual_host),
            (user, password, virtual_host)
        );
        assert_eq!(uri.address(), address);
    }

    #[test]
    fn what_is_left_out_is_rabbitmqs_default() {
        check("amqp://localhost", "guest", "guest", "localhost:5672", "/");
        check("amqp://me@box:1", "me", "guest", "box:1", "/");
    }

    #[test]
    fn each_part_is_unescaped() {
        check(
            "amqp://a%40b:p%3Aq%2F@h:5673/%2Fv%20w",
            "a@b",
            "p:q/",
            "h:5673",
            "/v w",
        );
    }

    #[test]
    fn a_lone_slash_is_the_virtual_host_without_a_name() {
        check("amqp://h/", "guest", "guest", "h:5672", "");
        check("amqp://h/%2f", "guest", "guest", "h:5672", "/");
    }

    #[test]
    fn ipv6_stands_in_brackets() {
        check("amqp://[::1]", "guest", "guest", "[::1]:5672", "/");
        check("amqp://[::1]:7/x", "guest", "guest", "[::1]:7", "x");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("amqps://h", UriError::Tls),
            ("h:5672", UriError::Scheme),
            ("amqp://", UriError::Host),
            ("amqp://u:p@/v", UriError::Host),
            ("amqp://h:0", UriError::Port),
            ("amqp://h:70000", UriError::Port),
            ("amqp://[::1]5672", UriError::Port),
            ("amqp://h/%2", UriError::Escape),
            ("amqp://h/%ff", UriError::Escape),
            ("amqp://h/v?heartbeat=5", UriError::Query),
        ] {
            assert_eq!(text.parse::<AmqpUri>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_password_is_not_in_the_debug_text() {
        let uri: AmqpUri = "amqp://me:secret@h".parse().unwrap();
        assert!(!format!("{uri:?}").contains("secret"));
    }
}
