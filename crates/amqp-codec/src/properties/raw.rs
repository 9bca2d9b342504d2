//! The properties of a message where they arrived.

use std::fmt;

use super::walk::{Walk, flag};
use super::{Peek, Properties};
use crate::{ContentError, Limits, RawTable, ShortStr};

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
        Walk::new(bytes)?.validate(limits)?;
        Ok(Self(bytes))
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
            let _ = Walk::new(self.0).and_then(|mut walk| peek.fill(&mut walk));
        }
        peek
    }

    fn short(self, flag: u16) -> Option<ShortStr<'a>> {
        let bytes = self.walk_to(flag)?.short(flag).ok()??;
        ShortStr::from_utf8(bytes)
    }

    /// A walk that stands before the property with this flag, `None` if it is not set.
    fn walk_to(self, flag: u16) -> Option<Walk<'a>> {
        let mut walk = Walk::new(self.0).ok()?;
        if !walk.has(flag) {
            return None;
        }
        walk.skip_to(flag).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableError;

    fn decode(bytes: &[u8]) -> Result<RawProperties<'_>, ContentError> {
        RawProperties::from_bytes(bytes, &Limits::default())
    }

    fn full() -> Properties {
        let text = |name: &str| Some(name.to_owned());
        Properties {
            content_type: text("text/plain"),
            content_encoding: text("gzip"),
            headers: Some([("k", 1)].into_iter().collect()),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: text("c"),
            reply_to: text("r"),
            expiration: text("1000"),
            message_id: text("m"),
            timestamp: Some(7),
            kind: text("k"),
            user_id: text("u"),
            app_id: text("a"),
            cluster_id: text(""),
        }
    }

    #[test]
    fn every_property_is_found() {
        let bytes = full().to_bytes();
        let raw = decode(&bytes).unwrap();
        assert_eq!(raw.content_type().as_deref(), Some("text/plain"));
        assert_eq!(raw.content_encoding().as_deref(), Some("gzip"));
        assert_eq!(
            raw.headers()
                .and_then(|headers| headers.get("k")?.as_integer()),
            Some(1)
        );
        assert_eq!(raw.delivery_mode(), Some(2));
        assert_eq!(raw.priority(), Some(9));
        assert_eq!(raw.correlation_id().as_deref(), Some("c"));
        assert_eq!(raw.reply_to().as_deref(), Some("r"));
        assert_eq!(raw.expiration().as_deref(), Some("1000"));
        assert_eq!(raw.message_id().as_deref(), Some("m"));
        assert_eq!(raw.timestamp(), Some(7));
        assert_eq!(raw.kind().as_deref(), Some("k"));
        assert_eq!(raw.user_id().as_deref(), Some("u"));
        assert_eq!(raw.app_id().as_deref(), Some("a"));
        assert_eq!(raw.cluster_id().as_deref(), Some(""));
        assert_eq!(Properties::from(raw), full());
    }

    #[test]
    fn unset_properties_are_not_found() {
        for raw in [RawProperties::EMPTY, decode(&[0x00, 0x04, 0]).unwrap()] {
            assert_eq!(raw.content_type(), None);
            assert_eq!(raw.headers(), None);
            assert_eq!(raw.timestamp(), None);
            assert_eq!(raw.peek(), Peek::default());
        }
        assert!(RawProperties::EMPTY.is_empty());
    }

    #[test]
    fn peek_sees_what_the_lookups_see() {
        let bytes = full().to_bytes();
        let raw = decode(&bytes).unwrap();
        let want = Peek {
            headers: raw.headers(),
            delivery_mode: raw.delivery_mode(),
            priority: raw.priority(),
            reply_to: raw.reply_to(),
            expiration: raw.expiration(),
            user_id: raw.user_id(),
        };
        assert_eq!(raw.peek(), want);
    }

    #[test]
    fn malformed_properties_are_refused() {
        assert_eq!(decode(&[0]), Err(ContentError::Truncated));
        assert_eq!(decode(&[0x80, 0, 2, b'a']), Err(ContentError::Truncated));
        assert_eq!(
            decode(&[0, 0, 1]),
            Err(ContentError::TrailingBytes { count: 1 })
        );
        assert_eq!(
            decode(&[0, 1, 0, 0]),
            Err(ContentError::UnknownProperties { flags: 1 })
        );
        assert_eq!(
            decode(&[0, 2]),
            Err(ContentError::UnknownProperties { flags: 2 })
        );
        let table = [0x20, 0, 0, 0, 0, 2, 0, b'?'];
        assert_eq!(
            decode(&table),
            Err(TableError::UnknownType { letter: b'?' }.into())
        );
    }

    #[test]
    fn only_texts_that_brokers_act_upon_must_be_utf8() {
        let latin1 = decode(&[0x84, 0, 1, 0xe9, 1, 0xe9]).unwrap();
        assert_eq!(latin1.content_type(), None);
        assert_eq!(latin1.correlation_id(), None);
        assert_eq!(
            Properties::from(latin1).correlation_id.as_deref(),
            Some("\u{fffd}")
        );
        for (flags, property) in [
            (0x0200_u16, "reply-to"),
            (0x0100, "expiration"),
            (0x0010, "user-id"),
        ] {
            let [f0, f1] = flags.to_be_bytes();
            assert_eq!(
                decode(&[f0, f1, 1, 0xe9]),
                Err(ContentError::MalformedUtf8 { property })
            );
        }
    }

    #[test]
    fn nonsense_has_no_properties() {
        assert_eq!(
            RawProperties::from_validated_bytes(&[7]).as_bytes(),
            &[0, 0]
        );
        let cut = RawProperties::from_validated_bytes(&[0xff, 0xff, 1, b'a', 200]);
        assert_eq!(cut.content_type().as_deref(), Some("a"));
        assert_eq!(cut.content_encoding(), None);
        assert_eq!(cut.peek(), Peek::default());
        assert_eq!(Properties::from(cut).content_type.as_deref(), Some("a"));
    }
}
