//! A client that speaks STOMP frame by frame.

use bytes::{Buf, BytesMut};
use leveret_broker::Broker;
use leveret_stomp_codec::{Command, Decoder, Encoder, Escaping, Frame, Limits, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// One session, or the attempt at one.
#[derive(Debug)]
pub(crate) struct Stomp {
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
    encoder: Encoder,
    receipts: u32,
}

impl Stomp {
    /// A socket on which nothing was said yet.
    pub(crate) async fn dial(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.stomp_addresses()[0]).await;
        Self::on(stream.expect("a listener"))
    }

    /// A connection that is there already.
    pub(crate) fn on(stream: TcpStream) -> Self {
        let limits = Limits {
            frame_size_max: usize::MAX,
            body_size_max: usize::MAX,
            ..Limits::default()
        };
        let mut encoder = Encoder::new().with_escaping(Escaping::RabbitMq);
        encoder.set_version(Version::V1_2);
        Self {
            stream,
            input: BytesMut::new(),
            decoder: Decoder::new(limits).with_escaping(Escaping::RabbitMq),
            encoder,
            receipts: 0,
        }
    }

    /// A session of the user guest, version 1.2.
    pub(crate) async fn connect(broker: &Broker) -> Self {
        Self::connect_with(broker, &[("accept-version", "1.2")]).await
    }

    /// A session with these headers in its CONNECT.
    pub(crate) async fn connect_with(broker: &Broker, headers: &[(&str, &str)]) -> Self {
        let mut stomp = Self::dial(broker).await;
        stomp.send(Command::Connect, headers, b"").await;
        stomp.expect(Command::Connected).await;
        stomp
    }

    pub(crate) async fn send(&mut self, command: Command, headers: &[(&str, &str)], body: &[u8]) {
        let frame = Frame::new(command, headers.iter().copied()).with_body(body.to_vec());
        let mut out = Vec::new();
        self.encoder.write_frame(&mut out, &frame);
        self.send_raw(&out).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("an open socket");
    }

    /// Sends a frame with a receipt and waits for it. Nothing else may come before.
    pub(crate) async fn tell(&mut self, command: Command, headers: &[(&str, &str)], body: &[u8]) {
        self.receipts += 1;
        let id = format!("r{}", self.receipts);
        let mut headers = headers.to_vec();
        headers.push(("receipt", &id));
        self.send(command, &headers, body).await;
        let receipt = self.expect(Command::Receipt).await;
        assert_eq!(receipt.header("receipt-id"), Some(&*id));
    }

    pub(crate) async fn publish(&mut self, destination: &str, body: &str) {
        let headers = [("destination", destination)];
        self.tell(Command::Send, &headers, body.as_bytes()).await;
    }

    pub(crate) async fn subscribe(&mut self, destination: &str, id: &str, ack: &str) {
        let headers = [("destination", destination), ("id", id), ("ack", ack)];
        self.tell(Command::Subscribe, &headers, b"").await;
    }

    /// The next frame, whatever it is; none when the server has closed the socket.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        soon("a frame", async {
            loop {
                match self.decoder.decode(&mut self.input) {
                    Ok(Some(frame)) => return Some(frame),
                    Ok(None) => {}
                    Err(error) => panic!("the server sent nonsense: {error}"),
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) => return None,
                    Ok(_) => {}
                    // Whatever was still on its way when the server closed.
                    Err(_) => return None,
                }
            }
        })
        .await
    }

    /// Reads so many bytes, whatever they are, and looks at none.
    pub(crate) async fn take(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        let read = soon("bytes", self.stream.read_exact(&mut bytes)).await;
        read.expect("an open socket");
    }

    /// The next frame, which must be of this command.
    #[track_caller]
    pub(crate) fn expect(&mut self, command: Command) -> impl Future<Output = Frame> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            match self.next().await {
                Some(frame) if frame.command == command => frame,
                other => panic!("{caller}: wanted {command}, got {other:?}"),
            }
        }
    }

    /// The next frame, which must be a MESSAGE with this body.
    #[track_caller]
    pub(crate) fn expect_message<'a>(
        &'a mut self,
        body: &'a str,
    ) -> impl Future<Output = Frame> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let frame = self.expect(Command::Message).await;
            assert_eq!(frame.body, body.as_bytes(), "{caller}");
            frame
        }
    }

    /// The next frame, which must be an ERROR of this title; its body.
    #[track_caller]
    pub(crate) fn expect_error<'a>(
        &'a mut self,
        title: &'a str,
    ) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let frame = self.expect(Command::Error).await;
            assert_eq!(frame.header("message"), Some(title), "{caller}: {frame:?}");
            String::from_utf8(frame.body.to_vec()).expect("errors are texts")
        }
    }

    /// The server closes the socket and says nothing more.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.next().await, None);
    }

    /// Nothing has come and nothing is on its way: a round trip brings nothing but its receipt.
    pub(crate) async fn quiet(&mut self) {
        self.publish("/topic/nobody.hears.this", "").await;
    }

    /// The next byte beyond whole frames, which must be a line feed: a heart-beat, or what follows each frame.
    pub(crate) async fn expect_heart_beat(&mut self) {
        if self.input.is_empty() {
            let read = soon("a heart-beat", self.stream.read_buf(&mut self.input)).await;
            assert_ne!(read.expect("an open socket"), 0, "the server has closed it");
        }
        assert_eq!(self.input.get_u8(), b'\n');
    }
}
