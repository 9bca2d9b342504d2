use thiserror::Error;

/// Why a run of bytes is not a STOMP frame that we accept.
///
/// The peer is to blame for all of them. [`title`](Self::title) and [`detail`](Self::detail) are the `message` header
/// and the body of the ERROR frame to answer with; [`is_fatal`](Self::is_fatal) says whether to close after it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame is well formed, but its command is none of the protocol's. The frame has been taken off the input.
    #[error("could not interpret command \"{command}\"")]
    UnknownCommand {
        /// The command line; bytes that are not UTF-8 are replaced.
        command: String,
    },
    /// The first line is longer than any command may be.
    #[error("command is longer than {limit} bytes")]
    CommandTooLong {
        /// [`Limits::command_size_max`](crate::Limits::command_size_max).
        limit: usize,
    },
    /// The frame has more headers than allowed.
    #[error("frame has more than {limit} headers")]
    TooManyHeaders {
        /// [`Limits::header_count_max`](crate::Limits::header_count_max).
        limit: usize,
    },
    /// A header line, complete or not, is longer than allowed.
    #[error("header is longer than {limit} bytes")]
    HeaderTooLong {
        /// [`Limits::header_line_size_max`](crate::Limits::header_line_size_max).
        limit: usize,
    },
    /// The `content-length` header announces more than a body may have.
    #[error("content-length of {announced} is above the limit of {limit} bytes")]
    ContentLengthTooLarge {
        /// What the header says, or the largest value of the type if the header says more than that.
        announced: u64,
        /// [`Limits::body_size_max`](crate::Limits::body_size_max).
        limit: usize,
    },
    /// More body has arrived than allowed, without a `content-length` that would have said so.
    #[error("body is longer than {limit} bytes")]
    BodyTooLarge {
        /// [`Limits::body_size_max`](crate::Limits::body_size_max).
        limit: usize,
    },
    /// The frame as a whole is, or is announced to be, larger than allowed.
    #[error("frame is longer than {limit} bytes")]
    FrameTooLarge {
        /// [`Limits::frame_size_max`](crate::Limits::frame_size_max).
        limit: usize,
    },
    /// A line between command and body is no header.
    #[error("header without a colon")]
    HeaderWithoutColon,
    /// A header line starts with its colon.
    #[error("header without a name")]
    HeaderWithoutName,
    /// A NUL where only the command and headers may be: either it ends a frame that lacks the empty line after its
    /// headers, or somebody hides a second frame in a header.
    #[error("NUL before the end of the headers")]
    NulInHead,
    /// A carriage return that is not followed by a line feed, in 1.2 headers or between frames.
    #[error("carriage return without line feed")]
    BareCarriageReturn,
    /// The headers are not UTF-8.
    #[error("headers are not valid UTF-8")]
    InvalidUtf8,
    /// A backslash in a header that starts none of the escapes of the version in use.
    #[error("undefined escape sequence in a header")]
    UndefinedEscape,
    /// The `content-length` header is not a number of decimal digits.
    #[error("content-length is not a number")]
    InvalidContentLength,
    /// The byte after a body of announced length is not NUL.
    #[error("body of {length} bytes is not followed by NUL")]
    MissingNul {
        /// The announced length.
        length: usize,
    },
}

impl DecodeError {
    /// Whether the place where the next frame begins is lost, so that the connection can only be closed.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::UnknownCommand { .. })
    }

    /// What to put into the `message` header of the ERROR frame.
    pub fn title(&self) -> &'static str {
        match self {
            Self::UnknownCommand { .. } => "Bad command",
            _ => "Invalid frame",
        }
    }

    /// What to put into the body of the ERROR frame: the error as a sentence of its own, ending in a line feed as
    /// RabbitMQ's do.
    pub fn detail(&self) -> String {
        let text = self.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).chain(['\n']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_command_reads_as_rabbitmq_puts_it() {
        let error = DecodeError::UnknownCommand {
            command: "ZORP".into(),
        };
        assert_eq!(error.title(), "Bad command");
        assert_eq!(error.detail(), "Could not interpret command \"ZORP\"\n");
        assert!(!error.is_fatal());
    }

    #[test]
    fn malformed_frames_are_fatal() {
        let error = DecodeError::HeaderWithoutColon;
        assert_eq!(error.title(), "Invalid frame");
        assert_eq!(error.detail(), "Header without a colon\n");
        assert!(error.is_fatal());
    }
}
