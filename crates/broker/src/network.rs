//! Networks, and where clients come from as limits count them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses, written as in `10.0.0.0/8` or `2001:db8::/32`; an address alone stands for itself.
///
/// ```
/// use leveret_broker::Network;
///
/// # fn main() -> Result<(), leveret_broker::NetworkError> {
/// let network: Network = "10.1.0.0/16".parse()?;
/// assert!(network.contains([10, 1, 2, 3].into()));
/// assert!(!network.contains([10, 2, 0, 0].into()));
/// assert!("10.1.0.1/16".parse::<Network>().is_err(), "it has bits behind the prefix");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// What stands before the slash is no IP address.
    #[error("a network is written as an IP address, or as one with a prefix: 10.0.0.0/8")]
    BadAddress,
    /// What stands behind the slash is no number, or larger than the address has bits.
    #[error("the prefix of a network is a number of bits, at most 32 or 128")]
    BadPrefix,
    /// The address has bits behind the prefix: it is not clear what was meant.
    #[error("the address of a network ends with its prefix; behind it, there are zeros")]
    BitsBehindPrefix,
}

impl Network {
    /// Whether an address is in this network. IPv4 addresses that arrive on an IPv6 socket count as what they are.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::BadAddress)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| NetworkError::BadPrefix)?
            }
            Some(_) => return Err(NetworkError::BadPrefix),
        };
        if prefix > bits {
            return Err(NetworkError::BadPrefix);
        }
        let trailing_zeros = match address {
            IpAddr::V4(address) => address.to_bits().trailing_zeros(),
            IpAddr::V6(address) => address.to_bits().trailing_zeros(),
        };
        if trailing_zeros < u32::from(bits - prefix) {
            return Err(NetworkError::BitsBehindPrefix);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where a client comes from, as limits count it: an IPv4 address, or the 64 bits of an IPv6 address that name a
/// network, because whoever has one has all addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    V4(u32),
    V6(u64),
}

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(network_of(address)),
        }
    }
}

fn network_of(address: Ipv6Addr) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, want: bool) {
        let network: Network = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), want);
    }

    #[test]
    fn networks_contain_what_begins_like_them() {
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.0", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "::1", true);
        check("2001:db8::/32", "2001:db8:1::", true);
        check("2001:db8::/32", "2001:db9::", false);
        check("2001:db8::1", "2001:db8::2", false);
    }

    #[track_caller]
    fn check_refused(text: &str, want: NetworkError) {
        assert_eq!(text.parse::<Network>(), Err(want), "{text:?}");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        check_refused("", NetworkError::BadAddress);
        check_refused("localhost", NetworkError::BadAddress);
        check_refused("10.0.0.0/", NetworkError::BadPrefix);
        check_refused("10.0.0.0/33", NetworkError::BadPrefix);
        check_refused("10.0.0.0/+8", NetworkError::BadPrefix);
        check_refused("::/129", NetworkError::BadPrefix);
        check_refused("10.0.0.1/8", NetworkError::BitsBehindPrefix);
        check_refused("2001:db8::1/64", NetworkError::BitsBehindPrefix);
    }

    #[test]
    fn networks_are_shown_as_they_are_written() {
        let shown = |text: &str| text.parse::<Network>().unwrap().to_string();
        assert_eq!(shown("10.0.0.0/8"), "10.0.0.0/8");
        assert_eq!(shown("::1"), "::1/128");
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
