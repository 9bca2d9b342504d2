//! A client that speaks WebSocket frame by frame.

use bytes::{Buf, BytesMut};
use leveret_broker::Broker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A client's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket<S = TcpStream> {
    stream: S,
    input: BytesMut,
}

impl WebSocket {
    /// Asks for a WebSocket with these headers beside the usual ones, which have to end in line ends. The answer's head
    /// comes along.
    pub(crate) async fn request(broker: &Broker, path: &str, headers: &str) -> (Self, String) {
        let stream = TcpStream::connect(broker.websocket_addresses()[0]).await;
        Self::request_on(stream.expect("a listener"), path, headers).await
    }

    /// As [`WebSocket::request`], on a connection that is there already.
    pub(crate) async fn request_on(stream: TcpStream, path: &str, headers: &str) -> (Self, String) {
        let mut socket = Self::on(stream);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        socket.stream.write_all(request.as_bytes()).await.unwrap();
        let head = socket.head().await;
        (socket, head)
    }

    /// An open WebSocket that offered this subprotocol.
    pub(crate) async fn open(broker: &Broker, subprotocol: &str) -> Self {
        let header = format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
        let (socket, head) = Self::request(broker, "/ws", &header).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket
    }

    async fn head(&mut self) -> String {
        soon("an answer", async {
            loop {
                let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(end) = end {
                    let head = self.input.split_to(end + 4);
                    return String::from_utf8(head.to_vec()).expect("a head is text");
                }
                let read = self.stream.read_buf(&mut self.input).await;
                assert_ne!(read.expect("an open socket"), 0, "no answer");
            }
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A WebSocket that was agreed to already.
    pub(crate) fn on(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        self.send_fragment(true, opcode, payload.as_ref()).await;
    }

    pub(crate) async fn send_fragment(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![if last { 0x80 | opcode } else { opcode }];
        match payload.len() {
            len @ ..=125 => frame.push(0x80 | len as u8),
            len @ ..=65_535 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        let masked = payload.iter().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.send_raw(&frame).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("an open socket");
    }

    /// The next frame: its opcode and payload. None when the server has closed the socket.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        soon("a frame", async {
            loop {
                if let Some(frame) = self.take_frame() {
                    return Some(frame);
                }
                if !matches!(self.stream.read_buf(&mut self.input).await, Ok(1..)) {
                    return None;
                }
            }
        })
        .await
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, ..] = self.input[..] else {
            return None;
        };
        assert_eq!(first & 0xf0, 0x80, "the server sends whole messages");
        let (header, len) = match second {
            126 => (
                4,
                usize::from(u16::from_be_bytes(*self.input.get(2..)?.first_chunk()?)),
            ),
            127 => (
                10,
                u64::from_be_bytes(*self.input.get(2..)?.first_chunk()?) as usize,
            ),
            len => (2, usize::from(len)),
        };
        if self.input.len() < header + len {
            return None;
        }
        self.input.advance(header);
        Some((first & 0x0f, self.input.split_to(len).to_vec()))
    }

    /// The next frame, which must be a text of this beginning.
    #[track_caller]
    pub(crate) fn expect_text<'a>(
        &'a mut self,
        start: &'a str,
    ) -> impl Future<Output = String> + use<'a, S> {
        let caller = std::panic::Location::caller();
        async move {
            let (opcode, payload) = self.next().await.expect("an open socket");
            let text = String::from_utf8(payload).expect("a text is UTF-8");
            assert_eq!(opcode, TEXT, "{caller}: {text}");
            assert!(text.starts_with(start), "{caller}: {text}");
            text
        }
    }

    /// The server closes with this code and then the socket, once it was answered.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        let frame = self.next().await;
        assert_eq!(frame, Some((CLOSE, code.to_be_bytes().to_vec())));
        self.send(CLOSE, code.to_be_bytes()).await;
        assert_eq!(self.next().await, None);
    }

    /// Connects as guest.
    pub(crate) async fn connect(&mut self) {
        self.send(TEXT, "CONNECT\naccept-version:1.2\n\n\0").await;
        self.expect_text("CONNECTED\n").await;
    }
}
