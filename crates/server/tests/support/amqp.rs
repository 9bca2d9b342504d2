//! As much of an AMQP client as it takes to be connected, in literal bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// Class and method of `connection.start`.
pub(crate) const START: [u8; 4] = [0, 10, 0, 10];
/// Class and method of `connection.close`.
pub(crate) const CLOSE: [u8; 4] = [0, 10, 0, 50];

const TUNE: [u8; 4] = [0, 10, 0, 30];
const OPEN_OK: [u8; 4] = [0, 10, 0, 41];

/// A method frame on channel 0.
const METHOD_FRAME: [u8; 3] = [1, 0, 0];
const FRAME_END: u8 = 0xCE;

/// A connection that says only what it is made to say.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects and sends the protocol header.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        Self { stream }
    }

    /// Connects, logs in as guest and opens the virtual host `/`.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.expect(START);
        // start-ok: no client properties, mechanism, response, locale.
        client.send(
            b"\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US",
        );
        client.expect(TUNE);
        // tune-ok: 2047 channels, frames of 131,072 bytes, no heartbeat.
        client.send(b"\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x00");
        // open: the virtual host and two reserved fields.
        client.send(b"\x00\x0a\x00\x28\x01/\x00\x00");
        client.expect(OPEN_OK);
        client
    }

    /// Reads a frame, which must hold this method.
    #[track_caller]
    pub(crate) fn expect(&mut self, method: [u8; 4]) {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).unwrap();
        let [kind_and_channel @ .., a, b, c, d] = head;
        assert_eq!(kind_and_channel, METHOD_FRAME);
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        self.stream.read_exact(&mut payload).unwrap();
        assert_eq!(payload[..4], method, "another method than expected");
        let mut end = [0];
        self.stream.read_exact(&mut end).unwrap();
        assert_eq!(end, [FRAME_END]);
    }

    fn send(&mut self, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let frame = [
            &METHOD_FRAME,
            &length.to_be_bytes()[..],
            payload,
            &[FRAME_END],
        ]
        .concat();
        self.stream.write_all(&frame).unwrap();
    }
}
