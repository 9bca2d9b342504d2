use crate::escape::{Escapes, Part};
use crate::{Command, Escaping, Frame, Version};

/// What to send when nothing else was sent for the agreed interval: one line end.
pub const HEART_BEAT: &[u8] = b"\n";

/// Appends frames to a buffer.
///
/// Whatever the headers and the body contain, one frame with as many headers arrives at the other end. What the version
/// in use has no escape for is written as a space:
///
/// - NUL, always;
/// - carriage return in version 1.1;
/// - carriage return, line feed, and a colon in a name, in version 1.0 and in CONNECT and CONNECTED frames, in which
///   nothing is escaped.
///
/// With [`Escaping::RabbitMq`] only NUL is replaced.
///
/// Two kinds of header are left out: those without a name, which no version can express, and `content-length`, which is
/// written from the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Encoder {
    version: Version,
    escaping: Escaping,
    trailing_line_feed: bool,
}

impl Encoder {
    /// An encoder for the start of a connection: version 1.0, [`Escaping::Standard`], a line feed after each frame.
    pub fn new() -> Self {
        Self {
            version: Version::default(),
            escaping: Escaping::default(),
            trailing_line_feed: true,
        }
    }

    /// The same encoder with another way of escaping.
    #[must_use]
    pub fn with_escaping(self, escaping: Escaping) -> Self {
        Self { escaping, ..self }
    }

    /// The same encoder with or without a line feed after the NUL of each frame. With it, which is the default here as
    /// in RabbitMQ, frames begin on lines of their own.
    #[must_use]
    pub fn with_trailing_line_feed(self, trailing_line_feed: bool) -> Self {
        Self {
            trailing_line_feed,
            ..self
        }
    }

    /// The version by which frames are written.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes all further frames by another version. CONNECT and CONNECTED are the same in all of them; a client that
    /// opens with STOMP sets the highest version it is going to offer, by which the server reads that frame.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Starts a frame. The buffer stays as it is until the writer is finished.
    pub fn begin<'a>(&self, out: &'a mut Vec<u8>, command: Command) -> FrameWriter<'a> {
        let start = out.len();
        out.extend_from_slice(command.as_str().as_bytes());
        out.push(b'\n');
        FrameWriter {
            out,
            start,
            escapes: self.escaping.of_frame(self.version, command),
            frame_end: self.frame_end(),
            finished: false,
        }
    }

    /// Appends a whole frame.
    pub fn write_frame(&self, out: &mut Vec<u8>, frame: &Frame) {
        let mut writer = self.begin(out, frame.command);
        for (name, value) in &frame.headers {
            writer.header(name, value);
        }
        writer.finish(&frame.body);
    }

    /// What ends each frame, for those who send the body from elsewhere; see [`FrameWriter::finish_head`].
    pub fn frame_end(&self) -> &'static [u8] {
        if self.trailing_line_feed {
            b"\0\n"
        } else {
            b"\0"
        }
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame that is being written; see [`Encoder::begin`].
///
/// Dropping it without finishing it takes back what it has written: the buffer never holds half a frame.
#[derive(Debug)]
#[must_use = "a frame that is not finished is not written"]
pub struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the frame begins in the buffer.
    start: usize,
    escapes: Escapes,
    frame_end: &'static [u8],
    finished: bool,
}

impl FrameWriter<'_> {
    /// Appends a header. Does nothing if the name is empty or `content-length`.
    pub fn header(&mut self, name: &str, value: &str) {
        self.header_of_pieces(name, &[value]);
    }

    /// Appends a header whose value is these pieces, one right after the other. Does nothing if the name is empty or
    /// `content-length`.
    pub fn header_of_pieces(&mut self, name: &str, pieces: &[&str]) {
        if !matches!(name, "" | "content-length") {
            self.escapes.write(self.out, name, Part::Name);
            self.out.push(b':');
            for piece in pieces {
                self.escapes.write(self.out, piece, Part::Value);
            }
            self.out.push(b'\n');
        }
    }

    /// Appends the body and ends the frame.
    ///
    /// `content-length` is written if the body is not empty, as RabbitMQ does.
    pub fn finish(mut self, body: &[u8]) {
        self.end_head(body.len());
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(self.frame_end);
    }

    /// Ends the headers of a frame whose body is not copied into the buffer.
    ///
    /// What follows on the connection must be exactly `body_size` bytes and then [`Encoder::frame_end`].
    pub fn finish_head(mut self, body_size: usize) {
        self.end_head(body_size);
    }

    fn end_head(&mut self, body_size: usize) {
        if body_size > 0 {
            self.out.extend_from_slice(b"content-length:");
            write_decimal(self.out, body_size);
            self.out.push(b'\n');
        }
        self.out.push(b'\n');
        self.finished = true;
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// Appends a number in digits, from the last to the first and then turned round.
fn write_decimal(out: &mut Vec<u8>, mut number: usize) {
    let start = out.len();
    loop {
        let [digit, ..] = (number % 10).to_le_bytes();
        out.push(b'0' + digit);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encoder: Encoder, frame: &Frame, want: &str) {
        let mut out = Vec::new();
        encoder.write_frame(&mut out, frame);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    fn encoder(version: Version) -> Encoder {
        let mut encoder = Encoder::new();
        encoder.set_version(version);
        encoder
    }

    #[test]
    fn frames_with_a_body_carry_content_length() {
        let message = Frame::new(Command::Message, [("destination", "/queue/a")]);
        check(
            encoder(Version::V1_0),
            &message,
            "MESSAGE\ndestination:/queue/a\n\n\0\n",
        );
        check(
            encoder(Version::V1_0),
            &message.with_body("a\0b"),
            "MESSAGE\ndestination:/queue/a\ncontent-length:3\n\na\0b\0\n",
        );
    }

    #[test]
    fn other_frames_carry_it_only_with_a_body() {
        let receipt = Frame::new(Command::Receipt, [("receipt-id", "1")]);
        check(
            encoder(Version::V1_2),
            &receipt,
            "RECEIPT\nreceipt-id:1\n\n\0\n",
        );
        let odd = receipt.with_body("x");
        check(
            encoder(Version::V1_2),
            &odd,
            "RECEIPT\nreceipt-id:1\ncontent-length:1\n\nx\0\n",
        );
    }

    #[test]
    fn content_length_of_the_caller_is_ignored() {
        let send = Frame::new(
            Command::Send,
            [("content-length", "0"), ("", "lost"), ("a", "b")],
        )
        .with_body("x");
        check(
            encoder(Version::V1_2),
            &send,
            "SEND\na:b\ncontent-length:1\n\nx\0\n",
        );
    }

    #[test]
    fn headers_cannot_be_injected_in_any_version() {
        let frame = Frame::new(Command::Receipt, [("a\nb:c", "d\r\ne:f\n\n\0")]);
        check(
            encoder(Version::V1_0),
            &frame,
            "RECEIPT\na b c:d  e:f   \n\n\0\n",
        );
        check(
            encoder(Version::V1_1),
            &frame,
            "RECEIPT\na\\nb\\cc:d \\ne\\cf\\n\\n \n\n\0\n",
        );
        check(
            encoder(Version::V1_2),
            &frame,
            "RECEIPT\na\\nb\\cc:d\\r\\ne\\cf\\n\\n \n\n\0\n",
        );
    }

    #[test]
    fn connected_is_never_escaped_unless_rabbitmq_mode_says_so() {
        let frame = Frame::new(Command::Connected, [("session", "a:b\\\nc")]);
        check(
            encoder(Version::V1_2),
            &frame,
            "CONNECTED\nsession:a:b\\ c\n\n\0\n",
        );
        check(
            encoder(Version::V1_0).with_escaping(Escaping::RabbitMq),
            &frame,
            "CONNECTED\nsession:a\\cb\\\\\\nc\n\n\0\n",
        );
    }

    #[test]
    fn writer_that_is_dropped_leaves_no_trace() {
        let mut out = b"before".to_vec();
        let mut writer = Encoder::new().begin(&mut out, Command::Message);
        writer.header("a", "b");
        drop(writer);
        assert_eq!(out, b"before");
    }

    #[test]
    fn head_body_and_end_apart_make_the_same_frame() {
        let encoder = Encoder::new().with_trailing_line_feed(false);
        let (mut apart, mut whole) = (Vec::new(), Vec::new());
        encoder
            .begin(&mut apart, Command::Message)
            .finish_head(1234);
        apart.extend_from_slice(&[b'x'; 1234]);
        apart.extend_from_slice(encoder.frame_end());
        encoder
            .begin(&mut whole, Command::Message)
            .finish(&[b'x'; 1234]);
        assert_eq!(apart, whole);
        assert!(apart.starts_with(b"MESSAGE\ncontent-length:1234\n\nx"));
        assert!(apart.ends_with(b"x\0"));
    }
}
