//! The eight bytes that open a connection.

/// What the first bytes of a connection say about the peer. AMQP 4.2.2.
///
/// ```
/// use leveret_amqp_codec::ProtocolHeader;
///
/// assert_eq!(ProtocolHeader::parse(b"AMQP\x00\x00"), None);
/// assert_eq!(ProtocolHeader::parse(b"AMQP\x00\x00\x09\x01"), Some(ProtocolHeader::Amqp091));
/// assert_eq!(ProtocolHeader::parse(b"GET / HTTP/1.1"), Some(ProtocolHeader::Http));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProtocolHeader {
    /// AMQP 0-9-1.
    Amqp091,
    /// AMQP 0-9 with the older header `AMQP 1 1 0 9`. RabbitMQ takes it and goes on as with 0-9-1.
    Amqp09,
    /// Another AMQP, for example 1.0: the four bytes after the letters.
    OtherAmqp([u8; 4]),
    /// The beginning of an HTTP request.
    Http,
    /// The beginning of a TLS handshake, so the client expects TLS on this port.
    Tls,
    /// Anything else.
    Unknown([u8; 8]),
}

impl ProtocolHeader {
    /// What a client of 0-9-1 begins with, and what a server answers to a header it does not take.
    pub const AMQP_0_9_1: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

    /// How many bytes a header has.
    pub const SIZE: usize = 8;

    /// Looks at the first bytes of a connection. `None` until there are eight; what follows them is not looked at.
    #[must_use]
    pub fn parse(input: &[u8]) -> Option<Self> {
        let header: [u8; 8] = *input.first_chunk()?;
        Some(match header {
            Self::AMQP_0_9_1 => Self::Amqp091,
            [b'A', b'M', b'Q', b'P', 1, 1, 0, 9] => Self::Amqp09,
            [b'A', b'M', b'Q', b'P', version @ ..] => Self::OtherAmqp(version),
            // RFC 8446 5.1: a handshake record (22), any version 3.x.
            [0x16, 0x03, ..] => Self::Tls,
            _ if looks_like_http(&header) => Self::Http,
            _ => Self::Unknown(header),
        })
    }
}

fn looks_like_http(header: &[u8; 8]) -> bool {
    // RFC 9110 9.1 and, for PRI, RFC 9113 3.4. None is longer than the header.
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"PATCH ",
        b"OPTIONS ",
        b"CONNECT ",
        b"TRACE ",
        b"PRI ",
    ];
    METHODS.iter().any(|method| header.starts_with(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], want: ProtocolHeader) {
        assert_eq!(ProtocolHeader::parse(input), Some(want));
    }

    #[test]
    fn both_headers_of_0_9_are_known() {
        check(b"AMQP\x00\x00\x09\x01", ProtocolHeader::Amqp091);
        check(b"AMQP\x01\x01\x00\x09and more", ProtocolHeader::Amqp09);
    }

    #[test]
    fn other_peers_are_named() {
        check(
            b"AMQP\x03\x01\x00\x00",
            ProtocolHeader::OtherAmqp([3, 1, 0, 0]),
        );
        check(b"GET /api", ProtocolHeader::Http);
        check(b"OPTIONS * HTTP/1.1", ProtocolHeader::Http);
        check(b"\x16\x03\x01\x02\x00\x01\x00\x01", ProtocolHeader::Tls);
        check(b"CONNECT\n", ProtocolHeader::Unknown(*b"CONNECT\n"));
        check(&[0; 8], ProtocolHeader::Unknown([0; 8]));
    }

    #[test]
    fn seven_bytes_are_too_few() {
        assert_eq!(ProtocolHeader::parse(b"GET / H"), None);
        assert_eq!(ProtocolHeader::parse(b""), None);
    }
}
