//! TLS in front of a session: the configuration in force, and the handshake.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::auth::TlsPeer;

/// The first byte of a TLS connection: a record with a handshake message (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// The configuration of TLS, which can be replaced while connections come in. Those that are there keep theirs.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    current: Arc<RwLock<Option<Arc<ServerConfig>>>>,
}

impl Tls {
    pub(crate) fn set(&self, config: Arc<ServerConfig>) {
        *self.current.write() = Some(config);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.current.read().is_some()
    }

    /// Makes a socket a TLS connection. Waits for the client's first bytes before it takes any memory for it.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, TlsPeer), HandshakeError> {
        let mut start = [0; 8];
        let size = stream.peek(&mut start).await.map_err(HandshakeError::Io)?;
        match start[..size] {
            [] => return Err(HandshakeError::Silent),
            [HANDSHAKE_RECORD, ..] => {}
            _ => return Err(HandshakeError::InTheClear(start)),
        }
        let config = self.current.read().clone();
        // A broker does not start with a listener for TLS and without this.
        let config = config.ok_or(HandshakeError::Silent)?;
        let stream = TlsAcceptor::from(config).accept(stream).await;
        let stream = stream.map_err(HandshakeError::Io)?;
        let (_, session) = stream.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        let peer = TlsPeer {
            version: session.protocol_version().and_then(|v| v.as_str()),
            cipher_suite: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str()),
            server_name: session.server_name().map(str::to_owned),
            certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            username: None,
        };
        Ok((stream, peer))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_set", &self.is_set())
            .finish()
    }
}

/// Why there is no TLS connection; the text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the client closed the connection before it said anything")]
    Silent,
    #[error("the client does not speak TLS, but {}", spoken(.0))]
    InTheClear([u8; 8]),
    #[error("TLS handshake failed: {0}")]
    Io(io::Error),
}

/// What a client speaks that begins like this. Only the words that a person would look for.
fn spoken(start: &[u8; 8]) -> &'static str {
    match start {
        [b'A', b'M', b'Q', b'P', ..] => "AMQP in the clear; its port is another one",
        [b'C', b'O', b'N', b'N', ..] | [b'S', b'T', b'O', b'M', ..] => {
            "STOMP in the clear; its port is another one"
        }
        [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] => {
            "HTTP in the clear; its port is another one"
        }
        [b'P', b'R', b'O', b'X', b'Y', ..] | [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, b'Q'] => {
            "the PROXY protocol, and its address is not that of a trusted proxy"
        }
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tls_is_named() {
        let of = |start: &[u8; 8]| HandshakeError::InTheClear(*start).to_string();
        assert!(of(b"AMQP\0\0\x09\x01").contains("but AMQP in the clear"));
        assert!(of(b"CONNECT\n").contains("but STOMP in the clear"));
        assert!(of(b"GET /ws ").contains("but HTTP in the clear"));
        assert!(of(b"PROXY TC").contains("but the PROXY protocol"));
        assert!(of(b"\0\0\0\0\0\0\0\0").contains("but something else"));
    }
}
