//! Why a payload is not what it should be. For the frame around it see [`FrameError`].

use crate::read::Truncated;
use crate::{FrameError, ReplyCode};

/// Why bytes are not a field table or array.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A name or value is longer than what is left of its table.
    #[error("field table ends within a field")]
    Truncated,
    /// A value begins with a letter that names no type.
    #[error("field of unknown type {}", char::from(*.letter).escape_default())]
    UnknownType {
        /// The letter, whatever octet it is.
        letter: u8,
    },
    /// More tables and arrays stand inside one another than [`Limits::table_depth_max`](crate::Limits) allows.
    #[error("field table nests deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: u8,
    },
}

impl From<Truncated> for TableError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// Why the payload of a method frame is not a method. Each ends the connection.
///
/// The `Display` text is the explanation to put into the reply text of connection.close.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// The payload has no room for a class and a method id.
    #[error("method frame of {length} bytes has no method")]
    NoMethod {
        /// The length of the payload, less than four.
        length: usize,
    },
    /// No class of AMQP 0-9-1 has such a method.
    #[error("unimplemented method")]
    UnknownMethod {
        /// The class id that was sent.
        class_id: u16,
        /// The method id that was sent.
        method_id: u16,
    },
    /// The payload ends before the method's arguments do.
    #[error("{method} ends before its arguments do")]
    Truncated {
        /// The method's name, as in `basic.publish`.
        method: &'static str,
    },
    /// Something follows the method's arguments.
    #[error("{method} has {count} bytes too many")]
    TrailingBytes {
        /// The method's name.
        method: &'static str,
        /// How many bytes follow.
        count: usize,
    },
    /// A name, key or other short string is not UTF-8. The text is RabbitMQ's.
    #[error("Malformed UTF-8 in shortstr")]
    MalformedUtf8 {
        /// The method's name.
        method: &'static str,
    },
    /// An argument table is malformed.
    #[error("{method}: {error}")]
    Table {
        /// The method's name.
        method: &'static str,
        /// What is wrong with the table.
        error: TableError,
    },
}

impl MethodError {
    /// The reply code to close the connection with.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::UnknownMethod { .. } => ReplyCode::CommandInvalid,
            Self::MalformedUtf8 { .. } => ReplyCode::FrameError,
            Self::NoMethod { .. }
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::Table { .. } => ReplyCode::SyntaxError,
        }
    }
}

/// Why the payload of a header frame is not a content header. Each ends the connection.
///
/// The `Display` text is the explanation to put into the reply text of connection.close.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The payload ends before its fields, or the properties its flags announce, do.
    #[error("content header ends before its properties do")]
    Truncated,
    /// Something follows the last property.
    #[error("content header has {count} bytes too many")]
    TrailingBytes {
        /// How many bytes follow.
        count: usize,
    },
    /// The header is for a class other than basic, the only one that has content. The text is RabbitMQ's.
    #[error("expected content header for class 60, got one for class {class_id} instead")]
    UnexpectedClass {
        /// The class id that was sent.
        class_id: u16,
    },
    /// The weight, a field without use, is not zero as AMQP 4.2.6.1 demands. The text is RabbitMQ's.
    #[error("expected content header for class 60, got non content header frame instead")]
    NonZeroWeight {
        /// The weight that was sent.
        weight: u16,
    },
    /// The body to come is longer than [`Limits::body_size_max`](crate::Limits). The text is RabbitMQ's.
    #[error("content body size {announced} exceeds maximum allowed size {limit}")]
    BodyTooLarge {
        /// The size that the header announces.
        announced: u64,
        /// The limit.
        limit: u64,
    },
    /// Flags are set for properties that the basic class does not have.
    #[error("content header has unknown property flags {flags:#06x}")]
    UnknownProperties {
        /// The flags word.
        flags: u16,
    },
    /// A property that brokers act upon (expiration, reply-to or user-id) is not UTF-8.
    #[error("Malformed UTF-8 in shortstr")]
    MalformedUtf8 {
        /// The property's name, as in `user-id`.
        property: &'static str,
    },
    /// The headers table is malformed.
    #[error("headers: {0}")]
    Table(#[from] TableError),
}

impl ContentError {
    /// The reply code to close the connection with.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::UnexpectedClass { .. } | Self::NonZeroWeight { .. } => ReplyCode::UnexpectedFrame,
            Self::BodyTooLarge { .. } | Self::MalformedUtf8 { .. } => ReplyCode::FrameError,
            Self::Truncated
            | Self::TrailingBytes { .. }
            | Self::UnknownProperties { .. }
            | Self::Table(_) => ReplyCode::SyntaxError,
        }
    }
}

impl From<Truncated> for ContentError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// Why bytes are not a [`Frame`](crate::Frame): any of the errors above, for callers that do not tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame itself is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame is well formed, the method in it is not.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The frame is well formed, the content header in it is not.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl DecodeError {
    /// The reply code to close the connection with.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::Frame(error) => error.reply_code(),
            Self::Method(error) => error.reply_code(),
            Self::Content(error) => error.reply_code(),
        }
    }
}
