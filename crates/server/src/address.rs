//! Addresses to listen on, as people write them.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Where to listen: a host name or IP address, and a port; 0 has the system choose a free one.
///
/// Written `HOST:PORT`, an IPv6 address in brackets: `[::1]:5672`. A name is looked up when the server starts, not when
/// it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    host: String,
    port: u16,
}

/// Why a text is not a [`ListenAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// There is no colon, or nothing before or after the last one.
    #[error("an address is written HOST:PORT, for example 127.0.0.1:5672 or [::1]:5672")]
    Incomplete,
    /// An IPv6 address without brackets, whose last group could as well be the port.
    #[error("an IPv6 address is written in brackets, for example [::1]:5672")]
    Unbracketed,
    /// There are brackets, but no IPv6 address in them.
    #[error("what stands in brackets is not an IPv6 address")]
    BadIpv6,
    /// The port is not a number, or too large.
    #[error("the port must be a number from 0 to 65535")]
    BadPort,
}

impl ListenAddress {
    /// All socket addresses that the host has; a name such as `localhost` often has one per family. Never empty.
    ///
    /// Waits for the system's resolver when the host is a name.
    ///
    /// # Errors
    /// When the name is unknown or has no address.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut found = Vec::new();
        for address in (host, self.port).to_socket_addrs()? {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(found)
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Incomplete)?;
        if host.is_empty() || port.is_empty() {
            return Err(AddressError::Incomplete);
        }
        if let Some(inside) = host.strip_prefix('[') {
            let address = inside.strip_suffix(']').ok_or(AddressError::BadIpv6)?;
            if address.parse::<Ipv6Addr>().is_err() {
                return Err(AddressError::BadIpv6);
            }
        } else if host.contains(':') {
            return Err(AddressError::Unbracketed);
        }
        // `parse` alone would let a sign through.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError::BadPort);
        }
        let port = port.parse().map_err(|_| AddressError::BadPort)?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, want: AddressError) {
        assert_eq!(text.parse::<ListenAddress>(), Err(want), "{text:?}");
    }

    #[track_caller]
    fn check_resolved(text: &str, want: &str) {
        let address: ListenAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.resolve().unwrap(), [want.parse().unwrap()]);
    }

    #[test]
    fn addresses_of_both_families_stand_for_themselves() {
        check_resolved("127.0.0.1:5672", "127.0.0.1:5672");
        check_resolved("0.0.0.0:0", "0.0.0.0:0");
        check_resolved("[::1]:5672", "[::1]:5672");
        check_resolved("[::]:65535", "[::]:65535");
    }

    #[test]
    fn a_name_is_kept_until_it_is_resolved() {
        let address: ListenAddress = "broker.internal:5672".parse().unwrap();
        assert_eq!(address.to_string(), "broker.internal:5672");
    }

    #[test]
    fn what_is_not_host_and_port_is_refused() {
        check_refused("", AddressError::Incomplete);
        check_refused("5672", AddressError::Incomplete);
        check_refused(":5672", AddressError::Incomplete);
        check_refused("localhost:", AddressError::Incomplete);
        check_refused("localhost", AddressError::Incomplete);
        check_refused("::1:5672", AddressError::Unbracketed);
        check_refused("[::1:5672", AddressError::BadIpv6);
        check_refused("[localhost]:5672", AddressError::BadIpv6);
        check_refused("localhost:amqp", AddressError::BadPort);
        check_refused("localhost:+1", AddressError::BadPort);
        check_refused("localhost:65536", AddressError::BadPort);
    }
}
