//! The codes that close channels and connections, and come with returned messages.

use std::fmt;

use crate::ShortStr;

/// Why a channel or connection is closed, or a message returned. AMQP 1.3, with RabbitMQ's use of each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
#[non_exhaustive]
pub enum ReplyCode {
    /// Nothing is wrong; what clients send when they close.
    Success = 200,
    /// The content is larger than the peer can take now. RabbitMQ does not use it.
    ContentTooLarge = 311,
    /// In basic.return only: no queue for a mandatory message.
    NoRoute = 312,
    /// In basic.return only: no consumer for an immediate message, which RabbitMQ does not support.
    NoConsumers = 313,
    /// An operator or the broker closes the connection.
    ConnectionForced = 320,
    /// The client names a path that does not exist. RabbitMQ does not use it.
    InvalidPath = 402,
    /// Not permitted to this user, reserved, or taken by an exclusive consumer.
    AccessRefused = 403,
    /// The queue or exchange does not exist.
    NotFound = 404,
    /// The queue is exclusive to another connection.
    ResourceLocked = 405,
    /// Declared differently before, bad arguments, unknown delivery tag, in use, or not empty.
    PreconditionFailed = 406,
    /// Bytes that are not a frame, or frames that do not make a message.
    FrameError = 501,
    /// A frame whose content is malformed.
    SyntaxError = 502,
    /// A method out of turn or unknown.
    CommandInvalid = 503,
    /// A method on a channel that is not in the state for it.
    ChannelError = 504,
    /// A frame of another kind than the one that is due.
    UnexpectedFrame = 505,
    /// The broker lacks the means.
    ResourceError = 506,
    /// Against the rules agreed on or set by the operator.
    NotAllowed = 530,
    /// The broker does not do this.
    NotImplemented = 540,
    /// The broker is at fault.
    InternalError = 541,
}

impl ReplyCode {
    const ALL: [Self; 19] = [
        Self::Success,
        Self::ContentTooLarge,
        Self::NoRoute,
        Self::NoConsumers,
        Self::ConnectionForced,
        Self::InvalidPath,
        Self::AccessRefused,
        Self::NotFound,
        Self::ResourceLocked,
        Self::PreconditionFailed,
        Self::FrameError,
        Self::SyntaxError,
        Self::CommandInvalid,
        Self::ChannelError,
        Self::UnexpectedFrame,
        Self::ResourceError,
        Self::NotAllowed,
        Self::NotImplemented,
        Self::InternalError,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code with this number, `None` for numbers that neither AMQP nor RabbitMQ knows.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }

    /// The name that RabbitMQ begins reply texts with, such as `PRECONDITION_FAILED`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::ContentTooLarge => "CONTENT_TOO_LARGE",
            Self::NoRoute => "NO_ROUTE",
            Self::NoConsumers => "NO_CONSUMERS",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::InvalidPath => "INVALID_PATH",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether an error with this code ends the connection (a hard error in AMQP's words) and not only the channel.
    #[must_use]
    pub const fn is_connection_scope(self) -> bool {
        matches!(self.code(), 320 | 402 | 501..)
    }

    /// The reply text as RabbitMQ makes it, `NAME - explanation`, cut to the 255 bytes of a short string; a text
    /// that was cut ends in three dots.
    ///
    /// ```
    /// use leveret_amqp_codec::ReplyCode;
    ///
    /// let text = ReplyCode::NotFound.reply_text("no queue 'q' in vhost '/'");
    /// assert_eq!(text, "NOT_FOUND - no queue 'q' in vhost '/'");
    /// ```
    #[must_use]
    pub fn reply_text(self, explanation: impl fmt::Display) -> String {
        const ELLIPSIS: &str = "...";
        let mut text = format!("{} - {explanation}", self.name());
        if text.len() > ShortStr::SIZE_MAX {
            text.truncate(text.floor_char_boundary(ShortStr::SIZE_MAX - ELLIPSIS.len()));
            text.push_str(ELLIPSIS);
        }
        text
    }
}

impl fmt::Display for ReplyCode {
    /// The number and the name: `404 NOT_FOUND`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_their_number() {
        for code in ReplyCode::ALL {
            assert_eq!(ReplyCode::from_code(code.code()), Some(code));
        }
        assert_eq!(ReplyCode::from_code(0), None);
        assert_eq!(ReplyCode::from_code(407), None);
    }

    #[test]
    fn scope_is_that_of_the_specification() {
        let channel: Vec<u16> = ReplyCode::ALL
            .into_iter()
            .filter(|code| !code.is_connection_scope())
            .map(ReplyCode::code)
            .collect();
        assert_eq!(channel, [200, 311, 312, 313, 403, 404, 405, 406]);
    }

    #[test]
    fn long_explanations_are_cut_between_characters() {
        let text = ReplyCode::NotFound.reply_text("ü".repeat(300));
        assert_eq!(text.len(), 255);
        assert!(text.ends_with("ü..."));
        let text = ReplyCode::NotFound.reply_text(format!("x{}", "ü".repeat(300)));
        assert_eq!(text.len(), 254);
        assert!(text.ends_with("ü..."));
    }
}
