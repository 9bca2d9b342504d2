//! The properties of a message where they arrived.

use std::fmt;

use crate::read::{Reader, Truncated};
use crate::{ContentError, Limits, Properties, RawTable, ShortStr};

/// The properties of a message, borrowed as the bytes they are on the wire: the flags and the values that they
/// announce. AMQP 4.2.6.1.
///
/// A broker hands these bytes on as they came. They were checked when they were decoded, so that looking at them
/// cannot fail; a look-up skips the properties before the one it is for.
///
/// RabbitMQ takes any bytes for texts and so does this; a text that is not UTF-8 is not found by its look-up but
/// handed on. The exceptions are expiration, reply-to and user-id, which brokers act upon and must not miss: decoding
/// refuses them.
///
/// ```
/// use leveret_amqp_codec::{Limits, Properties, RawProperties};
///
/// let bytes = Properties { delivery_mode: Some(2), ..Properties::default() }.to_bytes();
/// let properties = RawProperties::from_bytes(&bytes, &Limits::default())?;
/// assert_eq!(properties.delivery_mode(), Some(2));
/// assert_eq!(properties.priority(), None);
/// # Ok::<(), leveret_amqp_codec::ContentError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct RawProperties<'a>(&'a [u8]);

/// The properties that decide what a broker does with a message, found in one walk; see [`RawProperties::peek`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Peek<'a> {
    /// Named values for headers exchanges, and for brokers (`CC`, `BCC`, `x-delay` and so on).
    pub headers: Option<RawTable<'a>>,
    /// 2 for messages to be kept on disk.
    pub delivery_mode: Option<u8>,
    /// The priority, for queues that have priorities.
    pub priority: Option<u8>,
    /// The queue for replies.
    pub reply_to: Option<ShortStr<'a>>,
    /// The time to live in milliseconds, as a decimal text that nobody has parsed yet.
    pub expiration: Option<ShortStr<'a>>,
    /// Who claims to have sent the message.
    pub user_id: Option<ShortStr<'a>>,
}

/// The flags of the properties, which stand on the wire in the order of their bits from the highest.
mod flag {
    pub(super) const CONTENT_TYPE: u16 = 1 << 15;
    pub(super) const CONTENT_ENCODING: u16 = 1 << 14;
    pub(super) const HEADERS: u16 = 1 << 13;
    pub(super) const DELIVERY_MODE: u16 = 1 << 12;
    pub(super) const PRIORITY: u16 = 1 << 11;
    pub(super) const CORRELATION_ID: u16 = 1 << 10;
    pub(super) const REPLY_TO: u16 = 1 << 9;
    pub(super) const EXPIRATION: u16 = 1 << 8;
    pub(super) const MESSAGE_ID: u16 = 1 << 7;
    pub(super) const TIMESTAMP: u16 = 1 << 6;
    pub(super) const KIND: u16 = 1 << 5;
    pub(super) const USER_ID: u16 = 1 << 4;
    pub(super) const APP_ID: u16 = 1 << 3;
    pub(super) const CLUSTER_ID: u16 = 1 << 2;
    /// Bit 1 means nothing, and bit 0 would announce a second word of flags, for which AMQP has no properties.
    pub(super) const UNKNOWN: u16 = 0b11;
}

impl<'a> RawProperties<'a> {
    /// No properties at all.
    pub const EMPTY: RawProperties<'static> = RawProperties(&[0, 0]);

    /// Checks properties as they stand in a content header: flags, values and nothing after them.
    ///
    /// # Errors
    ///
    /// When a value is cut off or bytes follow the last, when there are flags without a meaning, when the headers are
    /// malformed, or when expiration, reply-to or user-id is not UTF-8.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8], limits: &Limits) -> Result<Self, ContentError> {
        Self::decode(bytes, limits)
    }

    #[inline]
    pub(crate) fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Self, ContentError> {
        let mut walk = Walk::new(bytes)?;
        if walk.flags & flag::UNKNOWN != 0 {
            return Err(ContentError::UnknownProperties { flags: walk.flags });
        }
        if walk.flags != 0 {
            walk.validate(limits)?;
        }
        match walk.reader.rest().len() {
            0 => Ok(Self(bytes)),
            count => Err(ContentError::TrailingBytes { count }),
        }
    }

    /// The properties in bytes that [`as_bytes`](Self::as_bytes) gave before.
    ///
    /// For other bytes nothing worse happens than that look-ups find nothing or nonsense.
    #[inline]
    #[must_use]
    pub const fn from_validated_bytes(bytes: &'a [u8]) -> Self {
        if bytes.len() < 2 {
            RawProperties::EMPTY
        } else {
            Self(bytes)
        }
    }

    /// The flags and the values as they are on the wire. At least the two bytes of the flags.
    #[inline]
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether no property is set.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self.0, [0, 0, ..])
    }

    /// What the body is, a MIME type.
    #[must_use]
    pub fn content_type(self) -> Option<ShortStr<'a>> {
        self.short(flag::CONTENT_TYPE)
    }

    /// How the body is encoded, such as `gzip`.
    #[must_use]
    pub fn content_encoding(self) -> Option<ShortStr<'a>> {
        self.short(flag::CONTENT_ENCODING)
    }

    /// Named values, for headers exchanges among others.
    #[must_use]
    pub fn headers(self) -> Option<RawTable<'a>> {
        self.walk_to(flag::HEADERS)?.table(flag::HEADERS).ok()?
    }

    /// 2 for messages that a durable queue keeps on disk; RabbitMQ takes everything else as 1.
    #[must_use]
    pub fn delivery_mode(self) -> Option<u8> {
        self.walk_to(flag::DELIVERY_MODE)?
            .octet(flag::DELIVERY_MODE)
            .ok()?
    }

    /// The priority, for queues that have priorities.
    #[must_use]
    pub fn priority(self) -> Option<u8> {
        self.walk_to(flag::PRIORITY)?.octet(flag::PRIORITY).ok()?
    }

    /// What a reply is to repeat so that it can be told to which request it belongs.
    #[must_use]
    pub fn correlation_id(self) -> Option<ShortStr<'a>> {
        self.short(flag::CORRELATION_ID)
    }

    /// The queue for replies.
    #[must_use]
    pub fn reply_to(self) -> Option<ShortStr<'a>> {
        self.short(flag::REPLY_TO)
    }

    /// The time to live in milliseconds, as a decimal text.
    #[must_use]
    pub fn expiration(self) -> Option<ShortStr<'a>> {
        self.short(flag::EXPIRATION)
    }

    /// The application's name for the message.
    #[must_use]
    pub fn message_id(self) -> Option<ShortStr<'a>> {
        self.short(flag::MESSAGE_ID)
    }

    /// When the message was made, in seconds since 1970.
    #[must_use]
    pub fn timestamp(self) -> Option<u64> {
        self.walk_to(flag::TIMESTAMP)?.timestamp().ok()?
    }

    /// The property `type`, the application's name for the kind of message.
    #[must_use]
    pub fn kind(self) -> Option<ShortStr<'a>> {
        self.short(flag::KIND)
    }

    /// Who claims to have sent the message; RabbitMQ checks it against the login.
    #[must_use]
    pub fn user_id(self) -> Option<ShortStr<'a>> {
        self.short(flag::USER_ID)
    }

    /// The application that sent the message.
    #[must_use]
    pub fn app_id(self) -> Option<ShortStr<'a>> {
        self.short(flag::APP_ID)
    }

    /// Reserved by AMQP, and handed on.
    #[must_use]
    pub fn cluster_id(self) -> Option<ShortStr<'a>> {
        self.short(flag::CLUSTER_ID)
    }

    /// What decides about routing, expiry and storing, in one walk that stops as early as the flags allow.
    #[inline]
    #[must_use]
    pub fn peek(self) -> Peek<'a> {
        let mut peek = Peek::default();
        if !self.is_empty() {
            // An error can only come from bytes that never were valid; what was found before it stands.
            let _ = Walk::new(self.0).and_then(|mut walk| walk.peek(&mut peek));
        }
        peek
    }

    fn short(self, flag: u16) -> Option<ShortStr<'a>> {
        self.walk_to(flag)?
            .short(flag)
            .ok()?
            .and_then(ShortStr::from_utf8)
    }

    /// A walk that stands before the property with this flag, `None` if it is not set.
    fn walk_to(self, flag: u16) -> Option<Walk<'a>> {
        let mut walk = Walk::new(self.0).ok()?;
        if walk.flags & flag == 0 {
            return None;
        }
        // Forget the flag and those after it: they stand in lower bits.
        let flags = walk.flags;
        walk.flags &= !(flag | (flag - 1));
        walk.skip_all().ok()?;
        walk.flags = flags;
        Some(walk)
    }
}

impl Default for RawProperties<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for RawProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Properties::from(*self), f)
    }
}

/// Where a walk through properties stands. Each method takes a property if its flag is set, so they must be called in
/// the order of the flags.
struct Walk<'a> {
    flags: u16,
    reader: Reader<'a>,
}

impl<'a> Walk<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            flags: reader.u16()?,
            reader,
        })
    }

    #[inline]
    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    fn short(&mut self, flag: u16) -> Result<Option<&'a [u8]>, Truncated> {
        if self.has(flag) {
            self.reader.short().map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline]
    fn octet(&mut self, flag: u16) -> Result<Option<u8>, Truncated> {
        if self.has(flag) {
            self.reader.u8().map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline]
    fn timestamp(&mut self) -> Result<Option<u64>, Truncated> {
        if self.has(flag::TIMESTAMP) {
            self.reader.u64().map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline]
    fn table(&mut self, flag: u16) -> Result<Option<RawTable<'a>>, Truncated> {
        if !self.has(flag) {
            return Ok(None);
        }
        Ok(Some(RawTable::from_validated_bytes(self.reader.long()?)))
    }

    /// A short string that must be UTF-8.
    #[inline]
    fn validate_text(&mut self, flag: u16, property: &'static str) -> Result<(), ContentError> {
        match self.short(flag)?.map(std::str::from_utf8) {
            Some(Err(_)) => Err(ContentError::MalformedUtf8 { property }),
            _ => Ok(()),
        }
    }

    fn validate(&mut self, limits: &Limits) -> Result<(), ContentError> {
        self.short(flag::CONTENT_TYPE)?;
        self.short(flag::CONTENT_ENCODING)?;
        if let Some(headers) = self.table(flag::HEADERS)? {
            RawTable::decode(headers.as_bytes(), limits)?;
        }
        self.octet(flag::DELIVERY_MODE)?;
        self.octet(flag::PRIORITY)?;
        self.short(flag::CORRELATION_ID)?;
        self.validate_text(flag::REPLY_TO, "reply-to")?;
        self.validate_text(flag::EXPIRATION, "expiration")?;
        self.short(flag::MESSAGE_ID)?;
        self.timestamp()?;
        self.short(flag::KIND)?;
        self.validate_text(flag::USER_ID, "user-id")?;
        self.short(flag::APP_ID)?;
        self.short(flag::CLUSTER_ID)?;
        Ok(())
    }

    fn skip_all(&mut self) -> Result<(), Truncated> {
        self.short(flag::CONTENT_TYPE)?;
        self.short(flag::CONTENT_ENCODING)?;
        self.table(flag::HEADERS)?;
        self.octet(flag::DELIVERY_MODE)?;
        self.octet(flag::PRIORITY)?;
        self.short(flag::CORRELATION_ID)?;
        self.short(flag::REPLY_TO)?;
        self.short(flag::EXPIRATION)?;
        self.short(flag::MESSAGE_ID)?;
        self.timestamp()?;
        self.short(flag::KIND)?;
        self.short(flag::USER_ID)?;
        self.short(flag::APP_ID)?;
        self.short(flag::CLUSTER_ID)?;
        Ok(())
    }

    #[inline]
    fn peek(&mut self, peek: &mut Peek<'a>) -> Result<(), Truncated> {
        self.short(flag::CONTENT_TYPE)?;
        self.short(flag::CONTENT_ENCODING)?;
        peek.headers = self.table(flag::HEADERS)?;
        peek.delivery_mode = self.octet(flag::DELIVERY_MODE)?;
        peek.priority = self.octet(flag::PRIORITY)?;
        if !self.has(flag::REPLY_TO | flag::EXPIRATION | flag::USER_ID) {
            return Ok(());
        }
        self.short(flag::CORRELATION_ID)?;
        peek.reply_to = self.short(flag::REPLY_TO)?.and_then(ShortStr::from_utf8);
        peek.expiration = self.short(flag::EXPIRATION)?.and_then(ShortStr::from_utf8);
        if self.has(flag::USER_ID) {
            self.short(flag::MESSAGE_ID)?;
            self.timestamp()?;
            self.short(flag::KIND)?;
            peek.user_id = self.short(flag::USER_ID)?.and_then(ShortStr::from_utf8);
        }
        Ok(())
    }
}

impl From<RawProperties<'_>> for Properties {
    /// Copies every property. A text that is not UTF-8 gets U+FFFD in the place of what is not; on bytes that never
    /// were valid, what comes after the first nonsense is left out.
    fn from(raw: RawProperties<'_>) -> Self {
        let mut properties = Self::default();
        let _ = Walk::new(raw.as_bytes()).and_then(|mut walk| {
            let text = |bytes: Option<&[u8]>| {
                bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            properties.content_type = text(walk.short(flag::CONTENT_TYPE)?);
            properties.content_encoding = text(walk.short(flag::CONTENT_ENCODING)?);
            properties.headers = walk.table(flag::HEADERS)?.map(RawTable::to_table);
            properties.delivery_mode = walk.octet(flag::DELIVERY_MODE)?;
            properties.priority = walk.octet(flag::PRIORITY)?;
            properties.correlation_id = text(walk.short(flag::CORRELATION_ID)?);
            properties.reply_to = text(walk.short(flag::REPLY_TO)?);
            properties.expiration = text(walk.short(flag::EXPIRATION)?);
            properties.message_id = text(walk.short(flag::MESSAGE_ID)?);
            properties.timestamp = walk.timestamp()?;
            properties.kind = text(walk.short(flag::KIND)?);
            properties.user_id = text(walk.short(flag::USER_ID)?);
            properties.app_id = text(walk.short(flag::APP_ID)?);
            properties.cluster_id = text(walk.short(flag::CLUSTER_ID)?);
            Ok(())
        });
        properties
    }
}
