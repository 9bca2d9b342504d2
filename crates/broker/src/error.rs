//! Errors: what a client is told ([`Refusal`]), and what an embedding program gets ([`Error`]).

use std::fmt;

use leveret_amqp_codec::ReplyCode;
use leveret_queue_store::{Message, ReadError};

use crate::access::{AccountError, OwnedQuestion};
#[cfg(feature = "journal")]
use crate::metadata::OpenError;

/// Why an operation of a client was refused, in RabbitMQ's words: the explanation after `CODE_NAME - `.
///
/// Whether it closes the channel or the connection follows from the code (behaviour reference, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ReplyCode,
    pub(crate) explanation: String,
    /// The class and method to blame when it is not the one that was being handled.
    pub(crate) method: Option<(u16, u16)>,
    /// What has to be asked before it is known whether this is a refusal at all.
    #[expect(
        clippy::box_collection,
        reason = "results with refusals are moved about for each message, and are to be small"
    )]
    questions: Option<Box<Vec<OwnedQuestion>>>,
}

impl Refusal {
    pub(crate) fn new(code: ReplyCode, explanation: impl Into<String>) -> Self {
        Self {
            code,
            explanation: explanation.into(),
            method: None,
            questions: None,
        }
    }

    /// A refusal unless these are answered with yes. Who cannot ask may take it for a refusal.
    pub(crate) fn unless(self, questions: Vec<OwnedQuestion>) -> Self {
        Self {
            questions: Some(Box::new(questions)),
            ..self
        }
    }

    /// The same for something that is not refused itself: it will turn out what is.
    #[cfg(feature = "stomp")]
    pub(crate) fn until_asked(questions: Vec<OwnedQuestion>) -> Self {
        Self::access_refused("it is not known what is permitted").unless(questions)
    }

    /// What has to be asked before the operation is tried again; none when it is refused. Nothing of it has been done.
    pub(crate) fn take_questions(&mut self) -> Option<Vec<OwnedQuestion>> {
        self.questions.take().map(|questions| *questions)
    }

    /// Whether it is still to be asked if this is a refusal.
    pub(crate) fn is_open(&self) -> bool {
        self.questions.is_some()
    }

    /// Blames this class and method instead of the one that was being handled.
    pub(crate) fn of_method(self, class_id: u16, method_id: u16) -> Self {
        Self {
            method: Some((class_id, method_id)),
            ..self
        }
    }

    pub(crate) fn access_refused(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::AccessRefused, explanation)
    }

    pub(crate) fn not_found(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotFound, explanation)
    }

    pub(crate) fn resource_locked(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::ResourceLocked, explanation)
    }

    pub(crate) fn precondition_failed(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::PreconditionFailed, explanation)
    }

    pub(crate) fn not_allowed(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotAllowed, explanation)
    }

    pub(crate) fn resource_error(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::ResourceError, explanation)
    }

    pub(crate) fn not_implemented(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotImplemented, explanation)
    }

    pub(crate) fn internal_error(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::InternalError, explanation)
    }

    /// Of a new secret for the login.
    pub(crate) fn secret_refused() -> Self {
        Self::not_allowed("New secret was refused by one of the backends")
    }

    /// The login has ended.
    pub(crate) fn expired() -> Self {
        Self::new(ReplyCode::ConnectionForced, "credential expired")
    }

    /// For what is on disk and should be readable.
    pub(crate) fn unreadable(error: &ReadError) -> Self {
        Self::internal_error(format!("messages cannot be read from disk: {error}"))
    }

    pub(crate) fn command_invalid(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::CommandInvalid, explanation)
    }

    pub(crate) fn channel_error(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::ChannelError, explanation)
    }

    pub(crate) fn unexpected_frame(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::UnexpectedFrame, explanation)
    }

    pub(crate) fn frame_error(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::FrameError, explanation)
    }

    /// `NAME_WITH_UNDERSCORES - explanation`, as it stands in a close method.
    pub(crate) fn reply_text(&self) -> String {
        self.code.reply_text(&self.explanation)
    }
}

/// Why the broker could not do what its embedding program asked for.
///
/// The inside may grow; look at it through the predicates. Its text says what was refused and why, in the words that an
/// AMQP client would see.
pub struct Error {
    kind: Kind,
}

enum Kind {
    Refused(Refusal),
    Account(AccountError),
    Unroutable(Message),
    QueueFull,
    NotStored,
    Closed,
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[cfg(feature = "tls")]
    NoTls,
    #[cfg(feature = "journal")]
    DataDir(OpenError),
    #[cfg(feature = "journal")]
    Thread(std::io::Error),
}

impl Error {
    pub(crate) fn unroutable(message: Message) -> Self {
        Self {
            kind: Kind::Unroutable(message),
        }
    }

    pub(crate) fn queue_full() -> Self {
        Self {
            kind: Kind::QueueFull,
        }
    }

    pub(crate) fn not_stored() -> Self {
        Self {
            kind: Kind::NotStored,
        }
    }

    pub(crate) fn closed() -> Self {
        Self { kind: Kind::Closed }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn no_tls() -> Self {
        Self { kind: Kind::NoTls }
    }

    #[cfg(feature = "journal")]
    pub(crate) fn thread(source: std::io::Error) -> Self {
        Self {
            kind: Kind::Thread(source),
        }
    }

    pub(crate) fn listen(address: String, source: std::io::Error) -> Self {
        Self {
            kind: Kind::Listen { address, source },
        }
    }

    /// The exchange, queue, virtual host or user does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.has_code(ReplyCode::NotFound) || self.is_unknown_user() || self.is_unknown_vhost()
    }

    /// There is no user of this name.
    #[must_use]
    pub fn is_unknown_user(&self) -> bool {
        matches!(self.kind, Kind::Account(AccountError::NoUser(_)))
    }

    /// There is no virtual host of this name.
    #[must_use]
    pub fn is_unknown_vhost(&self) -> bool {
        matches!(self.kind, Kind::Account(AccountError::NoVhost(_)))
    }

    /// There is a user of this name already.
    #[must_use]
    pub fn is_known_user(&self) -> bool {
        matches!(self.kind, Kind::Account(AccountError::UserExists(_)))
    }

    /// What was to be changed is [configured](crate::Builder::keep_accounts) and stays as it is.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self.kind, Kind::Account(AccountError::Fixed(_)))
    }

    /// What was declared exists with other properties, or an argument's value is not acceptable.
    #[must_use]
    pub fn is_precondition_failed(&self) -> bool {
        self.has_code(ReplyCode::PreconditionFailed)
            || matches!(self.kind, Kind::Account(AccountError::NoAccounts))
    }

    /// The name is reserved, or the queue is in exclusive use by another consumer.
    #[must_use]
    pub fn is_access_refused(&self) -> bool {
        self.has_code(ReplyCode::AccessRefused)
    }

    /// The user may not open the virtual host, or a limit of connections or consumers is reached, or a new secret was
    /// refused.
    #[must_use]
    pub fn is_not_allowed(&self) -> bool {
        self.has_code(ReplyCode::NotAllowed)
    }

    /// The login of the user that the client acts for has [expired](crate::Identity::valid_until).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.has_code(ReplyCode::ConnectionForced)
    }

    /// The queue is exclusive to another client.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.has_code(ReplyCode::ResourceLocked)
    }

    /// A message published as mandatory reached no queue; [`Error::into_message`] gives it back.
    #[must_use]
    pub fn is_unroutable(&self) -> bool {
        matches!(self.kind, Kind::Unroutable(_))
    }

    /// A queue whose overflow behaviour is to refuse was full.
    #[must_use]
    pub fn is_queue_full(&self) -> bool {
        matches!(self.kind, Kind::QueueFull)
    }

    /// The disk failed before the message was safe there. It may be in its queue, and may be gone after a restart.
    #[must_use]
    pub fn is_not_stored(&self) -> bool {
        matches!(self.kind, Kind::NotStored)
    }

    /// The broker could not do its part: a durable definition was made or deleted, and the data directory can no longer
    /// be written to.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.has_code(ReplyCode::InternalError)
            || matches!(self.kind, Kind::Account(AccountError::NotStored(_)))
    }

    /// The data directory is in use by another broker.
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn is_data_dir_in_use(&self) -> bool {
        matches!(&self.kind, Kind::DataDir(error) if error.is_in_use())
    }

    /// What is in the data directory was written by a newer version, or is damaged.
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn is_data_unreadable(&self) -> bool {
        matches!(&self.kind, Kind::DataDir(error) if error.is_unreadable())
    }

    /// The data directory cannot be made, read or written.
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn is_data_dir_unusable(&self) -> bool {
        matches!(&self.kind, Kind::DataDir(error) if error.as_io_error().is_some())
    }

    /// The broker was shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.kind, Kind::Closed)
    }

    /// The operating system's error when a listener's address could not be opened, or the data directory not be used.
    #[must_use]
    pub fn as_io_error(&self) -> Option<&std::io::Error> {
        match &self.kind {
            Kind::Listen { source, .. } => Some(source),
            #[cfg(feature = "journal")]
            Kind::DataDir(error) => error.as_io_error(),
            #[cfg(feature = "journal")]
            Kind::Thread(source) => Some(source),
            _ => None,
        }
    }

    /// The message that could not be published, where there is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self.kind {
            Kind::Unroutable(message) => Some(message),
            _ => None,
        }
    }

    /// What has to be asked before it is known whether this is an error at all.
    pub(crate) fn take_questions(&mut self) -> Option<Vec<OwnedQuestion>> {
        match &mut self.kind {
            Kind::Refused(refusal) => refusal.take_questions(),
            _ => None,
        }
    }

    /// Whether there is such a thing.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.is_open())
    }

    fn has_code(&self, code: ReplyCode) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.code == code)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self {
            kind: Kind::Refused(refusal),
        }
    }
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        Self {
            kind: Kind::Account(error),
        }
    }
}

#[cfg(feature = "journal")]
impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self {
            kind: Kind::DataDir(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Refused(refusal) => f.write_str(&refusal.explanation),
            Kind::Account(error) => error.fmt(f),
            Kind::Unroutable(message) => {
                write!(
                    f,
                    "no queue for routing key '{}' at exchange '{}'",
                    message.routing_key(),
                    message.exchange()
                )
            }
            Kind::QueueFull => f.write_str("a queue is full and refuses new messages"),
            Kind::NotStored => f.write_str("the disk failed before the message was safe there"),
            Kind::Closed => f.write_str("the broker is shut down"),
            Kind::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            #[cfg(feature = "tls")]
            Kind::NoTls => f.write_str("a listener for TLS has no configuration of TLS"),
            #[cfg(feature = "journal")]
            Kind::DataDir(error) => error.fmt(f),
            #[cfg(feature = "journal")]
            Kind::Thread(source) => write!(f, "cannot start a thread: {source}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Refused(refusal) => f.debug_tuple("Error").field(&refusal.reply_text()).finish(),
            _ => write!(f, "Error({self})"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Listen { source, .. } => Some(source),
            #[cfg(feature = "journal")]
            Kind::DataDir(error) => Some(error),
            #[cfg(feature = "journal")]
            Kind::Thread(source) => Some(source),
            _ => None,
        }
    }
}
