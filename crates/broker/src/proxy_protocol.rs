//! The PROXY protocol, versions 1 and 2: what a load balancer says of the client that it speaks for
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end (section 2.1).
const LINE_SIZE_MAX: usize = 107;

/// Version 2 has 16 bytes in front of the addresses.
const FIXED_SIZE: usize = 16;

/// The longest header of version 2 that is read, addresses and all: those of sockets of Unix are 216 bytes, and what
/// proxies add to them (names, certificates, identifiers of networks) is some hundred.
const HEADER_SIZE_MAX: usize = 4096;

/// The shortest lines of version 1 with addresses, and of all.
const IPV4_LINE_SIZE_MIN: usize = "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".len();
const IPV6_LINE_SIZE_MIN: usize = "PROXY TCP6 :: :: 1 1\r\n".len();

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The connection is that of a client.
    Proxied {
        /// Where the client is.
        peer: SocketAddr,
        /// Where it has connected to.
        local: SocketAddr,
    },
    /// The connection is the proxy's own, or the client's address is none of the internet: that of the socket counts.
    Local,
}

/// How far the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many more bytes belong to the header for certain; there may be still more.
    Needs(usize),
    /// The bytes are a whole header.
    Complete(Header),
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    /// They begin like neither version.
    #[error("the connection begins with something else")]
    NotAHeader,
    /// The line of version 1 does not end, or a header of version 2 announces too much.
    #[error("it is too long")]
    TooLong,
    /// The line of version 1 is not as it should be.
    #[error("its line cannot be read")]
    BadLine,
    /// A version, command or family that does not exist.
    #[error("it is of an unknown kind")]
    UnknownKind,
    /// There is no room for the addresses that it is said to have.
    #[error("its addresses are cut off")]
    NoAddresses,
}

impl Header {
    /// Reads a header that `bytes` hold, or begin to hold. Whoever hands over no more than it was asked for never takes
    /// a byte of what follows.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Progress, ProxyError> {
        if let Some(more) = SIGNATURE.len().checked_sub(bytes.len())
            && more > 0
        {
            // Both versions are longer than that.
            return Ok(Progress::Needs(more));
        }
        if bytes.starts_with(SIGNATURE) {
            return Self::decode_binary(bytes);
        }
        if bytes.starts_with(b"PROXY ") {
            return Self::decode_line(bytes);
        }
        Err(ProxyError::NotAHeader)
    }

    /// Version 1.
    fn decode_line(bytes: &[u8]) -> Result<Progress, ProxyError> {
        if let Some(line) = bytes.strip_suffix(b"\r\n") {
            let line = str::from_utf8(line).map_err(|_| ProxyError::BadLine)?;
            return Self::of_line(line).map(Progress::Complete);
        }
        if bytes.contains(&b'\n') {
            // It ended before the shortest that could be read.
            return Err(ProxyError::BadLine);
        }
        if bytes.len() >= LINE_SIZE_MAX {
            return Err(ProxyError::TooLong);
        }
        let least = match bytes {
            [
                b'P',
                b'R',
                b'O',
                b'X',
                b'Y',
                b' ',
                b'T',
                b'C',
                b'P',
                b'4',
                ..,
            ] => IPV4_LINE_SIZE_MIN,
            [
                b'P',
                b'R',
                b'O',
                b'X',
                b'Y',
                b' ',
                b'T',
                b'C',
                b'P',
                b'6',
                ..,
            ] => IPV6_LINE_SIZE_MIN,
            _ => 0,
        };
        // At least the line's end is missing, or its second half.
        let end = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let more = least.saturating_sub(bytes.len()).max(end);
        Ok(Progress::Needs(more.min(LINE_SIZE_MAX - bytes.len())))
    }

    fn of_line(line: &str) -> Result<Self, ProxyError> {
        let mut words = line.split(' ').skip(1);
        let mut word = || words.next().ok_or(ProxyError::BadLine);
        let family = word()?;
        if family == "UNKNOWN" {
            // Whatever follows is to be ignored.
            return Ok(Self::Local);
        }
        let addresses = [word()?, word()?];
        let ports = [word()?, word()?];
        if words.next().is_some() {
            return Err(ProxyError::BadLine);
        }
        let [peer, local] = match family {
            "TCP4" => addresses.map(|text| parse::<Ipv4Addr>(text).map(IpAddr::V4)),
            "TCP6" => addresses.map(|text| parse::<Ipv6Addr>(text).map(IpAddr::V6)),
            _ => return Err(ProxyError::BadLine),
        };
        let [peer_port, local_port] = ports.map(|text| {
            // `parse` alone would let a sign through.
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then_some(text).ok_or(ProxyError::BadLine)
        });
        Ok(Self::Proxied {
            peer: SocketAddr::new(peer?, parse(peer_port?)?),
            local: SocketAddr::new(local?, parse(local_port?)?),
        })
    }

    /// Version 2.
    fn decode_binary(bytes: &[u8]) -> Result<Progress, ProxyError> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_SIZE>() else {
            return Ok(Progress::Needs(FIXED_SIZE - bytes.len()));
        };
        let [.., kind, family, high, low] = *fixed;
        let size = usize::from(u16::from_be_bytes([high, low]));
        if FIXED_SIZE + size > HEADER_SIZE_MAX {
            return Err(ProxyError::TooLong);
        }
        if rest.len() < size {
            return Ok(Progress::Needs(size - rest.len()));
        }
        let header = match (kind, family) {
            (0x20, _) => Self::Local,
            (0x21, 0x11) => Self::of_ipv4(rest)?,
            (0x21, 0x21) => Self::of_ipv6(rest)?,
            // Unspecified, sockets of Unix, and datagrams, none of which has an address for us.
            (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Self::Local,
            _ => return Err(ProxyError::UnknownKind),
        };
        Ok(Progress::Complete(header))
    }

    fn of_ipv4(rest: &[u8]) -> Result<Self, ProxyError> {
        let (addresses, _) = rest
            .split_first_chunk::<12>()
            .ok_or(ProxyError::NoAddresses)?;
        let [
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            peer_high,
            peer_low,
            local_high,
            local_low,
        ] = *addresses;
        let peer_port = u16::from_be_bytes([peer_high, peer_low]);
        let local_port = u16::from_be_bytes([local_high, local_low]);
        Ok(Self::Proxied {
            peer: SocketAddr::from(([a, b, c, d], peer_port)),
            local: SocketAddr::from(([e, f, g, h], local_port)),
        })
    }

    fn of_ipv6(rest: &[u8]) -> Result<Self, ProxyError> {
        let cut_off = ProxyError::NoAddresses;
        let (peer, rest) = rest.split_first_chunk::<16>().ok_or(cut_off)?;
        let (local, rest) = rest.split_first_chunk::<16>().ok_or(cut_off)?;
        let (ports, _) = rest.split_first_chunk::<4>().ok_or(cut_off)?;
        let [peer_high, peer_low, local_high, local_low] = *ports;
        let peer_port = u16::from_be_bytes([peer_high, peer_low]);
        let local_port = u16::from_be_bytes([local_high, local_low]);
        Ok(Self::Proxied {
            peer: SocketAddr::from((*peer, peer_port)),
            local: SocketAddr::from((*local, local_port)),
        })
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, ProxyError> {
    text.parse().map_err(|_| ProxyError::BadLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], want: Result<Progress, ProxyError>) {
        assert_eq!(
            Header::decode(bytes),
            want,
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }

    fn proxied(peer: &str, local: &str) -> Result<Progress, ProxyError> {
        Ok(Progress::Complete(Header::Proxied {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        }))
    }

    fn binary(kind: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([kind, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn lines_name_addresses_of_both_families() {
        check(
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 5672\r\n",
            proxied("192.0.2.1:56324", "198.51.100.7:5672"),
        );
        check(
            b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
            proxied("[2001:db8::1]:1", "[2001:db8::2]:65535"),
        );
        check(b"PROXY UNKNOWN\r\n", Ok(Progress::Complete(Header::Local)));
        check(
            b"PROXY UNKNOWN ffff:: whatever 1\r\n",
            Ok(Progress::Complete(Header::Local)),
        );
    }

    #[test]
    fn lines_that_are_wrong_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 1 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.7 56324 1\r\n",
            "PROXY TCP4 2001:db8::1 198.51.100.7 56324 1\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.7 56324 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +6324 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 1\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.7 1 1\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.7 1 1\r\n",
            "PROXY \u{e9}TCP4\r\n",
        ] {
            check(line.as_bytes(), Err(ProxyError::BadLine));
        }
        check(
            b"PROXY TCP4 a b 1 2\r\nAMQP........",
            Err(ProxyError::BadLine),
        );
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat();
        check(&endless, Err(ProxyError::TooLong));
        check(b"AMQP\0\0\x09\x01....", Err(ProxyError::NotAHeader));
        check(b"proxy TCP4 1", Err(ProxyError::NotAHeader));
    }

    #[test]
    fn the_second_version_names_addresses_of_both_families() {
        let rest = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 4, 0x16, 0x28];
        let want = proxied("192.0.2.1:56324", "198.51.100.7:5672");
        check(&binary(0x21, 0x11, &rest), want);
        // Behind the addresses stands whatever the proxy likes to add.
        let more = [&rest[..], &[4, 0, 1, 0]].concat();
        check(&binary(0x21, 0x11, &more), want);
        let mut rest = [0; 36];
        (rest[15], rest[31], rest[33], rest[35]) = (1, 2, 7, 8);
        check(&binary(0x21, 0x21, &rest), proxied("[::1]:7", "[::2]:8"));
        let local = Ok(Progress::Complete(Header::Local));
        check(&binary(0x20, 0, &[]), local);
        check(&binary(0x20, 0x11, &[0; 12]), local);
        check(&binary(0x21, 0x31, &[0; 216]), local);
    }

    #[test]
    fn a_second_version_that_is_wrong_is_refused() {
        check(&binary(0x21, 0x11, &[0; 11]), Err(ProxyError::NoAddresses));
        check(&binary(0x21, 0x21, &[0; 35]), Err(ProxyError::NoAddresses));
        check(&binary(0x11, 0x11, &[0; 12]), Err(ProxyError::UnknownKind));
        check(&binary(0x22, 0x11, &[0; 12]), Err(ProxyError::UnknownKind));
        check(&binary(0x21, 0x13, &[0; 12]), Err(ProxyError::UnknownKind));
        // Refused by what it announces, before that is there.
        let announced = &binary(0x21, 0x11, &[0; 4081])[..FIXED_SIZE];
        check(announced, Err(ProxyError::TooLong));
    }

    #[test]
    fn no_byte_behind_the_header_is_asked_for() {
        for header in [
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
            b"PROXY TCP6 :: :: 1 1\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x21, 0x11, &[0; 12]),
            binary(0x20, 0x00, &[]),
        ] {
            crate::fuzzing::proxy_header(&header);
        }
    }
}
