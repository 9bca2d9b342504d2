use bytes::{Buf, Bytes, BytesMut};

use crate::body::BodyScan;
use crate::head::{Head, HeadScan};
use crate::{Command, DecodeError, Escaping, Frame, Headers, Limits, Version};

/// Takes frames off the front of a buffer that its owner appends to.
///
/// The decoder holds no bytes itself. Between frames it owns no heap memory, so that a connection on which nothing
/// happens costs the size of this struct; within a frame it remembers how far it has looked and where the headers lie.
///
/// ```text
///         LF, CR LF, NUL skipped
///              ┌───┐
///              ▼   │  other octet            empty line              NUL
///   ────────► between ─────────► in the head ──────────► in the body ───► frame
///              ▲                                                           │
///              └───────────────────────────────────────────────────────────┘
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    version: Version,
    escaping: Escaping,
    head: HeadScan,
    /// Set once the head is complete.
    body: Option<BodyScan>,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// A decoder for the start of a connection: version 1.0, [`Escaping::Standard`].
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            version: Version::default(),
            escaping: Escaping::default(),
            head: HeadScan::default(),
            body: None,
            failed: None,
        }
    }

    /// The same decoder with another way of escaping.
    #[must_use]
    pub fn with_escaping(self, escaping: Escaping) -> Self {
        Self { escaping, ..self }
    }

    /// The version by which frames are read.
    ///
    /// It does not apply to CONNECT, STOMP and CONNECTED, which say themselves which version they are of.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Reads all frames that are not complete yet by another version. To be called before anything after CONNECT, or
    /// CONNECTED, is decoded.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Applies other limits to everything that has not been looked at yet, for instance once the peer has logged in.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether some of the next frame has been seen by [`decode`](Self::decode), but not all of it. A connection that
    /// ends now was cut off within a frame.
    pub fn is_mid_frame(&self) -> bool {
        self.head.scanned() > 0
    }

    /// Takes one frame off the input, or returns `None` if there is no complete one; then more bytes must be appended.
    ///
    /// Line ends between frames, heart-beats among them, are taken off and skipped, and so is a NUL that ends nothing. Of an incomplete frame nothing is
    /// taken: its bytes must still be there, in front, at the next call. If the input has become shorter than what has
    /// been seen of the frame, the decoder starts afresh with what it finds.
    ///
    /// Lines may end in LF or CR LF in every version. Header and body of the frame are slices of the input, unless the
    /// headers contain escapes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnknownCommand`] if the next frame is complete and well formed but has an unknown command. The
    /// frame is gone from the input and the next call goes on behind it.
    ///
    /// Every other error is [fatal](DecodeError::is_fatal): where the next frame begins can no longer be told. All
    /// further calls return the same error and leave the input alone.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance(input);
        if let Err(error) = &result
            && error.is_fatal()
        {
            self.failed = Some(error.clone());
            self.head = HeadScan::default();
            self.body = None;
        }
        result
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let seen = match &self.body {
            None => self.head.scanned(),
            Some(body) => body.scanned(),
        };
        if input.len() < seen {
            self.head = HeadScan::default();
            self.body = None;
        }
        if !self.is_mid_frame() && !skip_to_frame(input)? {
            return Ok(None);
        }
        if self.body.is_none() {
            let Some(head_size) = self.head.advance(input, &self.limits)? else {
                return Ok(None);
            };
            self.body = Some(BodyScan::new(
                head_size,
                self.head.content_length(),
                &self.limits,
            )?);
        }
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let Some(length) = body.advance(input, &self.limits)? else {
            return Ok(None);
        };
        let head_size = body.start();
        self.body = None;
        let head = self.head.take();

        // The NUL was seen at exactly this place, so neither split is out of bounds.
        let mut block = input.split_to(head_size + length + 1).freeze();
        let mut body = block.split_off(head_size);
        body.truncate(length);
        self.frame(head, block, body).map(Some)
    }

    /// Puts a frame together from its parts.
    fn frame(&self, head: Head, block: Bytes, body: Bytes) -> Result<Frame, DecodeError> {
        let command = head.command.map_err(|size| DecodeError::UnknownCommand {
            command: String::from_utf8_lossy(block.get(..size).unwrap_or_default()).into_owned(),
        })?;
        let carriage_return_count = memchr::memchr_iter(b'\r', &block).count();
        let mut headers = Headers::from_block(block, head.spans)?;
        let version = version_of(command, &headers, self.version);
        // STOMP 1.2, Augmented BNF: no octet of a header is a carriage return. In older versions it is an octet as any.
        if version >= Version::V1_2 && carriage_return_count > head.crlf_count {
            return Err(DecodeError::BareCarriageReturn);
        }
        if version == Version::V1_0 {
            headers.trim_values();
        }
        Ok(Frame {
            command,
            headers: headers.resolve(self.escaping.of_frame(version, command))?,
            // An empty slice would keep the buffer alive for nothing.
            body: if body.is_empty() { Bytes::new() } else { body },
        })
    }
}

/// The version by which the headers of a frame are to be read. The frames that settle the version follow the one that
/// they settle on, the others that of the session.
pub(crate) fn version_of(command: Command, headers: &Headers, session: Version) -> Version {
    match command {
        Command::Connect | Command::Stomp => {
            Version::negotiate(headers.get("accept-version")).unwrap_or_default()
        }
        Command::Connected => headers
            .get("version")
            .and_then(Version::parse)
            .unwrap_or_default(),
        _ => session,
    }
}

/// Takes line ends off the front. Returns whether a frame begins there, as opposed to that nothing is left, or half a
/// line end.
fn skip_to_frame(input: &mut BytesMut) -> Result<bool, DecodeError> {
    let mut rest: &[u8] = input;
    let begins = loop {
        rest = match rest {
            [] | [b'\r'] => break Ok(false),
            [b'\n' | b'\0', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
            [b'\r', ..] => break Err(DecodeError::BareCarriageReturn),
            _ => break Ok(true),
        };
    };
    let skipped = input.len() - rest.len();
    input.advance(skipped);
    begins
}

#[cfg(test)]
mod tests;
