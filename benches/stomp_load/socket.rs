//! A WebSocket with STOMP in it, as little of both as it takes.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Room for one read; released while nothing comes.
const READ_SIZE: usize = 4096;

/// Final text and close frames of a server (RFC 6455, section 5.2).
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    input: BytesMut,
}

#[derive(Debug)]
pub(crate) struct Writer {
    half: OwnedWriteHalf,
    frame: Vec<u8>,
}

/// Connects as guest.
pub(crate) async fn open(address: &str) -> io::Result<(Reader, Writer)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: v12.stomp\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut input = BytesMut::new();
    let end = loop {
        if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    if !input.starts_with(b"HTTP/1.1 101 ") {
        return Err(io::Error::other("no WebSocket was agreed to"));
    }
    input.advance(end);
    let (read_half, write_half) = stream.into_split();
    let mut reader = Reader {
        half: read_half,
        input,
    };
    let mut writer = Writer {
        half: write_half,
        frame: Vec::new(),
    };
    writer
        .send("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0")
        .await?;
    reader.expect("CONNECTED\n").await?;
    Ok((reader, writer))
}

impl Writer {
    /// Sends one STOMP frame as one message. The mask of a client may be all zeros.
    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.frame.clear();
        self.frame.push(TEXT);
        match u16::try_from(text.len()) {
            Ok(len @ ..=125) => self.frame.push(0x80 | len.to_be_bytes()[1]),
            Ok(len) => {
                self.frame.push(0x80 | 126);
                self.frame.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        self.frame.extend_from_slice(&[0; 4]);
        self.frame.extend_from_slice(text.as_bytes());
        self.half.write_all(&self.frame).await
    }
}

impl Reader {
    /// Subscribes, and waits until the broker has.
    pub(crate) async fn subscribe(&mut self, writer: &mut Writer, topic: &str) -> io::Result<()> {
        let frame = format!("SUBSCRIBE\nid:0\ndestination:/topic/{topic}\nreceipt:s\n\n\0");
        writer.send(&frame).await?;
        self.expect("RECEIPT\n").await
    }

    async fn expect(&mut self, start: &str) -> io::Result<()> {
        let payload = self.next().await?;
        if payload.starts_with(start.as_bytes()) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&payload).into_owned();
        Err(io::Error::other(text))
    }

    /// The body of the next MESSAGE.
    ///
    /// # Errors
    /// When something else comes, or the end.
    pub(crate) async fn message(&mut self) -> io::Result<BytesMut> {
        let mut payload = self.next().await?;
        let headers = payload.windows(2).position(|two| two == b"\n\n");
        let end = payload.iter().rposition(|byte| *byte == 0);
        match (headers, end) {
            (Some(headers), Some(end)) if payload.starts_with(b"MESSAGE\n") => {
                payload.truncate(end);
                payload.advance(headers + 2);
                Ok(payload)
            }
            _ => Err(io::Error::other(
                String::from_utf8_lossy(&payload).into_owned(),
            )),
        }
    }

    async fn next(&mut self) -> io::Result<BytesMut> {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    TEXT => return Ok(payload),
                    CLOSE => return Err(io::ErrorKind::ConnectionAborted.into()),
                    _ => {}
                }
                continue;
            }
            if self.input.is_empty() {
                // A silent socket holds no buffer here either.
                self.input = BytesMut::new();
                self.half.readable().await?;
                self.input.reserve(READ_SIZE);
            }
            if self.half.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, BytesMut)> {
        let [opcode, second, ..] = self.input[..] else {
            return None;
        };
        let (header, len) = match second {
            126 => {
                let len = u16::from_be_bytes(*self.input.get(2..)?.first_chunk()?);
                (4, usize::from(len))
            }
            127 => {
                let len = u64::from_be_bytes(*self.input.get(2..)?.first_chunk()?);
                (10, usize::try_from(len).ok()?)
            }
            len => (2, usize::from(len)),
        };
        if self.input.len() < header + len {
            return None;
        }
        self.input.advance(header);
        Some((opcode, self.input.split_to(len)))
    }
}
