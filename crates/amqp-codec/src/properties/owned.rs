//! The properties of a message, to be made up or changed.

use super::RawProperties;
use super::walk::{Walk, flag};
use crate::write::put_short;
use crate::{ContentError, Limits, RawTable, ShortStr, Table};

/// The properties of a message, each of which is there or not; a text that is there may still be empty.
///
/// Texts are at most 255 bytes on the wire. What is longer is cut between characters when it is written.
///
/// ```
/// use leveret_amqp_codec::{Limits, Properties, RawProperties};
///
/// let properties = Properties {
///     content_type: Some("application/json".into()),
///     delivery_mode: Some(2),
///     ..Properties::default()
/// };
/// let bytes = properties.to_bytes();
/// assert_eq!(Properties::decode(&bytes, &Limits::default())?, properties);
/// # Ok::<(), leveret_amqp_codec::ContentError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// What the body is, a MIME type.
    pub content_type: Option<String>,
    /// How the body is encoded, such as `gzip`.
    pub content_encoding: Option<String>,
    /// Named values, for headers exchanges among others.
    pub headers: Option<Table>,
    /// 2 for messages that a durable queue keeps on disk; RabbitMQ takes everything else as 1.
    pub delivery_mode: Option<u8>,
    /// The priority, for queues that have priorities.
    pub priority: Option<u8>,
    /// What a reply is to repeat so that it can be told to which request it belongs.
    pub correlation_id: Option<String>,
    /// The queue for replies.
    pub reply_to: Option<String>,
    /// The time to live in milliseconds, as a decimal text.
    pub expiration: Option<String>,
    /// The application's name for the message.
    pub message_id: Option<String>,
    /// When the message was made, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// The property `type`, the application's name for the kind of message.
    pub kind: Option<String>,
    /// Who claims to have sent the message; RabbitMQ checks it against the login.
    pub user_id: Option<String>,
    /// The application that sent the message.
    pub app_id: Option<String>,
    /// Reserved by AMQP, and handed on.
    pub cluster_id: Option<String>,
}

impl Properties {
    /// Reads properties as they stand in a content header.
    ///
    /// # Errors
    ///
    /// Those of [`RawProperties::from_bytes`].
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, ContentError> {
        RawProperties::from_bytes(bytes, limits).map(Self::from)
    }

    /// Writes the flags and the values, as they stand in a content header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        let mut writer = Writer {
            out,
            flags: 0,
            next: 1 << 15,
        };
        writer.text(self.content_type.as_deref());
        writer.text(self.content_encoding.as_deref());
        writer.put(self.headers.as_ref(), |out, headers| headers.encode(out));
        writer.put(self.delivery_mode, |out, mode| out.push(mode));
        writer.put(self.priority, |out, priority| out.push(priority));
        writer.text(self.correlation_id.as_deref());
        writer.text(self.reply_to.as_deref());
        writer.text(self.expiration.as_deref());
        writer.text(self.message_id.as_deref());
        writer.put(self.timestamp, |out, seconds| {
            out.extend_from_slice(&seconds.to_be_bytes())
        });
        writer.text(self.kind.as_deref());
        writer.text(self.user_id.as_deref());
        writer.text(self.app_id.as_deref());
        writer.text(self.cluster_id.as_deref());
        let flags = writer.flags;
        if let Some(place) = out.get_mut(start..start + 2) {
            place.copy_from_slice(&flags.to_be_bytes());
        }
    }

    /// The flags and the values, to be seen as [`RawProperties`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
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

/// Writes one property after the other and notes which there were.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    flags: u16,
    /// The flag of the property to come, the highest bit first.
    next: u16,
}

impl Writer<'_> {
    fn put<T>(&mut self, property: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        if let Some(value) = property {
            self.flags |= self.next;
            write(self.out, value);
        }
        self.next >>= 1;
    }

    fn text(&mut self, property: Option<&str>) {
        self.put(property, |out, text| {
            put_short(out, ShortStr::truncated(text).as_bytes())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_values_are_in_the_order_of_the_wire() {
        let properties = Properties {
            content_type: Some("a/b".to_owned()),
            priority: Some(5),
            cluster_id: Some(String::new()),
            ..Properties::default()
        };
        assert_eq!(properties.to_bytes(), b"\x88\x04\x03a/b\x05\x00");
        assert_eq!(Properties::default().to_bytes(), [0, 0]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let properties = Properties {
            message_id: Some("é".repeat(128)),
            ..Properties::default()
        };
        let decoded = Properties::decode(&properties.to_bytes(), &Limits::default()).unwrap();
        assert_eq!(decoded.message_id, Some("é".repeat(127)));
    }
}
