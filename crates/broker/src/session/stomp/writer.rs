//! Frames on their way out.

use leveret_stomp_codec::{Command, Encoder, Escaping, FrameWriter, HEART_BEAT, Version};

use crate::session::Output;

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One after the other.
    Stream,
    /// Each in a WebSocket message of its own: clients exist that take a message for a frame.
    WebSocket {
        /// All messages are binary. Otherwise they are text, which is what browsers' clients have always been sent, unless
        /// a body is no text.
        binary: bool,
    },
}

/// The opcodes of WebSocket messages (RFC 6455, section 11.8).
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Encodes frames straight into the output.
#[derive(Debug)]
pub(super) struct Writer {
    encoder: Encoder,
    transport: Transport,
}

impl Writer {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            // RabbitMQ escapes in every version, so that one client's header reaches another of another version.
            encoder: Encoder::new().with_escaping(Escaping::RabbitMq),
            transport,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.encoder.version()
    }

    pub(super) fn set_version(&mut self, version: Version) {
        self.encoder.set_version(version);
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.transport != Transport::Stream
    }

    /// Writes a frame with a small body, or none.
    pub(super) fn frame(
        &self,
        out: &mut Output,
        command: Command,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        self.message(out, body, |out| {
            let mut frame = self.encoder.begin(out.buffer(), command);
            for (name, value) in headers {
                frame.header(name, value);
            }
            frame.finish(body);
        });
    }

    /// Writes a MESSAGE whose headers `write` puts into it. A body that is kept on its own is not copied.
    pub(super) fn delivery(
        &self,
        out: &mut Output,
        body: &[u8],
        shared: Option<&bytes::Bytes>,
        write: impl FnOnce(&mut FrameWriter<'_>),
    ) {
        self.message(out, body, |out| {
            let mut frame = self.encoder.begin(out.buffer(), Command::Message);
            write(&mut frame);
            match shared {
                None => frame.finish(body),
                Some(shared) => {
                    frame.finish_head(shared.len());
                    out.push_large(shared.clone());
                    out.buffer().extend_from_slice(self.encoder.frame_end());
                }
            }
        });
    }

    pub(super) fn heart_beat(&self, out: &mut Output) {
        self.message(out, b"", |out| out.buffer().extend_from_slice(HEART_BEAT));
    }

    /// What `write` puts out is one message of the transport, if that has messages. Heads are always text.
    fn message(&self, out: &mut Output, body: &[u8], write: impl FnOnce(&mut Output)) {
        let Transport::WebSocket { binary } = self.transport else {
            return write(out);
        };
        let opcode = if binary || std::str::from_utf8(body).is_err() {
            BINARY
        } else {
            TEXT
        };
        out.begin_message(opcode);
        write(out);
        out.end_message();
    }
}
