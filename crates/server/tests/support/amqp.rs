//! As much of an AMQP client as it takes to be connected, in literal bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// Class and method of `connection.start`.
pub(crate) const START: [u8; 4] = [0, 10, 0, 10];
/// Class and method of `queue.declare-ok`.
pub(crate) const DECLARE_OK: [u8; 4] = [0, 50, 0, 11];
/// Class and method of `channel.close`.
pub(crate) const CHANNEL_CLOSE: [u8; 4] = [0, 20, 0, 40];
/// Class and method of `connection.close`.
pub(crate) const CLOSE: [u8; 4] = [0, 10, 0, 50];

/// Class and method of `connection.tune`.
pub(crate) const TUNE: [u8; 4] = [0, 10, 0, 30];
/// Class and method of `connection.open-ok`.
pub(crate) const OPEN_OK: [u8; 4] = [0, 10, 0, 41];

const CHANNEL_OPEN_OK: [u8; 4] = [0, 20, 0, 11];

/// The type of a method frame.
const METHOD_FRAME: u8 = 1;
const FRAME_END: u8 = 0xCE;

/// A connection that says only what it is made to say.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// The channel that was opened last.
    channel: u8,
}

impl Client {
    /// Connects and sends the protocol header.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        Self { stream, channel: 0 }
    }

    /// Connects, logs in as guest and opens the virtual host `/`.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut client = Self::log_in(address, "guest", "guest");
        client.open_vhost("/");
        client.expect(OPEN_OK);
        client
    }

    /// Connects and logs in, and does not wait for what the server says to that.
    pub(crate) fn log_in(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut client = Self::connect(address);
        client.log_in_by("PLAIN", &format!("\0{user}\0{password}"));
        client
    }

    /// Logs in by any mechanism, and does not wait for what the server says to that.
    pub(crate) fn log_in_by(&mut self, mechanism: &str, response: &str) {
        self.expect(START);
        // start-ok: a client property that has refusals be told, mechanism, response, locale.
        let claims = b"\x1cauthentication_failure_closet\x01";
        let properties = [&b"\x0ccapabilitiesF"[..], &with_length(claims)].concat();
        let length = u8::try_from(mechanism.len()).unwrap();
        let start_ok = [
            &b"\x00\x0a\x00\x0b"[..],
            &with_length(&properties),
            &[length],
            mechanism.as_bytes(),
            &with_length(response.as_bytes()),
            b"\x05en_US",
        ];
        self.send(&start_ok.concat());
    }

    /// Agrees to what the server proposes and asks for a virtual host; the answer is to be expected.
    pub(crate) fn open_vhost(&mut self, name: &str) {
        self.expect(TUNE);
        // tune-ok: 2047 channels, frames of 131,072 bytes, no heartbeat.
        self.send(b"\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x00");
        // open: the virtual host and two reserved fields.
        let length = u8::try_from(name.len()).unwrap();
        let open = [b"\x00\x0a\x00\x28", &[length][..], name.as_bytes(), b"\0\0"];
        self.send(&open.concat());
    }

    /// Opens channel 1 and declares an exclusive queue there; the answer is to be expected on channel 1.
    pub(crate) fn declare_queue(&mut self, name: &str) {
        const EXCLUSIVE: u8 = 4;
        self.channel = 1;
        self.open_and_declare(name, EXCLUSIVE);
    }

    /// Declares a durable queue on a channel of its own, and hears that it is there.
    pub(crate) fn declare_durable_queue(&mut self, name: &str) {
        const DURABLE: u8 = 2;
        assert_eq!(self.declare(name, DURABLE), DECLARE_OK);
    }

    /// Whether a queue of this name exists, asked on a channel of its own.
    pub(crate) fn has_queue(&mut self, name: &str) -> bool {
        const PASSIVE: u8 = 1;
        match self.declare(name, PASSIVE) {
            DECLARE_OK => true,
            CHANNEL_CLOSE => false,
            other => panic!("{other:?} is no answer"),
        }
    }

    /// Opens another channel and declares a queue with these bits. Gives the method that answers.
    fn declare(&mut self, name: &str, bits: u8) -> [u8; 4] {
        self.channel += 1;
        self.open_and_declare(name, bits);
        self.receive(self.channel)
    }

    fn open_and_declare(&mut self, name: &str, bits: u8) {
        self.send_on(self.channel, b"\x00\x14\x00\x0a\0");
        self.expect_on(self.channel, CHANNEL_OPEN_OK);
        let length = u8::try_from(name.len()).unwrap();
        let declare = [
            &b"\x00\x32\x00\x0a\0\0"[..],
            &[length],
            name.as_bytes(),
            // No arguments.
            &[bits, 0, 0, 0, 0],
        ];
        self.send_on(self.channel, &declare.concat());
    }

    /// The client's end of the socket.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Hears nothing more but that the server has closed the connection.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let read = loop {
            match self.stream.read(&mut [0]) {
                // A signal, as when another server of this process's has ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(read) => assert_eq!(read, 0, "the server says something"),
            // What it had not read was lost.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Reads a frame, which must hold a method of the connection, and gives that.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> [u8; 4] {
        self.receive(0)
    }

    /// Reads a frame, which must hold this method.
    #[track_caller]
    pub(crate) fn expect(&mut self, method: [u8; 4]) {
        self.expect_on(0, method);
    }

    #[track_caller]
    pub(crate) fn expect_on(&mut self, channel: u8, method: [u8; 4]) {
        assert_eq!(
            self.receive(channel),
            method,
            "another method than expected"
        );
    }

    /// Reads a frame, which must hold a method for this channel. Gives its class and method.
    #[track_caller]
    fn receive(&mut self, channel: u8) -> [u8; 4] {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).unwrap();
        let [kind_and_channel @ .., a, b, c, d] = head;
        assert_eq!(kind_and_channel, [METHOD_FRAME, 0, channel]);
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        self.stream.read_exact(&mut payload).unwrap();
        let mut end = [0];
        self.stream.read_exact(&mut end).unwrap();
        assert_eq!(end, [FRAME_END]);
        *payload.first_chunk().unwrap()
    }

    fn send(&mut self, payload: &[u8]) {
        self.send_on(0, payload);
    }

    fn send_on(&mut self, channel: u8, payload: &[u8]) {
        let frame = [
            &[METHOD_FRAME, 0, channel][..],
            &with_length(payload),
            &[FRAME_END],
        ];
        self.stream.write_all(&frame.concat()).unwrap();
    }
}

/// Bytes behind their number, as tables, long strings and payloads are sent.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}
